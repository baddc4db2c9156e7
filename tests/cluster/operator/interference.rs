//! Interference of others with an Identity's objects, also name conflicts and webhooks: one team cannot stop another.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use symbolon::reconcile::fleet::Installation;
use symbolon::resources::{Kind, ManagedKind};

use super::fleet::{IMAGE, Kubelet, identity, installation, objects, start};
use super::world::{Running, World, condition};
use crate::harness::{Cluster, eventually};

fn scoped(world: &World<'_>, more: &[String]) -> Installation {
    Installation {
        namespaces: [&world.namespaces(), more].concat(),
        ..installation(IMAGE)
    }
}

/// Waits for an Event `Refused` whose note contains these words.
async fn refused(world: &World<'_>, words: &str) {
    let events = world.platform.api::<Event>();
    eventually(words, async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let mut notes = events
            .items
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("Refused"))
            .filter_map(|event| event.note);
        notes.any(|note| note.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_namespace_can_exclude_servers_from_it_alone() {
    let world = World::empty(Cluster::shared()).await;
    let team = world.team.name();
    let bindings = objects(&world.client(), ManagedKind::RoleBinding, team);
    let name = format!("symbolon:{}:main", world.platform.name());
    let foreign = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let foreign = serde_json::from_value(foreign).unwrap();
    let foreign = bindings.create(&PostParams::default(), &foreign).await;
    let foreign = foreign.unwrap();
    let absent = format!("{team}-absent");
    let of = scoped(&world, std::slice::from_ref(&absent));
    let _running = start(&world, of, None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    refused(
        &world,
        &format!("Nothing in {team} is served: a RoleBinding {name} "),
    )
    .await;
    refused(
        &world,
        &format!("Nothing in {absent} is served: the namespace does not exist"),
    )
    .await;
    assert_eq!(bindings.get(&name).await.unwrap(), foreign);

    let deleted = bindings.delete(&name, &DeleteParams::default()).await;
    deleted.unwrap();
    let is_ours = async |what: &str| {
        eventually(what, async || {
            let found = bindings.get_opt(&name).await.unwrap()?;
            let found = serde_json::to_value(found).unwrap();
            let is_marked = found["metadata"]["labels"]["symbolon.dev/managed"] == "true";
            let is_bound = found["subjects"][0]["name"] == "main-identity";
            (is_marked && is_bound).then_some(())
        })
        .await;
    };
    is_ours("the binding is created once the name is free").await;
    let namespaces: Api<Namespace> = Api::all(world.client());
    let uid = namespaces.get(team).await.unwrap().metadata.uid;
    let strip = json!({"metadata": {
        "labels": {"symbolon.dev/managed": null},
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "Namespace", "name": team,
            "uid": uid, "controller": true}],
    }});
    let stripped = bindings
        .patch(&name, &PatchParams::default(), &Patch::Merge(strip))
        .await;
    stripped.unwrap();
    is_ours("a removed label is restored").await;
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn additions_to_selectors_and_rights_are_removed() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    let selector = json!({"spec": {"selector": {"example.com/none": "such"}}});
    world.patch_made(ManagedKind::Service, selector).await;
    let mut rules = world.made(ManagedKind::Role).await.unwrap()["rules"].clone();
    rules[0]["resourceNames"] = json!(["none"]);
    world
        .patch_made(ManagedKind::Role, json!({"rules": rules}))
        .await;
    let policy = json!({"spec": {"podSelector": {"matchLabels": {"example.com/none": "such"}}}});
    world.patch_made(ManagedKind::NetworkPolicy, policy).await;
    let is_gone = async |kind: ManagedKind, at: &str| {
        eventually(at, async || {
            let live = world.made(kind).await?;
            live.pointer(at).is_none().then_some(())
        })
        .await;
    };
    is_gone(ManagedKind::Service, "/spec/selector/example.com~1none").await;
    is_gone(ManagedKind::Role, "/rules/0/resourceNames").await;
    let labels = "/spec/podSelector/matchLabels/example.com~1none";
    is_gone(ManagedKind::NetworkPolicy, labels).await;

    let pause = json!({"spec": {"paused": true}});
    world.patch_made(ManagedKind::Deployment, pause).await;
    is_gone(ManagedKind::Deployment, "/spec/paused").await;
    world.identity_is("main", "Ready").await;
    let generation = async || {
        let live = world.made(ManagedKind::Deployment).await.unwrap();
        live["metadata"]["generation"].clone()
    };
    let before = generation().await;
    world
        .apply(&identity(
            "limits: {maxAccessTokenLifetime: 2h}\n  replicas: 1",
        ))
        .await;
    world.identity_is("main", "Ready").await;
    assert_eq!(
        generation().await,
        before,
        "the repair must not be repeated"
    );
}

/// Creates a webhook for these operations on a resource in the platform's namespace. It never responds.
async fn guard(world: &World<'_>, operations: &[&str], group: &str, resource: &str) {
    guard_in(world, world.platform.name(), operations, group, resource).await;
}

/// Does the same in another namespace.
#[expect(clippy::unwrap_used, reason = "a test may panic")]
async fn guard_in(
    world: &World<'_>,
    namespace: &str,
    operations: &[&str],
    group: &str,
    resource: &str,
) {
    let down = json!({
        "metadata": {"name": world.platform.name()},
        "webhooks": [{
            "name": "down.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [group], "apiVersions": ["*"],
                "operations": operations, "resources": [resource]}],
        }],
    });
    let down = serde_json::from_value(down).unwrap();
    let made = webhooks(world).create(&PostParams::default(), &down).await;
    made.unwrap();
}

