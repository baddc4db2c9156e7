//! The token endpoint (RFC 6749 section 3.2).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::people::{self, token::Failed};
use crate::directory::{AcceptedClient, ObjectKey};
use crate::oauth::client_auth::Method;
use crate::oauth::grants::{SupportedGrant, client_credentials};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::server::metrics::Shed;
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::server::signing::{Slot, Turn};
use crate::telemetry::audit;
use crate::tokens::{Algorithm, SystemEntropy};

/// What becomes of a request.
enum Decided<'a> {
    Answered(Response),
    /// The request may sign, which takes long.
    MaySign(Slot<'a>),
    /// Other requests of this client must sign first.
    Waits(ObjectKey),
}

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let body = call.form_body().await?;
    let now = crate::server::now();
    let has_people = call.serving(now)?.site()?.people.is_some();
    let is_for_person =
        has_people && Form::parse(&body)?.get("grant_type") != Some(CLIENT_CREDENTIALS);
    if !is_for_person {
        return for_client(&call, &body).await;
    }
    // A caller that leaves must not suppress that a code or refresh token which was used twice has ended its grant.
    let turn = call.give_turn_back();
    let (admitted, held) = (call.admitted(), call.hold(body.len()));
    let answered = people::carry_out(admitted, async move {
        let answered = for_person(&call, &body, now).await;
        drop(held);
        answered
    });
    let answered = answered.await;
    turn.take_again().await;
    answered?
}

const CLIENT_CREDENTIALS: &str = SupportedGrant::ClientCredentials.as_str();

/// Answers a request for tokens that act for a person.
async fn for_person(call: &Call, body: &[u8], now: Timestamp) -> Result<Response, Refusal> {
    let client = match answer_person(call, body, None, now).await? {
        Decided::Waits(client) => client,
        Decided::Answered(response) => return Ok(response),
        Decided::MaySign(_) => return Err(overloaded(call)),
    };
    let waiting = call.app.signing().line_up(&client);
    let waiting = waiting.ok_or_else(|| overloaded(call))?;
    let slot = waiting.wait().await.ok_or_else(|| overloaded(call))?;
    tokio::task::yield_now().await;
    // The snapshot and the store may have changed, so everything is decided again.
    match answer_person(call, body, Some(slot), now).await? {
        Decided::Answered(response) => Ok(response),
        Decided::MaySign(_) | Decided::Waits(_) => Err(overloaded(call)),
    }
}

/// Answers a request for tokens that act for a person, if it may sign.
async fn answer_person<'a>(
    call: &'a Call,
    body: &[u8],
    slot: Option<Slot<'a>>,
    now: Timestamp,
) -> Result<Decided<'a>, Refusal> {
    let form = Form::parse(body)?;
    let serving = call.serving(now)?.held();
    let (client, method) = call.identify(&serving, &form, now)?;
    let key = &client.client.object.key;
    let is_slow = signs_slowly(&serving, &client);
    let turn = Turn::new(call.app.signing(), key.clone(), is_slow, slot);
    let granted = match SupportedGrant::requested(&form, true) {
        Ok(grant) => {
            let (client, grant) = ((&client, method), (grant, &form));
            people::token::issue(call, &serving, client, grant, &turn, now).await
        }
        Err(error) => Err(error.into()),
    };
    match granted {
        Ok(Some(response)) => Ok(Decided::Answered(response)),
        Ok(None) => Ok(Decided::Waits(key.clone())),
        Err(failed) => Err(refused(call, &serving, &client, failed)),
    }
}

fn overloaded(call: &Call) -> Refusal {
    call.app.metrics().shed(Shed::Signatures);
    Refusal::Overloaded
}

/// Answers a request of a client for a token for itself.
async fn for_client(call: &Call, body: &[u8]) -> Result<Response, Refusal> {
    let overloaded = || overloaded(call);
    // The snapshot may change while the request waits, so everything is decided again.
    let decided = match answer(call, body, None)? {
        Decided::MaySign(slot) => {
            // The requests that have come, perhaps hundreds, run up to here while this one holds its slot. Otherwise
            // each would sign as soon as it has a processor, and would never see that others are about to.
            tokio::task::yield_now().await;
            answer(call, body, Some(slot))?
        }
        Decided::Waits(client) => {
            let waiting = call.app.signing().line_up(&client).ok_or_else(overloaded)?;
            let turn = call.give_turn_back();
            let slot = waiting.wait().await.ok_or_else(overloaded)?;
            // A task that another one woke runs next. Those that came before it must run too.
            tokio::task::yield_now().await;
            let decided = answer(call, body, Some(slot));
            turn.take_again().await;
            decided?
        }
        answered @ Decided::Answered(_) => answered,
    };
    match decided {
        Decided::Answered(response) => Ok(response),
        Decided::MaySign(_) | Decided::Waits(_) => Err(overloaded()),
    }
}

/// Answers a request that signs fast, or that has a `slot`. Otherwise decides whether it may sign.
fn answer<'a>(call: &'a Call, body: &[u8], slot: Option<Slot<'a>>) -> Result<Decided<'a>, Refusal> {
    let now = crate::server::now();
    let form = Form::parse(body)?;
    let serving = call.serving(now)?;
    let (client, method) = call.identify(&serving, &form, now)?;
    // Before it takes a slot: a client's id is no secret, so anyone can send it.
    if method == Method::None {
        let error = OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "a public client may not use client_credentials",
        );
        return Err(refused(
            call,
            &serving,
            &client,
            Refusal::from(error).into(),
        ));
    }
    let key = &client.client.object.key;
    let _slot = match slot {
        Some(slot) => slot,
        None => match call.app.signing().try_begin(key) {
            None => return Ok(Decided::Waits(key.clone())),
            Some(slot) if signs_slowly(&serving, &client) => return Ok(Decided::MaySign(slot)),
            Some(slot) => slot,
        },
    };
    let granted = issue(call, &serving, &client, method, &form, now);
    let granted = granted.map_err(|refusal| refused(call, &serving, &client, refusal.into()));
    granted.map(Decided::Answered)
}

/// Counts and logs the refusal of a grant.
fn refused(
    call: &Call,
    serving: &ServingSnapshot,
    client: &AcceptedClient<'_>,
    Failed { refusal, reason }: Failed,
) -> Refusal {
    if let Refusal::Protocol(error) = &refusal {
        call.app.metrics().refused(error.code);
        let client_id = &client.client.record.client_id;
        let reason = reason.unwrap_or(error.code.as_str());
        call.audit_refusal(serving.snapshot(), client_id, None, reason);
    }
    refusal
}

fn signs_slowly(serving: &ServingSnapshot, client: &AcceptedClient<'_>) -> bool {
    let own = client.client.record.algorithm.map(Algorithm::from);
    let default = || serving.site().ok()?.default_algorithm;
    own.or_else(default).is_some_and(Algorithm::signs_slowly)
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
    let grant = SupportedGrant::requested(form, false)?;
    let issue =
        client_credentials::decide(snapshot.directory(), client, form, now, &mut SystemEntropy)?;
    let algorithm = issue.algorithm.or(serving.site()?.default_algorithm);
    let algorithm = algorithm.ok_or(OAuthError::NO_KEY)?;
    let claims = issue.claims.to_json().map_err(|_| OAuthError::NO_KEY)?;
    let signed = snapshot.ring().sign(algorithm, issue.typ, &claims);
    let token = signed.map_err(|_| OAuthError::NO_KEY)?;
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
