//! What happens next with a checked authorization request (OpenID Connect Core sections 3.1.2.3 to 3.1.2.6): a page, a
//! code, or an error to the client.
//!
//! The server calls [`next`] when a request arrives and after each page, with what is true then. Nothing is decided
//! twice, so a page cannot be skipped. A completed sign-in is asked for once: if a demand is still not met after it,
//! the client gets an error. Not here: which scopes the client and the person may have, the checks of cookies,
//! passwords and hints.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::request::AuthorizationRequest;
use crate::directory::StandardScope;
use crate::oauth::acr::Acr;
use crate::oauth::{ErrorCode, OAuthError, sign_in};
use crate::resources::ConsentPolicy;
use crate::tokens::TokenId;

/// The scope value that asks for a refresh token (OpenID Connect Core section 11).
pub const OFFLINE_ACCESS: &str = StandardScope::OfflineAccess.as_str();

/// Everything that decides about the next step.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The request.
    pub request: &'a AuthorizationRequest,
    /// The scopes that the client asked for or gets without asking, and that it may have now.
    pub scopes: &'a [&'a str],
    /// The claims that these scopes release about the person of the session now.
    pub claims: &'a [&'a str],
    /// What the client's registration says.
    pub client: ClientPolicy,
    /// The person that `id_token_hint` names.
    pub hint: IdTokenHint<'a>,
    /// The strongest class by which a person can sign in here.
    pub strongest: Acr,
    /// The valid session of this browser.
    pub session: Option<Session<'a>>,
    /// The sign-in that was completed for this request.
    pub signed_in: Option<SignedIn>,
    /// The consent that was given on the page of this request.
    pub given: Option<Given<'a>>,
    /// The time.
    pub now: Timestamp,
}

/// The part of a client's registration that decides about pages.
#[derive(Clone, Copy, Debug)]
pub struct ClientPolicy {
    /// When the person is asked for consent.
    pub consent: ConsentPolicy,
    /// The weakest sign-in that the client takes.
    pub minimum_acr: Option<Acr>,
    /// The longest time since the sign-in that the client takes.
    pub max_auth_age: Option<Duration>,
    /// Whether the client may use refresh tokens. Without it, `offline_access` is ignored.
    pub may_refresh: bool,
}

/// What the server found in `id_token_hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenHint<'a> {
    /// The request has none.
    Absent,
    /// A genuine ID token of this issuer, expired or not, for this subject.
    Subject(&'a str),
    /// Something else.
    Unusable,
}

/// A valid session and its person, joined with the directory as of now.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// The session's ID.
    pub id: TokenId,
    /// The person.
    pub subject: &'a str,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// How strongly.
    pub acr: Acr,
    /// What the person may do.
    pub standing: Standing,
    /// What the person has allowed this client before. Empty if the client was recreated since.
    pub remembered: &'a Allowed<'a>,
}

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The person may use the client.
    Allowed,
    /// The person may sign in, but not use this client.
    NotAllowed,
    /// The person is disabled. The session counts as absent.
    Disabled,
}

/// A completed sign-in for one request. It travels in the sealed flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The session that it began or renewed.
    pub session: TokenId,
    /// When.
    pub at: Timestamp,
}

/// A consent that a person has just given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The person.
    pub subject: &'a str,
    /// What the page showed.
    pub shown: &'a Allowed<'a>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Show the sign-in page.
    SignIn(SignIn<'a>),
    /// Show the consent page for these scopes.
    Consent(Vec<&'a str>),
    /// Answer with a code.
    Code(Box<Permission<'a>>),
    /// Answer with an error.
    Refuse(OAuthError),
}

/// What the sign-in page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignIn<'a> {
    /// Why the page is shown.
    pub reason: Reason,
    /// Who should sign in.
    pub person: Person<'a>,
    /// The class that the sign-in should reach.
    pub acr: Option<Acr>,
}

/// Why a person must sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The browser has no session.
    NoSession,
    /// The client expects another person than the one who has signed in.
    OtherPerson,
    /// The client asks for it: `prompt=login`, `prompt=select_account` or `max_age=0`.
    Asked,
    /// The last sign-in was too long ago for the client.
    TooOld,
    /// The last sign-in was too weak for the client.
    TooWeak,
    /// The person who has signed in may not use the client. Another one can sign in.
    NotAllowed,
}

