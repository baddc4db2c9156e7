//! What comes next with an authorization request: the request, the client, the person and the session are judged again
//! each time, by what is true now.

use std::sync::Arc;

use axum::response::Response;

use super::guest::{Guest, Stop};
use super::issue::{self, Allowed, Issued};
use crate::directory::{self, PersonScope, is_revoked};
use crate::keys::JwtError;
use crate::oauth::acr::Acr;
use crate::oauth::authorize::flow::{Requested, shown};
use crate::oauth::authorize::next::{
    Given, IdTokenHint, Person, Reason, Session, SignIn as AskedSignIn, Standing, Step,
};
use crate::oauth::authorize::{AuthorizationRequest, Flow, Situation, allowed as permitted, next};
use crate::oauth::grants::person::target;
use crate::oauth::id_token::{self, Hint};
use crate::oauth::{ErrorCode, OAuthError, redirect_uri};
use crate::pages::Kind;
use crate::people::account::Account;
use crate::people::session;
use crate::server::people::registry::Registered;
use crate::server::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::area::session::{Brought, Found};
use crate::tokens::{TokenHash, TokenId};

/// How often a request is judged. It is judged again if the session or the consent changes meanwhile.
const TRIES: u32 = 3;
/// The largest number of scopes of a request.
const MAX_SCOPES: usize = 128;

/// What comes next.
pub enum Next {
    /// The person must sign in.
    SignIn(SignIn),
    /// The person must allow these scopes.
    Consent(Agreement),
    /// The client gets this answer, or the person this page.
    Respond(Response),
}

/// What a sign-in page shows.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Why it is shown.
    pub reason: Reason,
    /// The username of the person who must sign in again.
    pub again: Option<String>,
    /// The username or address that the client names.
    pub hint: Option<String>,
    /// The name of the client.
    pub client: String,
}

/// What a consent page shows.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The subject of the person.
    pub subject: String,
    /// What the person's account belongs to.
    pub owner: String,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The claims that they release.
    pub claims: Vec<String>,
    /// The request.
    pub request: Box<AuthorizationRequest>,
}

impl Agreement {
    /// Returns a hash of what the page shows.
    pub fn shown(&self) -> TokenHash {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        let claims: Vec<&str> = self.claims.iter().map(String::as_str).collect();
        shown(&self.subject, &scopes, &claims)
    }
}

/// The session of a browser, with its person as resources say.
struct Present {
    id: TokenId,
    account: Account,
    subject: String,
    username: String,
    session: session::Session,
    standing: Standing,
}

/// Judges a request, and answers it if nothing is left to ask. `accepted` says that the person has just allowed what the
/// consent page showed.
///
/// # Errors
/// The page that says why the request cannot go on.
pub async fn proceed(guest: &mut Guest, flow: &Flow, accepted: bool) -> Result<Next, Stop> {
    let snapshot = Arc::clone(&guest.snapshot);
    let registered = registered(guest, &snapshot, flow)?;
    for _ in 0..TRIES {
        let (found, request, pushed) = checked(guest, &registered, flow).await?;
        let asked = Asked {
            snapshot: &snapshot,
            registered: &registered,
            flow,
            request: &request,
        };
        match judge(guest, asked, found, accepted) {
            Judged::Next(next) => return Ok(next),
            Judged::Permit(permitted) => {
                let case = issue::Case {
                    registered: &registered,
                    request: &request,
                    pushed,
                    session: &permitted.present.session,
                    account: &permitted.present.account,
                    recorded: permitted.recorded,
                    permission: permitted.permission,
                };
                match issue::code(guest, &snapshot, case).await? {
                    Issued::Answer(response) => return Ok(Next::Respond(response)),
                    // What was decided no longer holds.
                    Issued::Again => {}
                }
            }
        }
    }
    Err(StoreError::Contended(TRIES).into())
}

/// What comes next, if nothing is answered yet.
pub enum Looked {
    /// A page, or an answer that refuses the request.
    Next(Next),
    /// Nothing is left to ask of the person with this username.
    Ready(String),
}

/// Judges a request without issuing anything, for pages that a person can open again.
///
/// # Errors
/// As [`proceed`].
pub async fn look(guest: &mut Guest, flow: &Flow) -> Result<Looked, Stop> {
    let snapshot = Arc::clone(&guest.snapshot);
    let registered = registered(guest, &snapshot, flow)?;
    let (found, request, _) = checked(guest, &registered, flow).await?;
    let asked = Asked {
        snapshot: &snapshot,
        registered: &registered,
        flow,
        request: &request,
    };
    Ok(match judge(guest, asked, found, false) {
        Judged::Next(next) => Looked::Next(next),
        Judged::Permit(permitted) => Looked::Ready(permitted.present.username),
    })
}