/// Deletes that webhook.
#[expect(clippy::unwrap_used, reason = "a test may panic")]
async fn unguard(world: &World<'_>) {
    let name = world.platform.name();
    let deleted = webhooks(world).delete(name, &DeleteParams::default()).await;
    deleted.unwrap();
}

fn webhooks(world: &World<'_>) -> Api<ValidatingWebhookConfiguration> {
    Api::all(world.client())
}

/// Without this count, no metric would show that a user deleted the pods and prevents their recreation.
#[tokio::test(flavor = "multi_thread")]
async fn pods_that_cannot_be_recreated_are_counted_as_not_ready() {
    let world = World::empty(Cluster::shared()).await;
    let running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 2")).await;
    let counted = async |what: &str, ready: i64| {
        eventually(what, async || {
            let pods = running.ready_pods(&world.identity());
            (pods == Some((ready, 2))).then_some(())
        })
        .await;
    };
    counted("all pods are ready", 2).await;
    guard(&world, &["CREATE"], "apps", "deployments").await;
    let deployments = world.of(ManagedKind::Deployment);
    let deleted = deployments
        .delete("main-identity", &DeleteParams::default())
        .await;
    deleted.unwrap();
    counted("no pod is ready", 0).await;
    unguard(&world).await;
    counted("all pods are ready again", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_deleted_does_not_block_the_others() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), Some(world.identity())).await;
    let _kubelet = Kubelet::start(&world);
    world
        .apply(&identity("replicas: 2\n  network: {ingress: {}}"))
        .await;
    world.identity_is("main", "Ready").await;
    guard(&world, &["DELETE"], "networking.k8s.io", "networkpolicies").await;
    world.apply(&identity("mode: Embedded")).await;
    eventually(
        "only the object that the webhook blocks is left",
        async || (world.kinds_made().await == ["NetworkPolicy"]).then_some(()),
    )
    .await;
    unguard(&world).await;
    eventually("all objects are deleted", async || {
        world.kinds_made().await.is_empty().then_some(())
    })
    .await;
}