/// Who should sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person<'a> {
    /// Any person.
    Any,
    /// Any person. The client says that it is probably the one with this username or address, which is not verified.
    Hinted(&'a str),
    /// The person of the session, again. The page offers to change to another one.
    Again(&'a str),
    /// Only the person with this subject. For any other one the client gets an error.
    Only(&'a str),
}

/// What a code is issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission<'a> {
    /// The session.
    pub session: TokenId,
    /// The person.
    pub subject: &'a str,
    /// The granted scopes.
    pub scopes: Vec<&'a str>,
    /// The `acr` of the tokens: a value that the client asked for, if the sign-in meets one.
    pub acr: &'a str,
    /// The claims that the grant may release; `None` for any, because the client needs no consent.
    pub claims: Option<Vec<&'a str>>,
    /// What must be recorded as allowed, so that the person is not asked again.
    pub remember: Option<Allowed<'a>>,
}

/// The error for the client if the person refuses on the consent page.
pub const DENIED: OAuthError = OAuthError::new(ErrorCode::AccessDenied, "the person refused");

const LOGIN_REQUIRED: OAuthError =
    OAuthError::new(ErrorCode::LoginRequired, "the person must sign in");
const NO_SUCH_PERSON: OAuthError = OAuthError::new(
    ErrorCode::LoginRequired,
    "the person that the request names has not signed in",
);
const UNMET_ACR: OAuthError = OAuthError::new(
    ErrorCode::UnmetAuthenticationRequirements,
    "the sign-in does not reach a requested acr",
);
const NOT_ALLOWED: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "the person may not use this client",
);
const CONSENT_REQUIRED: OAuthError =
    OAuthError::new(ErrorCode::ConsentRequired, "the person must give consent");
const UNUSABLE_HINT: OAuthError =
    OAuthError::invalid_request("id_token_hint is not an ID token of this issuer");

/// Returns the next step.
pub fn next<'a>(situation: &Situation<'a>) -> Step<'a> {
    match signed_in(situation) {
        Ok(session) => permit(situation, session),
        Err(step) => step,
    }
}

/// Returns the session if it meets every demand on the sign-in, or the step that leads to one that does.
fn signed_in<'a>(situation: &Situation<'a>) -> Result<Session<'a>, Step<'a>> {
    let expected = expected(situation).map_err(Step::Refuse)?;
    let least = least_acr(situation).map_err(Step::Refuse)?;
    let present = |session: &Session<'_>| session.standing != Standing::Disabled;
    let Some(session) = situation.session.filter(present) else {
        return Err(ask(situation, expected, None, Reason::NoSession, least));
    };
    let ask = |reason, acr| Err(ask(situation, expected, Some(session), reason, acr));
    if expected.is_some_and(|expected| expected != session.subject) {
        return ask(Reason::OtherPerson, least);
    }
    let is_new = is_new(situation, session);
    if !is_new && wants_sign_in(situation.request) {
        return ask(Reason::Asked, least);
    }
    if !is_new && is_too_old(situation, session) {
        return ask(Reason::TooOld, least);
    }
    if least.is_some_and(|least| session.acr < least) {
        return ask(Reason::TooWeak, least);
    }
    if session.standing == Standing::NotAllowed {
        return ask(Reason::NotAllowed, least);
    }
    // A wish that cannot be met is no error (OpenID Connect Core section 3.1.2.1, acr_values).
    let can_ask = !situation.request.prompts.none && situation.signed_in.is_none();
    let wished = wished_acr(situation).filter(|wished| session.acr < *wished);
    match wished {
        Some(wished) if can_ask => ask(Reason::TooWeak, Some(wished)),
        _ => Ok(session),
    }
}

/// Returns the subject of the only person who may sign in, if the request names one.
fn expected<'a>(situation: &Situation<'a>) -> Result<Option<&'a str>, OAuthError> {
    let claimed = situation.request.claims.subject();
    let hinted = match situation.hint {
        IdTokenHint::Absent => None,
        IdTokenHint::Subject(subject) => Some(subject),
        IdTokenHint::Unusable => return Err(UNUSABLE_HINT),
    };
    match (claimed, hinted) {
        (Some(claimed), Some(hinted)) if claimed != hinted => Err(NO_SUCH_PERSON),
        _ => Ok(claimed.or(hinted)),
    }
}

/// Returns the weakest class that the client takes. Each class includes the weaker ones, so of several values that a
/// client takes, the weakest decides.
fn least_acr(situation: &Situation<'_>) -> Result<Option<Acr>, OAuthError> {
    let essential = match situation.request.claims.essential_acr() {
        None => None,
        // Without a known value, the demand cannot be met.
        Some(values) => Some(values.filter_map(Acr::parse).min().ok_or(UNMET_ACR)?),
    };
    let least = essential.max(situation.client.minimum_acr);
    if least.is_some_and(|least| least > situation.strongest) {
        return Err(UNMET_ACR);
    }
    Ok(least)
}

/// Returns the values of `acr` that the client asks for. If it declares some essential, no other value is good (OpenID
/// Connect Core section 5.5.1.1).
fn asked_acr(request: &AuthorizationRequest) -> impl Iterator<Item = &str> {
    let claimed = request.claims.id_token.get("acr");
    let claimed = claimed.into_iter().flat_map(|wish| &wish.values);
    let claimed = claimed.filter_map(serde_json::Value::as_str);
    let is_essential = request.claims.essential_acr().is_some();
    let listed = request.acr_values.iter().map(String::as_str);
    claimed.chain(listed.filter(move |_| !is_essential))
}

/// Returns the weakest class that the client would like, if a person can reach it here.
fn wished_acr(situation: &Situation<'_>) -> Option<Acr> {
    let wished = asked_acr(situation.request).filter_map(Acr::parse).min();
    wished.filter(|wished| *wished <= situation.strongest)
}

