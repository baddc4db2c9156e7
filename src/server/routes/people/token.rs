//! The grants of people at the token endpoint: authorization codes and refresh tokens.
//!
//! Tokens are signed before the code is used up or the refresh token is replaced, so that a missing key costs the client
//! nothing. They are signed in the client's turn, which begins when the store has been read and ends before it is written.

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::join::held;
use super::people;
use crate::directory::AcceptedClient;
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::client_auth::Method;
use crate::oauth::grants::person::{Holding, REFUSED, Refused, UnsignedTokens};
use crate::oauth::grants::{SupportedGrant, authorization_code, refresh_token};
use crate::oauth::id_token;
use crate::oauth::sign_in::SignIn;
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::people::code::{Code, CodeVerdict};
use crate::people::grant::{self, GrantStanding};
use crate::people::refresh::{Policy, Rules, begin};
use crate::server::people::People;
use crate::server::people::registry::Registered;
use crate::server::people::site::PeopleSite;
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::server::signing::{Slot, Turn};
use crate::server::snapshot::{Site, Snapshot};
use crate::store::area::code::{CodeRefusal, Issue, Redeemed};
use crate::store::area::refresh::{RefreshRefusal, Refreshed};
use crate::telemetry::audit::{self, Event};
use crate::tokens::{Algorithm, SecretString, SystemEntropy};

/// What all steps of a request share.
struct Case<'a, 't> {
    call: &'a Call,
    snapshot: &'a Snapshot,
    site: &'a Site,
    own: &'a PeopleSite,
    people: &'a People,
    registered: Registered<'a>,
    policy: Policy,
    turn: &'a Turn<'t>,
    now: Timestamp,
}

/// Why a decision gives nothing.
#[derive(Clone, Copy, Debug)]
enum Denied {
    Refused(Refused),
    /// Other requests of the client must sign first.
    Waits,
}

impl<E: Into<Refused>> From<E> for Denied {
    fn from(refused: E) -> Self {
        Self::Refused(refused.into())
    }
}

/// Signed tokens, not yet given to the client.
struct Signed {
    tokens: UnsignedTokens,
    algorithm: Algorithm,
    access_token: String,
    id_token: Option<String>,
    subject: String,
}

/// Why nothing is issued.
#[derive(Debug)]
pub struct Failed {
    /// What the client is told.
    pub refusal: Refusal,
    /// The reason for the audit log, if the client is told less.
    pub reason: Option<&'static str>,
}

impl<E: Into<Refusal>> From<E> for Failed {
    fn from(refusal: E) -> Self {
        Self {
            refusal: refusal.into(),
            reason: None,
        }
    }
}

impl Failed {
    /// The client gets one text for all reasons.
    fn because(reason: &'static str) -> Self {
        Self {
            refusal: REFUSED.into(),
            reason: Some(reason),
        }
    }

    fn denied(refused: Refused) -> Self {
        match refused {
            Refused::Barred(barred) => Self::because(barred.as_str()),
            Refused::Protocol(error) => error.into(),
        }
    }
}

