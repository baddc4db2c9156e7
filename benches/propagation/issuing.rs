//! Measures how fast the operator issues tokens, beside the rate of the same bare requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use symbolon::resources::Kind;

use crate::harness::Cluster;
use crate::program;
use crate::world::World;

/// The operator's default number of concurrent passes.
const IN_FLIGHT: usize = 24;
/// The namespace of the bare requests.
const RAW: &str = "crowd-0";
const PATIENCE: Duration = Duration::from_secs(300);

/// `run` distinguishes several measurements in one world.
pub async fn measure(cluster: &Cluster, world: &World<'_>, run: &str, tokens: usize) {
    eprintln!("creating {tokens} ServiceAccessTokens, twice …");
    // The operator does not watch the namespaces of the crowd.
    for (namespace, kind) in [(RAW, "raw"), (world.team.name(), "load")] {
        stream::iter(0..tokens)
            .for_each_concurrent(IN_FLIGHT, |number| {
                let token = World::token(namespace, &format!("{kind}-{run}-{number}"));
                world.create(Kind::ServiceAccessToken, token)
            })
            .await;
    }
    let model = Model::of(world, "probe").await;
    let raw = raw_rate(world, &model, run, tokens).await;
    let mark = cluster.mark();
    let issued = issued_rate(cluster, world, run, tokens).await;
    println!("\ntokens issued a second, from the first write to the last status   {issued:.1}");
    println!("the same writes and GETs as bare requests                         {raw:.1}");
    println!(
        "ratio                                                             {:.2}",
        issued / raw
    );
    println!("\nrequests of the operator per token");
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for request in cluster.requests(mark) {
        *counts.entry((request.verb, request.resource)).or_default() += 1;
    }
    for ((verb, resource), count) in counts {
        let each = f64::from(u32::try_from(count).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(tokens).unwrap_or(1));
        println!("  {verb:<8}{resource:<32}{each:>8.2}");
    }
}

/// Starts the operator and waits until every token is ready.
async fn issued_rate(cluster: &Cluster, world: &World<'_>, run: &str, tokens: usize) -> f64 {
    let ours = format!("load-{run}-");
    let team = world.team.name();
    let secrets = world.team.api::<Secret>();
    let list = secrets.list_metadata(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut first = secrets
        .watch_metadata(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    let owners = world.api(Kind::ServiceAccessToken, team);
    let list = owners.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut events = owners
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();

    let _operator = program::operator(cluster, world).await;
    let began = async {
        while let Ok(Some(event)) = first.try_next().await {
            if matches!(event, WatchEvent::Added(secret) if secret.name_any().starts_with(&ours)) {
                break;
            }
        }
        Instant::now()
    };
    let ended = async {
        let mut ready = BTreeSet::new();
        while ready.len() < tokens {
            match events.try_next().await {
                Ok(Some(WatchEvent::Modified(object)))
                    if object.name_any().starts_with(&ours) && is_ready(&object) =>
                {
                    ready.insert(object.name_any());
                }
                Ok(Some(_)) => {}
                other => panic!("the watch ended: {other:?}"),
            }
        }
        Instant::now()
    };
    let both = tokio::time::timeout(PATIENCE, async { tokio::join!(began, ended) }).await;
    let (began, ended) = both.expect("all tokens are issued in time");
    rate(tokens, ended.duration_since(began))
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn rate(tokens: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// Makes the protocol's requests for first tokens, with the operator's concurrency.
async fn raw_rate(world: &World<'_>, model: &Model, run: &str, tokens: usize) -> f64 {
    let began = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(IN_FLIGHT, |number| {
            raw(world, model, format!("raw-{run}-{number}"))
        })
        .await;
    rate(tokens, began.elapsed())
}

/// The same, but creates each ServiceAccessToken first, and leaves nothing that an operator would see.
pub async fn bare_with_creation(world: &World<'_>, model: &Model, run: &str, tokens: usize) -> f64 {
    let began = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(IN_FLIGHT, async |number| {
            let name = format!("bare-{run}-{number}");
            let token = World::token(RAW, &name);
            world.create(Kind::ServiceAccessToken, token).await;
            raw(world, model, name).await;
        })
        .await;
    let rate = rate(tokens, began.elapsed());
    for kind in [Kind::ServiceAccessToken, Kind::Credential] {
        let (all, params) = (ListParams::default(), DeleteParams::default());
        let deleted = world.api(kind, RAW).delete_collection(&params, &all).await;
        deleted.unwrap();
    }
    rate
}

/// The objects that an operator wrote for one token. The bare writes have the same size.
pub struct Model {
    secret: Secret,
    credential: DynamicObject,
    status: Value,
}

impl Model {
    /// Reads the objects of an issued token of the team.
    pub async fn of(world: &World<'_>, token: &str) -> Self {
        let team = world.team.name();
        let owners = world.api(Kind::ServiceAccessToken, team);
        let owner = owners.get(token).await.unwrap();
        let uid = owner.metadata.uid.clone().unwrap();
        let credentials = world.api(Kind::Credential, world.platform.name());
        let mut credential = credentials.get(&uid).await.unwrap();
        let secret = owner.data["status"]["secretName"].as_str().unwrap();
        let mut secret = world.team.api::<Secret>().get(secret).await.unwrap();
        for metadata in [&mut secret.metadata, &mut credential.metadata] {
            // No one must mistake a copy for an object of the operator.
            let labels = std::mem::take(&mut metadata.labels).unwrap_or_default();
            let labels = labels
                .into_iter()
                .map(|(key, value)| (key.replace("symbolon.dev", "bench.dev"), value));
            *metadata = ObjectMeta {
                labels: Some(labels.collect()),
                annotations: metadata.annotations.take(),
                ..ObjectMeta::default()
            };
        }
        credential.data.as_object_mut().unwrap().remove("status");
        Self {
            secret,
            credential,
            status: owner.data["status"].clone(),
        }
    }
}

async fn raw(world: &World<'_>, model: &Model, name: String) {
    let params = PostParams::default();
    let credentials = world.api(Kind::Credential, RAW);
    let owners = world.api(Kind::ServiceAccessToken, RAW);
    let secrets: Api<Secret> = Api::namespaced(world.client(), RAW);
    // The reads at the start and at the end of a pass. The operator's own requests are listed beside the rates.
    let look = async || {
        credentials.get_opt(&name).await.unwrap();
        secrets.get_opt(&name).await.unwrap();
        owners.get(&name).await.unwrap()
    };
    look().await;
    let mut secret = model.secret.clone();
    secret.metadata.name = Some(name.clone());
    let data = secret.data.take();
    let mut secret = secrets.create(&params, &secret).await.unwrap();
    let mut credential = model.credential.clone();
    credential.metadata.name = Some(name.clone());
    credentials.create(&params, &credential).await.unwrap();
    secret.data = data;
    secrets.replace(&name, &params, &secret).await.unwrap();
    let mut owner = look().await;
    owner.data["status"] = model.status.clone();
    owners.replace_status(&name, &params, &owner).await.unwrap();
}
