//! Measures issuing and serving on a real API server, each beside the bare limit in the same run.
//!
//! `cargo bench --bench cluster` prints:
//! - tokens issued per second, and the rate of the same bare requests with the same concurrency;
//! - the time from the API server's reply to a write until the served directory has the change, and until a bare watch
//!   has it, when idle and at 200 other writes per second, with 10,000 clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::semicolon_if_nothing_returned,
    dead_code,
    unused_imports,
    reason = "a benchmark prints its results; tests use the harness too"
)]

#[path = "../tests/cluster/harness/mod.rs"]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use symbolon::directory::{ObjectKey, Settings};
use symbolon::reconcile::cluster::Cluster as _;
use symbolon::reconcile::cluster::fence::Fence;
use symbolon::reconcile::cluster::kube_api::KubeApi;
use symbolon::reconcile::cluster::reports::Reports as _;
use symbolon::reconcile::cluster::secret::SecretObject;
use symbolon::reconcile::controller::{Controller, Tuning};
use symbolon::reconcile::report::events::Notices;
use symbolon::resources::{
    Cause, Credential, CredentialClient, CredentialEntry, CredentialMemory, CredentialOwner,
    CredentialSpec, Identity, Kind, LocalRef, Moment, OAuthClient, OwnerKind, Scope,
    ServiceAccessToken,
};
use symbolon::server::Publisher;
use symbolon::source::kubernetes::{Options, Reach, Sink, Source, WatchChange, WatchedKind};
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, TestNamespace};

/// Concurrent passes, as in the operator.
const AT_ONCE: usize = 24;
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let count = |name: &str, usual: usize| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual)
    };
    let (tokens, clients) = (count("BENCH_TOKENS", 2000), count("BENCH_CLIENTS", 10_000));
    runtime.block_on(async {
        let cluster = Cluster::own();
        cluster.install_crds().await;
        if tokens > 0 {
            issuing(cluster, tokens).await;
        }
        latency(cluster, clients).await;
    });
}

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig_path()).unwrap();
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    api.create(
        &PostParams::default(),
        &serde_json::from_value(object).unwrap(),
    )
    .await
    .unwrap()
}

