//! Joins a token of a person with its grant, its session, its account and the directory.

use jiff::Timestamp;

use crate::directory::judge::person_scope::still_held;
use crate::directory::{Barred, Person, PersonScope};
use crate::oauth::access_token::Inactive;
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::person_token::{ActivePerson, Joined, PersonToken, claims, judge};
use crate::people::account::Account;
use crate::people::grant::{Grant, GrantStanding};
use crate::people::refresh::Presented;
use crate::server::people::People;
use crate::server::people::registry::Registered;
use crate::server::request::{Call, ServingSnapshot};
use crate::server::snapshot::Snapshot;
use crate::server::token::ParsedToken;
use crate::store::StoreError;
use crate::tokens::{AccessTokenClaims, PersonClaims};

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
}

impl<'t> TokenOfPerson<'t> {
    /// Recognises a person's token, for which the store must be asked; `None` for any other.
    pub fn recognise(
        token: &'t ParsedToken<'_>,
        text: &str,
        serving: &ServingSnapshot,
    ) -> Option<Self> {
        let own = serving.site().ok()?.people.as_ref()?;
        if let ParsedToken::Jwt(jwt) = token
            && let Some(claims) = claims_of(token)
        {
            return Some(Self::Access(&jwt.claims, claims));
        }
        Presented::parse(text, &own.prefix).map(Self::Refresh)
    }
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
