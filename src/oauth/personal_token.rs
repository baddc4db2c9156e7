//! Personal access tokens: what a person may create one with, and whether one is valid now.
//!
//! A token gives at most what it was created with, what its client may have now, and what its person may have now, at
//! every use. Not here: the row, and what ends it by itself (`people::personal_token`).

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::access_token::{Active, Inactive};
use super::person_token::{ActivePerson, Proof};
use super::{OAuthError, id_token, resource, sign_in};
use crate::characters::is_escaped;
use crate::directory::judge::person_scope;
use crate::directory::{
    Barred, GrantedScope, Invalid, Person, PersonClient, PersonScope, is_revoked,
    personal_token_end,
};
use crate::oauth::acr::Acr;
use crate::people::grant::Client;
use crate::people::personal_token::PersonalTokenStanding;
use crate::tokens::claims::{Audience, PrincipalKind};
use crate::tokens::{TokenId, reference};

/// The longest name of a token, in characters.
pub const MAX_NAME: usize = 100;
/// The most scopes that one token may have, as many as a ServiceAccessToken.
pub const MAX_SCOPES: usize = 64;

/// What a person wants.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The name by which the person recognises the token.
    pub name: &'a str,
    /// The scopes.
    pub scopes: &'a [&'a str],
    /// The resources (RFC 8707); all of the scopes if none is named.
    pub resources: &'a [&'a str],
    /// When it expires; `None` if it never should.
    pub expires_at: Option<Timestamp>,
}

/// The person who wants it, signed in at the account page.
#[derive(Clone, Debug)]
pub struct Maker<'a> {
    /// The client; `None` if it does not exist or may not act for people.
    pub client: Option<PersonClient<'a>>,
    /// The person, if the person may use the client now.
    pub person: Result<Person<'a>, Barred>,
    /// When the person signed in.
    pub authenticated_at: Timestamp,
    /// How: the values of `amr` (RFC 8176), separated by spaces.
    pub methods: &'a str,
}

/// What may be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The name.
    pub name: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// The audiences.
    pub audience: Audience,
    /// The claims about the person that the scopes release.
    pub claims: Vec<String>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// Why a token may not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The name is empty, too long, or has characters that cannot be shown.
    Name,
    /// The client does not exist, is disabled, or may not act for people.
    Client,
    /// The person may not use the client.
    Barred(Barred),
    /// The client does not let this person have tokens.
    NotAllowed,
    /// No scope was chosen, too many were, or one of them is not the scope of an API that the client and the person may
    /// have.
    Scope,
    /// The resources do not fit the scopes.
    Target(OAuthError),
    /// The end is not in the future.
    Past,
    /// The end is later than the Identity allows.
    TooLong,
    /// The Identity does not allow tokens that never expire.
    NeverExpires,
}

impl Refused {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Client => "client_refused",
            Self::Barred(why) => why.as_str(),
            Self::NotAllowed => "reference_tokens_disabled",
            Self::Scope => "invalid_scope",
            Self::Target(_) => "invalid_target",
            Self::Past => "expired",
            Self::TooLong => "limit_exceeded",
            Self::NeverExpires => "never_expires",
        }
    }
}

/// Returns a name without the space around it, if it can be shown in a list.
fn name(text: &str) -> Option<&str> {
    let name = text.trim();
    let is_good =
        !name.is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(is_escaped);
    is_good.then_some(name)
}

