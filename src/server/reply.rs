//! Builds answers. A refusal has a form for each kind of caller: a function here for each form.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::snapshot::{ServedDocument, Site};
use crate::oauth::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Far shorter than the time for which a new key is published before it signs.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Renders a refusal for a program: JSON (RFC 6749 section 5.2). A client that did not authenticate gets the challenge
/// of the site.
pub(super) fn refused(refusal: Refusal, site: Option<&Site>) -> Response {
    let mut response = json(status(refusal), refusal.error().to_json());
    if response.status() == StatusCode::UNAUTHORIZED {
        let Some(site) = site else {
            return refused(Refusal::Unavailable, None);
        };
        let challenge = site.basic_challenge.clone();
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    describe(refusal, response.headers_mut());
    response
}

/// Renders a refusal for a program that reads only the status and the headers.
pub(super) fn refused_without_body(refusal: Refusal) -> Response {
    let mut response = empty(status(refusal));
    describe(refusal, response.headers_mut());
    response
}

fn status(refusal: Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// Adds the headers of a refusal that do not depend on its form.
fn describe(refusal: Refusal, headers: &mut HeaderMap) {
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Refusal::MethodNotAllowed(methods) = refusal {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
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
pub(super) fn document(document: &ServedDocument, asked: &HeaderMap) -> Response {
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

/// Returns 404.
pub(super) fn not_found() -> Response {
    json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#)
}