/// The condition reports the object that cannot be created, and all other objects are created.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_blocks_only_its_own_objects() {
    let world = World::empty(Cluster::shared()).await;
    let platform = world.platform.name();
    guard(
        &world,
        &["CREATE", "UPDATE"],
        "networking.k8s.io",
        "ingresses",
    )
    .await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world
        .apply(&identity("replicas: 2\n  network: {ingress: {}}"))
        .await;
    let told = world.identity_is("main", "Pending").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    for words in [
        format!("the Ingress {platform}/main-identity"),
        "failed calling webhook".to_owned(),
        "down.example.com".to_owned(),
    ] {
        assert!(message.contains(&words), "{message}");
    }
    assert_ne!(told["status"]["keys"], Value::Null);
    assert!(world.made(ManagedKind::PodDisruptionBudget).await.is_some());
    eventually("the pods are ready", async || {
        let deployment = world.made(ManagedKind::Deployment).await?;
        (deployment["status"]["readyReplicas"] == 2).then_some(())
    })
    .await;
    // Unwanted objects are still deleted.
    world
        .apply(&identity("replicas: 1\n  network: {ingress: {}}"))
        .await;
    eventually("the PodDisruptionBudget is deleted", async || {
        let budget = world.made(ManagedKind::PodDisruptionBudget).await;
        budget.is_none().then_some(())
    })
    .await;

    unguard(&world).await;
    world.identity_is("main", "Ready").await;
    assert!(world.made(ManagedKind::Ingress).await.is_some());
}

/// A Secret that a webhook holds up would otherwise be missing without a reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_is_told_in_the_condition_of_each_object_that_waits_for_a_secret() {
    let world = World::new(Cluster::shared()).await;
    guard(&world, &["CREATE", "UPDATE"], "", "secrets").await;
    let _running = Running::start(&world).await;
    let told = world.identity_is("main", "Pending").await;
    assert_names_webhook(&told);
    unguard(&world).await;
    world.token_ready("nightly").await;

    let team = world.team.name();
    guard_in(&world, team, &["CREATE", "UPDATE"], "", "secrets").await;
    world.apply_token("second", "").await;
    let kind = Kind::ServiceAccessToken;
    let told = world.ready(kind, "second", "False", "Pending").await;
    assert_names_webhook(&told);
    unguard(&world).await;
    world.token_ready("second").await;
}

fn assert_names_webhook(object: &Value) {
    let message = condition(object, "Ready")["message"].as_str();
    let message = message.unwrap_or_default();
    for words in [
        "keeps retrying",
        "failed calling webhook",
        "down.example.com",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_in_an_issuer_is_not_deleted_before_it_is_replaced() {
    let world = World::empty(Cluster::shared()).await;
    let with = |more: &str| {
        let host = "main-identity.PLATFORM.svc:8080";
        identity(more).replace("https://PLATFORM.example.com", &format!("https://{host}"))
    };
    let running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&with("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    drop(running);
    world.apply(&with("mode: Embedded")).await;
    let _running = start(&world, installation(IMAGE), Some(world.identity())).await;
    let told = world.identity_is("main", "Pending").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("main-identity"), "{message}");
    assert!(world.made(ManagedKind::Service).await.is_some());
    assert!(world.made(ManagedKind::Deployment).await.is_some());

    let services = world.of(ManagedKind::Service);
    let deleted = services
        .delete("main-identity", &DeleteParams::default())
        .await;
    deleted.unwrap();
    let own = json!({"metadata": {"name": "main-identity"}, "spec": {"ports": [{"port": 8080}]}});
    let own = serde_json::from_value(own).unwrap();
    services.create(&PostParams::default(), &own).await.unwrap();
    world.identity_is("main", "Ready").await;
    assert!(world.made(ManagedKind::Service).await.is_some());
    eventually("its own pods are deleted", async || {
        let deployment = world.made(ManagedKind::Deployment).await;
        deployment.is_none().then_some(())
    })
    .await;
}