/// Returns the request of a flow, if its client may still get an answer to it; `None` if it was pushed and cannot be used
/// any more.
///
/// # Errors
/// A fault of the store, or the page that says why the client gets no answer.
pub async fn request(
    guest: &Guest,
    flow: &Flow,
) -> Result<Option<Box<AuthorizationRequest>>, Stop> {
    let snapshot = Arc::clone(&guest.snapshot);
    let registered = registered(guest, &snapshot, flow)?;
    let request = match &flow.request {
        Requested::Here(request) => Some(request.clone()),
        Requested::Pushed { .. } => {
            let found = read(guest, flow).await?;
            let read = request_of(guest, flow, &found).ok();
            read.map(|(request, _)| request)
        }
    };
    if let Some(request) = &request {
        check(guest, &registered, request)?;
    }
    Ok(request)
}

/// Returns the client of a flow as it is registered now.
fn registered<'s>(
    guest: &Guest,
    snapshot: &'s Snapshot,
    flow: &Flow,
) -> Result<Registered<'s>, Stop> {
    let client = snapshot.registry().client(&flow.client);
    // A recreated client has another uid.
    let client = client.filter(|client| client.uid() == flow.client_uid);
    client.ok_or_else(|| guest.stop(Kind::UnknownClient, None))
}

async fn read(guest: &Guest, flow: &Flow) -> Result<Found, StoreError> {
    let pushed = match &flow.request {
        Requested::Here(_) => None,
        Requested::Pushed { id, hash } => Some((*id, *hash)),
    };
    let brought = Brought {
        session: guest.session,
        client: flow.client.clone(),
        pushed,
    };
    let (store, limits) = (&guest.people.store, guest.own.sessions);
    let found = store.authorization(brought, limits, guest.now);
    guest.wait_for(found).await
}

/// Returns the request of a flow, and the ID of the pushed one.
fn request_of(
    guest: &Guest,
    flow: &Flow,
    found: &Found,
) -> Result<(Box<AuthorizationRequest>, Option<TokenId>), Stop> {
    match &flow.request {
        Requested::Here(request) => Ok((request.clone(), None)),
        Requested::Pushed { .. } => {
            let pushed = found.pushed.as_ref();
            let read = pushed.and_then(|pushed| {
                let request = serde_json::from_str(&pushed.request).ok()?;
                Some((Box::new(request), Some(pushed.id)))
            });
            let reason = "the pushed request is unknown, has expired or was used: push it again";
            read.ok_or_else(|| guest.stop(Kind::InvalidRequest { reason }, None))
        }
    }
}

/// Reads what the store knows about a flow, and checks its request again. From now on, pages are in the language that the
/// request asks for. Returns also the ID of a pushed request.
async fn checked(
    guest: &mut Guest,
    registered: &Registered<'_>,
    flow: &Flow,
) -> Result<(Found, Box<AuthorizationRequest>, Option<TokenId>), Stop> {
    let found = read(guest, flow).await?;
    let (request, pushed) = request_of(guest, flow, &found)?;
    check(guest, registered, &request)?;
    guest.speak(&request.ui_locales);
    Ok((found, request, pushed))
}

/// Checks what may have changed in the registration since the request was checked.
fn check(
    guest: &Guest,
    registered: &Registered<'_>,
    request: &AuthorizationRequest,
) -> Result<(), Stop> {
    let uris = registered.redirect_uris.iter().copied();
    if !redirect_uri::is_registered(uris, &request.return_to.redirect_uri) {
        return Err(guest.stop(Kind::UnknownRedirectUri, None));
    }
    if !registered.response_types.contains(&request.response_type) {
        let error = OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "this client may not use this response_type",
        );
        return Err(Stop::Answer(Box::new(refuse(
            guest,
            registered.name(),
            request,
            error,
        ))));
    }
    Ok(())
}

/// Answers the client with an error: at once, or by a button before a sign-in.
pub fn refuse(
    guest: &Guest,
    client: &str,
    request: &AuthorizationRequest,
    error: OAuthError,
) -> Response {
    let is_silent = request.prompts.none;
    guest.refuse_early(&request.return_to, client, is_silent, error)
}

enum Judged {
    Next(Next),
    Permit(Box<Permitted>),
}

struct Permitted {
    present: Present,
    permission: Allowed,
    recorded: Option<String>,
}

