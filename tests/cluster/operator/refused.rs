//! Writes that a policy of the cluster comes to refuse, and objects that others keep from going. None of them delays a
//! revocation, a rotation or a new token, or deletes keys early, and each is told in a condition and an event.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use symbolon::resources::{Credential, Identity, Kind};

use super::world::{Running, World, condition};
use crate::harness::{Cluster, PATIENCE, eventually};

/// The words of the policy.
const WORDS: &str = "there is no such team";
const SECRETS: [&str; 2] = ["main-signing", "main-mac"];

/// Refuses the label `team: "no"` on Credentials and Secrets of the Identity's namespace, stored or new.
async fn forbid_label(world: &World<'_>) {
    let namespace = world.platform.name();
    let name = format!("forbids-team-{namespace}");
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{
                    "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["secrets", "credentials"],
                }],
            },
            "validations": [{
                "expression": "!has(object.metadata.labels) || !('team' in object.metadata.labels) || object.metadata.labels['team'] != 'no'",
                "message": WORDS,
            }],
        },
    });
    let binding = json!({
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let create = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client());
    let policy = serde_json::from_value(policy).unwrap();
    policies.create(&create, &policy).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client());
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&create, &binding).await.unwrap();
    let secrets: Api<Secret> = world.platform.api();
    let try_out = json!({"metadata": {"name": "try-out", "labels": {"team": "no"}}});
    let try_out: Secret = serde_json::from_value(try_out).unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy is in force", async || {
        secrets.create(&dry, &try_out).await.is_err().then_some(())
    })
    .await;
}

/// Waits until the label `team` of each Credential and key Secret is as wanted.
async fn teams_are(world: &World<'_>, wanted: Option<&str>) {
    eventually("the label is on all objects", async || {
        let mut found = Vec::new();
        for secret in SECRETS {
            found.extend(world.platform.api::<Secret>().get(secret).await.ok());
        }
        let labels = found.into_iter().map(|it| it.metadata.labels);
        let credentials = world.credentials().await.into_iter();
        let all: Vec<_> = labels
            .chain(credentials.map(|it| it.metadata.labels))
            .map(|labels| labels.unwrap_or_default().remove("team"))
            .collect();
        let is_so = all.len() == 4 && all.iter().all(|team| team.as_deref() == wanted);
        is_so.then_some(())
    })
    .await;
}

