//! Remembers revocations of tokens that the server has not seen yet, and records them when the tokens arrive.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;

use super::early_revocations::{EarlyRevocation, NotRemembered, Seen};
use super::now;
use super::state::State;
use crate::telemetry::audit;

/// The most writes under way.
const WRITES: usize = 16;
/// The pause after which the task looks for writes that have failed before and for revocations to forget.
const PAUSE: Duration = Duration::from_secs(1);

/// Remembers the revocation of a token that the server does not know, unless the token is known to be revoked: such a
/// repeated request takes no place.
///
/// # Errors
/// [`NotRemembered`]: the caller must repeat the request.
pub(super) fn remember_unknown(
    app: &State,
    revocation: EarlyRevocation,
    now: Timestamp,
) -> Result<(), NotRemembered> {
    if app.publisher().is_revoked(&revocation)? {
        return Ok(());
    }
    remember(app, revocation, now)
}

/// Remembers a revocation, and starts the task that records it when the token arrives.
///
/// # Errors
/// [`NotRemembered`]: the caller must repeat the request.
pub(super) fn remember(
    app: &State,
    revocation: EarlyRevocation,
    now: Timestamp,
) -> Result<(), NotRemembered> {
    if !app.status().is_current(now) {
        return Err(NotRemembered::Silent);
    }
    let heard = app.status().heard(now);
    if app.publisher().remember(revocation, heard, now)? {
        tokio::spawn(record(app.clone()));
    }
    Ok(())
}

/// Records the revocations of tokens that have arrived, [`WRITES`] at a time, until none is remembered.
async fn record(app: State) {
    let mut writes = FuturesUnordered::new();
    loop {
        while writes.len() < WRITES
            && let Some((revocation, seen)) = app.publisher().begin_early(now())
        {
            writes.push(record_one(&app, revocation, seen));
        }
        if writes.is_empty() && app.publisher().no_early_left(app.status().heard(now())) {
            return;
        }
        tokio::select! {
            Some(()) = writes.next() => {}
            () = app.publisher().early_arrival() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn record_one(app: &State, revocation: EarlyRevocation, seen: Seen) {
    let EarlyRevocation {
        token_id,
        client_id,
        sender,
        ..
    } = &revocation;
    let credential = &seen.credential;
    let recorded = app.record_revocation(credential, seen.uid.as_deref(), token_id);
    // If the Credential is gone, another one may still bring the token.
    if let Err(error) = recorded.await {
        if app.noise().refusal(sender.peer, client_id) {
            tracing::warn!(%credential, %error, "could not record a revocation, this server refuses the token and will retry");
        }
        app.publisher().early_failed(&revocation, &seen, now());
        return;
    }
    let revoked = audit::Revoked {
        token_id: token_id.as_str(),
        client_id,
        owner: &seen.owner.to_string(),
    };
    audit::revoked(&sender.origin(), &revoked);
    app.publisher().early_recorded(&revocation, &seen);
}

/// Tries once more to record the revocations of tokens that have arrived, because the server is about to end.
pub(super) async fn finish(app: &State) {
    app.publisher().hurry_early();
    app.publisher().early_written().await;
}

/// Logs the revocations that are lost because the server ends.
pub(super) fn tell_lost(app: &State) {
    let count = app.publisher().early_unrecorded(app.status().heard(now()));
    if count > 0 {
        tracing::warn!(
            count,
            "revocations may be lost, because the server ends before it could store them everywhere: revoke the tokens again"
        );
    }
}
