//! `symbolon serve`: runs the server of one Identity in a cluster. It watches the resources itself, so that changes
//! take effect even while no operator runs.

mod certificate;
mod egress;
mod keys;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::certificate::Certificate;
use self::keys::{KeyReloader, KeySource};
pub(super) use self::store::sqlite_path;
use self::store::{Pace, StoreArgs};
use super::clock::now;
use super::cluster::Program;
use super::listen::bind;
use super::logging::LogArgs;
use super::{cluster, manifests, signals};
use crate::directory::{ObjectKey, Settings};
use crate::kube_call::Client;
use crate::resources::Kind;
use crate::server::revoke_kube::KubeRevoker;
use crate::server::uses_kube::KubeUses;
use crate::server::{self, App, Config, Metrics, Uses};
use crate::source::kubernetes::{
    Options, Reach, Refusals, SILENCE, Sink, Source, WatchChange, WatchObstacle, WatchedKind,
    obstacle_to,
};
use crate::store::Location;
use crate::telemetry::LogForm;

/// The interval of warnings that the Identity does not exist.
const ABSENT: Duration = Duration::from_mins(1);
/// The interval of reports of the watches' age to the server.
const AGE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon serve --identity platform/main
  symbolon serve --identity platform/main --keys-dir /var/run/symbolon/keys     a mounted Secret
  symbolon serve --identity platform/main --tls-dir /var/run/symbolon/tls       terminate TLS in the server
  symbolon serve --identity platform/main --store-url-file /var/run/symbolon/database/url     people in PostgreSQL
  symbolon serve --identity platform/main --namespace platform --namespace shop
  symbolon serve --identity platform/main --log warn,symbolon::server=debug   log one module in detail")]
pub(super) struct Args {
    /// The Identity to serve
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_IDENTITY", value_parser = manifests::object_key)]
    identity: ObjectKey,
    /// A folder with keyset.json and mac.key; without it the keys are read from the Identity's Secrets
    #[arg(long, value_name = "DIR", env = "SYMBOLON_KEYS_DIR")]
    keys_dir: Option<PathBuf>,
    /// A folder with tls.crt and tls.key, such as a mounted kubernetes.io/tls Secret: serve TLS 1.2 and 1.3 with this
    /// certificate, which is read again when the files change; without it terminate TLS in front of the server
    #[arg(long, value_name = "DIR", env = "SYMBOLON_TLS_DIR")]
    tls_dir: Option<PathBuf>,
    /// A file with certificates of CAs in PEM, such as one of a mounted Secret: trust them, besides those of the system,
    /// when clients are called; it is read again when it changes
    #[arg(long, value_name = "FILE", env = "SYMBOLON_EGRESS_CA_FILE")]
    egress_ca_file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// The address to serve on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SYMBOLON_LISTEN",
        default_value = "0.0.0.0:8080",
        value_parser = super::listen::address
    )]
    listen: SocketAddr,
    /// The address to serve /livez, /readyz and /metrics on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SYMBOLON_HEALTH_LISTEN",
        default_value = "0.0.0.0:8081",
        value_parser = super::listen::address
    )]
    health_listen: SocketAddr,
    /// Serve objects of these namespaces and of the Identity's namespace only (repeat it, or separate by commas);
    /// default: all
    #[arg(long = "namespace", short, value_name = "NAMESPACE", env = "SYMBOLON_NAMESPACES", value_delimiter = ',', value_parser = manifests::namespace)]
    namespaces: Vec<String>,
    /// Accept Identities in these namespaces only; give the operator's value; default: all
    #[arg(long = "identity-namespace", value_name = "NAMESPACE", env = "SYMBOLON_IDENTITY_NAMESPACES", value_delimiter = ',', value_parser = super::fleet::namespace_or_all)]
    identity_namespaces: Vec<String>,
    /// The Identity of objects that name none; give the operator's value
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_DEFAULT_IDENTITY", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// Begin the first lists at a random time within this many seconds, which spares the API server when many replicas
    /// start
    #[arg(long, value_name = "SECONDS", env = "SYMBOLON_START_WITHIN", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=600))]
    start_within: u16,
    /// The kubeconfig context to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _logs = args.log.start(LogForm::Json, "symbolon-server")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

