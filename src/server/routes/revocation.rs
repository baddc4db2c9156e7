//! Token revocation (RFC 7009). For a token that the server knows, the answer is 200 only after the revocation is durable.
//! The revocation of another token is remembered, and recorded when the token arrives.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use tracing::Instrument as _;

use super::people::{self, TokenOfPerson};
use crate::directory::ObjectKey;
use crate::oauth::client_auth::Method;
use crate::oauth::revocation::{self, Decision};
use crate::oauth::{Form, Refusal};
use crate::server::early_revocations::{EarlyRevocation, NotRemembered, Sender};
use crate::server::metrics::{RevocationOutcome, Shed};
use crate::server::request::Call;
use crate::server::token::ParsedToken;
use crate::server::{Recorded, record_early, reply};
use crate::telemetry::audit;

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let body = match call.form_body().await {
        Ok(body) => body,
        Err(refusal) => return Err(refused(&call, refusal)),
    };
    match decide(&call, &body, crate::server::now()).await {
        Ok(Decided::Answered(answer)) => answer,
        Ok(Decided::Record(revocation)) => record(call, revocation).await,
        Ok(Decided::Remember(early)) => {
            let remembered = record_early::remember_unknown(&call.app, early, crate::server::now());
            finish(&call, remembered).map(|()| nothing(&call))
        }
        Ok(Decided::Nothing) => Ok(nothing(&call)),
        Err(refusal) => Err(refused(&call, refusal)),
    }
}

fn refused(call: &Call, refusal: Refusal) -> Refusal {
    call.app.metrics().revoked(RevocationOutcome::Refused);
    refusal
}

/// What to do, copied from the snapshot: the snapshot is not held during a write.
enum Decided {
    /// The answer for a person's token, counted.
    Answered(Result<Response, Refusal>),
    Nothing,
    Remember(EarlyRevocation),
    Record(Revocation),
}

/// A revocation to record.
struct Revocation {
    credential: ObjectKey,
    uid: Option<Arc<str>>,
    owner: String,
    /// Whether the owner is another object now. Then a restore may bind the token to it, in another Credential.
    may_move: bool,
    token: EarlyRevocation,
}

fn nothing(call: &Call) -> Response {
    call.app.metrics().revoked(RevocationOutcome::Nothing);
    reply::empty(StatusCode::OK)
}

/// Remembers the revocation of a token that another Credential may bring.
fn remember(call: &Call, early: EarlyRevocation) -> Result<(), Refusal> {
    let remembered = record_early::remember(&call.app, early, crate::server::now());
    finish(call, remembered)
}

/// Counts a revocation that is not remembered, and refuses its request.
fn finish(call: &Call, remembered: Result<(), NotRemembered>) -> Result<(), Refusal> {
    remembered.map_err(|why| {
        if why == NotRemembered::Full {
            call.app.metrics().shed(Shed::Revocations);
        }
        unavailable(call)
    })
}

fn unavailable(call: &Call) -> Refusal {
    call.app.metrics().revoked(RevocationOutcome::Unavailable);
    Refusal::Unavailable
}

async fn decide(call: &Call, body: &[u8], now: Timestamp) -> Result<Decided, Refusal> {
    let form = Form::parse(body)?;
    let serving = call.serving(now)?;
    let has_people = serving.site()?.people.is_some();
    // Only a person's token makes the request wait for the store.
    let serving = if has_people { serving.held() } else { serving };
    let (caller, method) = call.identify(&serving, &form, now)?;
    let text = form.require("token", "token is missing")?;
    let snapshot = serving.snapshot();
    // A text that is not a token needs no revocation (RFC 7009 section 2.2).
    let Ok(token) = serving.token(text)? else {
        return Ok(Decided::Nothing);
    };
    if let Some(token) = TokenOfPerson::recognise(&token, text, &serving) {
        let answer = people::revocation::revoke(call, &serving, &caller, &token, now).await;
        return Ok(Decided::Answered(answer));
    }
    let token = match token {
        ParsedToken::Reference(token) => token,
        ParsedToken::Jwt(token) => {
            revocation::access_token(&caller, &token.claims, now)?;
            return Ok(Decided::Nothing);
        }
    };
    let directory = snapshot.directory();
    let early = || EarlyRevocation {
        token_id: token.id,
        hash: token.hash,
        client: caller.client.object.key.clone(),
        client_id: Arc::clone(&caller.client.record.client_id),
        sender: Sender::of(&call.origin(snapshot)),
    };
    Ok(
        match revocation::reference_token(directory, &caller, &token, now) {
            Decision::Nothing => Decided::Nothing,
            // Anyone can send the id of a public client, and only a token that is known proves itself.
            Decision::Unknown if method == Method::None => return Err(unavailable(call)),
            Decision::Unknown => Decided::Remember(early()),
            Decision::Revoke {
                credential, owner, ..
            } => Decided::Record(Revocation {
                credential: credential.key.clone(),
                uid: credential.uid.clone(),
                owner: owner.key.to_string(),
                may_move: !directory.has_owner(owner),
                token: early(),
            }),
        },
    )
}

/// Records a revocation if not too many are under way.
async fn record(call: Call, revocation: Revocation) -> Result<Response, Refusal> {
    let Some(under_way) = call.app.revocations().begin(&revocation.token.client) else {
        call.app.metrics().shed(Shed::Revocations);
        return Err(unavailable(&call));
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
        owner,
        may_move,
        token,
    } = revocation;
    let (token_id, client_id) = (token.token_id, Arc::clone(&token.client_id));
    let recorded = call
        .app
        .record_revocation(&credential, uid.as_deref(), &token_id);
    let recorded = match recorded.await {
        Ok(recorded) => recorded,
        Err(error) => {
            if call.app.noise().refusal(call.peer, &client_id) {
                tracing::warn!(%credential, %error, "could not record a revocation, the caller is told to retry");
            }
            return Err(unavailable(&call));
        }
    };
    // This replica refuses the token at once, before its watch shows the write.
    call.app
        .publisher()
        .update(|directory| directory.revoke(&credential, &token_id));
    if recorded == Recorded::Gone {
        return remember(&call, token).map(|()| nothing(&call));
    }
    if may_move {
        // The write is durable, and a restore carries it along. Until then only this server can refuse the token, so
        // the caller must repeat the request if it cannot. If the token has moved already, that revokes it there.
        remember(&call, token)?;
    }
    call.app.metrics().revoked(RevocationOutcome::Revoked);
    let (token_id, client_id, owner) = (token_id.as_str(), &*client_id, &*owner);
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
