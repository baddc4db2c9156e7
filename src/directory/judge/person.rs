//! People: the facts that are known about a person, which of them the scopes of a token release (OpenID Connect Core
//! sections 5.1, 5.4 and 5.5), and what the person may use.
//!
//! Not here: whether the person consented.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::person_client::PersonClient;
use super::person_scope::PersonScope;
use crate::directory::tables::Directory;
use crate::resources::{Role, UserType};
use crate::tokens::Released;

/// The claims about a person that no attribute replaces.
pub(in crate::directory) const OWN_CLAIMS: [&str; 5] = [
    "name",
    "preferred_username",
    "email",
    "email_verified",
    "groups",
];

/// A person who may act now.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The ID of the account: the `sub` of tokens.
    pub subject: &'a str,
    /// The name of the User; `None` for a person who is not declared by an administrator.
    pub user: Option<&'a str>,
    /// Whether the person belongs to the organisation.
    pub kind: UserType,
    /// What the person may do at the Identity itself.
    pub role: Role,
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
    /// The names of the claims that the person allowed to release; `None` for any. See [`Person::within`].
    pub allowed_claims: Option<Vec<String>>,
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

impl Person<'_> {
    /// Returns the person as a grant may show it: with these claims alone, whatever its scopes release since.
    #[must_use]
    pub fn within(self, allowed_claims: Option<Vec<String>>) -> Self {
        Self {
            allowed_claims,
            ..self
        }
    }

    /// Returns the value of a claim about the person. The server's own facts win: no attribute replaces an address or
    /// a group.
    fn claim(&self, name: &str) -> Option<Value> {
        let allowed = self.allowed_claims.as_ref();
        if allowed.is_some_and(|allowed| allowed.iter().all(|it| it != name)) {
            return None;
        }
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

    /// Returns whether the person may use a client, by its `users` and `access`.
    pub fn may_use(&self, client: &PersonClient<'_>) -> bool {
        let Some(record) = &client.accepted.client.record.interactive else {
            return false;
        };
        let is_named = |users: &[Arc<str>]| {
            let user = self.user;
            user.is_some_and(|user| users.iter().any(|named| **named == *user))
        };
        record.users.contains(&self.kind)
            && record
                .access
                .as_ref()
                .is_none_or(|access| self.is_in_one_of(&access.groups) || is_named(&access.users))
    }

    /// Returns whether a client may have a scope for this person, by the `people` of its Scope.
    pub fn may_have(&self, scope: &PersonScope<'_>) -> bool {
        let groups = scope
            .api()
            .and_then(|api| api.granted.scope.record.groups.as_ref());
        groups.is_none_or(|groups| self.is_in_one_of(groups))
    }

    fn is_in_one_of(&self, groups: &[Arc<str>]) -> bool {
        groups.iter().any(|group| self.groups.contains(&&**group))
    }
}

impl Directory {
    /// Returns a scope that a client lists, if the client has it for this person now.
    pub fn person_scope<'a>(
        &'a self,
        client: &PersonClient<'a>,
        person: &Person<'_>,
        value: &str,
    ) -> Option<PersonScope<'a>> {
        let scope = self.client_scope(client, value);
        scope.filter(|scope| person.may_have(scope))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The account of [`alice`].
    pub(crate) const ALICE: &str = "01980000-0000-8000-8000-000000000001";

    pub(crate) fn alice() -> Person<'static> {
        Person {
            subject: ALICE,
            user: Some("alice"),
            kind: UserType::Internal,
            role: Role::User,
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
            allowed_claims: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::testing::alice;
    use super::*;
    use crate::directory::judge::person_scope::{ApiScope, StandardScope, join, still_held};
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
            ceiling: None,
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

    /// A Scope that is changed to release more does not do so for grants from before.
    #[test]
    fn a_grant_releases_only_the_claims_that_the_person_allowed() {
        let world = World::new(QUICKSTART);
        let claims = ["department", "groups", "name"].map(Arc::from);
        let person = alice().within(Some(vec!["department".to_owned(), "email".to_owned()]));
        let scopes = [api(&world.directory, &claims), STANDARD[1]];
        assert_eq!(
            shown(&person.released_by(&scopes)),
            json!({"department": "sales"})
        );
        let wishes = [("name", &[][..]), ("department", &[])];
        let asked = person.asked(wishes, &scopes);
        assert_eq!(shown(&asked), json!({"department": "sales"}));
        let nothing = alice().within(Some(Vec::new()));
        assert_eq!(shown(&nothing.released_by(&STANDARD)), json!({}));
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