/// Publishes what the watches receive.
struct Publish(App);

impl Sink for Publish {
    fn take(&self, batch: Vec<WatchChange>) {
        let changes = batch.into_iter().filter_map(|seen| match seen {
            WatchChange::Object { change, .. } => Some(change),
            WatchChange::Secret(_) | WatchChange::Managed(_) => None,
        });
        self.0.publisher().apply(changes);
    }
}

/// The served Identity and the sources of its data, in a process of its own or embedded in the operator.
pub(super) struct Service {
    pub(super) identity: ObjectKey,
    /// The folder with its keys; without one the keys are read from its Secrets.
    pub(super) keys_dir: Option<PathBuf>,
    /// The namespaces whose objects are served; empty: all.
    pub(super) namespaces: Vec<String>,
    pub(super) settings: Settings,
    /// The first lists begin at a random time within this period.
    pub(super) start_within: Duration,
    /// The kubeconfig context.
    pub(super) context: Option<String>,
    /// The program that the API server sees: the operator, if this server is embedded in it.
    pub(super) program: Program,
    pub(super) metrics: Arc<Metrics>,
}

impl Service {
    /// The server never issues credentials, even when embedded in the operator.
    fn settings(&self) -> Settings {
        Settings {
            serves_only: true,
            ..self.settings.clone()
        }
    }

    /// Returns a server with an empty directory.
    pub(super) async fn app(&self) -> anyhow::Result<App> {
        let answering =
            cluster::answering_client(self.context.as_deref(), self.program, self.metrics.kube())
                .await?;
        let revoker = KubeRevoker::new(answering.clone());
        let config = Config {
            settings: self.settings(),
            metrics: self.metrics.clone(),
            limits: super::files::limits(),
            ..Config::new(self.identity.clone())
        };
        let (uses, reports) = Uses::new(self.metrics.clone());
        tokio::spawn(reports.run(KubeUses::new(answering)));
        App::with_uses(config, revoker, uses).context("cannot start")
    }

