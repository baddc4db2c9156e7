//! `symbolon operator`: watches and reconciles the objects of a cluster. Every replica watches; only the leader writes.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::SignedDuration;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::cluster::{self, Program};
use super::embedded::{self, EmbeddedServer};
use super::fleet::{self, FleetArgs};
use super::listen::bind;
use super::serve::Service;
use super::{clock, manifests, signals};
use crate::directory::template::secret_metadata::InstallationMetadata;
use crate::directory::{ObjectKey, Settings};
use crate::kube_call::Client;
use crate::reconcile::cluster::fence::Fence;
use crate::reconcile::cluster::kube_api::KubeApi;
use crate::reconcile::controller::{Controller, Tuning};
use crate::reconcile::fleet::Objects;
use crate::reconcile::leader::{Election, Times};
use crate::reconcile::report::events::Notices;
use crate::reconcile::report::metrics::{OperatorMetrics, OperatorScrape};
use crate::resources::Kind;
use crate::server::{self, App};
use crate::source::kubernetes::{
    Options, Refusals, SILENCE, Sink, Source, WatchChange, WatchedKind,
};
use crate::telemetry::{self, LogForm, logs};

/// How long reconciles in progress may take when the process ends.
const DRAIN: Duration = Duration::from_secs(15);
/// The pause between two terms.
const PAUSE: Duration = Duration::from_secs(1);
/// The default name of the Lease, in the operator's namespace.
const LEASE: &str = "symbolon-operator";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon operator                                    in the cluster of KUBECONFIG or of the pod
  symbolon operator --namespace shop --namespace platform
  symbolon operator --default-identity platform/main   for objects that name no Identity
  symbolon operator --log warn,symbolon::reconcile=debug   log one module in detail

You can run several replicas: all of them watch, and the one that holds the Lease writes.")]
pub(super) struct Args {
    /// Reconcile objects in these namespaces only (repeat it, or separate by commas); default: all
    #[arg(long = "namespace", short, value_name = "NAMESPACE", env = "SYMBOLON_NAMESPACES", value_delimiter = ',', value_parser = manifests::namespace)]
    namespaces: Vec<String>,
    /// The Identity of objects that name none
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_DEFAULT_IDENTITY", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// Whether an admission policy sets and protects the annotation symbolon.dev/created-by, so that the operator can
    /// trust it
    #[arg(long, value_name = "BOOL", env = "SYMBOLON_STAMPED_CREATORS", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    stamped_creators: bool,
    /// The labels and annotations that templates of Secrets may set, in addition to the limits of their Identity: lists
    /// in JSON, in the format of the chart's value `secrets`; a missing list allows any
    #[arg(long, value_name = "JSON", env = "SYMBOLON_ALLOWED_SECRET_METADATA", value_parser = InstallationMetadata::parse)]
    allowed_secret_metadata: Option<InstallationMetadata>,
    /// The address to serve /livez, /readyz and /metrics on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SYMBOLON_HEALTH_LISTEN",
        default_value = "0.0.0.0:8081",
        value_parser = super::listen::address
    )]
    health_listen: SocketAddr,
    /// Whether to write only while holding the Lease; without leader election run only one operator
    #[arg(long, value_name = "BOOL", env = "SYMBOLON_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,
    /// The Lease; default: symbolon-operator in the operator's namespace
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_LEASE", value_parser = manifests::object_key)]
    lease: Option<ObjectKey>,
    /// The number of objects to reconcile concurrently; one namespace gets at most three quarters of it
    #[arg(long, value_name = "N", env = "SYMBOLON_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// The time limit of a request to the API server, in seconds
    #[arg(long, value_name = "SECONDS", env = "SYMBOLON_REQUEST_TIMEOUT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=60))]
    request_timeout: u8,
    /// The kubeconfig context to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    log: super::logging::LogArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let _logs = args.log.start(LogForm::Json, "symbolon-operator")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(operate(args))
}

type Operator = Controller<KubeApi>;