/// Decides what a person may create. `lookup` finds a scope that the client and the person have now.
///
/// # Errors
/// [`Refused`].
pub fn draft<'a>(
    wish: &Wish<'_>,
    maker: &Maker<'a>,
    mut lookup: impl FnMut(&str) -> Option<PersonScope<'a>>,
    now: Timestamp,
) -> Result<Draft, Refused> {
    let name = name(wish.name).ok_or(Refused::Name)?;
    let client = maker.client.as_ref().ok_or(Refused::Client)?;
    let person = maker.person.as_ref().map_err(|why| Refused::Barred(*why))?;
    let (record, identity) = (client.accepted.client.record, client.accepted.identity);
    if !person.may_have_tokens(record) {
        return Err(Refused::NotAllowed);
    }
    sign_in::check_sign_in(record, maker.methods, maker.authenticated_at, now)
        .map_err(Refused::Barred)?;
    match personal_token_end(identity.record, now, wish.expires_at, now) {
        Ok(end) if end == wish.expires_at => {}
        Ok(_) => return Err(Refused::TooLong),
        Err(Invalid::Expired) => return Err(Refused::Past),
        Err(_) => return Err(Refused::NeverExpires),
    }
    if wish.scopes.is_empty() || wish.scopes.len() > MAX_SCOPES {
        return Err(Refused::Scope);
    }
    let mut scopes: Vec<PersonScope<'_>> = Vec::with_capacity(wish.scopes.len());
    for value in wish.scopes {
        // The standard scopes serve the sign-in at a client.
        let scope = lookup(value).filter(|scope| scope.api().is_some());
        let scope = scope.ok_or(Refused::Scope)?;
        if !scopes.iter().any(|known| known.value() == scope.value()) {
            scopes.push(scope);
        }
    }
    let mut kept = granted(&scopes);
    let audiences = resource::target(identity, &mut kept, wish.resources.iter().copied());
    let audiences = audiences.map_err(Refused::Target)?;
    // What the person chose and does not get would be a surprise later.
    if kept.len() != scopes.len() {
        return Err(Refused::Scope);
    }
    let mut claims: Vec<String> = Vec::new();
    for claim in scopes.iter().flat_map(PersonScope::claims) {
        if !claims.iter().any(|known| known == claim) {
            claims.push(claim.to_owned());
        }
    }
    Ok(Draft {
        name: name.to_owned(),
        scopes: person_scope::join(&scopes),
        audience: audience(&audiences),
        claims,
        expires_at: wish.expires_at,
    })
}

fn granted<'a>(scopes: &[PersonScope<'a>]) -> Vec<GrantedScope<'a>> {
    let apis = scopes.iter().filter_map(PersonScope::api);
    apis.map(|api| api.granted).collect()
}

fn audience(audiences: &[Arc<str>]) -> Audience {
    match audiences {
        [one] => Audience::Single(one.as_ref().to_owned()),
        many => Audience::Many(many.iter().map(|one| one.as_ref().to_owned()).collect()),
    }
}

/// What a presented token is joined with.
#[derive(Clone, Debug)]
pub struct Joined<'a> {
    /// The row, with its account; `None` if there is none.
    pub standing: Option<&'a PersonalTokenStanding>,
    /// The row's client; `None` if it does not exist, is disabled or may not act for people.
    pub client: Option<PersonClient<'a>>,
    /// The row's person, if the person may use the client now, as the token may show it.
    pub person: Result<Person<'a>, Barred>,
    /// The scopes of the row that the client and the person still have.
    pub scopes: Vec<PersonScope<'a>>,
}