/// What is judged.
#[derive(Clone, Copy)]
struct Asked<'a> {
    snapshot: &'a Snapshot,
    registered: &'a Registered<'a>,
    flow: &'a Flow,
    request: &'a AuthorizationRequest,
}

fn judge(guest: &Guest, asked: Asked<'_>, found: Found, accepted: bool) -> Judged {
    let Asked {
        snapshot,
        registered,
        flow,
        request,
    } = asked;
    let refused = |error| {
        let answer = refuse(guest, registered.name(), request, error);
        Judged::Next(Next::Respond(answer))
    };
    let recorded = found
        .consent
        .filter(|consent| consent.client_uid == registered.uid());
    let recorded = recorded.map(|consent| consent.scopes);
    let present = found
        .session
        .and_then(|(session, account)| present(guest, snapshot, registered, session, account));
    let person = present
        .as_ref()
        .filter(|present| present.standing != Standing::Disabled);
    let scopes = match scopes(guest, snapshot, registered, request, person) {
        Ok(scopes) => scopes,
        Err(error) => return refused(error),
    };
    let values: Vec<&str> = scopes.iter().map(PersonScope::value).collect();
    let claims = claims(guest, snapshot, person, &scopes);
    let claims: Vec<&str> = claims.iter().map(String::as_str).collect();
    let hint = request.id_token_hint.as_deref();
    // Whether it was genuine can no longer be told, so it says nothing.
    let hint = hint.filter(|text| !is_of_retired_key(snapshot, text));
    let hint = hint.map(|text| hint_of(snapshot, &guest.site.issuer, text));
    let remembered = permitted::Allowed::from_stored(recorded.as_deref().unwrap_or_default());
    let mut situation = Situation {
        request,
        scopes: &values,
        claims: &claims,
        client: registered.policy(),
        hint: match &hint {
            None => IdTokenHint::Absent,
            Some(Some(hint)) => IdTokenHint::Subject(&hint.subject),
            Some(None) => IdTokenHint::Unusable,
        },
        strongest: Acr::Pwd,
        session: person.map(|present| Session {
            id: present.id,
            subject: &present.subject,
            authenticated_at: present.session.authenticated_at,
            acr: Acr::of_methods(&present.session.methods),
            standing: present.standing,
            remembered: &remembered,
        }),
        signed_in: flow.signed_in,
        given: None,
        now: guest.now,
    };
    let mut step = next(&situation);
    let allowed: permitted::Allowed<'_>;
    if accepted
        && let (Step::Consent(asked), Some(present)) = (&step, person)
        && flow.shown == Some(shown(&present.subject, asked, &claims))
    {
        // The person has seen exactly this.
        allowed = permitted::Allowed {
            scopes: asked.clone(),
            claims: claims.clone(),
        };
        situation.given = Some(Given {
            subject: &present.subject,
            shown: &allowed,
        });
        step = next(&situation);
    }
    match step {
        Step::Refuse(error) => refused(error),
        Step::SignIn(asked) => {
            let name = registered.name().to_owned();
            Judged::Next(Next::SignIn(sign_in(&asked, person, name)))
        }
        Step::Consent(asked) => {
            let (subject, owner) = person.map_or_else(Default::default, |present| {
                (present.subject.clone(), present.account.owner.clone())
            });
            Judged::Next(Next::Consent(Agreement {
                subject,
                owner,
                scopes: asked.into_iter().map(str::to_owned).collect(),
                claims: claims.iter().copied().map(str::to_owned).collect(),
                request: Box::new(request.clone()),
            }))
        }
        Step::Code(permission) => {
            let permission = Allowed::from(*permission);
            match present {
                Some(present) => Judged::Permit(Box::new(Permitted {
                    present,
                    permission,
                    recorded,
                })),
                // A code needs a session.
                None => refused(OAuthError::new(ErrorCode::ServerError, "no session")),
            }
        }
    }
}

/// Returns what the page of the sign-in needs.
fn sign_in(asked: &AskedSignIn<'_>, person: Option<&Present>, client: String) -> SignIn {
    let known = person.map(|present| present.username.clone());
    SignIn {
        again: known.filter(|_| match asked.person {
            Person::Again(_) => true,
            Person::Only(only) => person.is_some_and(|present| present.subject == only),
            Person::Any | Person::Hinted(_) => false,
        }),
        hint: match asked.person {
            Person::Hinted(hint) => Some(hint.to_owned()),
            _ => None,
        },
        reason: asked.reason,
        client,
    }
}

