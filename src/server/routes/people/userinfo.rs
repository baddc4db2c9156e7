//! The userinfo endpoint (OpenID Connect Core section 5.3).

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

use super::join::{active, claims_of, standing};
use super::{people, unavailable};
use crate::oauth::access_token::Inactive;
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::form::is_form;
use crate::oauth::person_token::PersonToken;
use crate::oauth::userinfo::{self, Denial};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::server::people::metrics::UserInfoOutcome;
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::server::snapshot::Site;
use crate::server::token::ParsedToken;

const JWT: HeaderValue = HeaderValue::from_static("application/jwt");

/// Returns whether the client asks for a signed answer: no registration says so.
fn wants_jwt(call: &Call) -> bool {
    let accepted = call.head.headers.get(ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|value| value.trim().eq_ignore_ascii_case("application/jwt"))
}

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let has_people = call.serving(crate::server::now())?.site()?.people.is_some();
    if !has_people {
        return Ok(reply::not_found());
    }
    let content_type = call.head.headers.get(CONTENT_TYPE);
    let has_form = call.head.method == Method::POST
        && is_form(content_type.and_then(|value| value.to_str().ok()));
    let body = if has_form {
        call.form_body().await?
    } else {
        bytes::Bytes::new()
    };
    // What holds now, not when the first byte came.
    let now = crate::server::now();
    let serving = call.serving(now)?.held();
    let form = has_form.then(|| Form::parse(&body)).transpose()?;
    let sent = userinfo::token(call.authorization(), form.as_ref());
    let site = serving.site()?;
    match answer(&call, &serving, sent, now).await? {
        Ok(response) => {
            let outcome = UserInfoOutcome::Answered;
            call.app.metrics().people().userinfo(outcome);
            Ok(response)
        }
        Err(denial) => {
            let outcome = UserInfoOutcome::Denied(denial);
            call.app.metrics().people().userinfo(outcome);
            Ok(denied(site, denial))
        }
    }
}

async fn answer(
    call: &Call,
    serving: &ServingSnapshot,
    sent: Result<&str, crate::oauth::bearer::Unusable>,
    now: Timestamp,
) -> Result<Result<Response, Denial>, Refusal> {
    let text = match sent {
        Ok(text) => text,
        Err(unusable) => return Ok(Err(Denial::Unusable(unusable))),
    };
    let token = match serving.token(text)? {
        Ok(token) => token,
        Err(inactive) => return Ok(Err(Denial::Inactive(inactive))),
    };
    let (ParsedToken::Jwt(jwt), Some(claims)) = (&token, claims_of(&token)) else {
        return Ok(Err(Denial::Inactive(Inactive::WrongKind)));
    };
    call.is_of(&jwt.claims.client_id);
    let people = people(call)?;
    let standing = standing(call, &people, &claims).await;
    let standing = standing.map_err(|error| unavailable(call, &error))?;
    let snapshot = serving.snapshot();
    let presented = PersonToken {
        token: &jwt.claims,
        person: &claims,
    };
    let found = match active(snapshot, presented, standing.as_ref(), now) {
        Ok(found) => found,
        Err(inactive) => {
            call.audit_denial(snapshot, &jwt.claims.jti, true, inactive.as_str());
            return Ok(Err(Denial::Inactive(inactive)));
        }
    };
    let asked = standing.as_ref().and_then(|it| it.grant.claims.as_deref());
    let unreadable = |_| OAuthError::new(ErrorCode::ServerError, "the answer cannot be written");
    let asked = ClaimsRequest::from_stored(asked).map_err(unreadable)?;
    let facts = match userinfo::answer(&found, &asked, &[]) {
        Ok(facts) => facts,
        Err(denial) => return Ok(Err(denial)),
    };
    if !wants_jwt(call) {
        let json = facts.to_json().map_err(unreadable)?;
        return Ok(Ok(reply::json(StatusCode::OK, json)));
    }
    let (client_id, site) = (&*jwt.claims.client_id, serving.site()?);
    let own = found.token.client.client.record.algorithm;
    let algorithm = own.map(Into::into).or(site.default_algorithm);
    let algorithm = algorithm.ok_or(OAuthError::NO_KEY)?;
    let issuer = &site.issuer;
    let json = facts
        .signed_for(issuer, client_id, now)
        .to_json()
        .map_err(unreadable)?;
    let signed = snapshot.ring().sign(algorithm, userinfo::TYPE, &json);
    let signed = signed.map_err(|_| OAuthError::NO_KEY)?;
    let mut response = reply::json(StatusCode::OK, Body::from(signed));
    response.headers_mut().insert(CONTENT_TYPE, JWT);
    Ok(Ok(response))
}

/// Renders a denial (RFC 6750 section 3).
fn denied(site: &Site, denial: Denial) -> Response {
    let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let mut response = match denial.code() {
        None => reply::empty(status),
        Some(code) => {
            let error = OAuthError::new(code, "the access token does not serve here");
            reply::json(status, error.to_json())
        }
    };
    if let Ok(challenge) = HeaderValue::try_from(denial.challenge(&site.issuer)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
