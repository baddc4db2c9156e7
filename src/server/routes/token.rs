//! The token endpoint (RFC 6749 section 3.2).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::people::{self, token::Failed};
use crate::directory::AcceptedClient;
use crate::oauth::client_auth::Method;
use crate::oauth::grants::{SupportedGrant, client_credentials};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::telemetry::audit;
use crate::tokens::SystemEntropy;

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let body = call.form_body().await?;
    let now = crate::server::now();
    let form = Form::parse(&body)?;
    let mut serving = call.serving(now)?;
    let has_people = serving.site()?.people.is_some();
    if has_people && form.get("grant_type") != Some(SupportedGrant::ClientCredentials.as_str()) {
        serving = serving.held();
    }
    let (client, method) = call.identify(&serving, &form, now)?;
    let granted = match SupportedGrant::requested(&form, has_people) {
        Ok(SupportedGrant::ClientCredentials) => {
            issue(&call, &serving, &client, method, &form, now).map_err(Failed::from)
        }
        Ok(grant) => {
            let caller = (&client, method);
            people::token::issue(&call, &serving, caller, grant, &form, now).await
        }
        Err(error) => Err(error.into()),
    };
    granted.map_err(|Failed { refusal, reason }| {
        if let Refusal::Protocol(error) = &refusal {
            call.app.metrics().refused(error.code);
            let client_id = &client.client.record.client_id;
            let reason = reason.unwrap_or(error.code.as_str());
            call.audit_refusal(serving.snapshot(), client_id, None, reason);
        }
        refusal
    })
}

/// Issues a token to a client for itself.
fn issue(
    call: &Call,
    serving: &ServingSnapshot,
    client: &AcceptedClient<'_>,
    method: Method,
    form: &Form<'_>,
    now: Timestamp,
) -> Result<Response, Refusal> {
    let snapshot = serving.snapshot();
    if method == Method::None {
        // RFC 6749 section 4.4: only confidential clients.
        return Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "a public client may not use client_credentials",
        )
        .into());
    }
    let issue =
        client_credentials::decide(snapshot.directory(), client, form, now, &mut SystemEntropy)?;
    // A missing key is a temporary fault: the operator creates keys.
    let no_key = || {
        OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "no key can sign now, try again",
        )
    };
    let algorithm = issue.algorithm.or(serving.site()?.default_algorithm);
    let algorithm = algorithm.ok_or_else(no_key)?;
    let claims = issue.claims.to_json().map_err(|_| no_key())?;
    let signed = snapshot.ring().sign(algorithm, issue.typ, &claims);
    let token = signed.map_err(|_| no_key())?;
    let grant = SupportedGrant::ClientCredentials;
    call.app.metrics().issued(grant, algorithm);
    audit::issued(
        &call.origin(snapshot),
        &audit::Issued {
            token_id: &issue.claims.jti,
            client_id: &issue.claims.client_id,
            subject: &issue.claims.sub,
            grant: grant.as_str(),
            method: method.as_str(),
            scope: &issue.scope,
            expires_in: issue.expires_in,
        },
    );
    Ok(reply::json(StatusCode::OK, render(&token, &issue)))
}

/// Returns the response body (RFC 6749 section 5.1). Nothing needs escaping: a JWT is base64url, and a scope has no
/// quotation mark.
fn render(token: &str, issue: &client_credentials::UnsignedToken) -> String {
    let client_credentials::UnsignedToken {
        expires_in, scope, ..
    } = issue;
    format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in},"scope":"{scope}"}}"#
    )
}
