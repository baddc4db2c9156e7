//! A store on a volume: what the kubelet gives it, under the rights that our pods have.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    kubectl::{apply, eventually, json, kubectl, patch},
    platform::{Platform, cluster_ip, manifest},
};

/// On this node: the test shares its folders.
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

/// Waits for another pod than this one, and for the Identity to say that all is well.
fn replaced(before: &str) -> String {
    let next = eventually("another pod", || match uid()? {
        uid if uid == before => Err("the same pod".to_owned()),
        uid => Ok(uid),
    });
    kubectl("wait --for=condition=Ready --timeout=60s -n platform identity/stored");
    next
}

#[tokio::test]
async fn a_store_on_a_volume_goes_from_pod_to_pod() {
    let _platform = Platform::take();
    fs::create_dir_all(FOLDER).unwrap();
    apply(&manifest("stored").replace("FOLDER", FOLDER));
    kubectl("wait --for=condition=Ready --timeout=120s -n platform identity/stored");
    let first = uid().unwrap();

    // Nobody else on the node reads it, though the folder came from root.
    let store = Path::new(FOLDER).join("symbolon.db");
    let made = fs::metadata(&store).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (65532, 0o600));

    // The one before lets go of the store first.
    let resources = r#"{"spec":{"pod":{"resources":{"requests":{"memory":"48Mi"}}}}}"#;
    patch("-n platform identity/stored", resources);
    let second = replaced(&first);
    // And without a farewell the lock goes with the process.
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
    // What people entrusted to it outlives the Identity.
    kubectl("get persistentvolumeclaim -n platform data-stored-identity-0");
    eventually("its pod is gone", || {
        match json(&format!("{POD} --ignore-not-found")) {
            serde_json::Value::Null => Ok(()),
            _ => Err("it is there".to_owned()),
        }
    });
    kubectl("delete persistentvolumeclaim -n platform data-stored-identity-0");
    kubectl("delete persistentvolume stored");
}
