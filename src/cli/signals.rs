//! When the process is asked to stop.

use std::sync::OnceLock;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The process has one set of signals. They are remembered: one that comes while nobody waits is not lost.
static ASKED: OnceLock<CancellationToken> = OnceLock::new();

/// Listens for SIGTERM and SIGINT, from the first call on; each future ends when one has come. Until the first call,
/// and where a signal cannot be listened for, it ends the process as the system does it.
pub(super) fn asked_to_stop() -> impl Future<Output = ()> {
    stop_token().cancelled_owned()
}

/// Cancelled when one of the signals has come; otherwise as [`asked_to_stop`].
pub(super) fn stop_token() -> CancellationToken {
    ASKED.get_or_init(listen).clone()
}

fn listen() -> CancellationToken {
    let terminate = listen_for(SignalKind::terminate(), "SIGTERM");
    let interrupt = listen_for(SignalKind::interrupt(), "SIGINT");
    let asked = CancellationToken::new();
    let tell = asked.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = come(terminate) => {}
            () = come(interrupt) => {}
        }
        tell.cancel();
    });
    asked
}

fn listen_for(kind: SignalKind, name: &str) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::warn!(%error, "{name} cannot be listened for"))
        .ok()
}

async fn come(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
