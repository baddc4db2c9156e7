//! The view of GitOps tools: the progress of an object by the rules of kstatus and Argo CD, and no lasting difference.

use std::path::Path;

use serde_json::{Value, json};
use symbolon::resources::{Identity, Kind, Scope};

use super::process::{Operator, rights};
use super::world::{Running, World, condition};
use crate::harness::{Cluster, eventually};
use crate::verdict::verdicts;

const CLIENT: Kind = Kind::OAuthClient;
const TOKEN: Kind = Kind::ServiceAccessToken;
/// The field manager of Argo CD. Flux uses `kustomize-controller`.
const MANAGER: &str = "argocd-controller";

/// The verdict on one object, as Flux/Argo CD.
fn verdict(object: &Value) -> String {
    verdicts([object]).remove(0)
}

async fn becomes(world: &World<'_>, kind: Kind, name: &str, right: &str) {
    let mut last = String::new();
    eventually(&format!("{kind} {name} is {right}"), async || {
        last = verdict(&world.get(kind, name).await);
        (last == right).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_see_every_stage_of_an_object() {
    let world = World::new(Cluster::shared()).await;
    for (kind, name) in [(CLIENT, "backend"), (TOKEN, "nightly")] {
        let fresh = world.get(kind, name).await;
        assert_eq!(verdict(&fresh), "InProgress/Progressing", "{fresh:#}");
    }
    let running = Running::start(&world).await;
    for (kind, name) in [(CLIENT, "backend"), (TOKEN, "nightly")] {
        becomes(&world, kind, name, "Current/Healthy").await;
    }
    eventually("the Identity and its Scope are healthy too", async || {
        let identity = world.platform.api::<Identity>().get("main").await;
        let scope = world.platform.api::<Scope>().get("orders.read").await;
        let objects = [json!(identity.unwrap()), json!(scope.unwrap())];
        (verdicts(&objects) == ["Current/Healthy", "Current/Healthy"]).then_some(())
    })
    .await;

    // An object that can recover is in progress. One that needs an edit has failed.
    let waiting = "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\n\
                   metadata: {name: early, namespace: TEAM}\n\
                   spec: {clientRef: {name: later}, scopes: [orders.read]}";
    world.apply(waiting).await;
    world.ready(TOKEN, "early", "False", "ClientNotFound").await;
    becomes(&world, TOKEN, "early", "InProgress/Progressing").await;
    let broken = "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\n\
                  metadata: {name: broken, namespace: TEAM}\n\
                  spec: {identityRef: {name: main, namespace: PLATFORM}, clientId: not.ours, grantTypes: [ClientCredentials]}";
    world.apply(broken).await;
    becomes(&world, CLIENT, "broken", "Failed/Degraded").await;

    // An emergency commit must reach a healthy state.
    let disable = json!({"spec": {"disabled": true}});
    world.patch(CLIENT, "backend", disable).await;
    world.ready(CLIENT, "backend", "True", "Disabled").await;
    becomes(&world, CLIENT, "backend", "Current/Healthy").await;
    let revoke = json!({"spec": {"revoked": true}});
    world.patch(TOKEN, "nightly", revoke).await;
    world.ready(TOKEN, "nightly", "True", "Revoked").await;
    becomes(&world, TOKEN, "nightly", "Current/Healthy").await;

    // Without an operator an edit is in progress, although the last status was good.
    drop(running);
    let edit = json!({"spec": {"displayName": "another"}});
    world.patch(CLIENT, "backend", edit).await;
    becomes(&world, CLIENT, "backend", "InProgress/Progressing").await;

    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    world.patch(TOKEN, "nightly", held).await;
    world.delete(TOKEN, "nightly").await;
    becomes(&world, TOKEN, "nightly", "Terminating/Progressing").await;
    let freed = json!({"metadata": {"finalizers": null}});
    world.patch(TOKEN, "nightly", freed).await;
}

/// The example repositories unchanged, in a separate cluster, because their namespaces have fixed names.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_repositories_settle_without_a_lasting_difference() {
    let cluster = Cluster::private();
    cluster.install_crds().await;
    let files = ["platform", "tenants/shop"].map(|folder| format!("examples/gitops/{folder}"));
    // The namespaces come first, because a dry run of the objects in them needs them.
    kubectl(
        &cluster,
        &["apply", "-f", "examples/gitops/platform/namespaces.yaml"],
    );
    for dry_run in ["server", "none"] {
        for folder in &files {
            let dry_run = format!("--dry-run={dry_run}");
            apply(&cluster, folder, &["--validate=strict", &dry_run]);
        }
    }
    let world = World::empty(&cluster).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let _operator = Operator::start_in(&world, "platform,shop", account.kubeconfig_path(), &[]);
    let objects = || async {
        let wanted = ["identity", "scope", "oauthclient", "serviceaccesstoken"].join(",");
        let found = kubectl(
            &cluster,
            &["get", &wanted, "-A", "-o", "json", "--show-managed-fields"],
        );
        let found: Value = serde_json::from_str(&found).unwrap();
        found["items"].as_array().unwrap().clone()
    };
    let settled = eventually("every object of the examples is current", async || {
        let objects = objects().await;
        let good = |verdict: &String| verdict == "Current/Healthy";
        (objects.len() == 5 && verdicts(&objects).iter().all(good)).then_some(objects)
    })
    .await;
    for object in &settled {
        assert_only_the_status_is_ours(object);
    }
    for folder in &files {
        // `kubectl diff` exits with 1 if anything would change.
        let difference = [
            "diff",
            "--server-side",
            "--force-conflicts",
            "--field-manager",
            MANAGER,
            "-f",
            folder,
        ];
        assert_eq!(kubectl(&cluster, &difference), "", "{folder}");
        apply(&cluster, folder, &[]);
    }
    for (before, after) in settled.iter().zip(objects().await) {
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        assert_eq!(generation(before), generation(&after), "{after:#}");
        assert_eq!(condition(&after, "Ready")["status"], "True");
    }
}

/// Asserts that only the manager that applied the object owns fields outside of the status.
fn assert_only_the_status_is_ours(object: &Value) {
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|it| it["manager"] == MANAGER));
    for entry in managers.iter().filter(|it| it["manager"] != MANAGER) {
        assert_eq!(entry["subresource"], "status", "{entry:#}");
        let fields: Vec<_> = entry["fieldsV1"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["f:status"], "{entry:#}");
    }
}

fn apply(cluster: &Cluster, folder: &str, more: &[&str]) {
    let arguments = [
        "apply",
        "--server-side",
        "--field-manager",
        MANAGER,
        "-f",
        folder,
    ];
    kubectl(cluster, &[&arguments[..], more].concat());
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster
        .kubectl()
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}{}",
        text(&output.stderr),
        text(&output.stdout)
    );
    text(&output.stdout)
}
