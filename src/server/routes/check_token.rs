//! `/connect/checktoken/<gateway>`: for nginx's `auth_request` and Traefik's `forwardAuth`.
//!
//! The answer is always 204, 401 or 403. The server ignores the method, the query, the body and the path after the
//! gateway's name: they belong to the request that the proxy asks about. Envoy's `ext_authz` over HTTP cannot use this
//! endpoint: it lets a request pass only after a 200, not after a 204. Envoy can verify JWTs itself instead.

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use crate::directory::record::GatewayRecord;
use crate::oauth::bearer;
use crate::oauth::check_token::{self, Denial, Passed};
use crate::oauth::discovery::paths;
use crate::server::reply;
use crate::server::request::{Call, Serving, Token, values};
use crate::server::snapshot::Snapshot;

const SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
const KIND: HeaderName = HeaderName::from_static("x-auth-kind");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-auth-client-id");
const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");

pub async fn handle(call: Call) -> Response {
    let now = crate::server::now();
    let Ok(serving) = call.serving(now) else {
        // No one may pass while the server cannot answer.
        call.app.metrics().checked("unavailable");
        return denied(StatusCode::FORBIDDEN);
    };
    answer(&call, &serving, now)
}

fn answer(call: &Call, serving: &Serving, now: Timestamp) -> Response {
    let snapshot = serving.snapshot();
    let (directory, identity) = (snapshot.directory(), snapshot.identity());
    let site = snapshot.site();
    let name = site.map_or("", |site| gateway_name(&site.path, call.head.uri.path()));
    let Some(gateway) = check_token::gateway(directory, identity, name) else {
        return deny(call, snapshot, None, Denial::UnknownGateway);
    };
    let headers = &call.head.headers;
    let api_keys = values(headers, "x-api-key").chain(values(headers, "api-key"));
    let token = match bearer::extract(call.authorization(), api_keys) {
        Ok(token) => token,
        Err(unusable) => return deny(call, snapshot, None, Denial::Unusable(unusable)),
    };
    let token = match Token::parse(token, snapshot.ring()) {
        Ok(token) => token,
        Err(reason) => return deny(call, snapshot, None, Denial::Invalid(reason)),
    };
    match check_token::check(directory, identity, gateway, &token.presented(), now) {
        Ok(passed) => {
            if let Some(issued) = passed.token.issued {
                call.app.uses().note(directory, issued, now);
            }
            pass(call, &passed, gateway)
        }
        Err(denial) => deny(call, snapshot, Some(token.id()), denial),
    }
}

/// Returns the path segment after `checktoken/`.
fn gateway_name<'p>(issuer_path: &str, path: &'p str) -> &'p str {
    let name =
        below(issuer_path, path).and_then(|below| below.strip_prefix('/')?.split('/').next());
    name.unwrap_or_default()
}

/// Returns whether a path leads to this endpoint.
pub(in crate::server) fn is_at(issuer_path: &str, path: &str) -> bool {
    below(issuer_path, path).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Returns the rest of a path after the endpoint's own.
fn below<'p>(issuer_path: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(issuer_path)?
        .strip_prefix(paths::CHECK_TOKEN)
}

fn pass(call: &Call, passed: &Passed<'_>, gateway: &GatewayRecord) -> Response {
    call.app.metrics().checked("passed");
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.reserve(8);
    set(headers, SUBJECT, passed.token.subject);
    headers.insert(KIND, HeaderValue::from_static(passed.token.kind.as_str()));
    set(
        headers,
        CLIENT_ID,
        &passed.token.client.client.record.client_id,
    );
    set(headers, SCOPE, &passed.told(gateway));
    response
}

/// Sets a header. The schemas allow only visible ASCII in names and scopes; any other value becomes empty.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let empty = || HeaderValue::from_static("");
    headers.insert(
        name,
        HeaderValue::from_str(value).unwrap_or_else(|_| empty()),
    );
}

fn deny(call: &Call, snapshot: &Snapshot, token_id: Option<&str>, denial: Denial<'_>) -> Response {
    call.app.metrics().checked(denial.as_str());
    if let Some(token_id) = token_id {
        call.audit_denial(snapshot, token_id, denial.is_of_issued(), denial.as_str());
    }
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = denied(status);
    let issuer = snapshot.site().map_or("", |site| &*site.issuer);
    let challenge = bearer::challenge(issuer, denial.code(), &denial.required());
    set(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
    response
}

/// Returns a refusal. It has all headers, but empty, so that headers of these names from the caller cannot pass
/// through.
fn denied(status: StatusCode) -> Response {
    let mut response = reply::empty(status);
    for name in [SUBJECT, KIND, CLIENT_ID, SCOPE] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(""));
    }
    response
}
