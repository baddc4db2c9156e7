//! Answers an authorization request with a code, and with an ID token if the request asks for one.

use axum::response::Response;

use super::guest::{Guest, Stop};
use super::join::held;
use crate::oauth::authorize::next::Permission;
use crate::oauth::authorize::{AuthorizationRequest, ResponseType};
use crate::oauth::grants::person::{Holding, front_channel_id_token};
use crate::oauth::grants::refresh_token::ends_with;
use crate::oauth::id_token;
use crate::oauth::sign_in::SignIn;
use crate::oauth::{ErrorCode, OAuthError};
use crate::people::account::Account;
use crate::people::code::Code;
use crate::people::grant::Grant;
use crate::people::later;
use crate::people::session::Session;
use crate::resources::ConsentPolicy;
use crate::server::people::metrics::AuthorizationOutcome;
use crate::server::people::registry::Registered;
use crate::server::snapshot::Snapshot;
use crate::store::area::code::Authorized;
use crate::store::area::consent::Agreement;
use crate::telemetry::audit::Event;
use crate::tokens::{Kind, Minted, SystemEntropy, TokenId, reference};

/// What a code is issued by.
pub struct Case<'a> {
    /// The client.
    pub registered: &'a Registered<'a>,
    /// The request.
    pub request: &'a AuthorizationRequest,
    /// The pushed request that the code uses up.
    pub pushed: Option<TokenId>,
    /// The session.
    pub session: &'a Session,
    /// The account.
    pub account: &'a Account,
    /// The text of what the person allowed the client before.
    pub recorded: Option<String>,
    /// What is permitted.
    pub permission: Allowed,
}

/// How it ends.
pub enum Issued {
    /// With an answer to the client.
    Answer(Response),
    /// The session, the account or the consent has changed: the request must be judged again.
    Again,
}

/// What a code is issued for.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub scopes: Vec<String>,
    /// The claims that may be released; `None` for any.
    pub claims: Option<Vec<String>>,
    pub acr: String,
    pub remember: Option<Remember>,
}

/// A consent to be recorded.
#[derive(Clone, Debug)]
pub struct Remember {
    /// The scopes, for the log.
    scopes: String,
    /// The text of the record.
    text: String,
}

impl From<Permission<'_>> for Allowed {
    fn from(permission: Permission<'_>) -> Self {
        let owned = |scopes: Vec<&str>| scopes.into_iter().map(str::to_owned).collect();
        Self {
            scopes: owned(permission.scopes),
            claims: permission.claims.map(owned),
            acr: permission.acr.to_owned(),
            remember: permission.remember.map(|allowed| Remember {
                scopes: allowed.scopes.join(" "),
                text: allowed.to_stored(),
            }),
        }
    }
}

/// Issues a code.
///
/// # Errors
/// A fault of the store.
pub async fn code(guest: &Guest, snapshot: &Snapshot, case: Case<'_>) -> Result<Issued, Stop> {
    let Case {
        registered,
        request,
        pushed,
        session,
        account,
        permission,
        ..
    } = &case;
    let issuer = &guest.site.issuer;
    let claims = request.claims.to_stored(permission.claims.as_deref());
    let Ok(claims) = claims else {
        let error = OAuthError::new(ErrorCode::ServerError, "the request cannot be kept");
        return Ok(Issued::Answer(guest.refuse(&request.return_to, error)));
    };
    let grant = grant(guest, &case, claims);
    let minted = reference::mint(
        &guest.own.prefix,
        Kind::AuthorizationCode,
        &mut SystemEntropy,
    );
    let Minted { token, id, hash } = minted;
    let mut fields = vec![("code", token.expose().to_owned())];
    if request.response_type == ResponseType::CodeIdToken {
        match signed(guest, snapshot, &case, &grant, token.expose()) {
            Ok(signed) => fields.push(("id_token", signed)),
            Err(error) => {
                return Ok(Issued::Answer(guest.refuse(&request.return_to, error)));
            }
        }
    }
    let code = Code {
        id,
        hash,
        grant: grant.id,
        redirect_uri: if request.named_redirect_uri {
            request.return_to.redirect_uri.clone()
        } else {
            String::new()
        },
        challenge: request.challenge.clone().map(String::from),
        nonce: request.nonce.clone(),
        expires_at: later(guest.now, guest.own.code),
        used_at: None,
    };
    let grant_id = grant.id;
    let authorized = Authorized {
        agreement: agreement(&case),
        pushed: *pushed,
        grant,
        code,
    };
    let issued = guest.people.store.issue_code(authorized, guest.now);
    let Some(surplus) = guest.wait_for(issued).await? else {
        return Ok(Issued::Again);
    };
    let subject = account.id.0.to_string();
    let of_this = Event {
        client_id: Some(registered.id()),
        subject: Some(&subject),
        session: Some(session.id.as_str()),
        ..Event::default()
    };
    if let Some(given) = &permission.remember {
        guest.record(&Event {
            event: "consent_given",
            scope: Some(&given.scopes),
            ..of_this
        });
    }
    for grant in &surplus {
        guest.record(&Event {
            event: "grant_ended",
            reason: Some("too_many_grants"),
            grant: Some(grant.as_str()),
            ..of_this
        });
    }
    guest.record(&Event {
        event: "code_issued",
        grant: Some(grant_id.as_str()),
        scope: Some(&permission.scopes.join(" ")),
        ..of_this
    });
    guest
        .call
        .app
        .metrics()
        .people()
        .authorized(AuthorizationOutcome::Code);
    let answer = request.return_to.answer(issuer, fields);
    Ok(Issued::Answer(guest.answer(&answer)))
}

