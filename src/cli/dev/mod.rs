//! `symbolon dev`: serves one Identity from a directory of YAML. Operator and server run in one process, with files
//! instead of a cluster.

mod args;
mod banner;
mod credentials;
mod origin;
mod problems;
mod world;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::listen::bind;
use super::{signals, terminal};
use crate::server;
use crate::telemetry::LogForm;
pub(super) use args::Args;
use world::World;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let _logs = args.log.start(LogForm::Text, "symbolon-dev")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let asked_to_stop = signals::asked_to_stop();
    let listener = bind(args.listen, "--listen").await?;
    let listen = listener.local_addr()?;
    let beside = match listen.port().checked_add(1) {
        Some(next) if args.listen.port() != 0 => next,
        _ => 0,
    };
    let health = bind(
        args.health_listen
            .unwrap_or(SocketAddr::new(listen.ip(), beside)),
        "--health-listen",
    )
    .await?;
    let health_listen = health.local_addr()?;
    let mut world = World::open(args, listen, health_listen).await?;
    // Dev mode serves even if its output cannot be written, as with the log.
    let _ = terminal::print(&banner::text(&world, health_listen));
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server::run(
        listener,
        None,
        health,
        world.app().clone(),
        shutdown.clone(),
    ));
    tokio::select! {
        never = world.follow() => match never {},
        () = asked_to_stop => {}
    }
    tracing::info!("stopping: requests in progress are answered first");
    shutdown.cancel();
    serving.await.context("the server failed")??;
    Ok(())
}
