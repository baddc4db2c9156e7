//! What an endpoint may answer when it refuses: a closed set, each code with the section that defines it.
//!
//! Descriptions are fixed texts: nothing that was sent is sent back, and details go to the log.

/// An error code of OAuth 2.0 and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749 section 5.2.
    InvalidRequest,
    /// RFC 6749 section 5.2.
    InvalidClient,
    /// RFC 6749 section 5.2.
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    InvalidScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 7009 section 2.2.1.
    UnsupportedTokenType,
    /// RFC 6750 section 3.1.
    InvalidToken,
    /// RFC 6750 section 3.1.
    InsufficientScope,
    /// RFC 6749 section 4.1.2.1, sent with 503 here (RFC 7009 section 2.2.1).
    TemporarilyUnavailable,
    /// RFC 6749 section 4.1.2.1, sent with 500 here.
    ServerError,
}

impl ErrorCode {
    /// The value of `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnsupportedTokenType => 400,
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
        }
    }
}

/// A refusal: its code and a fixed sentence that says what to send instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// The code.
    pub code: ErrorCode,
    /// `error_description`: RFC 6749's characters, no quotation mark and no backslash.
    pub description: &'static str,
}

impl OAuthError {
    /// A refusal.
    pub const fn new(code: ErrorCode, description: &'static str) -> Self {
        Self { code, description }
    }

    /// The body of RFC 6749 section 5.2.
    pub fn to_json(self) -> String {
        let (code, description) = (self.code.as_str(), self.description);
        format!(r#"{{"error":"{code}","error_description":"{description}"}}"#)
    }
}