/// Issues tokens for a person. The request has given its turn on its connection back. Returns `None`, and changes
/// nothing, if other requests of the client must sign first.
///
/// # Errors
/// Why not.
pub async fn issue(
    call: &Call,
    serving: &ServingSnapshot,
    (client, method): (&AcceptedClient<'_>, Method),
    (grant, form): (SupportedGrant, &Form<'_>),
    turn: &Turn<'_>,
    now: Timestamp,
) -> Result<Option<Response>, Failed> {
    let (snapshot, site) = (serving.snapshot(), serving.site()?);
    let own = site.people.as_deref().ok_or(Refusal::Unavailable)?;
    let unauthorized = || {
        OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "this client may not act for people",
        )
    };
    let registered = snapshot
        .registry()
        .client(&client.client.record.client_id)
        .ok_or_else(unauthorized)?;
    let people = people(call)?;
    let case = Case {
        policy: refresh_token::policy(&own.refresh, registered.client.is_public, false),
        call,
        snapshot,
        site,
        own,
        people: &people,
        registered,
        turn,
        now,
    };
    let issued = match grant {
        SupportedGrant::AuthorizationCode => code(&case, form).await,
        _ => refresh(&case, form).await,
    };
    let Some((signed, refresh_token)) = issued? else {
        return Ok(None);
    };
    let tokens = &signed.tokens;
    call.app.metrics().issued(grant, signed.algorithm);
    audit::issued(
        &call.origin(snapshot),
        &audit::Issued {
            token_id: tokens.token_id.as_str(),
            client_id: case.registered.id(),
            subject: &signed.subject,
            grant: grant.as_str(),
            method: method.as_str(),
            scope: &tokens.scope,
            expires_in: tokens.expires_in,
        },
    );
    let refresh_token = refresh_token.as_ref().map(SecretString::expose);
    let body = tokens.render(
        &signed.access_token,
        signed.id_token.as_deref(),
        refresh_token,
    );
    Ok(Some(reply::json(StatusCode::OK, body)))
}

impl Case<'_, '_> {
    fn client(&self) -> grant::Client<'_> {
        grant::Client {
            id: self.registered.id(),
            uid: self.registered.uid(),
        }
    }

    /// Calls `decide` with what a grant stands for now.
    fn with_holding<T>(
        &self,
        standing: &GrantStanding,
        decide: impl FnOnce(&Holding<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let grant = &standing.grant;
        let claims = ClaimsRequest::from_stored(grant.claims.as_deref());
        let claims = claims
            .map_err(|_| OAuthError::new(ErrorCode::ServerError, "the grant cannot be read"))?;
        let (person, scopes) = held(
            self.snapshot,
            &self.registered,
            &standing.account,
            grant,
            &grant.scopes,
            self.now,
        );
        decide(&Holding {
            client: self.registered.client,
            grant,
            sign_in: SignIn::from(grant),
            person,
            scopes,
            claims: &claims,
            also_allowed: &[],
        })
    }

    fn sign(&self, tokens: UnsignedTokens, standing: &GrantStanding) -> Result<Signed, OAuthError> {
        let algorithm = tokens.algorithm.or(self.site.default_algorithm);
        let algorithm = algorithm.ok_or(OAuthError::NO_KEY)?;
        let ring = self.snapshot.ring();
        let access_token = ring.sign(algorithm, tokens.typ, &tokens.access_token);
        let access_token = access_token.map_err(|_| OAuthError::NO_KEY)?;
        let id_token = tokens.id_token(algorithm, &access_token);
        let id_token = id_token.map_err(|_| OAuthError::NO_KEY)?;
        let id_token = id_token.map(|claims| ring.sign(algorithm, id_token::TYPE, &claims));
        Ok(Signed {
            id_token: id_token.transpose().map_err(|_| OAuthError::NO_KEY)?,
            subject: standing.account.id.0.to_string(),
            tokens,
            algorithm,
            access_token,
        })
    }

    /// Counts and writes that a grant has ended, because something that was used up was presented again.
    fn ended(&self, reason: &'static str) {
        self.call.app.metrics().people().grant_ended();
        audit::of_person(
            &self.call.origin(self.snapshot),
            &Event {
                event: "grant_ended",
                reason: Some(reason),
                client_id: Some(self.registered.id()),
                ..Event::default()
            },
        );
    }
}

type Issued = (Signed, Option<SecretString>);

async fn code(case: &Case<'_, '_>, form: &Form<'_>) -> Result<Option<Issued>, Failed> {
    authorization_code::check_client(&case.registered.client)?;
    let request = authorization_code::Request::parse(form, &case.own.prefix)?;
    let presented = request.of_client(case.client(), case.now);
    let decide = |slot: Option<Slot<'_>>, standing: &GrantStanding, code: &Code| {
        let _slot = slot.ok_or(Denied::Waits)?;
        let redeemed = case.with_holding(standing, |holding| {
            let nonce = code.nonce.as_deref();
            let entropy = &mut SystemEntropy;
            authorization_code::decide(&request, holding, nonce, &case.policy, case.now, entropy)
        })?;
        let ends_at = redeemed.grant_ends_at;
        let signed = case.sign(redeemed.tokens, standing)?;
        let first = redeemed.family_ends_at.map(|end| {
            let keys = &case.people.keys.refresh;
            let token = keys.first(&case.own.prefix, &mut SystemEntropy);
            (begin(&token, standing.grant.id, case.now), end, token.text)
        });
        let (family, token) = match first {
            Some((family, end, token)) => (Some((family, end)), Some(token)),
            None => (None, None),
        };
        let issue = Issue {
            expires_at: ends_at,
            family,
        };
        Ok::<_, Denied>((issue, (signed, token)))
    };
    let store = &case.people.store;
    let redeemed = store.redeem_code_in_turn(presented, case.now, case.turn.slot(), decide);
    match case.turn.hold_shortly(redeemed).await {
        Ok(Redeemed::Granted(issued)) => Ok(Some(issued)),
        Ok(Redeemed::Denied(Denied::Waits)) => Ok(None),
        Ok(Redeemed::Denied(Denied::Refused(refused))) => Err(Failed::denied(refused)),
        Ok(Redeemed::Refused { reason, ended }) => {
            if ended {
                case.ended("code_reused");
            }
            Err(Failed::because(reason_of_code(reason)))
        }
        Err(error) => Err(super::unavailable(case.call, &error).into()),
    }
}

