//! The grants of the token endpoint, a file each.

pub mod client_credentials;

use super::{ErrorCode, Form, OAuthError};

/// A grant that this server knows, RFC 6749 section 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// RFC 6749 section 4.4.
    ClientCredentials,
}

impl Grant {
    /// Every grant: discovery lists these.
    pub const ALL: [Self; 1] = [Self::ClientCredentials];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// The grant that a token request names.
    ///
    /// # Errors
    /// `invalid_request` without one, `unsupported_grant_type` for an unknown one (RFC 6749 section 5.2).
    pub fn requested(form: &Form<'_>) -> Result<Self, OAuthError> {
        let name = form.get("grant_type").ok_or(OAuthError::new(
            ErrorCode::InvalidRequest,
            "grant_type is missing",
        ))?;
        Self::ALL
            .into_iter()
            .find(|grant| grant.as_str() == name)
            .ok_or(OAuthError::new(
                ErrorCode::UnsupportedGrantType,
                "this grant type is not supported",
            ))
    }
}
