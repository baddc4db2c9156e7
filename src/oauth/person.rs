//! People: the facts that the server knows about a person, and which of them the scopes of a token release (OpenID
//! Connect Core sections 5.1, 5.4 and 5.5).
//!
//! Not here: whether a client may have a scope, which `directory` judges, and whether a person consented to it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::directory::GrantedScope;
use crate::tokens::{Released, TokenId};

/// A person who may act now.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The ID of the account: the `sub` of tokens.
    pub subject: &'a str,
    /// The name that the person signs in with.
    pub username: &'a str,
    /// The full name.
    pub display_name: Option<&'a str>,
    /// The address.
    pub email: Option<&'a str>,
    /// Whether the address is known to be the person's.
    pub email_verified: bool,
    /// The groups.
    pub groups: Vec<&'a str>,
    /// Further facts, by name: `profile` releases those of its own names, other scopes those in their `claims`.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// Grants and tokens from before this time are refused, at most from before now.
    pub revoke_issued_before: Option<Timestamp>,
}

/// Why a person may not act. For logs: the client learns nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barred {
    /// The person exists no longer.
    Unknown,
    /// The person is disabled.
    Disabled,
    /// The person's time has not begun or has ended.
    OutsideValidity,
    /// The person may not use this client.
    ClientNotAllowed,
    /// The sign-in was weaker, or is older, than the client demands.
    SignInInsufficient,
    /// The grant or token is from before `revokeIssuedBefore`.
    IssuedBeforeRevocation,
}

impl Barred {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "person_gone",
            Self::Disabled => "person_disabled",
            Self::OutsideValidity => "person_outside_validity",
            Self::ClientNotAllowed => "person_not_allowed",
            Self::SignInInsufficient => "sign_in_insufficient",
            Self::IssuedBeforeRevocation => "person_revoked",
        }
    }
}

/// How a person signed in.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// The session (`sid`).
    pub session: TokenId,
    /// When.
    pub at: Timestamp,
    /// How strongly: the value of `acr`.
    pub acr: Option<&'a str>,
    /// The values of `amr` (RFC 8176), separated by spaces.
    pub methods: &'a str,
}

/// A scope that every Identity has for people, without a Scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StandardScope {
    /// `openid`: an ID token, and the userinfo endpoint (OpenID Connect Core section 3.1.2.1).
    OpenId,
    /// `profile` (section 5.4).
    Profile,
    /// `email` (section 5.4).
    Email,
    /// `groups`: not in the specification, but known to many applications.
    Groups,
    /// `offline_access`: a refresh token (section 11).
    OfflineAccess,
}

impl StandardScope {
    /// Every standard scope, as listed in discovery.
    pub const ALL: [Self; 5] = [
        Self::OpenId,
        Self::Profile,
        Self::Email,
        Self::Groups,
        Self::OfflineAccess,
    ];

    /// Returns the scope value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Groups => "groups",
            Self::OfflineAccess => "offline_access",
        }
    }

    /// Reads a scope value.
    pub fn parse(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == value)
    }

    /// Returns the claims that the scope releases.
    pub const fn claims(self) -> &'static [&'static str] {
        match self {
            // All of section 5.4 except `updated_at`, which is not known.
            Self::Profile => &[
                "name",
                "preferred_username",
                "family_name",
                "given_name",
                "middle_name",
                "nickname",
                "profile",
                "picture",
                "website",
                "gender",
                "birthdate",
                "zoneinfo",
                "locale",
            ],
            Self::Email => &["email", "email_verified"],
            Self::Groups => &["groups"],
            Self::OpenId | Self::OfflineAccess => &[],
        }
    }
}

/// A scope that a person's client has now.
#[derive(Clone, Copy, Debug)]
pub enum PersonScope<'a> {
    /// A standard scope.
    Standard(StandardScope),
    /// The scope of an API.
    Api(ApiScope<'a>),
}

/// A scope of an API.
#[derive(Clone, Copy, Debug)]
pub struct ApiScope<'a> {
    /// The Scope, granted to the client.
    pub granted: GrantedScope<'a>,
    /// The claims that it releases: attributes and other facts about the person.
    pub claims: &'a [Arc<str>],
}

impl<'a> PersonScope<'a> {
    /// Returns the scope value.
    pub fn value(&self) -> &str {
        match self {
            Self::Standard(scope) => scope.as_str(),
            Self::Api(scope) => scope.granted.value(),
        }
    }

