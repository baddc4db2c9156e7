//! Floods by a tenant of a real API server: objects of the maximum size, and a Scope whose changes make the operator
//! reconcile many tokens again and again.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use symbolon::resources::Kind;

use crate::harness::{Cluster, eventually_within};
use crate::program::{self, Program};
use crate::world::World;

/// The default memory limits of the two kinds of pods, in MiB.
const OPERATOR_LIMIT: f64 = 256.0;
const SERVER_LIMIT: f64 = 512.0;
/// The number of clients with the maximum amount of metadata.
const FAT: usize = 150;
/// The number of tokens of the tenant who toggles a Scope.
const FOLLOWERS: usize = 2_500;
/// The number of tokens of the tenant who waits, and the time between them.
const FIRST_TOKENS: usize = 10;
const PACE: Duration = Duration::from_secs(2);
const IN_FLIGHT: usize = 16;
const PATIENCE: Duration = Duration::from_mins(10);

pub async fn run(wants: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
    if wants("fat-objects") {
        fat_objects().await;
    }
    if wants("busy-tenant") {
        busy_tenant().await;
    }
    Ok(())
}

/// Starts an operator and a server beside many objects with much metadata, on an API server that sends lists in pages.
async fn fat_objects() {
    eprintln!("fat-objects …");
    let cluster = Cluster::private_without_streaming_lists();
    let world = World::new(&cluster, 1).await;
    program::issue_probe(&cluster, &world).await;
    let tenant = cluster.namespace("tenant").await;
    stream::iter(0..FAT)
        .for_each_concurrent(4, |number| {
            let mut client = client(&world, tenant.name(), &format!("fat-{number}"), &["read"]);
            let metadata = client["metadata"].as_object_mut().unwrap();
            metadata.insert("labels".to_owned(), labels());
            metadata.insert("annotations".to_owned(), annotations());
            world.create(Kind::OAuthClient, client)
        })
        .await;
    println!("\n{FAT} OAuthClients, each with 1 MB of labels and annotations");
    let operator = program::operator_of_all(&cluster).await;
    let settled = Duration::from_secs(20);
    tokio::time::sleep(settled).await;
    report("operator", &operator, OPERATOR_LIMIT);
    let server = program::server(&cluster, &world).await;
    tokio::time::sleep(settled).await;
    report("server", &server, SERVER_LIMIT);
}

fn report(who: &str, program: &Program, limit: f64) {
    println!(
        "{who:<10} peak {:.0} MiB (limit {limit:.0}), {:.0} afterwards",
        memory(program.pid(), "VmHWM"),
        memory(program.pid(), "VmRSS"),
    );
}

/// Labels with the longest keys and values. Only the size of a request limits their number.
fn labels() -> Value {
    let label = |number: usize| {
        let domain = format!("{0}.{0}.{0}.example.com", "d".repeat(60));
        (
            format!("{domain}/{number:0>63}"),
            Value::from("v".repeat(63)),
        )
    };
    (0..1_300).map(label).collect::<Map<_, _>>().into()
}

/// The annotations of an object may have 256 KiB in total.
fn annotations() -> Value {
    json!({"example.com/blob": "b".repeat(250 << 10)})
}

/// One tenant toggles a Scope that many tokens use. Another tenant waits for first tokens.
async fn busy_tenant() {
    eprintln!("busy-tenant …");
    let cluster = Cluster::private();
    let world = World::new(&cluster, 1).await;
    let everything = json!({"spec": {"access": {"scopes": {"from": "All"}}}});
    merge(
        &world.api(Kind::Identity, world.platform.name()),
        "main",
        &everything,
    )
    .await;
    let busy = cluster.namespace("busy").await;
    let _operator = program::operator_of_all(&cluster).await;
    world.token_in_secret("probe").await;
    let scope = format!("{}:toggled", busy.name());
    let identity = json!({"name": "main", "namespace": world.platform.name()});
    let toggled = json!({
        "metadata": {"name": "toggled", "namespace": busy.name()},
        "spec": {"identityRef": identity},
    });
    world.create(Kind::Scope, toggled).await;
    let mut backend = client(&world, busy.name(), "backend", &[&scope]);
    backend["spec"]["systemUser"] = json!({"name": "backend"});
    backend["spec"]["referenceTokens"] = json!("AdministratorsOnly");
    world.create(Kind::OAuthClient, backend).await;
    let calm = first_tokens(&world, "calm", 3).await;
    stream::iter(0..FOLLOWERS)
        .for_each_concurrent(IN_FLIGHT, |number| {
            let mut token = World::token(busy.name(), &format!("follower-{number}"));
            token["spec"]["scopes"] = json!([scope]);
            world.create(Kind::ServiceAccessToken, token)
        })
        .await;
    let last = format!("follower-{}", FOLLOWERS - 1);
    let secrets = busy.api::<Secret>();
    eventually_within(PATIENCE, "the last follower has its token", async || {
        let secret = secrets.get_opt(&format!("{last}-token")).await.unwrap()?;
        secret.data?.contains_key("token").then_some(())
    })
    .await;
    let scopes = world.api(Kind::Scope, busy.name());
    let toggling = async {
        for round in 0_u32.. {
            let change = json!({"spec": {"disabled": round % 2 == 0}});
            merge(&scopes, "toggled", &change).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let waiting = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        first_tokens(&world, "first", FIRST_TOKENS).await
    };
    let busy_times = tokio::select! {
        times = waiting => times,
        () = toggling => unreachable!("it toggles until it is dropped"),
    };
    println!("\nSeconds until another tenant's first token is in its Secret");
    println!("{:<34}{:>8}", "without toggling, slowest", seconds(&calm));
    println!(
        "{:<34}{:>8}",
        format!("with {FOLLOWERS} dependent tokens, slowest"),
        seconds(&busy_times)
    );
}

fn seconds(times: &[Duration]) -> String {
    let slowest = times.iter().max().copied().unwrap_or_default();
    format!("{:.2}", slowest.as_secs_f64())
}

/// Returns the time that each first token takes.
async fn first_tokens(world: &World<'_>, prefix: &str, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let began = Instant::now();
        let token = World::token(world.team.name(), &name);
        world.create(Kind::ServiceAccessToken, token).await;
        let secrets = world.team.api::<Secret>();
        while !has_token(&secrets, &format!("{name}-token")).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    times
}

async fn has_token(secrets: &Api<Secret>, name: &str) -> bool {
    let secret = secrets.get_opt(name).await.unwrap();
    secret
        .and_then(|secret| secret.data)
        .is_some_and(|data| data.contains_key("token"))
}

fn client(world: &World<'_>, namespace: &str, name: &str, scopes: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "identityRef": {"name": "main", "namespace": world.platform.name()},
            "grantTypes": ["ClientCredentials"], "scopes": scopes,
        },
    })
}

async fn merge(api: &Api<kube::api::DynamicObject>, name: &str, change: &Value) {
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

/// A line of `/proc/<pid>/status`, in MiB.
fn memory(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find(|it| it.starts_with(line)).unwrap();
    let kib: f64 = found.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}