/// Joins a session with its person.
fn present(
    guest: &Guest,
    snapshot: &Snapshot,
    registered: &Registered<'_>,
    session: session::Session,
    account: Account,
) -> Option<Present> {
    let (registry, now) = (snapshot.registry(), guest.now);
    let subject = account.id.0.to_string();
    let known = registry.owning(&account.owner)?;
    let username = known.user.record.username.to_string();
    let acts = |client| registry.person(&account.owner, &subject, client, now);
    let is_too_old = is_revoked(
        registered.client.accepted.identity.record,
        session.authenticated_at,
        now,
    );
    let standing = match acts(None) {
        Ok(person) if is_too_old || person.is_revoked(session.authenticated_at, now) => {
            Standing::Disabled
        }
        Ok(_) if acts(Some(&registered.client)).is_ok() => Standing::Allowed,
        Ok(_) => Standing::NotAllowed,
        Err(_) => Standing::Disabled,
    };
    Some(Present {
        id: session.id,
        subject,
        username,
        standing,
        session,
        account,
    })
}

/// Returns the names of the claims that these scopes release about the person now.
fn claims(
    guest: &Guest,
    snapshot: &Snapshot,
    present: Option<&Present>,
    scopes: &[PersonScope<'_>],
) -> Vec<String> {
    let person = present.and_then(|present| {
        let (owner, subject) = (&present.account.owner, &present.subject);
        let registry = snapshot.registry();
        registry.person(owner, subject, None, guest.now).ok()
    });
    let released = person.map(|person| person.released_by(scopes));
    let released = released.unwrap_or_default();
    released.iter().map(|(name, _)| name.to_owned()).collect()
}

/// Returns the scopes that the client asks for, or gets without asking, and that it and the person may have now.
///
/// # Errors
/// `invalid_scope` or `invalid_target`, for the client.
fn scopes<'s>(
    guest: &Guest,
    snapshot: &'s Snapshot,
    registered: &Registered<'s>,
    request: &AuthorizationRequest,
    present: Option<&Present>,
) -> Result<Vec<PersonScope<'s>>, OAuthError> {
    let registry = snapshot.registry();
    let person = present.and_then(|present| {
        let (owner, subject) = (&present.account.owner, &present.subject);
        registry.person(owner, subject, None, guest.now).ok()
    });
    granted(snapshot, registered, request, person.as_ref())
}

/// Returns the scopes of a request that the client may have now; with `person`, those that the person may have, too.
///
/// # Errors
/// `invalid_scope` or `invalid_target`, for the client.
pub fn granted<'s>(
    snapshot: &'s Snapshot,
    registered: &Registered<'s>,
    request: &AuthorizationRequest,
    person: Option<&directory::Person<'s>>,
) -> Result<Vec<PersonScope<'s>>, OAuthError> {
    let (registry, client) = (snapshot.registry(), &registered.client);
    let wanted = if request.scopes.is_empty() {
        registry.default_scopes(client)
    } else {
        request.scopes.clone()
    };
    if wanted.len() > MAX_SCOPES {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "scope names too many values",
        ));
    }
    let mut scopes: Vec<PersonScope<'s>> = Vec::new();
    for value in &wanted {
        let of_client = registry.scope(client, None, value);
        let Some(of_client) = of_client else {
            return Err(OAuthError::new(
                ErrorCode::InvalidScope,
                "a scope is not granted to this client",
            ));
        };
        // A scope that the person may not have is left out.
        let scope = match person {
            None => Some(of_client),
            Some(_) => registry.scope(client, person, value),
        };
        if let Some(scope) = scope
            && !scopes.iter().any(|known| known.value() == scope.value())
        {
            scopes.push(scope);
        }
    }
    if !scopes.is_empty() {
        // They may have different owners: each token request names one of them (RFC 8707 section 2.2).
        for resource in &request.resources {
            target(client.accepted.identity, &mut scopes.clone(), &[resource])?;
        }
    }
    Ok(scopes)
}

/// Whether a text has the form of an ID token, but none of the present keys could have signed it.
fn is_of_retired_key(snapshot: &Snapshot, text: &str) -> bool {
    let read = snapshot.ring().payload(text, id_token::TYPE);
    matches!(read, Err(JwtError::UnknownKey))
}

/// Reads an ID token that this issuer signed, expired or not; `None` for anything else.
pub fn hint_of(snapshot: &Snapshot, issuer: &str, text: &str) -> Option<Hint> {
    let payload = snapshot.ring().payload(text, id_token::TYPE).ok()?;
    Hint::from_json(&payload, issuer).ok()
}
