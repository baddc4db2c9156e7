//! `symbolon dev`: serves one Identity from a directory of YAML. Operator and server run in one process, with files
//! instead of a cluster.

mod args;
mod banner;
mod credentials;
mod origin;
mod people;
mod problems;
mod recorders;
mod world;

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use tokio_util::sync::CancellationToken;

use super::listen::bind;
use super::{signals, terminal};
use crate::server;
use crate::telemetry::LogForm;
pub(super) use args::Args;
use origin::PublicUrl;
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
    let wanted = args.listen.address;
    ensure!(
        args.issuer.is_some() || args.listen.origin(wanted).is_some(),
        "cannot serve at {wanted}: an http issuer must be at localhost, 127.0.0.1, [::1] or a *.svc host. Give the https URL of a proxy in front with --issuer, or listen on localhost:{port} or :{port}",
        port = wanted.port()
    );
    let listener = bind(wanted, "--listen").await?;
    let listen = listener.local_addr()?;
    let beside = match listen.port().checked_add(1) {
        Some(next) if wanted.port() != 0 => next,
        _ => 0,
    };
    let beside = args.health_listen.unwrap_or(args.listen.at(beside));
    let health = bind(beside.address, "--health-listen").await?;
    let health_listen = health.local_addr()?;
    let site = match &args.issuer {
        Some(issuer) => PublicUrl::Issuer(issuer.clone()),
        None => PublicUrl::Origin(args.listen.origin(listen).unwrap_or_default()),
    };
    let mut world = World::open(args, site, listen, health_listen).await?;
    // Dev mode serves even if its output cannot be written, as with the log.
    let health_at = beside.origin(health_listen);
    let health_at = health_at.unwrap_or_else(|| format!("http://{health_listen}"));
    let _ = terminal::print(&banner::text(&world, &health_at));
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
    world.close().await;
    Ok(())
}