/// Judges a presented token.
///
/// # Errors
/// [`Inactive`].
pub fn judge<'a>(
    presented: &reference::Presented<'_>,
    joined: Joined<'a>,
    now: Timestamp,
) -> Result<ActivePerson<'a>, Inactive> {
    let invalid = |why| Err(Inactive::Invalid(why));
    let Some(standing) = joined.standing else {
        return invalid(Invalid::UnknownToken);
    };
    if standing.token.hash != presented.hash {
        return invalid(Invalid::WrongSecret);
    }
    let Some(client) = joined.client else {
        return invalid(Invalid::ClientRefused);
    };
    let accepted = client.accepted;
    let (record, identity) = (accepted.client.record, accepted.identity.record);
    let own = Client {
        id: &record.client_id,
        uid: &accepted.client.object.uid,
    };
    let token = standing.judge(own).map_err(Inactive::TokenEnded)?;
    if is_revoked(identity, token.created_at, now) {
        return invalid(Invalid::IssuedBeforeRevocation);
    }
    let person = joined.person.map_err(Inactive::Barred)?;
    if person.subject != standing.account.id.0.to_string() {
        return Err(Inactive::Barred(Barred::Unknown));
    }
    if person.is_revoked(token.created_at, now) {
        return Err(Inactive::Barred(Barred::IssuedBeforeRevocation));
    }
    if !person.may_have_tokens(record) {
        return invalid(Invalid::ReferenceTokensDisabled);
    }
    let end = personal_token_end(identity, token.created_at, token.expires_at, now);
    let expires_at = end.map_err(Inactive::Invalid)?;
    sign_in::check_sign_in(record, &token.methods, token.authenticated_at, now)
        .map_err(Inactive::Barred)?;
    // The scopes of the token, never more, whatever the caller looked up.
    let mut scopes = joined.scopes;
    scopes.retain(|scope| {
        scope.api().is_some() && token.scopes.split(' ').any(|it| it == scope.value())
    });
    if scopes.is_empty() {
        return invalid(Invalid::NoScopeLeft);
    }
    Ok(ActivePerson {
        token: Active {
            client: accepted,
            scopes: granted(&scopes),
            audience: Some(&token.audience),
            subject: person.subject,
            kind: PrincipalKind::Person,
            id: TokenId::as_str(&token.id),
            issued_at: token.created_at,
            expires_at,
            issued: None,
        },
        scopes,
        person,
        proof: Proof {
            session: None,
            at: token.authenticated_at,
            acr: Some(Acr::of_methods(&token.methods).as_str()),
            methods: Cow::Owned(id_token::methods(&token.methods)),
        },
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::directory::ObjectKey;
    use crate::directory::judge::person::testing::{ALICE, alice};
    use crate::directory::judge::person_scope::still_held;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};
    use crate::people::account::{Account, AccountId};
    use crate::people::grant::Ended;
    use crate::people::personal_token::PersonalToken;
    use crate::people::testing;
    use crate::tokens::TokenHash;

    fn now() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().unwrap()
    }

    /// A world whose demo application takes tokens of all people.
    fn world() -> World {
        let own = "  clientId: demo-app\n";
        let open = format!("{own}  referenceTokens: AuthenticatedUsers\n");
        World::new(&format!("{QUICKSTART}---\n{}", PEOPLE.replace(own, &open)))
    }

    fn client(world: &World) -> PersonClient<'_> {
        let key = ObjectKey::new("platform", "main");
        let accepted = world.directory.active_client(&key, "demo-app").unwrap();
        world.directory.person_client(accepted)
    }

    fn standing(world: &World) -> PersonalTokenStanding {
        let account = AccountId(ALICE.parse().unwrap());
        PersonalTokenStanding {
            token: PersonalToken {
                account,
                client: "demo-app".to_owned(),
                client_uid: client(world).accepted.client.object.uid.to_string(),
                scopes: "orders.read".to_owned(),
                authenticated_at: now(),
                created_at: now() - SignedDuration::from_hours(1),
                expires_at: Some(now() + SignedDuration::from_hours(1)),
                ..testing::personal_token()
            },
            account: Account {
                id: account,
                owner: "user:1".to_owned(),
                created_at: now(),
                valid_after: now(),
                epoch: 3,
            },
        }
    }

    /// Judges a presented text, after changes of the row and of what it is joined with.
    fn judged(
        text: &str,
        change: impl FnOnce(&mut PersonalTokenStanding),
        join: impl for<'a> FnOnce(&mut Joined<'a>),
    ) -> Result<Vec<String>, Inactive> {
        let world = world();
        let client = client(&world);
        let mut standing = standing(&world);
        change(&mut standing);
        let scopes = still_held("openid orders.read", |value| {
            world.directory.client_scope(&client, value)
        });
        assert_eq!(scopes.len(), 2);
        let mut joined = Joined {
            standing: Some(&standing),
            client: Some(client),
            person: Ok(alice()),
            scopes,
        };
        join(&mut joined);
        let presented = reference::Presented {
            prefix: "sym",
            kind: reference::Kind::PersonalAccessToken,
            id: standing.token.id,
            hash: TokenHash::of(text),
        };
        let active = judge(&presented, joined, now())?;
        assert_eq!(active.token.subject, ALICE);
        assert!(active.proof.session.is_none());
        let scopes = active.scopes.iter();
        Ok(scopes.map(|scope| scope.value().to_owned()).collect())
    }

    #[test]
    fn a_token_gives_its_own_scopes_of_apis_whatever_else_client_and_person_have() {
        let scopes = judged("token", |_| {}, |_| {});
        assert_eq!(scopes, Ok(vec!["orders.read".to_owned()]));
        let more = judged("token", |it| it.token.scopes.push_str(" openid"), |_| {});
        assert_eq!(more, scopes);
    }

    #[test]
    fn a_guess_and_an_unknown_token_are_refused() {
        let wrong = Inactive::Invalid(Invalid::WrongSecret);
        for guess in ["", "Token", "token ", "tokens"] {
            assert_eq!(judged(guess, |_| {}, |_| {}), Err(wrong), "{guess}");
        }
        let unknown = judged("token", |_| {}, |joined| joined.standing = None);
        assert_eq!(unknown, Err(Inactive::Invalid(Invalid::UnknownToken)));
    }

    type Row = PersonalTokenStanding;
    type Change = fn(&mut Row);

    #[rstest]
    #[case::revoked(|it: &mut Row| it.token.ended_at = Some(now()), Inactive::TokenEnded(Ended::Revoked))]
    #[case::account(|it: &mut Row| it.account.epoch = 4, Inactive::TokenEnded(Ended::Account))]
    #[case::recreated_client(|it: &mut Row| it.token.client_uid.push('x'), Inactive::TokenEnded(Ended::Client))]
    #[case::other_client(|it: &mut Row| it.token.client.push('x'), Inactive::TokenEnded(Ended::Client))]
    #[case::expired(|it: &mut Row| it.token.expires_at = Some(now()), Inactive::Invalid(Invalid::Expired))]
    #[case::never(|it: &mut Row| it.token.expires_at = None, Inactive::Invalid(Invalid::LimitExceeded))]
    #[case::no_scope(|it: &mut Row| it.token.scopes = "orders.write".to_owned(), Inactive::Invalid(Invalid::NoScopeLeft))]
    #[case::standard_scopes_alone(|it: &mut Row| it.token.scopes = "openid".to_owned(), Inactive::Invalid(Invalid::NoScopeLeft))]
    #[case::other_account(|it: &mut Row| it.account.id = AccountId(uuid::Uuid::nil()), Inactive::Barred(Barred::Unknown))]
    fn a_row_that_has_ended_gives_nothing(#[case] change: Change, #[case] why: Inactive) {
        assert_eq!(judged("token", change, |_| {}), Err(why));
    }

    #[test]
    fn what_client_and_person_may_now_decides() {
        let gone = judged("token", |_| {}, |joined| joined.client = None);
        assert_eq!(gone, Err(Inactive::Invalid(Invalid::ClientRefused)));
        let barred = Barred::ClientNotAllowed;
        let refused = judged("token", |_| {}, |joined| joined.person = Err(barred));
        assert_eq!(refused, Err(Inactive::Barred(barred)));
        let revoked = judged(
            "token",
            |_| {},
            |joined| {
                joined.person = Ok(Person {
                    revoke_issued_before: Some(now()),
                    ..alice()
                });
            },
        );
        let why = Barred::IssuedBeforeRevocation;
        assert_eq!(revoked, Err(Inactive::Barred(why)));
        let none = judged("token", |_| {}, |joined| joined.scopes.clear());
        assert_eq!(none, Err(Inactive::Invalid(Invalid::NoScopeLeft)));
    }
}
