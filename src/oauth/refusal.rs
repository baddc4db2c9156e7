//! Why a request is refused: the reason alone. Each endpoint decides in which form its caller gets it; the forms are in
//! `server::reply`.

use std::time::Duration;

use super::{ErrorCode, OAuthError};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The protocol refuses it.
    Protocol(OAuthError),
    /// The caller has failed to authenticate too often, and must wait.
    TooManyFailures(Duration),
    /// The caller sends more requests than it may, and must wait.
    TooManyRequests(Duration),
    /// The body is too large.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body ended early.
    BrokenBody,
    /// The URI is too long.
    UriTooLong,
    /// The request names another host (RFC 9110 section 15.5.20).
    Misdirected,
    /// The endpoint accepts only these methods (RFC 9110 section 15.5.6).
    MethodNotAllowed(&'static str),
    /// The server cannot answer at present.
    Unavailable,
    /// The server has too much work at present.
    Overloaded,
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self::Protocol(error)
    }
}

impl Refusal {
    /// Returns the error that the caller is told.
    pub const fn error(self) -> OAuthError {
        let (code, description) = match self {
            Self::Protocol(error) => return error,
            Self::TooManyFailures(_) => (
                ErrorCode::InvalidClient,
                "too many failed authentications, wait before the next one",
            ),
            Self::TooManyRequests(_) => (
                ErrorCode::TemporarilyUnavailable,
                "too many requests, wait before the next one",
            ),
            Self::TooLarge => (ErrorCode::InvalidRequest, "the body is too large"),
            Self::TooSlow => (ErrorCode::InvalidRequest, "the body did not arrive in time"),
            Self::BrokenBody => (ErrorCode::InvalidRequest, "the body ended early"),
            Self::UriTooLong => (ErrorCode::InvalidRequest, "the URI is too long"),
            Self::Misdirected => (ErrorCode::InvalidRequest, "the request names another host"),
            Self::MethodNotAllowed(_) => {
                (ErrorCode::InvalidRequest, "this method is not allowed here")
            }
            Self::Unavailable | Self::Overloaded => (
                ErrorCode::TemporarilyUnavailable,
                "the server cannot answer now, try again",
            ),
        };
        OAuthError::new(code, description)
    }

    /// Returns the HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::TooSlow => 408,
            Self::TooLarge => 413,
            Self::UriTooLong => 414,
            Self::Misdirected => 421,
            Self::MethodNotAllowed(_) => 405,
            Self::TooManyFailures(_) | Self::TooManyRequests(_) => 429,
            Self::Protocol(_) | Self::BrokenBody | Self::Unavailable | Self::Overloaded => {
                self.error().code.status()
            }
        }
    }

    /// Returns after how many seconds the caller may try again, if waiting helps.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyFailures(wait) | Self::TooManyRequests(wait) => {
                Some(wait.as_secs().max(1))
            }
            Self::Overloaded => Some(1),
            _ if self.error().code == ErrorCode::TemporarilyUnavailable => Some(5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_passes_by_itself_says_when_to_try_again() {
        let waits = |refusal: Refusal| refusal.retry_after();
        let of = |code| Refusal::from(OAuthError::new(code, ""));
        assert_eq!(waits(Refusal::Unavailable), Some(5));
        assert_eq!(waits(of(ErrorCode::TemporarilyUnavailable)), Some(5));
        assert_eq!(waits(Refusal::Overloaded), Some(1));
        for (wait, seconds) in [(Duration::ZERO, 1), (Duration::from_millis(7900), 7)] {
            assert_eq!(waits(Refusal::TooManyFailures(wait)), Some(seconds));
            assert_eq!(waits(Refusal::TooManyRequests(wait)), Some(seconds));
        }
        for lasting in [
            of(ErrorCode::InvalidClient),
            of(ErrorCode::ServerError),
            Refusal::TooLarge,
            Refusal::TooSlow,
            Refusal::MethodNotAllowed("POST"),
        ] {
            assert_eq!(waits(lasting), None, "{lasting:?}");
        }
    }

    /// Clients give up on a request after some 4xx statuses, and try again after others.
    #[test]
    fn a_refusal_by_the_server_has_the_status_of_http() {
        let wait = Duration::from_secs(1);
        for (refusal, status) in [
            (
                Refusal::from(OAuthError::new(ErrorCode::InvalidScope, "")),
                400,
            ),
            (
                Refusal::from(OAuthError::new(ErrorCode::InvalidClient, "")),
                401,
            ),
            (Refusal::BrokenBody, 400),
            (Refusal::MethodNotAllowed("POST"), 405),
            (Refusal::TooSlow, 408),
            (Refusal::TooLarge, 413),
            (Refusal::UriTooLong, 414),
            (Refusal::Misdirected, 421),
            (Refusal::TooManyFailures(wait), 429),
            (Refusal::TooManyRequests(wait), 429),
            (Refusal::Unavailable, 503),
            (Refusal::Overloaded, 503),
        ] {
            assert_eq!(refusal.status(), status, "{refusal:?}");
        }
    }
}
