//! The embedded Identity. Every pod of the operator serves it, also while another pod or no pod is the leader.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::clock::now;
use super::listen::bind;
use super::serve::Service;
use crate::directory::Directory;
use crate::kube_call::Client;
use crate::reconcile::controller;
use crate::server::{self, App, NotReady};

/// A running server inside the operator.
pub(super) struct EmbeddedServer {
    app: App,
    /// Ends the server and its watches.
    shutdown: CancellationToken,
    /// Cancelled when a watch has failed, so that the data is no longer updated.
    broken: CancellationToken,
    serving: JoinHandle<()>,
}

impl EmbeddedServer {
    /// Starts the server. It ends when `asked` is cancelled, or by [`EmbeddedServer::stop`].
    pub(super) async fn start(
        service: Service,
        listen: SocketAddr,
        client: &Client,
        asked: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen, "--listen").await?;
        let app = service.app().await?;
        info!(address = %listener.local_addr()?, identity = %service.identity, "serving the embedded Identity");
        let shutdown = asked.child_token();
        let broken = CancellationToken::new();
        let running = server::run_embedded(listener, app.clone(), shutdown.clone());
        // Until the last response, every change is followed: a token that is revoked meanwhile must be refused.
        let served = CancellationToken::new();
        let until = served.clone();
        let serving = tokio::spawn(async move {
            let _served = served.drop_guard();
            running.await;
        });
        let (ended, client, follower) = (broken.clone().drop_guard(), client.clone(), app.clone());
        let asked = shutdown.clone();
        tokio::spawn(async move {
            let following = service.follow(&client, &follower);
            until.run_until_cancelled(following).await;
            if asked.is_cancelled() {
                // The server was asked to stop, so that it does not matter whether a watch has failed.
                ended.disarm();
            } else {
                drop(ended);
            }
        });
        Ok(Self {
            app,
            shutdown,
            broken,
            serving,
        })
    }

    /// Returns the server.
    pub(super) fn app(&self) -> App {
        self.app.clone()
    }

    /// Resolves when a watch has failed, so that the data is no longer updated.
    pub(super) async fn failed(&self) {
        self.broken.cancelled().await;
    }

    /// Answers the requests in progress, then ends.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.serving.await.context("the embedded server failed")
    }
}

/// Returns the server's identity and readiness for the controller.
pub(super) fn seen(app: App) -> controller::EmbeddedIdentity {
    let identity = app.identity().clone();
    // A draining server must not mark the Identity unready: the other pods still serve it.
    let not_ready = move || {
        let why = app.readiness(now()).err();
        why.filter(|why| *why != NotReady::Draining)
            .map(|why| why.to_string())
    };
    controller::EmbeddedIdentity::new(identity, not_ready)
}

/// Returns why this process should get no requests for the embedded Identity. An Identity that does not exist yet or is
/// not accepted does not count: otherwise no operator would become ready before an administrator applies it.
pub(super) fn not_ready(app: &App, known: &Directory) -> Option<NotReady> {
    known.served_identity(app.identity()).ok()?;
    app.readiness(now()).err()
}
