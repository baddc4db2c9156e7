//! Builds answers. Every refusal becomes an HTTP status here.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::snapshot::Document;
use crate::oauth::{ErrorCode, OAuthError};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Far shorter than the time for which a new key is published before it signs.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The seconds after which a caller may retry while the server cannot answer.
pub(super) const RETRY_SECONDS: u16 = 5;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The protocol refuses it.
    OAuth(OAuthError),
    /// The client did not authenticate. The challenge names the scheme that it used or could use (RFC 6749 section
    /// 5.2).
    Unauthenticated(OAuthError, HeaderValue),
    /// The caller has failed too often.
    TooManyFailures(Duration),
    /// The body is too large.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body ended early.
    BrokenBody,
    /// The server cannot answer at present.
    Unavailable,
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl Refusal {
    /// Returns the answer.
    pub fn response(self) -> Response {
        let unavailable = OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "the server cannot answer now, try again",
        );
        match self {
            Self::OAuth(error) if error.code == ErrorCode::TemporarilyUnavailable => {
                with(oauth(error), RETRY_AFTER, HeaderValue::from(RETRY_SECONDS))
            }
            Self::OAuth(error) => oauth(error),
            Self::Unauthenticated(error, challenge) => {
                with(oauth(error), WWW_AUTHENTICATE, challenge)
            }
            Self::TooManyFailures(wait) => {
                let error = OAuthError::new(
                    ErrorCode::InvalidClient,
                    "too many failed authentications, wait before the next one",
                );
                let answer = json(StatusCode::TOO_MANY_REQUESTS, error.to_json());
                with(
                    answer,
                    RETRY_AFTER,
                    HeaderValue::from(wait.as_secs().max(1)),
                )
            }
            Self::TooLarge => oauth_as(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::TooSlow => oauth_as(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ),
            Self::BrokenBody => oauth_as(StatusCode::BAD_REQUEST, "the body ended early"),
            Self::Unavailable => Self::OAuth(unavailable).response(),
        }
    }
}

fn oauth(error: OAuthError) -> Response {
    let status = StatusCode::from_u16(error.code.status());
    json(status.unwrap_or(StatusCode::BAD_REQUEST), error.to_json())
}

fn oauth_as(status: StatusCode, description: &'static str) -> Response {
    json(
        status,
        OAuthError::new(ErrorCode::InvalidRequest, description).to_json(),
    )
}

fn with(mut response: Response, name: axum::http::HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}

/// Returns a JSON answer that no cache may store (RFC 6749 section 5.1).
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Returns an answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Returns a public document, or 304 if the caller already has it (RFC 9110 section 13.1.2).
pub(super) fn document(document: &Document, asked: &HeaderMap) -> Response {
    let known = asked
        .get_all("if-none-match")
        .iter()
        .any(|value| names(value, &document.etag));
    let body = if known {
        Body::empty()
    } else {
        Body::from(document.bytes.clone())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.reserve(8);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, JSON);
    }
    let headers = response.headers_mut();
    headers.insert(ETAG, document.etag.clone());
    headers.insert(CACHE_CONTROL, MAX_AGE);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Returns whether a value of `If-None-Match` names an entity tag. The comparison is weak (RFC 9110 section 13.1.2).
fn names(value: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(value), Ok(etag)) = (value.to_str(), etag.to_str()) else {
        return false;
    };
    value
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// Returns the answer to a CORS preflight for a document, which pages of any origin may read.
pub(super) fn preflight(methods: &'static str) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(86_400));
    response
}

/// Returns 405 and the allowed `methods` (RFC 9110 section 15.5.6).
pub(super) fn method_not_allowed(methods: &'static str) -> Response {
    let body = oauth_as(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not allowed here",
    );
    with(body, ALLOW, HeaderValue::from_static(methods))
}

/// Returns 404.
pub(super) fn not_found() -> Response {
    json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#)
}

/// Returns 503: the server has too much work at present.
pub(super) fn overloaded() -> Response {
    with(
        Refusal::Unavailable.response(),
        RETRY_AFTER,
        HeaderValue::from(1),
    )
}

/// Returns 414.
pub(super) fn uri_too_long() -> Response {
    oauth_as(StatusCode::URI_TOO_LONG, "the URI is too long")
}

/// Returns 421: the request names another host (RFC 9110 section 15.5.20).
pub(super) fn misdirected() -> Response {
    oauth_as(
        StatusCode::MISDIRECTED_REQUEST,
        "the request names another host",
    )
}
