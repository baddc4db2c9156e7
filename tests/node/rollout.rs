//! New pods take over from old ones, and no request is lost.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    kubectl::{apply, eventually, json, kubectl},
    platform::{Platform, cluster_ip},
    traffic::{Credentials, Traffic},
};

const SERVERS: &str = "-n platform -l app.kubernetes.io/component=identity";

/// The uids of the servers' pods that are there, those on their way out included.
fn pods() -> BTreeSet<String> {
    let pods = json(&format!("get pods {SERVERS}"));
    let uids = pods["items"].as_array().unwrap().iter();
    uids.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the traffic flows.
async fn flowing(traffic: &Traffic) {
    let before = traffic.answered();
    for _ in 0..100 {
        if traffic.answered() > before + 50 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no traffic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_image_or_resources_replaces_every_pod_and_loses_no_request() {
    let platform = Platform::take();
    let traffic = Traffic::start(platform.service(), &Credentials::of(&platform));
    flowing(&traffic).await;
    for change in [
        r#"{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"server"}],"containers":[{"name":"server","image":"ghcr.io/symbolon/symbolon:next"}]}}}}"#,
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"server","resources":{"requests":{"memory":"20Mi"}}}]}}}}"#,
    ] {
        let before = pods();
        strategic(change);
        eventually("every pod is a new one", || {
            let left: Vec<_> = pods().intersection(&before).cloned().collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} of {before:?}")) }
        });
        kubectl("rollout status -n platform deployment/main-identity --timeout=60s");
        flowing(&traffic).await;
    }
    let outcome = traffic.stop().await;
    assert!(outcome.answered > 300, "{}", outcome.answered);
    assert!(
        outcome.failures.is_empty(),
        "{} failed: {:#?}",
        outcome.failures.len(),
        outcome.failures
    );
}

fn strategic(change: &str) {
    crate::kubectl::run(
        std::process::Command::new("kubectl").args(["patch", "-n", "platform", "deployment", "main-identity", "--type", "strategic", "--patch", change]),
        "",
    );
}

/// What the other test says nothing fails by.
#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_notices_an_outage() {
    let platform = Platform::take();
    apply(
        "{apiVersion: v1, kind: Service, metadata: {name: nobody, namespace: platform}, spec: {selector: {nobody: here}, ports: [{port: 80}]}}",
    );
    let nobody = (cluster_ip("platform", "nobody"), 80).into();
    let traffic = Traffic::start(nobody, &Credentials::of(&platform));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let outcome = traffic.stop().await;
    assert_eq!(outcome.answered, 0);
    assert!(!outcome.failures.is_empty());
    kubectl("delete service -n platform nobody");
}
