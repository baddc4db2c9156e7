//! Joins a token of a person with its grant, its session, its account and the directory.

use jiff::Timestamp;

use super::unavailable;
use crate::directory::judge::person_scope::still_held;
use crate::directory::{Barred, Person, PersonScope};
use crate::oauth::access_token::Inactive;
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::person_token::{ActivePerson, Joined, PersonToken, claims, judge};
use crate::oauth::{Refusal, personal_token};
use crate::people::account::Account;
use crate::people::grant::{Grant, GrantStanding};
use crate::people::personal_token::PersonalTokenStanding;
use crate::people::refresh::Presented;
use crate::server::people::People;
use crate::server::people::registry::Registered;
use crate::server::request::{Call, ServingSnapshot};
use crate::server::snapshot::Snapshot;
use crate::server::token::ParsedToken;
use crate::store::StoreError;
use crate::tokens::{AccessTokenClaims, PersonClaims, reference};

/// Returns the claims of a person's token; `None` for any other token, and for a person's token without them, which
/// every endpoint finds inactive.
pub fn claims_of(token: &ParsedToken<'_>) -> Option<PersonClaims> {
    let ParsedToken::Jwt(token) = token else {
        return None;
    };
    claims(&token.claims, &token.payload).ok().flatten()
}

/// A person's token at an endpoint that takes tokens of every kind.
pub enum TokenOfPerson<'t> {
    /// A refresh token.
    Refresh(Presented),
    /// An access token, and its claims about the person.
    Access(&'t AccessTokenClaims, PersonClaims),
    /// A personal access token.
    Personal(PresentedPersonal<'t>),
}

/// A well-formed personal access token.
#[derive(Clone, Copy)]
pub struct PresentedPersonal<'t> {
    text: &'t str,
    /// Its parts.
    pub parts: reference::Presented<'t>,
}

impl<'t> PresentedPersonal<'t> {
    /// Recognises a personal access token; `None` for any other.
    pub fn of(token: &ParsedToken<'t>, text: &'t str) -> Option<Self> {
        let ParsedToken::Reference(parts) = token else {
            return None;
        };
        let is_personal = parts.kind == reference::Kind::PersonalAccessToken;
        is_personal.then_some(Self {
            text,
            parts: *parts,
        })
    }
}

impl<'t> TokenOfPerson<'t> {
    /// Recognises a person's token, for which the store must be asked; `None` for any other.
    pub fn recognise(
        token: &'t ParsedToken<'t>,
        text: &'t str,
        serving: &ServingSnapshot,
    ) -> Option<Self> {
        let own = serving.site().ok()?.people.as_ref()?;
        if let ParsedToken::Jwt(jwt) = token
            && let Some(claims) = claims_of(token)
        {
            return Some(Self::Access(&jwt.claims, claims));
        }
        if let Some(personal) = PresentedPersonal::of(token, text) {
            return Some(Self::Personal(personal));
        }
        Presented::parse(text, &own.prefix).map(Self::Refresh)
    }
}

/// Reads the row of a personal access token. One that the server did not create is not looked up if there are too many
/// of them.
///
/// # Errors
/// The server cannot judge the token.
pub async fn personal_standing(
    call: &Call,
    people: &People,
    presented: &PresentedPersonal<'_>,
) -> Result<Option<PersonalTokenStanding>, Refusal> {
    let PresentedPersonal { text, parts } = presented;
    let is_tagged = people.keys.personal_tokens.knows(parts.id, text);
    let admitted = people.personal_tokens.admit(&parts.hash, is_tagged);
    admitted.map_err(Refusal::TooManyFailures)?;
    let turn = call.give_turn_back();
    let found = people.store.personal_token(parts.id).await;
    turn.take_again().await;
    let found = found.map_err(|error| unavailable(call, &error))?;
    if let Some(standing) = &found
        && !is_tagged
        && standing.token.hash == parts.hash
    {
        people.personal_tokens.remember(&parts.hash);
    }
    Ok(found)
}

/// Judges a personal access token with its row.
///
/// # Errors
/// Why it is not active.
pub fn active_personal<'a>(
    snapshot: &'a Snapshot,
    presented: &PresentedPersonal<'_>,
    standing: Option<&'a PersonalTokenStanding>,
    now: Timestamp,
) -> Result<ActivePerson<'a>, Inactive> {
    let registry = snapshot.registry();
    let registered = standing.and_then(|it| registry.client(&it.token.client));
    let (person, scopes) = match (&registered, standing) {
        (Some(registered), Some(PersonalTokenStanding { token, account })) => {
            let (client, subject) = (&registered.client, account.id.0.to_string());
            let person = registry.person(&account.owner, &subject, Some(client), now);
            let lookup = |value: &str| registry.scope(client, person.as_ref().ok(), value);
            let scopes = still_held(&token.scopes, lookup);
            let claims = Some(token.claims.clone());
            (person.map(|person| person.within(claims)), scopes)
        }
        // Without the row or the client, the token is refused whatever the person may do.
        _ => (Err(Barred::Unknown), Vec::new()),
    };
    let joined = personal_token::Joined {
        standing,
        client: registered.map(|registered| registered.client),
        person,
        scopes,
    };
    personal_token::judge(&presented.parts, joined, now)
}

/// Reads the grant of a token.
///
/// # Errors
/// A fault of the store.
pub async fn standing(
    call: &Call,
    people: &People,
    claims: &PersonClaims,
) -> Result<Option<GrantStanding>, StoreError> {
    let turn = call.give_turn_back();
    let found = people.store.grant(claims.grant_id).await;
    turn.take_again().await;
    found
}

/// Judges a person's token with its grant.
///
/// # Errors
/// Why it is not active.
pub fn active<'a>(
    snapshot: &'a Snapshot,
    token: PersonToken<'a>,
    standing: Option<&'a GrantStanding>,
    now: Timestamp,
) -> Result<ActivePerson<'a>, Inactive> {
    let (directory, identity) = (snapshot.directory(), snapshot.identity());
    let registered = snapshot.registry().client(&token.token.client_id);
    let (person, scopes) = match (&registered, standing) {
        (Some(registered), Some(standing)) => held(
            snapshot,
            registered,
            &standing.account,
            &standing.grant,
            &token.token.scope.as_slice().join(" "),
            now,
        ),
        // Without the client or the grant, the token is refused whatever the person may do.
        _ => (Err(Barred::Unknown), Vec::new()),
    };
    let joined = Joined {
        standing,
        client_may_act: registered.is_some_and(|registered| registered.client.may_use_codes),
        person,
        scopes,
    };
    judge(directory, identity, token, joined, now)
}

/// Returns the person of an account if the person may use the client now, as the grant may show it, and the scopes of
/// `recorded` that the two still have.
pub fn held<'a>(
    snapshot: &'a Snapshot,
    registered: &Registered<'a>,
    account: &Account,
    grant: &Grant,
    recorded: &str,
    now: Timestamp,
) -> (Result<Person<'a>, Barred>, Vec<PersonScope<'a>>) {
    let (registry, client) = (snapshot.registry(), &registered.client);
    let subject = account.id.0.to_string();
    let person = registry.person(&account.owner, &subject, Some(client), now);
    let lookup = |value: &str| registry.scope(client, person.as_ref().ok(), value);
    let scopes = still_held(recorded, lookup);
    let allowed = ClaimsRequest::allowed_of_stored(grant.claims.as_deref());
    (person.map(|person| person.within(allowed)), scopes)
}
