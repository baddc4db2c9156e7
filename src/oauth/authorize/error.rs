//! How an authorization request is refused (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).

/// An error code of the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// RFC 6749 section 4.1.2.1.
    InvalidRequest,
    /// RFC 6749 section 4.1.2.1; on a page, the client is unknown.
    UnauthorizedClient,
    /// RFC 6749 section 4.1.2.1: the person or the server refused.
    AccessDenied,
    /// RFC 6749 section 4.1.2.1.
    UnsupportedResponseType,
    /// RFC 6749 section 4.1.2.1.
    InvalidScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 6749 section 4.1.2.1.
    ServerError,
    /// RFC 6749 section 4.1.2.1.
    TemporarilyUnavailable,
    /// OpenID Connect Core section 3.1.2.6: no session, and `prompt=none`.
    LoginRequired,
    /// OpenID Connect Core section 3.1.2.6: no consent, and `prompt=none`.
    ConsentRequired,
    /// OpenID Connect Core section 3.1.2.6: another page must be shown, and `prompt=none`.
    InteractionRequired,
    /// OpenID Connect Core section 3.1.2.6.
    RequestNotSupported,
    /// OpenID Connect Core section 3.1.2.6.
    RequestUriNotSupported,
    /// OpenID Connect Core section 3.1.2.6.
    RegistrationNotSupported,
    /// OpenID Connect Unmet Authentication Requirements 1.0.
    UnmetAuthenticationRequirements,
}

impl Code {
    /// Returns the value of `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InteractionRequired => "interaction_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct Fault {
    /// The error code.
    pub code: Code,
    /// A fixed text for `error_description`: an answer never repeats what was sent.
    pub description: &'static str,
}

impl Fault {
    /// Creates a fault.
    pub const fn new(code: Code, description: &'static str) -> Self {
        Self { code, description }
    }

    /// Creates an `invalid_request`.
    pub const fn invalid(description: &'static str) -> Self {
        Self::new(Code::InvalidRequest, description)
    }
}