async fn patch_identity(world: &World<'_>, patch: Value) {
    let identities = world.platform.api::<Identity>();
    let patch = Patch::Merge(patch);
    identities
        .patch("main", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// The kids of the Identity's keys, as its status has them.
async fn kids(world: &World<'_>) -> Vec<Value> {
    let identity = world.platform.api::<Identity>().get("main").await.unwrap();
    let status = serde_json::to_value(identity.status).unwrap();
    let keys = status["keys"].as_array().cloned().unwrap_or_default();
    keys.into_iter().map(|key| key["kid"].clone()).collect()
}

/// Waits for a warning about an object that has the policy's words.
async fn told_by_event(events: Api<Event>, name: &str) {
    eventually("an event has the words of the policy", async || {
        let events = events.list(&ListParams::default()).await.unwrap();
        let mut events = events.items.into_iter();
        events.find(|event| {
            let of = event.regarding.as_ref().and_then(|it| it.name.as_deref());
            of == Some(name) && event.note.as_ref().is_some_and(|it| it.contains(WORDS))
        })
    })
    .await;
}

/// Deletes the Identity, waits until its key Secrets are marked, and returns it without what the API server set.
async fn prune(world: &World<'_>) -> Identity {
    let identities = world.platform.api::<Identity>();
    let mut manifest = identities.get("main").await.unwrap();
    manifest.metadata = kube::core::ObjectMeta {
        name: Some("main".into()),
        ..Default::default()
    };
    manifest.status = None;
    let delete = DeleteParams::default();
    identities.delete("main", &delete).await.unwrap();
    marks_are(world, true).await;
    manifest
}

/// Waits until both key Secrets have the mark of a deleted Identity, or none has.
async fn marks_are(world: &World<'_>, wanted: bool) {
    let what = format!("the key Secrets are marked: {wanted}");
    eventually(&what, async || {
        let mut marked = Vec::new();
        for name in SECRETS {
            let secret = world.platform.api::<Secret>().get(name).await.unwrap();
            let annotations = secret.metadata.annotations.unwrap_or_default();
            marked.push(annotations.contains_key("symbolon.dev/identity-gone-since"));
        }
        marked.iter().all(|it| *it == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_a_policy_comes_to_refuse_delays_nothing_and_is_told() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let labels = json!({"spec": {"inheritedMetadata": {"labels": {"team": "no"}}}});
    patch_identity(&world, labels).await;
    world.token_ready("nightly").await;
    let revoking = json!({"spec": {"rotation": {"onSecretDeleted": "Revoke"}}});
    world
        .patch(Kind::ServiceAccessToken, "nightly", revoking)
        .await;
    world.token_ready("nightly").await;
    teams_are(&world, Some("no")).await;
    forbid_label(&world).await;

    let leaked = world.text("nightly-token").await.unwrap();
    assert!(world.accepts(&leaked).await);
    let secrets = world.team.api::<Secret>();
    secrets
        .delete("nightly-token", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the leaked token is revoked", async || {
        (!world.accepts(&leaked).await).then_some(())
    })
    .await;
    let told = async || {
        let nightly = world.get(Kind::ServiceAccessToken, "nightly").await;
        let ready = condition(&nightly, "Ready");
        let is_told = ready["message"]
            .as_str()
            .unwrap_or_default()
            .contains(WORDS);
        (ready["status"] == "True" && is_told).then_some(())
    };
    eventually("the token works, and the condition tells", told).await;
    world.assert_sound("nightly").await;
    told_by_event(world.team.api(), "nightly").await;

    world.apply_token("fresh", "").await;
    world.token_ready("fresh").await;
    world.assert_sound("fresh").await;

    let before = kids(&world).await;
    let emergency = json!({"metadata": {"annotations": {"symbolon.dev/rotate-keys": "leaked"}}});
    patch_identity(&world, emergency).await;
    let after = eventually("the signing key is replaced", async || {
        let kids = kids(&world).await;
        (!kids.is_empty() && kids.iter().all(|kid| !before.contains(kid))).then_some(kids)
    })
    .await;
    let refused = world.identity_is("main", "SecretAccessDenied").await;
    let message = condition(&refused, "Ready")["message"].as_str().unwrap();
    assert!(message.contains(WORDS), "{message}");
    told_by_event(world.platform.api(), "main").await;

    // The mark of a deleted Identity is set and removed all the same.
    let manifest = prune(&world).await;
    let identities = world.platform.api::<Identity>();
    identities
        .create(&PostParams::default(), &manifest)
        .await
        .unwrap();
    marks_are(&world, false).await;
    eventually("the same keys are served", async || {
        (kids(&world).await == after).then_some(())
    })
    .await;
    let plain = json!({"spec": {"inheritedMetadata": null}});
    patch_identity(&world, plain).await;
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_back_and_not_served_loses_the_mark_of_its_deletion() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let secrets = world.platform.api::<Secret>();
    let immutable = Patch::Merge(json!({"immutable": true}));
    secrets
        .patch("main-signing", &PatchParams::default(), &immutable)
        .await
        .unwrap();
    let manifest = prune(&world).await;
    let mut earlier = manifest.clone();
    earlier.metadata.name = Some("earlier".into());
    let identities = world.platform.api::<Identity>();
    let create = PostParams::default();
    identities.create(&create, &earlier).await.unwrap();
    world.identity_is("earlier", "Ready").await;
    identities.create(&create, &manifest).await.unwrap();
    world.identity_is("main", "IssuerConflict").await;
    marks_are(&world, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_a_finalizer_keeps_is_told_and_heals_once_it_is_gone() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let uid = world.token_ready("nightly").await["metadata"]["uid"].clone();
    let credentials = world.platform.api::<Credential>();
    let patch = async |finalizers: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        let params = PatchParams::default();
        let name = uid.as_str().unwrap();
        credentials.patch(name, &params, &patch).await.unwrap();
    };
    patch(&["example.com/backup"]).await;
    credentials
        .delete(uid.as_str().unwrap(), &DeleteParams::default())
        .await
        .unwrap();
    let waiting = world
        .ready(Kind::ServiceAccessToken, "nightly", "False", "Pending")
        .await;
    let message = condition(&waiting, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("example.com/backup"), "{message}");
    // Time in which the operator could issue a token that no server accepts.
    tokio::time::sleep(Duration::from_secs(2)).await;
    patch(&[]).await;
    tokio::time::timeout(PATIENCE, world.token_ready("nightly"))
        .await
        .unwrap();
    world.assert_sound("nightly").await;
}
