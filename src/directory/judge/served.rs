//! Objects that are served, each with its record. Only the rules of `judge` create these values.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::directory::tables::record::{ClientRecord, IdentityRecord, Object, ScopeRecord};
use crate::tokens::jwt::TokenType;

/// A valid object with its record at hand.
#[derive(Debug)]
pub struct Served<'a, T> {
    /// The object.
    pub object: &'a Object<T>,
    /// Its record.
    pub record: &'a T,
}

// Not derived: a derive would require `T: Copy`.
impl<T> Clone for Served<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Served<'_, T> {}

impl<'a, T> Served<'a, T> {
    pub(super) fn of(object: &'a Object<T>) -> Option<Self> {
        Some(Self {
            object,
            record: object.record()?,
        })
    }
}

/// An accepted client of an Identity. It may be disabled; its grants are a separate question.
#[derive(Clone, Copy, Debug)]
pub struct AcceptedClient<'a> {
    /// The client's Identity.
    pub identity: Served<'a, IdentityRecord>,
    /// The client.
    pub client: Served<'a, ClientRecord>,
}

impl AcceptedClient<'_> {
    /// Returns the lifetime of the client's access tokens: the client's, else the Identity's, at most the Identity's
    /// limit.
    pub fn access_token_lifetime(&self) -> SignedDuration {
        let identity = self.identity.record;
        let asked = self.client.record.access_token_lifetime;
        asked
            .unwrap_or(identity.access_token_lifetime)
            .min(identity.max_access_token_lifetime)
    }

    /// Returns the `typ` of the client's access tokens.
    pub fn access_token_type(&self) -> TokenType {
        let asked = self.client.record.access_token_type;
        asked.unwrap_or(self.identity.record.access_token_type)
    }
}

/// A scope that a client is granted.
#[derive(Clone, Copy, Debug)]
pub struct GrantedScope<'a> {
    /// The Scope.
    pub scope: Served<'a, ScopeRecord>,
}

impl GrantedScope<'_> {
    /// Returns the scope value.
    pub fn value(&self) -> &Arc<str> {
        &self.scope.record.value
    }
}
