//! The Identity that the operator's own pods serve, each of them: whoever leads, and while nobody does.

use std::net::SocketAddr;

use anyhow::Context as _;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::clock::now;
use super::serve::{Service, bind};
use crate::directory::Directory;
use crate::reconcile::controller;
use crate::server::{self, App, NotReady};

/// A running server inside the operator.
pub(super) struct Embedded {
    app: App,
    /// Ends the server, and with it what it follows.
    shutdown: CancellationToken,
    /// Cancelled when what is known has begun to grow old.
    broken: CancellationToken,
    serving: JoinHandle<()>,
}

impl Embedded {
    /// Begins to serve; ends when `asked` says so, or with [`Embedded::stop`].
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
        let serving = tokio::spawn(server::run_embedded(
            listener,
            app.clone(),
            shutdown.clone(),
        ));
        let (ended, client, follower) = (broken.clone().drop_guard(), client.clone(), app.clone());
        let until = shutdown.clone();
        tokio::spawn(async move {
            let following = service.follow(&client, &follower);
            if until.run_until_cancelled(following).await.is_some() {
                drop(ended);
            } else {
                // It was told to stop: nothing has failed.
                ended.disarm();
            }
        });
        Ok(Self {
            app,
            shutdown,
            broken,
            serving,
        })
    }

    /// The server.
    pub(super) fn app(&self) -> App {
        self.app.clone()
    }

    /// Resolves when it can only grow old.
    pub(super) async fn failed(&self) {
        self.broken.cancelled().await;
    }

    /// Answers what is under way and ends.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.serving.await.context("the embedded server failed")
    }
}

/// The server as the controller sees it.
pub(super) fn seen(app: App) -> controller::Embedded {
    let identity = app.identity().clone();
    // Whoever ends does not speak for the others.
    let not_ready = move || {
        let why = app.readiness(now()).err();
        why.filter(|why| *why != NotReady::Draining)
            .map(|why| why.to_string())
    };
    controller::Embedded::new(identity, not_ready)
}

/// Why no requests should be sent to this process as far as the embedded Identity goes. One that is not accepted needs
/// none: else the operator would never be ready where somebody has yet to apply it.
pub(super) fn not_ready(app: &App, known: &Directory) -> Option<NotReady> {
    known.served_identity(app.identity()).ok()?;
    app.readiness(now()).err()
}
