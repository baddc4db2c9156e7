//! The signals that ask the process to stop.

use std::sync::OnceLock;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled by the first signal. The token exists once per process and stays cancelled, so that no signal is lost
/// while nothing waits for it.
static ASKED: OnceLock<CancellationToken> = OnceLock::new();

/// Returns a future that resolves after SIGTERM or SIGINT. The process handles these signals from the first call on.
/// Before that, and if a handler cannot be installed, a signal ends the process, as is the system's default.
pub(super) fn asked_to_stop() -> impl Future<Output = ()> {
    stop_token().cancelled_owned()
}

/// Returns a token that is cancelled after SIGTERM or SIGINT, as in [`asked_to_stop`].
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
        .inspect_err(|error| tracing::warn!(%error, signal = name, "cannot listen for a signal"))
        .ok()
}

async fn come(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
