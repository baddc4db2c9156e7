//! When the process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled when SIGTERM or SIGINT comes, also while nobody waits for it.
pub(super) fn stop_token() -> CancellationToken {
    let asked = CancellationToken::new();
    let token = asked.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        asked.cancel();
    });
    token
}

/// Returns when SIGTERM or SIGINT comes. Where signals cannot be had it never returns: the process is
/// then ended as the system does it.
pub(super) async fn asked_to_stop() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        result = tokio::signal::ctrl_c() => if let Err(error) = result {
            tracing::warn!(%error, "SIGINT cannot be listened for");
            std::future::pending::<()>().await;
        },
    }
}
