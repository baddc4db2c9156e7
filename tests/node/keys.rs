//! New signing keys reach the running pods of two replicas through their mounted Secret, with the kubelet's delay and
//! without a restart.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::{
    kubectl::{eventually, json, kubectl, patch},
    platform::{Platform, SERVERS, service},
    traffic::{Credentials, Traffic},
};

/// The number of container restarts of each server pod, by uid.
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

/// The kids that each replica publishes, requested from its pod directly.
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

/// The container port behind the Service.
fn named_port(pod: &Value) -> u64 {
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    let mut named = ports.iter().filter(|port| port["name"] == "http");
    named.next().unwrap()["containerPort"].as_u64().unwrap()
}

/// Waits until all replicas publish the same keys and these fulfil `is_so`, and returns them.
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
async fn new_keys_reach_running_pods_and_no_verification_fails() {
    let _platform = Platform::take();
    let before = restarts();
    assert!(before.len() >= 2, "{before:?}");
    let traffic = Traffic::start(service(), &Credentials::issued());
    traffic.flowing().await;

    let first = all_publish("all replicas publish one key", |keys| keys.len() == 1).await;
    algorithms(r#"["RS256","ES256"]"#);
    let both = all_publish("all replicas publish a key of each algorithm", |keys| {
        keys.len() == 2
    })
    .await;
    assert!(both.is_superset(&first));
    client_algorithm(r#""ES256""#);
    traffic.flowing().await;
    client_algorithm("null");
    algorithms(r#"["RS256"]"#);
    traffic.flowing().await;
    // The retired key is still published, so that its tokens stay valid.
    assert_eq!(published().await, vec![both.clone(); before.len()]);
    traffic.stop_without_failure().await;

    // An emergency rotation invalidates all earlier tokens.
    kubectl("annotate -n platform identity/main symbolon.dev/rotate-keys=leaked");
    let next = all_publish("all replicas publish only new keys", |keys| {
        keys.is_disjoint(&both)
    })
    .await;
    assert!(!next.is_empty());
    let traffic = Traffic::start(service(), &Credentials::issued());
    for _ in 0..6 {
        traffic.flowing().await;
    }
    traffic.stop_without_failure().await;
    assert_eq!(restarts(), before, "no pod was replaced or restarted");
}

fn algorithms(list: &str) {
    let patched = format!(r#"{{"spec":{{"signing":{{"algorithms":{list}}}}}}}"#);
    patch("-n platform identity/main", &patched);
}

/// Sets the algorithm that signs the client's tokens.
fn client_algorithm(algorithm: &str) {
    let patched = format!(r#"{{"spec":{{"tokens":{{"algorithm":{algorithm}}}}}}}"#);
    patch("-n shop oauthclient/backend", &patched);
}
