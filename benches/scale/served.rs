//! Measures a server with very many objects: its memory, the time until it is ready, and the time of a look-up.

use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use symbolon::tokens::{MacKey, SecretString};

use crate::harness::Cluster;
use crate::program::{self, Connection, Program};
use crate::world::World;
use crate::{memory, seed};

const GATEWAY: &str = "/id/connect/checktoken/api";
/// The number of look-ups in one measurement.
const LOOK_UPS: usize = 20_000;

pub async fn measure(cluster: &Cluster, world: &World<'_>, size: usize) {
    println!("\n# served");
    let probe = SecretString::from(world.token_in_secret("probe").await);
    let (server, took) = start(cluster, world).await;
    report("few", &server, took, &[probe]).await;
    drop(server);
    if size == 0 {
        return;
    }
    eprintln!("writing {size} clients, {size} tokens and their Credentials into etcd …");
    let secrets = world.platform.api::<Secret>();
    let data = secrets.get("main-mac").await.unwrap().data.unwrap();
    let key = MacKey::from_bytes(&data["mac.key"].0).unwrap();
    let tokens = seed::seed(cluster, world.platform.name(), &key, size).await;
    // The objects were written directly into etcd, so wait until they are in the API server's cache.
    catch_up(cluster).await;
    let (bytes, took) = bare(cluster).await;
    println!(
        "bare: read {} MB in {:.1} s",
        bytes / 1_000_000,
        took.as_secs_f64()
    );
    let (server, took) = start(cluster, world).await;
    let what = format!("{size} clients and tokens, {} Credentials", 2 * size);
    report(&what, &server, took, &tokens).await;
}

const KINDS: [&str; 3] = ["oauthclients", "serviceaccesstokens", "credentials"];

/// Waits until the API server can stream each kind.
async fn catch_up(cluster: &Cluster) {
    let client = cluster.client().await;
    let began = Instant::now();
    for plural in KINDS {
        while read(client.clone(), plural).await.is_err() {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
    eprintln!(
        "the API server has read all objects after {:.0} s",
        began.elapsed().as_secs_f64()
    );
}

/// Streams the same objects to a reader that keeps nothing. Returns the number of bytes, and the time.
async fn bare(cluster: &Cluster) -> (usize, Duration) {
    let client = cluster.client().await;
    let began = Instant::now();
    let read = KINDS.map(|plural| read(client.clone(), plural));
    let bytes = futures::future::try_join_all(read).await.unwrap();
    (bytes.iter().sum(), began.elapsed())
}

async fn read(client: Client, plural: &str) -> Result<usize, Unready> {
    let path = format!(
        "/apis/symbolon.dev/v1alpha1/{plural}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=600"
    );
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let stream = client.request_stream(request).await;
    let mut lines = stream.map_err(|_| Unready)?.lines();
    let mut bytes = 0;
    while let Ok(Some(line)) = lines.try_next().await {
        if line.starts_with(r#"{"type":"ERROR""#) {
            break;
        }
        bytes += line.len();
        if line.contains("k8s.io/initial-events-end") {
            return Ok(bytes);
        }
    }
    Err(Unready)
}

/// An error: the API server cannot stream its objects yet.
#[derive(Debug)]
struct Unready;

/// The CPU seconds that a process has used so far.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |place| -> f64 {
        fields
            .split_whitespace()
            .nth(place)
            .unwrap()
            .parse()
            .unwrap()
    };
    // In hundredths of a second, on every current Linux.
    (ticks(11) + ticks(12)) / 100.0
}

async fn start(cluster: &Cluster, world: &World<'_>) -> (Program, Duration) {
    let began = Instant::now();
    let server = program::server(cluster, world).await;
    (server, began.elapsed())
}

async fn report(what: &str, server: &Program, took: Duration, tokens: &[SecretString]) {
    let busy = processor(server.pid());
    let mut connection = Connection::open(server.at).await.unwrap();
    let mut times = Vec::with_capacity(LOOK_UPS);
    for number in 0..LOOK_UPS {
        // Far from each other, so that caches do not help.
        let token = &tokens[(number * 7919) % tokens.len()];
        let began = Instant::now();
        let status = connection.get(GATEWAY, token.expose()).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(status, 200);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_micros();
    println!(
        "{what}: ready after {:.1} s, with {busy:.1} s of CPU time; memory {:.0} MiB, peak {:.0}; checktoken {} µs, p99 {} µs",
        took.as_secs_f64(),
        memory(server.pid(), "VmRSS"),
        memory(server.pid(), "VmHWM"),
        at(50),
        at(99),
    );
}
