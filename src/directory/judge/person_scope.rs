//! The scopes that a person's client has, and the claims that they release (OpenID Connect Core sections 5.1, 5.4 and
//! 5.5).

use std::sync::Arc;

use super::person_client::PersonClient;
use super::served::GrantedScope;
use crate::directory::tables::Directory;

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
    /// The claims that it asks to release: attributes and other facts about the person.
    pub claims: &'a [Arc<str>],
    /// The claims that it may release at most; `None` for any.
    pub ceiling: Option<&'a [Arc<str>]>,
}

impl<'a> ApiScope<'a> {
    /// Returns the scope of an API as its Identity allows it: a Scope of another namespace releases only claims that
    /// the Identity lists.
    pub fn of(client: &PersonClient<'a>, granted: GrantedScope<'a>) -> Self {
        let identity = client.accepted.identity;
        let is_own = granted.scope.object.key.namespace == identity.object.key.namespace;
        Self {
            granted,
            claims: &granted.scope.record.claims,
            ceiling: (!is_own).then_some(&*identity.record.releasable_claims),
        }
    }

    /// Returns the claims that it releases.
    fn released(self) -> impl Iterator<Item = &'a str> {
        let claims = self.claims.iter().map(AsRef::as_ref);
        claims.filter(move |claim: &&str| {
            let listed = |ceiling: &[Arc<str>]| ceiling.iter().any(|it| **it == **claim);
            self.ceiling.is_none_or(listed)
        })
    }
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
            Self::Api(scope) => scope.released().any(|released| released == claim),
        }
    }

    /// Returns the claims that the scope releases.
    pub fn claims(&self) -> impl Iterator<Item = &'a str> {
        let (standard, own) = match self {
            Self::Standard(scope) => (scope.claims(), None),
            Self::Api(scope) => (&[][..], Some(*scope)),
        };
        let own = own.into_iter().flat_map(ApiScope::released);
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

impl Directory {
    /// Returns a scope that a client lists, if the client has it for people now.
    pub fn client_scope<'a>(
        &'a self,
        client: &PersonClient<'a>,
        value: &str,
    ) -> Option<PersonScope<'a>> {
        if !client.may_use_codes {
            return None;
        }
        let record = client.accepted.client.record;
        let Some(standard) = StandardScope::parse(value) else {
            let granted = self.granted_scope(&client.accepted, value)?;
            return Some(PersonScope::Api(ApiScope::of(client, granted)));
        };
        let is_listed = record.scopes.iter().any(|listed| **listed == *value);
        let is_useful = standard != StandardScope::OfflineAccess || client.may_refresh;
        (is_listed && is_useful).then_some(PersonScope::Standard(standard))
    }
}