/// Passes what the watches receive to the controller.
struct Hand(Arc<Operator>);

impl Sink for Hand {
    fn take(&self, batch: Vec<WatchChange>) {
        let mut changes = Vec::with_capacity(batch.len());
        for seen in batch {
            match seen {
                WatchChange::Object { change, version } => changes.push((change, version)),
                WatchChange::Managed(seen) => self.0.managed_changed(&seen),
                WatchChange::Secret(secret) => {
                    // A Secret without our label counts as deleted: in both cases its owner is reconciled.
                    let version = if secret.gone { "" } else { &secret.version };
                    let controller = secret
                        .controller
                        .as_ref()
                        .map(|(kind, name)| (*kind, &**name));
                    self.0.secret_changed(&secret.key, version, controller);
                }
            }
        }
        if !changes.is_empty() {
            self.0.changed(changes);
        }
    }
}

async fn operate(args: Args) -> anyhow::Result<ExitCode> {
    let asked = signals::stop_token();
    let metrics = Arc::new(OperatorMetrics::default());
    let client =
        cluster::client(args.context.as_deref(), Program::Operator, metrics.kube()).await?;
    let embedded = embed(&args, &client, &asked).await?;
    let health = Health {
        term: Arc::default(),
        has_listed: Arc::default(),
        embedded: embedded.as_ref().map(EmbeddedServer::app),
        metrics,
    };
    serve_health(args.health_listen, health.clone()).await?;
    let failed = async {
        match &embedded {
            Some(embedded) => embedded.failed().await,
            None => std::future::pending().await,
        }
    };
    let terms = terms(&args, &client, &health, &asked);
    let ended = tokio::select! {
        ended = terms => ended,
        () = failed => Err(anyhow!("a watch of the embedded Identity has failed: exiting, so that the process is restarted")),
    };
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// Starts the server of the embedded Identity, if one is configured.
async fn embed(
    args: &Args,
    client: &Client,
    asked: &CancellationToken,
) -> anyhow::Result<Option<EmbeddedServer>> {
    let Some(identity) = args.fleet.embedded_identity.clone() else {
        return Ok(None);
    };
    let service = Service {
        identity,
        keys_dir: None,
        namespaces: args.fleet.watched(&args.namespaces),
        settings: settings(args),
        start_within: Duration::ZERO,
        context: args.context.clone(),
        program: Program::Operator,
        metrics: Arc::default(),
    };
    EmbeddedServer::start(service, args.fleet.listen, client, asked)
        .await
        .map(Some)
}

/// Runs one term after the other. Without an embedded Identity the process ends when a term fails. With one the server
/// keeps answering, and a new term reads all objects again.
async fn terms(
    args: &Args,
    client: &Client,
    health: &Health,
    asked: &CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match term(args, client, health, asked).await {
            Err(error) if health.embedded.is_some() => {
                warn!(%error, "the term failed, will retry; the embedded Identity stays served");
                if asked
                    .run_until_cancelled(tokio::time::sleep(PAUSE))
                    .await
                    .is_none()
                {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
}

/// Runs one term: watches, acquires the Lease, and reconciles until the process is asked to stop.
///
/// # Errors
/// Fails if the Lease is lost, or if a task ended that should not.
async fn term(
    args: &Args,
    client: &Client,
    health: &Health,
    asked: &CancellationToken,
) -> anyhow::Result<()> {
    let name = candidate();
    let fence = if args.leader_election {
        Fence::closed()
    } else {
        Fence::open()
    };
    let controller = Arc::new(controller(args, client, &name, &fence, health));
    let source = Arc::new(watch(client, args, &controller));
    health.begin(source.clone(), controller.clone());
    let mut election = lease(args, client)
        .map(|lease| Election::new(client.clone(), lease, name, Times::default(), fence));
    let begin = async {
        cluster::first_lists(&source, |_| {}).await;
        health.has_listed.store(true, Ordering::Release);
        if let Some(election) = &mut election {
            election.acquire().await;
        }
    };
    if asked.run_until_cancelled(begin).await.is_none() {
        return Ok(());
    }
    health.metrics.leads(true);
    let ended = lead(controller, &source, election.as_mut(), asked).await;
    health.metrics.leads(false);
    ended?;
    if let Some(mut election) = election {
        election.release().await;
    }
    Ok(())
}

fn controller(
    args: &Args,
    client: &Client,
    name: &str,
    fence: &Fence,
    health: &Health,
) -> Operator {
    let request_timeout = SignedDuration::from_secs(args.request_timeout.into());
    let timeout = request_timeout.unsigned_abs();
    let api = KubeApi::new(client.clone(), timeout, fence.clone());
    let serving = args.fleet.serving(
        Objects::new(client.clone(), timeout, fence.clone()),
        &args.namespaces,
        args.default_identity.as_ref(),
        args.log.of_pods(|name| std::env::var(name).ok()),
        health.embedded.clone().map(embedded::seen),
    );
    let metrics = &health.metrics;
    let own = api.own_writes().clone();
    let tuning = Tuning {
        workers: args.concurrency.into(),
        request_timeout,
    };
    let events = metrics.clone();
    let notices = Notices::written(client.clone(), name.to_owned())
        .observed(move |reason| events.event(reason));
    let metrics = metrics.clone();
    Controller::new(api, own, settings(args), tuning, notices)
        .served(serving)
        .observed(move |work, is_good, took| metrics.passed(work, is_good, took))
}

fn settings(args: &Args) -> Settings {
    Settings {
        default_identity: args.default_identity.clone(),
        stamped_creators: args.stamped_creators,
        identity_namespaces: args.fleet.identity_namespaces(),
        serves_only: false,
        secret_metadata: Arc::new(args.allowed_secret_metadata.clone().unwrap_or_default()),
        inherited_metadata: Arc::new(args.fleet.inherited_metadata()),
    }
}

/// Reconciles until the process is asked to stop.
///
/// # Errors
/// Fails if the Lease is lost, or if a task ended that should not.
async fn lead(
    controller: Arc<Operator>,
    source: &Source,
    election: Option<&mut Election>,
    asked: &CancellationToken,
) -> anyhow::Result<()> {
    controller.lead();
    let stop = CancellationToken::new();
    let mut work = tokio::spawn(controller.run(stop.clone()));
    let lost = async {
        match election {
            Some(election) => election.hold().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        // The fence is closed, so that writes in progress fail. The objects in memory may be older than what the next
        // leader writes.
        () = lost => Err(anyhow!("lost the Lease: another operator is the leader, or the API server does not answer: exiting, so that the process is restarted")),
        () = source.failed() => Err(anyhow!("a watch has failed: exiting, so that the process is restarted")),
        _ = &mut work => Err(anyhow!("the controller has failed: exiting, so that the process is restarted")),
        () = asked.cancelled() => Ok(()),
    };
    if ended.is_err() {
        work.abort();
        return ended;
    }
    info!("stopping: reconciles in progress finish first");
    stop.cancel();
    drop(tokio::time::timeout(DRAIN, work).await);
    Ok(())
}

fn watch(client: &Client, args: &Args, controller: &Arc<Operator>) -> Source {
    let watched = args.fleet.watched(&args.namespaces);
    let reach = cluster::reach(&watched);
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Credential)
        .map(WatchedKind::Kind);
    // A Credential is in the namespace of its Identity.
    let credentials = fleet::identities_reach(&watched, &args.fleet.identity_namespaces());
    let watched_kinds = kinds.chain([
        WatchedKind::Namespaces,
        WatchedKind::ManagedSecrets,
        WatchedKind::ImportedSecrets,
    ]);
    // The operator reads Credentials live. Their watch only reports that they changed.
    let (_, mac) = channel::channel(None);
    let options = Options {
        watched_kinds: watched_kinds
            .map(|watched_kind| (watched_kind, reach.clone()))
            .chain([(WatchedKind::Kind(Kind::Credential), credentials)])
            .chain(args.fleet.watched_kinds(&args.namespaces))
            .collect(),
        settings: Arc::new(settings(args)),
        mac,
        start_within: Duration::ZERO,
        silence: SILENCE,
        // Administrators own the namespaces of Identities: without access to one, the operator waits instead of
        // counting it as empty.
        refusals: Refusals::but_of(args.fleet.identity_namespaces()),
    };
    Source::start(client, &options, &Arc::new(Hand(controller.clone())))
}

fn lease(args: &Args, client: &Client) -> Option<ObjectKey> {
    let own = || {
        let namespace = std::env::var("POD_NAMESPACE")
            .unwrap_or_else(|_| client.default_namespace().to_owned());
        ObjectKey::new(&namespace, LEASE)
    };
    args.leader_election
        .then(|| args.lease.clone().unwrap_or_else(own))
}

/// Returns a name that is unique to this process: the same pod has another name after a restart.
fn candidate() -> String {
    let host = ["POD_NAME", "HOSTNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    format!(
        "{}_{}",
        host.as_deref().unwrap_or("symbolon"),
        Uuid::new_v4()
    )
}

#[derive(Clone)]
struct Health {
    term: Arc<ArcSwapOption<Term>>,
    /// Whether the lists of any term were complete.
    has_listed: Arc<AtomicBool>,
    embedded: Option<App>,
    metrics: Arc<OperatorMetrics>,
}

/// The current term.
struct Term {
    source: Arc<Source>,
    controller: Arc<Operator>,
}

impl Health {
    fn begin(&self, source: Arc<Source>, controller: Arc<Operator>) {
        self.term.store(Some(Arc::new(Term { source, controller })));
    }

    fn not_ready(&self) -> Option<String> {
        if !self.has_listed.load(Ordering::Acquire) {
            let term = self.term.load();
            let missing = term.as_ref().and_then(|term| term.source.missing());
            let missing = missing.map_or_else(String::new, |missing| format!(": {missing}"));
            return Some(format!("the first lists are not complete{missing}"));
        }
        let (term, app) = (self.term.load(), self.embedded.as_ref()?);
        let known = term.as_ref()?.controller.directory();
        embedded::not_ready(app, &known).map(|why| format!("the embedded Identity: {why}"))
    }
}

impl Health {
    /// Returns the gauges that are sampled at scrape time.
    fn scrape(&self) -> OperatorScrape {
        let mut scrape = OperatorScrape {
            dropped_log_lines: logs::dropped_lines(),
            ..OperatorScrape::default()
        };
        if let Some(term) = &*self.term.load() {
            scrape.queue = term.controller.depth();
            scrape.watch_age = term.source.oldest().0;
            scrape.refused_namespaces = term.source.refused().len();
            scrape.objects = term.controller.tally();
            let pods = term.controller.ready_pods().into_iter();
            scrape.pods = pods
                .map(|(identity, pods)| (identity, pods.ready, pods.wanted))
                .collect();
            scrape.key_rotations = term.controller.key_rotations();
        }
        scrape
    }
}

async fn serve_health(address: SocketAddr, health: Health) -> anyhow::Result<()> {
    let listener = bind(address, "--health-listen").await?;
    info!(listen = %listener.local_addr()?, "serving health and metrics");
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .route("/metrics/identity", get(embedded_metrics))
        .with_state(health);
    let limits = super::files::limits();
    tokio::spawn(async move { server::serve_health(listener, routes, &limits).await });
    Ok(())
}

async fn readiness(State(health): State<Health>) -> (StatusCode, String) {
    match health.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    match health.metrics.encode(&health.scrape()) {
        Ok(text) => ([(CONTENT_TYPE, telemetry::MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Serves the metrics of the embedded server.
async fn embedded_metrics(State(health): State<Health>) -> Response {
    let Some(app) = health.embedded else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match app.exposition(clock::now()).await {
        Ok(text) => ([(CONTENT_TYPE, telemetry::MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
