//! Signing keys reach running pods by their mounted Secret: the kubelet's own time, two replicas, no restart.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::{
    kubectl::{eventually, json, kubectl, patch},
    platform::{Platform, SERVERS, service},
    traffic::{Credentials, Traffic},
};

/// Each pod of the servers: how often its container was started again.
fn restarts() -> BTreeMap<String, u64> {
    let pods = json(&format!("get pods {SERVERS}"));
    let pods = pods["items"].as_array().unwrap().iter();
    pods.map(|pod| {
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        (uid, restarts.unwrap())
    })
    .collect()
}

/// The names of the keys that each replica publishes, asked past the Service.
async fn published() -> Vec<BTreeSet<String>> {
    let pods = json(&format!("get pods {SERVERS}"));
    let mut published = Vec::new();
    for pod in pods["items"].as_array().unwrap() {
        let port = named_port(pod);
        let address = pod["status"]["podIP"].as_str().unwrap();
        let url = format!("http://{address}:{port}/id/.well-known/openid-configuration/jwks");
        let keys: JwkSet = reqwest::get(url).await.unwrap().json().await.unwrap();
        let names = keys.keys.into_iter().map(|key| key.common.key_id.unwrap());
        published.push(names.collect());
    }
    published
}

/// The port that the Service leads to.
fn named_port(pod: &Value) -> u64 {
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    let mut named = ports.iter().filter(|port| port["name"] == "http");
    named.next().unwrap()["containerPort"].as_u64().unwrap()
}

/// Waits until all replicas publish the same keys, and these are as they should be.
async fn all_publish(what: &str, is_so: impl Fn(&BTreeSet<String>) -> bool) -> BTreeSet<String> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        eventually(what, || {
            let published = runtime.block_on(published());
            let alike = published.windows(2).all(|pair| pair[0] == pair[1]);
            match published.first() {
                Some(keys) if alike && is_so(keys) => Ok(keys.clone()),
                _ => Err(format!("{published:?}")),
            }
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_reach_running_pods_and_no_verification_fails() {
    let _platform = Platform::take();
    let before = restarts();
    assert!(before.len() >= 2, "{before:?}");
    let traffic = Traffic::start(service(), &Credentials::issued());
    traffic.flowing().await;

    let first = all_publish("a key", |keys| keys.len() == 1).await;
    algorithms(r#"["RS256","ES256"]"#);
    let both = all_publish("a key of each algorithm", |keys| keys.len() == 2).await;
    assert!(both.is_superset(&first));
    client_algorithm(r#""ES256""#);
    traffic.flowing().await;
    client_algorithm("null");
    algorithms(r#"["RS256"]"#);
    traffic.flowing().await;
    // What was signed with it stays good.
    assert_eq!(published().await, vec![both.clone(); before.len()]);
    traffic.stop_without_failure().await;

    // Everything signed before is dead then, which is what is asked for.
    kubectl("annotate -n platform identity/main symbolon.dev/rotate-keys=leaked");
    let next = all_publish("other keys alone", |keys| keys.is_disjoint(&both)).await;
    assert!(!next.is_empty());
    let traffic = Traffic::start(service(), &Credentials::issued());
    for _ in 0..6 {
        traffic.flowing().await;
    }
    traffic.stop_without_failure().await;
    assert_eq!(restarts(), before, "the same pods, never started again");
}

fn algorithms(list: &str) {
    let patched = format!(r#"{{"spec":{{"signing":{{"algorithms":{list}}}}}}}"#);
    patch("-n platform identity/main", &patched);
}

/// What its tokens are signed with from now on.
fn client_algorithm(algorithm: &str) {
    let patched = format!(r#"{{"spec":{{"tokens":{{"algorithm":{algorithm}}}}}}}"#);
    patch("-n shop oauthclient/backend", &patched);
}