fn manifest(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

async fn platform(namespace: &TestNamespace<'_>) {
    let many = 1_000_000;
    let identity = json!({
        "issuer": format!("https://{}.example.com/id", namespace.name()),
        "signing": {"algorithms": ["ES256"]},
        "limits": {"perNamespace": {"clients": 100_000, "serviceTokens": many, "mintsPerHour": many}},
    });
    create(
        &namespace.api::<Identity>(),
        manifest("Identity", "main", identity),
    )
    .await;
    create(
        &namespace.api::<Scope>(),
        manifest(
            "Scope",
            "orders.read",
            json!({"identityRef": {"name": "main"}}),
        ),
    )
    .await;
    create(
        &namespace.api::<OAuthClient>(),
        manifest("OAuthClient", "backend", client_spec()),
    )
    .await;
}

fn client_spec() -> Value {
    json!({
        "identityRef": {"name": "main"}, "grantTypes": ["ClientCredentials"], "scopes": ["orders.read"],
        "systemUser": {"name": "backend"}, "referenceTokens": "AdministratorsOnly",
    })
}

fn token_spec() -> Value {
    json!({"clientRef": {"name": "backend"}, "scopes": ["orders.read"]})
}

async fn many(count: usize, one: impl AsyncFn(usize)) {
    let one = &one;
    let all = (0..count).map(async |number| one(number).await);
    stream::iter(all)
        .buffer_unordered(AT_ONCE)
        .for_each(async |()| {})
        .await;
}

async fn create_tokens(namespace: &TestNamespace<'_>, prefix: &str, count: usize) {
    let api = namespace.api::<ServiceAccessToken>();
    many(count, async |number| {
        drop(
            create(
                &api,
                manifest(
                    "ServiceAccessToken",
                    &format!("{prefix}-{number}"),
                    token_spec(),
                ),
            )
            .await,
        );
    })
    .await;
}

/// Makes the requests of one first token, in the order of issuing, without any decisions between them.
async fn bare_token(api: &KubeApi, namespace: &str, name: &str) {
    let owner_key = ObjectKey::new(namespace, name);
    let read = async |uid: &str| {
        let credential = api
            .credential(&ObjectKey::new(namespace, uid))
            .await
            .unwrap();
        let secret = api
            .secret(&ObjectKey::new(namespace, &format!("{name}-token")))
            .await
            .unwrap();
        (
            credential,
            secret,
            api.owner(OwnerKind::ServiceAccessToken, &owner_key)
                .await
                .unwrap()
                .unwrap(),
        )
    };
    let uid = api
        .owner(OwnerKind::ServiceAccessToken, &owner_key)
        .await
        .unwrap()
        .unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let began = read(&uid);
    began.await;
    let owner = CredentialOwner {
        kind: OwnerKind::ServiceAccessToken,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.clone(),
    };
    let placeholder = SecretObject::placeholder(
        &ObjectKey::new(namespace, &format!("{name}-token")),
        &owner,
        "Opaque",
    );
    let mut secret = api.create_secret(&placeholder).await.unwrap();
    let mut credential = Credential::new(
        &uid,
        CredentialSpec {
            identity: LocalRef {
                name: "main".to_owned(),
            },
            owner,
            high: 1,
            base: Some(secret.version()),
            tokens: vec![CredentialEntry {
                epoch: 1,
                token_id: "0".repeat(16),
                hash: "0".repeat(64),
                client: CredentialClient {
                    name: "backend".to_owned(),
                    uid: uid.clone(),
                },
                principal: format!("{namespace}:backend"),
                scopes: vec!["orders.read".to_owned()],
                issued_at: Moment(Timestamp::UNIX_EPOCH),
                expires_at: None,
                not_after: None,
                nonce: None,
                cause: Cause::Initial,
                mac: "0".repeat(64),
            }],
            memory: CredentialMemory::default(),
        },
    );
    credential.metadata.namespace = Some(namespace.to_owned());
    api.create_credential(&credential).await.unwrap();
    secret.set_text("token", &"0".repeat(70));
    secret.set_text("issuer", "https://id.example.com/id");
    api.replace_secret(&secret).await.unwrap();
    let (_, _, mut live) = read(&uid).await;
    let now = Timestamp::UNIX_EPOCH;
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": 1, "lastTransitionTime": now});
    live["status"] = json!({
        "tokenId": "0".repeat(16), "epoch": 1, "issuedAt": now, "expiresAt": now, "renewsAt": now, "secretName": name,
        "binding": {"name": name}, "clientId": "backend", "issuer": "https://id.example.com/id", "observedGeneration": 1,
        "conditions": (["Ready", "Accepted", "Granted", "Issued", "Reconciling", "Stalled"].map(condition)),
    });
    api.replace_status(Kind::ServiceAccessToken, &live)
        .await
        .unwrap();
}

struct Hand(Arc<Controller<KubeApi>>);

impl Sink for Hand {
    fn take(&self, batch: Vec<WatchChange>) {
        let mut changes = Vec::new();
        for seen in batch {
            match seen {
                WatchChange::Object { change, version } => changes.push((change, version)),
                WatchChange::Managed(seen) => self.0.managed_changed(&seen),
                WatchChange::Secret(secret) => {
                    let version = if secret.gone { "" } else { &*secret.version };
                    let controller = secret
                        .controller
                        .as_ref()
                        .map(|(kind, name)| (*kind, &**name));
                    self.0.secret_changed(&secret.key, version, controller);
                }
            }
        }
        self.0.changed(changes);
    }
}

fn options(namespace: &str, watched_kinds: impl Iterator<Item = WatchedKind>) -> Options {
    let reach = Reach::Namespaces(vec![namespace.to_owned()]);
    Options {
        watched_kinds: watched_kinds
            .map(|watched_kind| (watched_kind, reach.clone()))
            .collect(),
        settings: Arc::default(),
        mac: tokio::sync::watch::channel(None).1,
        start_within: Duration::ZERO,
        silence: symbolon::source::kubernetes::SILENCE,
        refusals: symbolon::source::kubernetes::Refusals::default(),
    }
}

/// Alternates bare and real rounds, so that other load on the machine affects both.
async fn issuing(cluster: &Cluster, tokens: usize) {
    let namespace = cluster.namespace("issuing").await;
    platform(&namespace).await;
    let client = client(cluster).await;
    let api = KubeApi::new(client.clone(), TIMEOUT, Fence::open());
    let rounds = 4;
    let each = tokens / rounds;
    for round in 0..rounds {
        create_tokens(&namespace, &format!("bare{round}"), each).await;
    }
    let (mut bare, mut real) = (Duration::ZERO, Duration::ZERO);
    // A controller would replace the bare objects, which are full of zeros. So it sees only its own objects.
    let mut before = 0;
    for round in 0..rounds {
        let began = Instant::now();
        many(each, async |number| {
            bare_token(&api, namespace.name(), &format!("bare{round}-{number}")).await
        })
        .await;
        bare += began.elapsed();

        let own = cluster.namespace("real").await;
        platform(&own).await;
        create_tokens(&own, "real", each).await;
        let tuning = Tuning {
            workers: AT_ONCE,
            request_timeout: SignedDuration::try_from(TIMEOUT).unwrap(),
        };
        let kube = KubeApi::new(client.clone(), TIMEOUT, Fence::open());
        let writes = kube.own_writes().clone();
        let done = Arc::new(AtomicUsize::new(0));
        let controller = Controller::new(
            kube,
            writes,
            Settings::default(),
            tuning,
            Notices::ignored(),
        )
        .observed({
            let done = done.clone();
            move |work, _, _| {
                if matches!(
                    work,
                    symbolon::reconcile::work::Work::Object(Kind::ServiceAccessToken, _)
                ) {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let controller = Arc::new(controller);
        let kinds = Kind::ALL.into_iter().map(WatchedKind::Kind).chain([
            WatchedKind::Namespaces,
            WatchedKind::ManagedSecrets,
            WatchedKind::ImportedSecrets,
        ]);
        let source = Source::start(
            &client.clone().into(),
            &options(own.name(), kinds),
            &Arc::new(Hand(controller.clone())),
        );
        source.listed(Duration::from_mins(1)).await.unwrap();
        let began = Instant::now();
        controller.lead();
        let stop = CancellationToken::new();
        let running = tokio::spawn(controller.clone().run(stop.clone()));
        loop {
            let depth = controller.depth();
            if depth.ready + depth.running == 0 && done.load(Ordering::Relaxed) >= each {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        real += began.elapsed();
        stop.cancel();
        running.await.unwrap();
        before += done.load(Ordering::Relaxed);
    }
    let rate = |took: Duration| (each * rounds) as f64 / took.as_secs_f64();
    println!("issuing {} tokens, {AT_ONCE} at once", each * rounds);
    println!("  bare requests   {:8.1} tokens/s", rate(bare));
    println!(
        "  the operator    {:8.1} tokens/s  ({:.0} % of bare; {before} passes)",
        rate(real),
        100.0 * rate(real) / rate(bare)
    );
}

struct Publish(Publisher);

impl Sink for Publish {
    fn take(&self, batch: Vec<WatchChange>) {
        let known = self.0.current();
        let changes = batch.into_iter().filter_map(|seen| match seen {
            WatchChange::Object { change, .. } => Some(change),
            WatchChange::Secret(_) | WatchChange::Managed(_) => None,
        });
        let mut news = changes
            .filter(|change| known.directory().is_news(change))
            .peekable();
        if news.peek().is_some() {
            self.0
                .update(|directory| news.for_each(|change| directory.apply(change)));
        }
    }
}

async fn latency(cluster: &Cluster, clients: usize) {
    let namespace = cluster.namespace("latency").await;
    platform(&namespace).await;
    let api = namespace.api::<OAuthClient>();
    many(clients, async |number| {
        drop(
            create(
                &api,
                manifest("OAuthClient", &format!("c-{number}"), client_spec()),
            )
            .await,
        );
    })
    .await;
    let client = client(cluster).await;
    let identity = ObjectKey::new(namespace.name(), "main");
    let now = harness_now();
    let publish = Arc::new(Publish(
        Publisher::new(identity.clone(), Settings::default(), now).unwrap(),
    ));
    let kinds = Kind::ALL
        .into_iter()
        .map(WatchedKind::Kind)
        .chain([WatchedKind::Namespaces]);
    let began = Instant::now();
    let source = Source::start(
        &client.clone().into(),
        &options(namespace.name(), kinds),
        &publish,
    );
    source.listed(Duration::from_mins(2)).await.unwrap();
    println!(
        "{clients} clients read in {:.2} s",
        began.elapsed().as_secs_f64()
    );

    let bare = bare_watch(client.clone(), &namespace).await;
    for (what, background) in [("idle", 0), ("at 200 writes/s", 200)] {
        let stop = CancellationToken::new();
        let writer = tokio::spawn(background_writes(
            Api::namespaced(client.clone(), namespace.name()),
            background,
            clients,
            stop.clone(),
        ));
        let (mut served, mut watched) = (Vec::new(), Vec::new());
        for round in 0..400 {
            let disabled = round % 2 == 0;
            let patch = Patch::Merge(json!({"spec": {"disabled": disabled}}));
            // The server may close a pooled connection at any time. Repeat the round then.
            let written = loop {
                if let Ok(written) = api.patch("backend", &PatchParams::default(), &patch).await {
                    break written;
                }
            };
            let replied = Instant::now();
            let version: u64 = written.metadata.resource_version.unwrap().parse().unwrap();
            let client_id = format!("{}.backend", namespace.name());
            while publish
                .0
                .current()
                .directory()
                .active_client(&identity, &client_id)
                .is_some()
                == disabled
            {
                tokio::task::yield_now().await;
            }
            served.push(replied.elapsed());
            while bare.load(Ordering::Acquire) < usize::try_from(version).unwrap() {
                tokio::task::yield_now().await;
            }
            watched.push(replied.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        writer.await.unwrap();
        let (age, _) = source.oldest();
        println!(
            "from reply to served, {what}: {}   (oldest watch {age:.0?})",
            quantiles(served)
        );
        println!("  the bare watch at or after it:  {}", quantiles(watched));
    }
}

/// The newest version that a bare watch has received.
async fn bare_watch(client: Client, namespace: &TestNamespace<'_>) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let api: Api<OAuthClient> = Api::namespaced(client, namespace.name());
    let start = api
        .list_metadata(&kube::api::ListParams::default().limit(1))
        .await
        .unwrap();
    let events = api
        .watch(
            &WatchParams::default(),
            &start.metadata.resource_version.unwrap(),
        )
        .await
        .unwrap();
    let note = seen.clone();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Modified(object) = event {
                note.store(
                    object.metadata.resource_version.unwrap().parse().unwrap(),
                    Ordering::Release,
                );
            }
        }
    });
    seen
}

async fn background_writes(
    api: Api<OAuthClient>,
    rate: u64,
    clients: usize,
    stop: CancellationToken,
) {
    if rate == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    let mut number = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (api, name) = (api.clone(), format!("c-{}", number % clients));
        number += 1;
        tokio::spawn(async move {
            let patch = Patch::Merge(json!({"spec": {"displayName": format!("number {number}")}}));
            drop(api.patch(&name, &PatchParams::default(), &patch).await);
        });
    }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    format!(
        "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99)
    )
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn harness_now() -> Timestamp {
    Timestamp::now()
}
