//! Objects whose labels and annotations reach etcd's size limit: their metadata is neither kept in memory nor lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use serde_json::{Value, json};
use symbolon::directory::{Change, Row};
use symbolon::resources::{Kind, OAuthClient};
use symbolon::source::kubernetes::{
    Options, Reach, Refusals, Sink, Source, WatchChange, WatchedKind,
};

use super::process::Operator;
use super::world::{Running, World, condition};
use crate::harness::Cluster;

/// More objects than the first page of a list has.
const MANY: usize = 40;

/// A client with almost a megabyte of metadata, including what the API server adds.
fn fat(number: usize, world: &World<'_>) -> OAuthClient {
    let labels: BTreeMap<String, String> = (0..4_000)
        .map(|n| (format!("label-{n:04}"), "v".repeat(63)))
        .collect();
    let object = json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {
            "name": format!("fat-{number}"), "labels": labels,
            "annotations": {"example.com/notes": "n".repeat(250 << 10)},
        },
        "spec": {
            "identityRef": {"name": "main", "namespace": world.platform.name()},
            "grantTypes": ["ClientCredentials"], "scopes": ["orders.read"],
        },
    });
    serde_json::from_value(object).unwrap()
}

/// A client of an API server without streaming lists, and the URIs of its requests.
fn without_streams(client: Client) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        noted.lock().unwrap().push(uri.clone());
        let client = client.clone();
        async move {
            if !uri.contains("sendInitialEvents=true") {
                return client.send(request).await;
            }
            let status = json!({"kind": "Status", "code": 422, "reason": "Invalid"}).to_string();
            let refused = Response::builder().status(422);
            Ok(refused.body(Body::from(status.into_bytes())).unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}

#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Sink for Names {
    fn take(&self, batch: Vec<WatchChange>) {
        let mut names = self.0.lock().unwrap();
        for seen in batch {
            if let WatchChange::Object {
                change: Change::Upsert(Row::Client(object)),
                ..
            } = seen
            {
                names.push(object.key.name.to_string());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_a_megabyte_of_metadata_are_served_and_keep_it_unchanged() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let clients = world.team.api::<OAuthClient>();
    for number in 0..MANY {
        let fat = fat(number, &world);
        clients.create(&PostParams::default(), &fat).await.unwrap();
    }

    let (client, asked) = without_streams(world.client());
    let names = Arc::new(Names::default());
    let options = Options {
        watched_kinds: vec![(
            WatchedKind::Kind(Kind::OAuthClient),
            Reach::Namespaces(vec![world.team.name().to_owned()]),
        )],
        settings: Arc::default(),
        mac: tokio::sync::watch::channel(None).1,
        start_within: Duration::ZERO,
        silence: Duration::from_mins(2),
        refusals: Refusals::default(),
    };
    let source = Source::start(&client.clone().into(), &options, &names);
    source.listed(Duration::from_mins(2)).await.unwrap();
    let told = names.0.lock().unwrap().len();
    assert_eq!(told, MANY + 1, "all of them and the client backend");
    let limits: Vec<u32> = {
        let asked = asked.lock().unwrap();
        let limit = |uri: &String| {
            let (_, after) = uri.split_once("limit=")?;
            after.split('&').next()?.parse().ok()
        };
        asked.iter().filter_map(limit).collect()
    };
    assert_eq!(limits[0], 32);
    assert!(
        limits[1] < 10,
        "later pages must be smaller, since each object has about a megabyte: {limits:?}"
    );
    drop(source);

    // The operator, which uses streaming lists here, writes their statuses and keeps their metadata. Each write has a megabyte
    // in both directions: on a busy machine that takes longer than other tests allow a request.
    let patient = ["--request-timeout", "60"];
    let _operator = Operator::start_with(&world, cluster.kubeconfig_path(), &patient);
    for number in [0, MANY / 2, MANY - 1] {
        let name = format!("fat-{number}");
        let stored = world.ready(Kind::OAuthClient, &name, "True", "Ready").await;
        let metadata = serde_json::to_value(fat(number, &world)).unwrap()["metadata"].clone();
        for field in ["labels", "annotations"] {
            assert!(
                stored["metadata"][field] == metadata[field],
                "{field} of {name}"
            );
        }
        assert_ne!(stored["metadata"]["managedFields"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_too_many_keys_is_reported_with_the_remedy() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await;
    let stuffed = |value: Value| -> Value {
        let keys = (0..2_000).map(|n| (format!("key-{n}"), value.clone()));
        json!({"data": keys.collect::<serde_json::Map<_, _>>()})
    };
    let secrets = world.team.api::<Secret>();
    let merge = async |patch: Value| {
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        secrets
            .patch("nightly-token", &params, &patch)
            .await
            .unwrap();
    };
    merge(stuffed("".into())).await;
    let kind = Kind::ServiceAccessToken;
    let told = world.ready(kind, "nightly", "False", "SecretAccessDenied");
    let told = told.await;
    let words = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(
        words.contains("too large to be read: remove data"),
        "{words}"
    );
    merge(stuffed(Value::Null)).await;
    world.token_ready("nightly").await;
    assert_eq!(
        world.text("nightly-token").await,
        token,
        "the token must not change"
    );
}