    /// Keeps the server's keys and objects equal to those in the cluster, until a watch fails.
    pub(super) async fn follow(&self, client: &Client, app: &App) {
        let (mac, mac_seen) = channel::channel(None);
        let place = KeySource::new(self.keys_dir.clone(), client, &self.identity);
        let mut keys = KeyReloader::new(place, app.clone(), mac);
        // Without the mac key no seal of a Credential can be verified, and all Credentials would be read twice.
        let lacking = || -> BoxFuture<'_, Option<String>> {
            let obstacle = obstacle_to(client, &self.identity);
            Box::pin(async { obstacle.await.map(|it| it.to_string()) })
        };
        keys.first(&lacking).await;
        let options = Options {
            watched_kinds: self.watched_kinds(),
            settings: Arc::new(self.settings()),
            mac: mac_seen,
            start_within: self.start_within,
            silence: SILENCE,
            refusals: Refusals::but_of(vec![self.identity.namespace.to_string()]),
        };
        let source = Source::start(client, &options, &Arc::new(Publish(app.clone())));
        tokio::select! {
            () = keys.follow() => {}
            () = watched(&source, app, &self.identity) => {}
            () = source.failed() => {}
        }
    }

    /// Returns the watches of all objects that the rules read. Users and Credentials are watched in the Identity's
    /// namespace only, where all of an Identity's are.
    fn watched_kinds(&self) -> Vec<(WatchedKind, Reach)> {
        let own = self.identity.namespace.to_string();
        let mut reach = cluster::reach(&self.namespaces);
        if let Reach::Namespaces(names) = &mut reach
            && !names.contains(&own)
        {
            names.push(own.clone());
        }
        let mut watched_kinds: Vec<_> = Kind::ALL
            .into_iter()
            .map(|kind| {
                let reach = match kind {
                    Kind::User | Kind::Credential => Reach::Namespaces(vec![own.clone()]),
                    _ => reach.clone(),
                };
                (WatchedKind::Kind(kind), reach)
            })
            .collect();
        watched_kinds.push((WatchedKind::Namespaces, reach));
        watched_kinds
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let location = args.store.location()?;
    let listener = bind(args.listen, "--listen").await?;
    let health = bind(args.health_listen, "--health-listen").await?;
    let certificate = match args.tls_dir.clone() {
        Some(folder) => Some(Certificate::open(folder).await?),
        None => None,
    };
    let tls = certificate.as_ref().map(Certificate::tls);
    let metrics = Arc::new(Metrics::default());
    let client = cluster::client(args.context.as_deref(), Program::Server, metrics.kube()).await?;
    let settings = Settings {
        default_identity: args.default_identity.clone(),
        identity_namespaces: super::fleet::identity_namespaces(&args.identity_namespaces, None),
        ..Settings::default()
    };
    let service = Service {
        identity: args.identity,
        keys_dir: args.keys_dir,
        namespaces: args.namespaces,
        settings,
        start_within: Duration::from_secs(args.start_within.into()),
        context: args.context,
        program: Program::Server,
        metrics,
    };
    let app = service.app().await?;
    info!(listen = %listener.local_addr()?, health = %health.local_addr()?, identity = %service.identity, "serving");
    let shutdown = CancellationToken::new();
    if let Some(location) = &location {
        store::expect(location, &app);
    }
    // Closes the store after the last response.
    let closing = CancellationToken::new();
    let mut storing = tokio::spawn(keep(
        location,
        service.identity.clone(),
        app.clone(),
        service.metrics.clone(),
        closing.clone(),
    ));
    let serving = server::run(listener, tls, health, app.clone(), shutdown.clone());
    let mut serving = tokio::spawn(serving);
    let renewing = certificate.map(|certificate| tokio::spawn(certificate.follow()));
    let trusting = args.egress_ca_file.map(|path| {
        let app = app.clone();
        let trust = move |roots| app.trust_callees(roots);
        tokio::spawn(egress::follow(path, egress::PERIOD, trust))
    });
    let mut following = Box::pin(service.follow(&client, &app).fuse());
    let failed = tokio::select! {
        () = &mut following => true,
        () = signals::asked_to_stop() => false,
        ended = &mut storing => return ended.context("the store failed")?.context("the store cannot be used"),
    };
    info!("stopping: requests in progress are answered first");
    shutdown.cancel();
    // Until the last response, every change is followed: a token that is revoked meanwhile must be refused.
    let served = loop {
        tokio::select! {
            served = &mut serving => break served,
            () = &mut following => {}
        }
    };
    served.context("the server failed")??;
    drop(following);
    closing.cancel();
    storing.await.context("the store failed")??;
    for following in renewing.into_iter().chain(trusting) {
        following.abort();
    }
    ensure!(
        !failed,
        "a watch has failed: exiting, so that the process is restarted"
    );
    Ok(())
}

/// Runs the store, if there is one.
async fn keep(
    location: Option<Location>,
    identity: ObjectKey,
    app: App,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
) -> Result<(), crate::store::StoreError> {
    match location {
        Some(location) => {
            store::keep(location, identity, app, &metrics, Pace::default(), closing).await
        }
        None => {
            closing.cancelled().await;
            Ok(())
        }
    }
}

/// Reports to the server when the first lists are complete, and from then on the age of its data.
async fn watched(source: &Source, app: &App, identity: &ObjectKey) {
    cluster::first_lists(source, |missing| app.status().lacks(missing)).await;
    app.status().lists_complete();
    info!("first lists complete");
    let mut told: Option<Instant> = None;
    loop {
        let is_absent = app
            .publisher()
            .current()
            .directory()
            .identity(identity)
            .is_none();
        if !is_absent {
            told = None;
        } else if told.is_none_or(|at| at.elapsed() >= ABSENT) {
            told = Some(Instant::now());
            warn!("{}", WatchObstacle::NoIdentity(identity.clone()));
        }
        let age = SignedDuration::try_from(source.oldest().0).unwrap_or(SignedDuration::MAX);
        let heard = now().checked_sub(age).unwrap_or(Timestamp::MIN);
        app.status().heard_at(heard);
        app.status().refused_namespaces_are(source.refused().len());
        tokio::time::sleep(AGE).await;
    }
}
