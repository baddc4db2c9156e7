//! A store on a volume that the kubelet mounts, with the privileges of our pods.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    kubectl::{apply, eventually, json, kubectl, patch},
    platform::{Platform, cluster_ip, manifest},
};

/// A folder of the node, which the test shares.
const FOLDER: &str = "/run/stored";
const POD: &str = "get pod -n platform stored-identity-0";

fn uid() -> Result<String, String> {
    let pod = json(&format!("{POD} --ignore-not-found"));
    let uid = pod["metadata"]["uid"].as_str().map(str::to_owned);
    let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
    let is_ready = kubectl(&format!("{POD} --ignore-not-found -o jsonpath={ready}"));
    uid.filter(|_| is_ready == "True")
        .ok_or_else(|| format!("the pod is not ready: {}", pod["status"]))
}

/// Waits until the pod is replaced and the Identity is ready, and returns the new pod's uid.
fn replaced(before: &str) -> String {
    let next = eventually("the pod is replaced", || match uid()? {
        uid if uid == before => Err("still the same pod".to_owned()),
        uid => Ok(uid),
    });
    kubectl("wait --for=condition=Ready --timeout=60s -n platform identity/stored");
    next
}

#[tokio::test]
async fn a_store_on_a_volume_is_taken_over_by_the_next_pod() {
    let _platform = Platform::take();
    fs::create_dir_all(FOLDER).unwrap();
    apply(&manifest("stored").replace("FOLDER", FOLDER));
    kubectl("wait --for=condition=Ready --timeout=120s -n platform identity/stored");
    let first = uid().unwrap();

    // No other user of the node can read the store, although root created the folder.
    let store = Path::new(FOLDER).join("symbolon.db");
    let made = fs::metadata(&store).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (65532, 0o600));

    // The commands reach the server from inside the pod.
    let command = "exec -n platform stored-identity-0 -- /symbolon store";
    let report = kubectl(&format!("{command} verify -o json"));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sound"], true);
    kubectl(&format!("{command} backup --to /var/lib/symbolon/copy.db"));
    let copy = fs::metadata(Path::new(FOLDER).join("copy.db")).unwrap();
    assert_eq!((copy.uid(), copy.mode() & 0o7777), (65532, 0o600));

    // In a rollout, the previous pod releases the store first.
    let resources = r#"{"spec":{"pod":{"resources":{"requests":{"memory":"48Mi"}}}}}"#;
    patch("-n platform identity/stored", resources);
    let second = replaced(&first);
    // After a forced deletion, the lock ends with the process.
    kubectl("delete pod -n platform stored-identity-0 --grace-period=0 --force");
    replaced(&second);
    assert_eq!(fs::metadata(&store).unwrap().ino(), made.ino());

    let address = (cluster_ip("platform", "stored-identity"), 80).into();
    let client = reqwest::Client::builder().resolve("stored-identity.platform.svc", address);
    let issuer = "http://stored-identity.platform.svc/id";
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let answer = client.build().unwrap().get(discovery).send().await.unwrap();
    let told: serde_json::Value = answer.error_for_status().unwrap().json().await.unwrap();
    assert_eq!(told["issuer"], issuer);

    kubectl("annotate -n platform identity/stored symbolon.dev/allow-deletion=true");
    kubectl("delete -n platform identity/stored --timeout=60s");
    // The claim with the users' data survives the Identity.
    kubectl("get persistentvolumeclaim -n platform data-stored-identity-0");
    eventually("its pod is deleted", || {
        match json(&format!("{POD} --ignore-not-found")) {
            serde_json::Value::Null => Ok(()),
            _ => Err("the pod still exists".to_owned()),
        }
    });
    kubectl("delete persistentvolumeclaim -n platform data-stored-identity-0");
    kubectl("delete persistentvolume stored");
}
