//! Rollouts replace all pods and lose no request.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    kubectl::{apply, eventually, json, kubectl, patch},
    platform::{Platform, SERVERS, cluster_ip, helm, service},
    traffic::{Credentials, Traffic},
};

/// The uids of the servers' pods, including terminating ones.
fn pods() -> BTreeSet<String> {
    let pods = json(&format!("get pods {SERVERS}"));
    let uids = pods["items"].as_array().unwrap().iter();
    uids.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_and_changes_replace_every_pod_and_lose_no_request() {
    let _platform = Platform::take();
    let traffic = Traffic::start(service(), &Credentials::issued());
    traffic.flowing().await;
    replaced(|| {
        // The operator is upgraded first, and then upgrades its Identities.
        helm(
            "upgrade symbolon charts/symbolon --namespace symbolon-system --reuse-values --set image.tag=next",
        );
    });
    traffic.flowing().await;
    replaced(|| {
        let resources = r#"{"spec":{"pod":{"resources":{"requests":{"memory":"48Mi"}}}}}"#;
        patch("-n platform identity/main", resources);
    });
    traffic.flowing().await;
    let images = kubectl(&format!(
        "get pods {SERVERS} -o jsonpath={{.items[*].spec.containers[*].image}}"
    ));
    assert!(
        images.split(' ').all(|image| image.ends_with(":next")),
        "{images}"
    );
    traffic.stop_without_failure().await;
}

/// Makes a change, and waits until every server pod is replaced and the Identity is ready.
fn replaced(change: impl FnOnce()) {
    let before = pods();
    assert!(before.len() >= 2, "{before:?}");
    change();
    eventually("every pod is replaced", || {
        let left: Vec<_> = pods().intersection(&before).cloned().collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} of {before:?}"))
        }
    });
    kubectl("rollout status -n platform deployment/main-identity --timeout=60s");
    kubectl("wait --for=condition=Ready --timeout=60s -n platform identity/main");
}

/// Shows that the traffic of the other test would detect failures.
#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_detects_an_outage() {
    let _platform = Platform::take();
    apply(
        "{apiVersion: v1, kind: Service, metadata: {name: nobody, namespace: platform}, spec: {selector: {nobody: here}, ports: [{port: 80}]}}",
    );
    let nobody = (cluster_ip("platform", "nobody"), 80).into();
    let traffic = Traffic::start(nobody, &Credentials::issued());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let outcome = traffic.stop().await;
    assert_eq!(outcome.answered, 0);
    assert!(!outcome.failures.is_empty());
    kubectl("delete service -n platform nobody");
}
