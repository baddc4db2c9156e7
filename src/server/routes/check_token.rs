//! `/connect/checktoken/<gateway>`: for nginx's `auth_request`, Traefik's `forwardAuth`, Caddy's `forward_auth`,
//! Envoy's `ext_authz` over HTTP, and others.
//!
//! The answer is 200, 401 or 403, or 503 while the server cannot judge a token. It always has all identity headers. The
//! server ignores the method, the query, the body and the path after the gateway's name: they belong to the request
//! that the proxy asks about.

use axum::http::header::{USER_AGENT, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use super::people::{
    self, PresentedPersonal, active, active_personal, claims_of, personal_standing, standing,
};
use crate::directory::tables::record::GatewayRecord;
use crate::oauth::enforcement::{Denial, Passed, admit};
use crate::oauth::person_token::PersonToken;
use crate::oauth::{Endpoint, Refusal, bearer};
use crate::server::enforcement::{Enforced, read};
use crate::server::gateway::{
    self, CLIENT_ID, IDENTITY, KEYS, KIND, SCOPE, SUBJECT, ServedGateway, TO_REMOVE,
};
use crate::server::metrics::Checked;
use crate::server::people::personal_tokens::Presenter;
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot, values};
use crate::server::snapshot::Site;
use crate::server::token::ParsedToken;
use crate::tokens::PersonClaims;

/// The number of headers of a 200, including those that every answer has.
const HEADERS: usize = 10;

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    let now = crate::server::now();
    let answer = match call.serving(now) {
        Ok(serving) => answer(&call, serving, now).await,
        Err(refusal) => Err(refusal),
    };
    // While the server cannot judge tokens, no request may pass.
    Ok(answer.unwrap_or_else(|_| unavailable(&call)))
}

/// [`Refusal::Unavailable`] if the server cannot judge the token.
async fn answer(
    call: &Call,
    serving: ServingSnapshot,
    now: Timestamp,
) -> Result<Response, Refusal> {
    let has_people = serving.site()?.people.is_some();
    // Only a person's token makes the request wait for the store.
    let serving = if has_people { serving.held() } else { serving };
    let site = serving.site()?;
    let gateway = site
        .gateways
        .get(gateway_name(&site.path, call.head.uri.path()));
    let record = gateway.map(|gateway| &gateway.record);
    let headers = &call.head.headers;
    let api_keys = KEYS.into_iter().flat_map(|name| values(headers, name));
    let sent = bearer::extract(call.authorization(), api_keys);
    let verdict = match read(call, &serving, record, sent)? {
        Ok(enforced) if has_people => {
            let personal = sent.ok();
            let personal = personal.and_then(|text| PresentedPersonal::of(&enforced.token, text));
            match (personal, claims_of(&enforced.token)) {
                (Some(personal), _) => {
                    of_personal(call, &serving, &enforced, &personal, now).await?
                }
                (None, Some(claims)) => of_person(call, &serving, &enforced, &claims, now).await?,
                (None, None) => enforced.judge(now, pass),
            }
        }
        Ok(enforced) => enforced.judge(now, pass),
        Err(denial) => Err(denial),
    };
    Ok(verdict.unwrap_or_else(|denial| denied(site, gateway, denial)))
}

/// Judges a person's token with its grant.
async fn of_person(
    call: &Call,
    serving: &ServingSnapshot,
    enforced: &Enforced<'_>,
    claims: &PersonClaims,
    now: Timestamp,
) -> Result<Result<Response, Denial>, Refusal> {
    let ParsedToken::Jwt(jwt) = &enforced.token else {
        return Ok(enforced.judge(now, pass));
    };
    let people = people::people(call)?;
    let standing = standing(call, &people, claims).await;
    let standing = standing.map_err(|error| people::unavailable(call, &error))?;
    let presented = PersonToken {
        token: &jwt.claims,
        person: claims,
    };
    let found = active(serving.snapshot(), presented, standing.as_ref(), now);
    let checked = found.map_err(Denial::Inactive);
    let checked = checked.and_then(|found| admit(found.token, enforced.gateway()));
    Ok(enforced.settle(checked, now, pass))
}

/// Judges a personal access token with its row.
async fn of_personal(
    call: &Call,
    serving: &ServingSnapshot,
    enforced: &Enforced<'_>,
    presented: &PresentedPersonal<'_>,
    now: Timestamp,
) -> Result<Result<Response, Denial>, Refusal> {
    let people = people::people(call)?;
    let standing = personal_standing(call, &people, presented).await?;
    let found = active_personal(serving.snapshot(), presented, standing.as_ref(), now);
    let checked = found.map_err(Denial::Inactive);
    let checked = checked.and_then(|found| admit(found.token, enforced.gateway()));
    if checked.is_ok()
        && let Some(standing) = &standing
    {
        let user_agent = call.head.headers.get(USER_AGENT);
        let by = Presenter {
            peer: call.peer,
            user_agent: user_agent.map_or(b"", HeaderValue::as_bytes),
        };
        people.personal_tokens.note(&standing.token, Some(by), now);
    }
    Ok(enforced.settle(checked, now, pass))
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

fn denied(site: &Site, gateway: Option<&ServedGateway>, denial: Denial) -> Response {
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = without_identity(reply::empty(status));
    let challenge = gateway.map_or_else(
        || site.no_gateway.clone(),
        |gateway| gateway.challenge(denial),
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn unavailable(call: &Call) -> Response {
    call.app.metrics().checked(Checked::Unavailable);
    without_identity(reply::refused_without_body(Refusal::Unavailable))
}

/// Adds all identity headers to a refusal, but empty, so that headers of these names from the caller cannot pass
/// through.
fn without_identity(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    for name in IDENTITY {
        headers.insert(name, NONE);
    }
    response
}
