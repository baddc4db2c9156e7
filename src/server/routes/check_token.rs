//! `/connect/checktoken/<gateway>`: for nginx's `auth_request`, Traefik's `forwardAuth`, Caddy's `forward_auth`,
//! Envoy's `ext_authz` over HTTP, and others.
//!
//! The answer is 200, 401 or 403, or 503 while the server cannot judge a token. It always has all identity headers. The
//! server ignores the method, the query, the body and the path after the gateway's name: they belong to the request
//! that the proxy asks about.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use crate::directory::tables::record::GatewayRecord;
use crate::oauth::check_token::{self, Denial, Passed};
use crate::oauth::{Endpoint, bearer};
use crate::server::gateway::{self, CLIENT_ID, Gateway, IDENTITY, KIND, SCOPE, SUBJECT, TO_REMOVE};
use crate::server::metrics::Checked;
use crate::server::reply::{self, Refusal};
use crate::server::request::{Call, Serving, values};
use crate::server::snapshot::Site;

/// The number of headers of a 200, including those that every answer has.
const HEADERS: usize = 10;

pub async fn handle(call: Call) -> Response {
    let now = crate::server::now();
    let answer = call
        .serving(now)
        .and_then(|serving| answer(&call, &serving, now));
    // While the server cannot judge tokens, no request may pass.
    answer.unwrap_or_else(|_| unavailable(&call))
}

/// [`Refusal::Unavailable`] if the server cannot judge the token.
fn answer(call: &Call, serving: &Serving, now: Timestamp) -> Result<Response, Refusal> {
    let (snapshot, site) = (serving.snapshot(), serving.site()?);
    let (directory, identity) = (snapshot.directory(), snapshot.identity());
    let name = gateway_name(&site.path, call.head.uri.path());
    let gateway = site.gateways.get(name);
    let deny = |token_id: Option<&str>, denial: Denial| {
        call.app.metrics().checked(Checked::Denied(denial));
        if let Some(token_id) = token_id {
            call.audit_denial(snapshot, token_id, denial.is_of_issued(), denial.as_str());
        }
        denied(site, gateway, denial)
    };
    let Some(gateway) = gateway else {
        return Ok(deny(None, Denial::UnknownGateway));
    };
    let headers = &call.head.headers;
    let api_keys = values(headers, "x-api-key").chain(values(headers, "api-key"));
    let token = match bearer::extract(call.authorization(), api_keys) {
        Ok(token) => token,
        Err(unusable) => return Ok(deny(None, Denial::Unusable(unusable))),
    };
    let token = match serving.token(token)? {
        Ok(token) => token,
        Err(reason) => return Ok(deny(None, Denial::Invalid(reason))),
    };
    let record = &gateway.record;
    match check_token::check(directory, identity, record, &token.presented(), now) {
        Ok(passed) => {
            if let Some(issued) = passed.token.issued {
                call.app.uses().note(directory, issued, now);
            }
            call.app.metrics().checked(Checked::Passed);
            Ok(pass(&passed, record))
        }
        Err(denial) => Ok(deny(Some(token.id()), denial)),
    }
}

/// Returns the path segment after `checktoken/`.
fn gateway_name<'p>(issuer_path: &str, path: &'p str) -> &'p str {
    let rest = Endpoint::CheckToken.rest_of(issuer_path, path);
    let name = rest.and_then(|rest| rest.strip_prefix('/')?.split('/').next());
    name.unwrap_or_default()
}

fn pass(passed: &Passed<'_>, gateway: &GatewayRecord) -> Response {
    let mut response = reply::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    set(headers, SUBJECT, passed.token.subject);
    headers.insert(KIND, HeaderValue::from_static(passed.token.kind.as_str()));
    set(
        headers,
        CLIENT_ID,
        &passed.token.client.client.record.client_id,
    );
    let scopes = HeaderValue::try_from(passed.told(gateway));
    headers.insert(SCOPE, scopes.unwrap_or(NONE));
    headers.insert(TO_REMOVE, gateway::to_remove());
    response
}

const NONE: HeaderValue = HeaderValue::from_static("");

/// Sets a header. The schemas allow only visible ASCII in names and scopes; any other value becomes empty.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value);
    headers.insert(name, value.unwrap_or(NONE));
}

fn denied(site: &Site, gateway: Option<&Gateway>, denial: Denial) -> Response {
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = refused(status);
    let challenge = gateway.map_or_else(
        || site.no_gateway.clone(),
        |gateway| gateway.challenge(denial),
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn unavailable(call: &Call) -> Response {
    call.app.metrics().checked(Checked::Unavailable);
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE);
    let wait = HeaderValue::from(reply::RETRY_SECONDS);
    response.headers_mut().insert(RETRY_AFTER, wait);
    response
}

/// Returns a refusal. It has all identity headers, but empty, so that headers of these names from the caller cannot
/// pass through.
fn refused(status: StatusCode) -> Response {
    let mut response = reply::empty(status);
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    for name in IDENTITY {
        headers.insert(name, NONE);
    }
    response
}
