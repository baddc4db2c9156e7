//! The grants of the token endpoint, one file for each.

pub mod authorization_code;
pub mod client_credentials;
pub mod person;
pub mod refresh_token;
#[cfg(test)]
mod tests;

use super::{ErrorCode, Form, OAuthError};

/// A supported grant (RFC 6749 section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportedGrant {
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 6.
    RefreshToken,
}

/// The error for a grant that does not exist here (RFC 6749 section 5.2).
pub const UNSUPPORTED: OAuthError = OAuthError::new(
    ErrorCode::UnsupportedGrantType,
    "this grant type is not supported",
);

impl SupportedGrant {
    /// Every grant.
    pub const ALL: [Self; 3] = [
        Self::ClientCredentials,
        Self::AuthorizationCode,
        Self::RefreshToken,
    ];

    /// Returns the grants of an Identity, as listed in discovery.
    pub fn served(has_people: bool) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(move |grant| has_people || *grant == Self::ClientCredentials)
    }

    /// Returns the value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
        }
    }

    /// Returns the grant that a token request names, at an Identity with or without people.
    ///
    /// # Errors
    /// `invalid_request` if none is named, [`UNSUPPORTED`] if the Identity does not have it.
    pub fn requested(form: &Form<'_>, has_people: bool) -> Result<Self, OAuthError> {
        let name = form
            .get("grant_type")
            .ok_or(OAuthError::invalid_request("grant_type is missing"))?;
        Self::served(has_people)
            .find(|grant| grant.as_str() == name)
            .ok_or(UNSUPPORTED)
    }
}