    /// Returns the scope of an API, if it is one.
    pub const fn api(&self) -> Option<ApiScope<'a>> {
        match self {
            Self::Standard(_) => None,
            Self::Api(scope) => Some(*scope),
        }
    }

    /// Returns whether it is this standard scope.
    pub fn is(&self, standard: StandardScope) -> bool {
        matches!(self, Self::Standard(scope) if *scope == standard)
    }

    /// Returns whether the scope releases this claim.
    pub fn releases(&self, claim: &str) -> bool {
        match self {
            Self::Standard(scope) => scope.claims().contains(&claim),
            Self::Api(scope) => scope.claims.iter().any(|released| **released == *claim),
        }
    }

    /// Returns the claims that the scope releases.
    fn claims(&self) -> impl Iterator<Item = &str> {
        let (standard, own) = match self {
            Self::Standard(scope) => (scope.claims(), &[][..]),
            Self::Api(scope) => (&[][..], scope.claims),
        };
        let own = own.iter().map(AsRef::as_ref);
        standard.iter().copied().chain(own)
    }
}

/// Joins scope values with spaces.
pub fn join<'s>(scopes: impl IntoIterator<Item = &'s PersonScope<'s>>) -> String {
    let mut text = String::with_capacity(64);
    for scope in scopes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope.value());
    }
    text
}

/// The scopes of `recorded`, a list separated by spaces, that `lookup` still knows: each once, in their order.
pub fn still_held<'a>(
    recorded: &str,
    mut lookup: impl FnMut(&str) -> Option<PersonScope<'a>>,
) -> Vec<PersonScope<'a>> {
    let mut held: Vec<PersonScope<'a>> = Vec::new();
    for value in recorded.split(' ').filter(|value| !value.is_empty()) {
        if !held.iter().any(|known| known.value() == value) {
            held.extend(lookup(value));
        }
    }
    held
}

