//! Runs docs/runbooks/restore-etcd.md.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use symbolon::source::kubernetes::SILENCE;

use super::Runbook;
use crate::harness::{Cluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_etcd_old_tokens_are_refused_and_every_workload_has_a_new_one() {
    let cluster = Cluster::private();
    let mut runbook = Runbook::open(&cluster, "runbooks/restore-etcd").await;
    let operator = runbook.operator();
    let early = runbook.held().await;
    let server = runbook.server().await;
    server.soon_accepts(&early).await;
    let snapshot = cluster.save_etcd();

    // After the snapshot, a token is rotated and the client is deleted.
    runbook
        .shell("kubectl annotate -n shop serviceaccesstoken/nightly-report symbolon.dev/rotate=1");
    let late = eventually("the Secret has another token", async || {
        let held = runbook.held().await;
        (held.token != early.token).then_some(held)
    })
    .await;
    runbook.shell("kubectl delete -n shop oauthclient backend");
    server.soon_refuses(&late).await;

    drop(server);
    operator.end();
    cluster.restore_etcd(&snapshot);
    let operator = runbook.operator();
    let server = runbook.server().await;
    assert_eq!(
        runbook.held().await,
        early,
        "the Secrets are those of the snapshot"
    );
    assert!(
        server.accepts(&early).await,
        "the deleted client is restored"
    );
    assert!(
        !server.token_is_accepted(&late.token).await,
        "a token issued after the snapshot is unknown"
    );

    runbook.next();
    server.soon_refuses(&early).await;
    let now = eventually("the token and the client secret are new", async || {
        let held = runbook.held().await;
        (held.token != early.token && held.secret != early.secret).then_some(held)
    })
    .await;
    runbook.next();
    server.soon_accepts(&now).await;
    assert_ne!(now.token, late.token);
    assert!(!server.accepts(&early).await);
    let words = runbook.next();
    assert!(words.contains("nightly-report"), "{words}");
    operator.end();
    runbook.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_not_restarted_notices_a_restore_of_etcd() {
    let cluster = Cluster::private();
    let runbook = Runbook::open(&cluster, "runbooks/restore-etcd").await;
    let operator = runbook.operator();
    let early = runbook.held().await;
    let server = runbook.server().await;
    server.soon_accepts(&early).await;
    let snapshot = cluster.save_etcd();
    // Raise the resource version far above the snapshot's.
    let configs: Api<ConfigMap> = Api::namespaced(cluster.client().await, "shop");
    let futile = Patch::Merge(json!({"data": {"at": "all"}}));
    let clear = Patch::Merge(json!({"data": {"at": null}}));
    configs
        .create(&PostParams::default(), &named("busy"))
        .await
        .unwrap();
    for _ in 0..750 {
        for patch in [&futile, &clear] {
            let params = PatchParams::default();
            configs.patch("busy", &params, patch).await.unwrap();
        }
    }
    operator.end();
    cluster.restore_etcd(&snapshot);
    runbook.shell("kubectl delete -n shop serviceaccesstoken nightly-report");
    let began = Instant::now();
    while server.token_is_accepted(&early.token).await {
        assert!(
            began.elapsed() < SILENCE + Duration::from_mins(3),
            "the server still waits for a resource version that never comes"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn named(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}