const fn reason_of_code(reason: CodeRefusal) -> &'static str {
    match reason {
        CodeRefusal::Unknown => "code_unknown",
        CodeRefusal::Ended => "grant_ended",
        CodeRefusal::Code(verdict) => match verdict {
            CodeVerdict::Redeem => "code_raced",
            CodeVerdict::AlreadyUsed => "code_just_used",
            CodeVerdict::Reuse => "code_reused",
            CodeVerdict::Expired => "code_expired",
            CodeVerdict::Guessed => "code_guessed",
            CodeVerdict::Misbound => "code_misbound",
        },
    }
}

async fn refresh(case: &Case<'_, '_>, form: &Form<'_>) -> Result<Option<Issued>, Failed> {
    refresh_token::check_client(&case.registered.client)?;
    let request = refresh_token::Request::parse(form, &case.own.prefix)?;
    let rules = Rules {
        keys: &case.people.keys.refresh,
        prefix: &case.own.prefix,
        policy: &case.policy,
        client: case.client(),
    };
    let decide = |slot: Option<Slot<'_>>, standing: &GrantStanding| {
        let _slot = slot.ok_or(Denied::Waits)?;
        let tokens = case.with_holding(standing, |holding| {
            refresh_token::decide(&request, holding, case.now, &mut SystemEntropy)
        })?;
        Ok::<_, Denied>(case.sign(tokens, standing)?)
    };
    let store = &case.people.store;
    let turn = || case.turn.slot();
    let refreshed = store.refresh_in_turn(&request.presented, rules, case.now, turn, decide);
    match case.turn.hold_shortly(refreshed).await {
        Ok(Refreshed::Granted { decided, token }) => {
            Ok(Some((decided, token.map(|token| token.text))))
        }
        Ok(Refreshed::Denied(Denied::Waits)) => Ok(None),
        Ok(Refreshed::Denied(Denied::Refused(refused))) => Err(Failed::denied(refused)),
        Ok(Refreshed::Refused { reason, ended }) => {
            if ended {
                case.ended("refresh_token_reused");
            }
            Err(Failed::because(reason_of_refresh(reason)))
        }
        Err(error) => Err(super::unavailable(case.call, &error).into()),
    }
}

const fn reason_of_refresh(reason: RefreshRefusal) -> &'static str {
    match reason {
        RefreshRefusal::Unknown => "refresh_token_unknown",
        RefreshRefusal::Guessed => "refresh_token_guessed",
        RefreshRefusal::Reuse => "refresh_token_reused",
        RefreshRefusal::Ahead => "refresh_token_ahead",
        RefreshRefusal::UnknownKey => "refresh_token_key_unknown",
        RefreshRefusal::Ended => "grant_ended",
        RefreshRefusal::Expired => "refresh_token_expired",
        RefreshRefusal::Foreign => "refresh_token_of_another_client",
    }
}
