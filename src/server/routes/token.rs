//! The token endpoint (RFC 6749 section 3.2).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use crate::directory::AcceptedClient;
use crate::oauth::client_auth::Method;
use crate::oauth::grants::{SupportedGrant, UNSUPPORTED, client_credentials};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::telemetry::audit;
use crate::tokens::SystemEntropy;

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let body = call.form_body().await?;
    answer(&call, &body, crate::server::now())
}

fn answer(call: &Call, body: &[u8], now: Timestamp) -> Result<Response, Refusal> {
    let form = Form::parse(body)?;
    let serving = call.serving(now)?;
    let (client, method) = call.authenticate(&serving, &form, now)?;
    grant(call, &serving, &client, method, &form, now).inspect_err(|refusal| {
        if let Refusal::Protocol(error) = refusal {
            call.app.metrics().refused(error.code);
            let client_id = &client.client.record.client_id;
            call.audit_refusal(serving.snapshot(), client_id, None, error.code.as_str());
        }
    })
}

fn grant(
    call: &Call,
    serving: &ServingSnapshot,
    client: &AcceptedClient<'_>,
    method: Method,
    form: &Form<'_>,
    now: Timestamp,
) -> Result<Response, Refusal> {
    let snapshot = serving.snapshot();
    let grant = SupportedGrant::requested(form, false)?;
    let issue = match grant {
        SupportedGrant::ClientCredentials => {
            client_credentials::decide(snapshot.directory(), client, form, now, &mut SystemEntropy)?
        }
        SupportedGrant::AuthorizationCode | SupportedGrant::RefreshToken => {
            return Err(UNSUPPORTED.into());
        }
    };
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