/// Whether this session comes from the sign-in for this request, or from a later one.
fn is_new(situation: &Situation<'_>, session: Session<'_>) -> bool {
    situation
        .signed_in
        .is_some_and(|done| done.session == session.id || done.at <= session.authenticated_at)
}

/// Whether the client demands a sign-in for this request. `max_age=0` means the same as `prompt=login` (OpenID Connect
/// Core section 3.1.2.1).
fn wants_sign_in(request: &AuthorizationRequest) -> bool {
    request.prompts.login || request.prompts.select_account || request.max_age == Some(0)
}

fn is_too_old(situation: &Situation<'_>, session: Session<'_>) -> bool {
    let asked = situation.request.max_age.map(Duration::from_secs);
    let limits = [asked, situation.client.max_auth_age];
    let age = sign_in::age(session.authenticated_at, situation.now);
    limits.into_iter().flatten().any(|limit| age > limit)
}

/// Asks for a sign-in, unless the client forbids it or the person has just completed one.
fn ask<'a>(
    situation: &Situation<'a>,
    expected: Option<&'a str>,
    session: Option<Session<'a>>,
    reason: Reason,
    acr: Option<Acr>,
) -> Step<'a> {
    let request = situation.request;
    // Another sign-in of the only person that the client takes would change nothing.
    let is_useless = reason == Reason::NotAllowed && expected.is_some();
    if request.prompts.none || is_useless || situation.signed_in.is_some() {
        return Step::Refuse(match reason {
            Reason::NotAllowed => NOT_ALLOWED,
            Reason::OtherPerson => NO_SUCH_PERSON,
            Reason::TooWeak if situation.signed_in.is_some() => UNMET_ACR,
            _ => LOGIN_REQUIRED,
        });
    }
    let hinted = request.login_hint.as_deref();
    let change = request.prompts.select_account || reason == Reason::NotAllowed;
    let again = session
        .filter(|_| !change)
        .map(|session| Person::Again(session.subject));
    let person = expected.map(Person::Only).or(again);
    Step::SignIn(SignIn {
        reason,
        person: person.unwrap_or_else(|| hinted.map_or(Person::Any, Person::Hinted)),
        acr,
    })
}

/// Returns the code for a session that meets every demand on the sign-in, or asks for consent.
fn permit<'a>(situation: &Situation<'a>, session: Session<'a>) -> Step<'a> {
    let client = situation.client;
    let may_have = |scope: &&str| client.may_refresh || *scope != OFFLINE_ACCESS;
    let scopes: Vec<&str> = situation.scopes.iter().copied().filter(may_have).collect();
    let covers = |allowed: &Allowed<'_>| allowed.covers(&scopes, situation.claims);
    let given = situation
        .given
        .filter(|given| given.subject == session.subject);
    let is_given = given.is_some_and(|given| covers(given.shown));
    let is_known = !situation.request.prompts.consent
        && match client.consent {
            ConsentPolicy::Skip => true,
            ConsentPolicy::Remember => covers(session.remembered),
            ConsentPolicy::Always => false,
        };
    if scopes.is_empty() {
        return Step::Refuse(OAuthError::new(
            ErrorCode::InvalidScope,
            "no requested scope is granted to this client and person",
        ));
    }
    if !is_given && !is_known {
        if situation.request.prompts.none {
            return Step::Refuse(CONSENT_REQUIRED);
        }
        return Step::Consent(scopes);
    }
    let given = given.filter(|_| is_given);
    let now = given.map_or(&[][..], |given| &given.shown.claims);
    let earlier = session.remembered;
    let claims = match client.consent {
        ConsentPolicy::Skip if !is_given => None,
        ConsentPolicy::Remember => Some(union(now, &earlier.claims)),
        ConsentPolicy::Skip | ConsentPolicy::Always => Some(now.to_vec()),
    };
    let is_recorded = is_given && client.consent == ConsentPolicy::Remember;
    let remember = claims.clone().filter(|_| is_recorded);
    let remember = remember.map(|claims| Allowed {
        scopes: union(&scopes, &earlier.scopes),
        claims,
    });
    Step::Code(Box::new(Permission {
        session: session.id,
        subject: session.subject,
        acr: told_acr(situation.request, session.acr),
        scopes,
        claims,
        remember,
    }))
}

/// Returns the words of both lists, each once.
fn union<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<&'a str> {
    let more = second.iter().filter(|word| !first.contains(word));
    first.iter().chain(more).copied().collect()
}

/// Returns the `acr` for the tokens: the strongest value that the client asks for and the sign-in meets (OpenID Connect
/// Core section 5.5.1.1), otherwise the class of the sign-in.
fn told_acr(request: &AuthorizationRequest, reached: Acr) -> &str {
    let classes = asked_acr(request).filter_map(|text| Some((Acr::parse(text)?, text)));
    let met = classes.filter(|(class, _)| *class <= reached);
    // Of several spellings, the first.
    let best = met.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map_or(reached.as_str(), |(_, text)| text)
}

#[cfg(test)]
mod tests;