impl Person<'_> {
    /// Returns the value of a claim about the person. The server's own facts win: no attribute replaces an address or
    /// a group.
    fn claim(&self, name: &str) -> Option<Value> {
        match name {
            "name" => self.display_name.map(Value::from),
            "preferred_username" => Some(Value::from(self.username)),
            "email" => self.email.map(Value::from),
            // It says nothing without an address.
            "email_verified" => self.email.map(|_| Value::from(self.email_verified)),
            "groups" => Some(Value::from(self.groups.clone())),
            _ => {
                let mut attributes = self.attributes.iter();
                let (_, value) = attributes.find(|(known, _)| *known == name)?;
                Some(Value::from(*value))
            }
        }
    }

    /// Returns the claims that these scopes release.
    pub fn released_by<'s>(
        &self,
        scopes: impl IntoIterator<Item = &'s PersonScope<'s>>,
    ) -> Released {
        let mut released = Released::default();
        for claim in scopes.into_iter().flat_map(PersonScope::claims) {
            if let Some(value) = self.claim(claim) {
                released.add(claim, value);
            }
        }
        released
    }

    /// Returns the claims that a client asks for one by one (section 5.5). `wishes` yields each name with the values
    /// that the client accepts, any if it names none. A claim is released only if a scope in `allowed` releases it:
    /// `allowed` has the scopes that the client may have and the person consented to, requested or not.
    pub fn asked<'w>(
        &self,
        wishes: impl IntoIterator<Item = (&'w str, &'w [Value])>,
        allowed: &[PersonScope<'_>],
    ) -> Released {
        let mut released = Released::default();
        for (name, accepted) in wishes {
            if !allowed.iter().any(|scope| scope.releases(name)) {
                continue;
            }
            let value = self.claim(name);
            let value = value.filter(|value| accepted.is_empty() || accepted.contains(value));
            if let Some(value) = value {
                released.add(name, value);
            }
        }
        released
    }

    /// Returns whether something from `moment` is refused because it is older than the person's revocation. A
    /// revocation in the future acts as one now.
    pub fn is_revoked(&self, moment: Timestamp, now: Timestamp) -> bool {
        self.revoke_issued_before
            .is_some_and(|before| moment < before.min(now))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// The account of [`alice`].
    pub(crate) const ALICE: &str = "01980000-0000-8000-8000-000000000001";

    pub(crate) fn alice() -> Person<'static> {
        Person {
            subject: ALICE,
            username: "alice",
            display_name: Some("Alice Adams"),
            email: Some("alice@example.com"),
            email_verified: true,
            groups: vec!["staff", "buyers"],
            attributes: vec![
                ("department", "sales"),
                ("given_name", "Alice"),
                ("email", "root@example.com"),
                ("sub", "root"),
            ],
            revoke_issued_before: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::testing::alice;
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Directory, ObjectKey};

    const STANDARD: [PersonScope<'static>; 5] = [
        PersonScope::Standard(StandardScope::OpenId),
        PersonScope::Standard(StandardScope::Profile),
        PersonScope::Standard(StandardScope::Email),
        PersonScope::Standard(StandardScope::Groups),
        PersonScope::Standard(StandardScope::OfflineAccess),
    ];

    fn api<'a>(directory: &'a Directory, claims: &'a [Arc<str>]) -> PersonScope<'a> {
        let client = directory
            .active_client(&ObjectKey::new("platform", "main"), "blue.shop")
            .unwrap();
        PersonScope::Api(ApiScope {
            granted: directory.granted_scope(&client, "orders.read").unwrap(),
            claims,
        })
    }

    fn shown(released: &Released) -> Value {
        serde_json::to_value(released).unwrap()
    }

    #[rstest]
    #[case(StandardScope::OpenId, json!({}))]
    #[case(StandardScope::Profile, json!({"name": "Alice Adams", "preferred_username": "alice", "given_name": "Alice"}))]
    #[case(StandardScope::Email, json!({"email": "alice@example.com", "email_verified": true}))]
    #[case(StandardScope::Groups, json!({"groups": ["staff", "buyers"]}))]
    #[case(StandardScope::OfflineAccess, json!({}))]
    fn a_standard_scope_releases_its_claims(#[case] scope: StandardScope, #[case] claims: Value) {
        let released = alice().released_by(&[PersonScope::Standard(scope)]);
        assert_eq!(shown(&released), claims);
        assert_eq!(StandardScope::parse(scope.as_str()), Some(scope));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let person = Person {
            display_name: None,
            email: None,
            groups: Vec::new(),
            ..alice()
        };
        assert_eq!(
            shown(&person.released_by(&STANDARD)),
            json!({"preferred_username": "alice", "given_name": "Alice", "groups": []})
        );
    }

    #[test]
    fn a_scope_releases_the_attributes_that_it_names_and_never_a_protocol_claim() {
        let world = World::new(QUICKSTART);
        let claims = ["department", "sub", "client_uid", "email", "missing"].map(Arc::from);
        let released = alice().released_by(&[api(&world.directory, &claims)]);
        // The address is the person's own: no attribute replaces it.
        assert_eq!(
            shown(&released),
            json!({"department": "sales", "email": "alice@example.com"})
        );
    }

    #[test]
    fn a_claim_is_asked_for_within_the_allowed_scopes() {
        let none = &[][..];
        let (me, other) = ([json!("alice@example.com")], [json!("bob@example.com")]);
        let wish = |values| vec![("email", values), ("name", none), ("sub", none)];
        let asked =
            |values, allowed: &[PersonScope<'_>]| shown(&alice().asked(wish(values), allowed));
        let email = [PersonScope::Standard(StandardScope::Email)];
        assert_eq!(asked(none, &email), json!({"email": "alice@example.com"}));
        assert_eq!(asked(&me, &email), json!({"email": "alice@example.com"}));
        assert_eq!(asked(&other, &email), json!({}));
        assert_eq!(asked(none, &[]), json!({}));
        assert_eq!(
            asked(none, &STANDARD),
            json!({"email": "alice@example.com", "name": "Alice Adams"})
        );
    }

    #[test]
    fn a_recorded_scope_that_is_no_longer_known_is_dropped() {
        let lookup = |value: &str| {
            let standard = StandardScope::parse(value)?;
            (standard != StandardScope::Email).then_some(PersonScope::Standard(standard))
        };
        let held = still_held("openid email  profile openid gone", lookup);
        assert_eq!(join(&held), "openid profile");
        assert_eq!(join(&still_held("", lookup)), "");
    }

    #[test]
    fn a_revocation_refuses_what_is_older_and_never_what_is_to_come() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let person = Person {
            revoke_issued_before: Some(at(100)),
            ..alice()
        };
        assert!(person.is_revoked(at(99), at(200)));
        assert!(!person.is_revoked(at(100), at(200)));
        assert!(!person.is_revoked(at(50), at(50)));
        assert!(person.is_revoked(at(49), at(50)));
        assert!(!alice().is_revoked(at(1), at(200)));
    }
}
