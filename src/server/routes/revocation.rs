//! Token revocation (RFC 7009). The answer is 200 only after the revocation is durable.

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use tracing::Instrument as _;

use crate::directory::ObjectKey;
use crate::oauth::revocation::{self, Decision};
use crate::oauth::{Form, Refusal};
use crate::server::metrics::{RevocationOutcome, Shed};
use crate::server::reply;
use crate::server::request::Call;
use crate::server::token::ParsedToken;
use crate::telemetry::audit;
use crate::tokens::TokenId;

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let decision = match call.form_body().await {
        Ok(body) => decide(&call, &body, crate::server::now()),
        Err(refusal) => Err(refusal),
    };
    match decision {
        Ok(Some(revocation)) => record(call, revocation).await,
        Ok(None) => {
            call.app.metrics().revoked(RevocationOutcome::Nothing);
            Ok(reply::empty(StatusCode::OK))
        }
        Err(refusal) => {
            call.app.metrics().revoked(RevocationOutcome::Refused);
            Err(refusal)
        }
    }
}

/// A revocation to record, copied from the snapshot: the snapshot is not held during the write.
struct Revocation {
    credential: ObjectKey,
    uid: Option<std::sync::Arc<str>>,
    token_id: TokenId,
    client: ObjectKey,
    client_id: String,
    owner: String,
}

fn decide(call: &Call, body: &[u8], now: Timestamp) -> Result<Option<Revocation>, Refusal> {
    let form = Form::parse(body)?;
    let serving = call.serving(now)?;
    let (caller, _) = call.authenticate(&serving, &form, now)?;
    let token = form.require("token", "token is missing")?;
    let snapshot = serving.snapshot();
    let decision = match serving.token(token)? {
        Ok(ParsedToken::Reference(token)) => {
            revocation::reference_token(snapshot.directory(), &caller, &token, now)
        }
        Ok(ParsedToken::Jwt(token)) => {
            revocation::access_token(&caller, &token.claims, now)?;
            Decision::Nothing
        }
        // An unknown token needs no revocation (RFC 7009 section 2.2).
        Err(_) => Decision::Nothing,
    };
    Ok(match decision {
        Decision::Nothing => None,
        Decision::Revoke {
            credential,
            entry,
            owner,
        } => Some(Revocation {
            credential: credential.key.clone(),
            uid: credential.uid.clone(),
            token_id: entry.token_id,
            client: caller.client.object.key.clone(),
            client_id: caller.client.record.client_id.to_string(),
            owner: owner.key.to_string(),
        }),
    })
}

/// Records a revocation if not too many are under way.
async fn record(call: Call, revocation: Revocation) -> Result<Response, Refusal> {
    let Some(under_way) = call.app.revocations().begin(&revocation.client) else {
        call.app.metrics().shed(Shed::Revocations);
        call.app.metrics().revoked(RevocationOutcome::Unavailable);
        return Err(Refusal::Unavailable);
    };
    let turn = call.give_turn_back();
    // A task of its own: a caller that gives up does not cancel a write that has begun, which would close a connection
    // to the API server, and leave open whether the token is revoked.
    let carried_out = async move { (carry_out(call, revocation).await, under_way) };
    let carried_out = tokio::spawn(carried_out.in_current_span()).await;
    // The revocation keeps its place while the request waits for a turn.
    turn.take_again().await;
    carried_out.map_or(Err(Refusal::Unavailable), |(answer, _)| answer)
}

async fn carry_out(call: Call, revocation: Revocation) -> Result<Response, Refusal> {
    let Revocation {
        credential,
        uid,
        token_id,
        client: _,
        client_id,
        owner,
    } = revocation;
    let revoker = call.app.revoker();
    let recorded = revoker.revoke(&credential, uid.as_deref(), &token_id);
    let failed = match tokio::time::timeout(call.app.limits().revocation, recorded).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("timed out".to_owned()),
    };
    if let Some(error) = failed {
        if call.app.noise().refusal(call.peer, &client_id) {
            tracing::warn!(%credential, error, "could not record a revocation, the caller is told to retry");
        }
        call.app.metrics().revoked(RevocationOutcome::Unavailable);
        return Err(Refusal::Unavailable);
    }
    // This replica refuses the token at once, before its watch shows the write.
    call.app
        .publisher()
        .update(|directory| directory.revoke(&credential, &token_id));
    call.app.metrics().revoked(RevocationOutcome::Revoked);
    let (token_id, client_id, owner) = (token_id.as_str(), &client_id, &owner);
    audit::revoked(
        &call.origin(&call.app.publisher().current()),
        &audit::Revoked {
            token_id,
            client_id,
            owner,
        },
    );
    Ok(reply::empty(StatusCode::OK))
}
