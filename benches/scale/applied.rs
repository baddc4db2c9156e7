//! Applies very many clients and tokens at once, waits until all are Ready, and then counts the operator's writes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use symbolon::resources::Kind;

use crate::harness::Cluster;
use crate::issuing::{self, Model};
use crate::world::World;
use crate::{memory, program};

/// The number of concurrent requests while applying.
const IN_FLIGHT: usize = 16;
/// The number of clients in a namespace.
const TEAM: usize = 100;
/// The number of objects on the bare side.
const BARE: usize = 1_000;
/// How long writes are counted.
const QUIET: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1800);

pub async fn measure(cluster: &Cluster, world: &World<'_>, size: usize) {
    println!("# {size} clients and {size} ServiceAccessTokens applied at once");
    program::issue_probe(cluster, world).await;
    let model = Model::of(world, "probe").await;
    let bare = issuing::bare_with_creation(world, &model, "before", BARE).await;
    let namespaces: Api<Namespace> = Api::all(world.client());
    for number in 0..size.div_ceil(TEAM) {
        let namespace = json!({"metadata": {"name": format!("applied-{number}")}});
        let namespace = serde_json::from_value(namespace).unwrap();
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }
    let operator = program::operator_of_all(cluster).await;
    let ready = async {
        tokio::join!(
            all_ready(world, Kind::OAuthClient, size),
            all_ready(world, Kind::ServiceAccessToken, size)
        )
    };
    let began = Instant::now();
    let mark = cluster.mark();
    let apply = async {
        stream::iter(0..size)
            .for_each_concurrent(IN_FLIGHT, |number| apply(world, number))
            .await;
        began.elapsed()
    };
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(apply, ready) }).await;
    let (applied, _) = both.expect("all are Ready in time");
    let took = began.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = (2 * size) as f64 / took.as_secs_f64();
    println!("applied within      {:>8.1} s", applied.as_secs_f64());
    println!("all Ready within    {:>8.1} s", took.as_secs_f64());
    println!("rate                {rate:>8.1} /s");
    let pid = operator.pid();
    println!(
        "operator            {:>8.0} MiB, peak {:.0}",
        memory(pid, "VmRSS"),
        memory(pid, "VmHWM")
    );
    let lists = cluster
        .requests(mark)
        .iter()
        .filter(|it| it.verb == "list")
        .count();
    println!("lists               {lists:>8}");
    // Wait for requests in flight.
    tokio::time::sleep(QUIET / 2).await;
    let mark = cluster.mark();
    tokio::time::sleep(QUIET).await;
    let writes = cluster.requests(mark);
    let writes: Vec<_> = writes
        .iter()
        .filter(|it| !["get", "list", "watch"].contains(&&*it.verb))
        .collect();
    println!("writes in the minute afterwards {:>3}", writes.len());
    for write in writes.iter().take(5) {
        println!("  {write:?}");
    }
    drop(operator);
    let after = issuing::bare_with_creation(world, &model, "after", BARE).await;
    println!("same bare requests  {bare:>8.1} /s before, {after:.1} /s beside all objects");
    println!(
        "ratio               {:>8.2} and {:.2}",
        rate / bare,
        rate / after
    );
}

async fn apply(world: &World<'_>, number: usize) {
    let (namespace, name) = (format!("applied-{}", number / TEAM), format!("a-{number}"));
    let client = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "identityRef": {"name": "main", "namespace": world.platform.name()},
            "grantTypes": ["ClientCredentials"], "scopes": ["read"],
            "systemUser": {"name": name}, "referenceTokens": "AdministratorsOnly",
        },
    });
    world.create(Kind::OAuthClient, client).await;
    let token = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clientRef": {"name": name}, "scopes": ["read"], "lifetime": "720h"},
    });
    world.create(Kind::ServiceAccessToken, token).await;
}

/// Waits until `size` of the applied objects of a kind are Ready.
async fn all_ready(world: &World<'_>, kind: Kind, size: usize) {
    let objects = world.api_of_all(kind);
    let list = objects.list(&ListParams::default().limit(1)).await.unwrap();
    let mut version = list.metadata.resource_version.unwrap_or_default();
    let mut ready = BTreeSet::new();
    while ready.len() < size {
        let events = objects.watch(&WatchParams::default(), &version).await;
        let mut events = events.unwrap().boxed();
        // The API server ends watches from time to time.
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                continue;
            };
            version = object.resource_version().unwrap_or(version);
            if object.name_any().starts_with("a-") && is_ready(&object.data) {
                ready.insert(object.name_any());
                if ready.len() == size {
                    return;
                }
            }
        }
    }
}

fn is_ready(data: &Value) -> bool {
    let conditions = data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}
