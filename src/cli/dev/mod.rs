//! `symbolon dev`: serves one Identity from a directory of YAML. Operator and server run in one process, with files
//! instead of a cluster.

mod banner;
mod origin;
mod problems;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::logging::LogArgs;
use super::{manifests, signals, terminal};
use crate::directory::ObjectKey;
use crate::server;
use crate::telemetry::LogForm;
use world::World;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon dev examples/quickstart
  symbolon dev manifests --listen 127.0.0.1:9000
  symbolon dev manifests --identity platform/main --state /tmp/symbolon
  symbolon dev manifests --log warn --audit false    log problems only

Save a file, and the next request uses it. The state folder has the Secrets in secrets/, the signing keys in keys/ and
the status of each object in status/. It must have been created by symbolon dev at this place: a state folder from a
repository or an archive is refused, since others may know its keys. It may be a link only with --state.")]
pub(super) struct Args {
    /// The directory of manifests
    dir: PathBuf,
    /// The address to serve on; it replaces the origin of the Identity's issuer; port 0 selects a free port
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "SYMBOLON_LISTEN"
    )]
    listen: SocketAddr,
    /// The address to serve /livez, /readyz and /metrics on [default: the port after that of --listen]
    #[arg(long, value_name = "ADDRESS", env = "SYMBOLON_HEALTH_LISTEN")]
    health_listen: Option<SocketAddr>,
    /// The state folder, for secrets, keys and uids [default: DIR/.symbolon]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The Identity to serve; required if there are several
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    identity: Option<ObjectKey>,
    /// The Identity of objects that name none [default: the served one]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    #[command(flatten)]
    log: LogArgs,
}

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

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}: give another address with {option}"))
}