fn grant(guest: &Guest, case: &Case<'_>, claims: Option<String>) -> Grant {
    let (registered, request, session) = (case.registered, case.request, case.session);
    Grant {
        id: TokenId::random(&mut SystemEntropy),
        account: case.account.id,
        epoch: session.epoch,
        session: session.id,
        ends_with: ends_with(
            registered.ends_with(),
            registered.redirect_uris.iter().copied(),
        ),
        client: registered.id().to_owned(),
        client_uid: registered.uid().to_owned(),
        scopes: case.permission.scopes.join(" "),
        resources: request.resources.join(" "),
        created_at: guest.now,
        authenticated_at: session.authenticated_at,
        acr: case.permission.acr.clone(),
        methods: session.methods.clone(),
        claims,
        // The code alone, until it is redeemed.
        expires_at: later(guest.now, guest.own.code),
        ended_at: None,
    }
}

/// Returns what the grant needs of the person's consent when it is recorded.
fn agreement(case: &Case<'_>) -> Agreement {
    let policy = case.registered.client.consent;
    match (&case.permission.remember, &case.recorded) {
        (Some(given), _) => Agreement::Given(given.text.clone()),
        (None, Some(recorded)) if policy == ConsentPolicy::Remember => {
            Agreement::Recorded(recorded.clone())
        }
        _ => Agreement::Unneeded,
    }
}

/// Signs the ID token of the answer, bound to the code (OpenID Connect Core section 3.3.2.11).
fn signed(
    guest: &Guest,
    snapshot: &Snapshot,
    case: &Case<'_>,
    grant: &Grant,
    code: &str,
) -> Result<String, OAuthError> {
    let registered = case.registered;
    let client = registered.client;
    let accepted = client.accepted;
    let (person, scopes) = held(
        snapshot,
        registered,
        case.account,
        grant,
        &grant.scopes,
        guest.now,
    );
    let holding = Holding {
        client,
        grant,
        sign_in: SignIn::from(grant),
        person,
        scopes,
        claims: &case.request.claims,
        also_allowed: &[],
    };
    let algorithm = accepted.client.record.algorithm.map(Into::into);
    let algorithm = algorithm.or(guest.site.default_algorithm);
    let algorithm = algorithm.ok_or(OAuthError::NO_KEY)?;
    let nonce = case.request.nonce.as_deref().unwrap_or_default();
    let claims = front_channel_id_token(&holding, nonce, code, algorithm, guest.now);
    let claims = claims.map_err(|_| {
        OAuthError::new(
            ErrorCode::AccessDenied,
            "the person may not use this client",
        )
    })?;
    let claims = claims.to_json().map_err(|_| OAuthError::NO_KEY)?;
    let signed = snapshot.ring().sign(algorithm, id_token::TYPE, &claims);
    signed.map_err(|_| OAuthError::NO_KEY)
}
