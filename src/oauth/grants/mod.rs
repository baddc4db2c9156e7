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
}

impl SupportedGrant {
    /// Every grant, as listed in discovery.
    pub const ALL: [Self; 1] = [Self::ClientCredentials];

    /// Returns the value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// Returns the grant that a token request names.
    ///
    /// # Errors
    /// `invalid_request` if none is named, `unsupported_grant_type` if it is unknown (RFC 6749 section 5.2).
    pub fn requested(form: &Form<'_>) -> Result<Self, OAuthError> {
        let name = form
            .get("grant_type")
            .ok_or(OAuthError::invalid_request("grant_type is missing"))?;
        Self::ALL
            .into_iter()
            .find(|grant| grant.as_str() == name)
            .ok_or(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "this grant type is not supported",
            ))
    }
}
