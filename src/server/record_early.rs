//! Remembers revocations of tokens that the server has not seen yet, and records them when the tokens arrive.

use std::time::Duration;

use jiff::Timestamp;

use super::early_revocations::{EarlyRevocation, NotRemembered, Seen};
use super::now;
use super::state::State;
use crate::telemetry::audit;

/// The pause after which a revocation that could not be recorded is tried again.
const RETRY: Duration = Duration::from_secs(5);

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

/// Records the revocations of tokens that have arrived, until none is remembered.
async fn record(app: State) {
    loop {
        for (revocation, seen) in app.publisher().early_seen() {
            record_one(&app, &revocation, &seen).await;
        }
        if app.publisher().no_early_left(app.status().heard(now())) {
            return;
        }
        tokio::select! {
            () = app.publisher().early_arrival() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

async fn record_one(app: &State, revocation: &EarlyRevocation, seen: &Seen) {
    let EarlyRevocation {
        token_id,
        client_id,
        sender,
        ..
    } = revocation;
    let credential = &seen.credential;
    let recorded = app.record_revocation(credential, seen.uid.as_deref(), token_id);
    // If the Credential is gone, another one may still bring the token.
    if let Err(error) = recorded.await {
        if app.noise().refusal(sender.peer, client_id) {
            tracing::warn!(%credential, %error, "could not record a revocation, this server refuses the token and will retry");
        }
        return;
    }
    app.publisher().early_recorded(revocation, seen);
    let revoked = audit::Revoked {
        token_id: token_id.as_str(),
        client_id,
        owner: &seen.owner.to_string(),
    };
    audit::revoked(&sender.origin(), &revoked);
}
