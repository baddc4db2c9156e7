//! Objects have the labels that a policy of the cluster requires: an Identity's objects inherit them, and the Secrets
//! of clients and tokens get them from templates.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use rstest::rstest;
use serde_json::{Value, json};
use symbolon::resources::{Kind, ManagedKind};

use super::fleet::{IMAGE, Kubelet, installation, start};
use super::world::{Running, World, condition};
use crate::harness::{Cluster, PATIENCE, eventually};

/// The Identity, and a client whose Credential is in its namespace.
const OBJECTS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  access: {clients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
MORE
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: backend, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
";

/// Requires the label `team` on everything in a namespace, as policy engines do.
async fn demand_label(world: &World<'_>, namespace: &str) -> String {
    let name = format!("demands-team-{namespace}");
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{
                    "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
                    "resources": [
                        "secrets", "services", "serviceaccounts", "pods", "persistentvolumeclaims", "deployments",
                        "statefulsets", "replicasets", "roles", "rolebindings", "networkpolicies", "ingresses",
                        "poddisruptionbudgets", "horizontalpodautoscalers", "credentials",
                    ],
                }],
            },
            "validations": [{
                "expression": "has(object.metadata.labels) && 'team' in object.metadata.labels && object.metadata.labels['team'].startsWith('id')",
                "message": "every object needs the label team",
            }],
        },
    });
    let binding = json!({
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let create = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.client());
    policies
        .create(&create, &serde_json::from_value(policy).unwrap())
        .await
        .unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client());
    bindings
        .create(&create, &serde_json::from_value(binding).unwrap())
        .await
        .unwrap();
    let secrets: Api<Secret> = Api::namespaced(world.client(), namespace);
    let try_out = Secret {
        metadata: ObjectMeta {
            name: Some("try-out".to_owned()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy is in force", async || {
        secrets.create(&dry, &try_out).await.is_err().then_some(())
    })
    .await;
    name
}

/// The label `team` and the annotation `contact` of each object of the Identity, by kind and name.
async fn marks(world: &World<'_>) -> Vec<(String, [Value; 2])> {
    let mut objects = Vec::new();
    let list = ListParams::default();
    for kind in ManagedKind::ALL
        .into_iter()
        .filter(|kind| kind.is_built_in())
    {
        if let Some(object) = world.made(kind).await {
            let template = &object["spec"]["template"]["metadata"];
            if kind.is_workload() {
                objects.push((format!("pods of {kind}"), json!({"metadata": template})));
            }
            objects.push((kind.to_string(), object));
        }
    }
    for secret in ["main-signing", "main-mac"] {
        let secrets: Api<Secret> = world.platform.api();
        if let Some(found) = secrets.get_opt(secret).await.unwrap() {
            objects.push((secret.to_owned(), serde_json::to_value(found).unwrap()));
        }
    }
    for claim in world
        .platform
        .api::<PersistentVolumeClaim>()
        .list(&list)
        .await
        .unwrap()
    {
        objects.push(("claim".to_owned(), serde_json::to_value(claim).unwrap()));
    }
    for pod in world.platform.api::<Pod>().list(&list).await.unwrap() {
        if pod.metadata.deletion_timestamp.is_none() {
            objects.push(("pod".to_owned(), serde_json::to_value(pod).unwrap()));
        }
    }
    for credential in world.credentials().await {
        let value = serde_json::to_value(credential).unwrap();
        objects.push(("Credential".to_owned(), value));
    }
    let marks = |object: Value| {
        let metadata = &object["metadata"];
        [
            metadata["labels"]["team"].clone(),
            metadata["annotations"]["contact"].clone(),
        ]
    };
    objects
        .into_iter()
        .map(|(name, object)| (name, marks(object)))
        .collect()
}

/// Waits until all objects have these marks, and returns their names.
async fn all_have(world: &World<'_>, wanted: [Value; 2]) -> Vec<String> {
    let mut last = Vec::new();
    let all = tokio::time::timeout(
        // A little less than `eventually` waits, to show the marks instead.
        PATIENCE.saturating_sub(std::time::Duration::from_secs(1)),
        eventually("all objects have the marks", async || {
            last = marks(world).await;
            last.iter().all(|(_, marks)| *marks == wanted).then_some(())
        }),
    );
    all.await
        .unwrap_or_else(|_| panic!("not {wanted:?}: {last:#?}"));
    last.into_iter().map(|(name, _)| name).collect()
}

#[rstest]
#[case::stateless("  autoscaling: {min: 1, max: 2}\n  network: {ingress: {className: nginx}}", &["Deployment", "pods of Deployment", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"])]
#[case::with_storage("  storage: {type: SQLite}", &["StatefulSet", "pods of StatefulSet", "claim"])]
#[tokio::test(flavor = "multi_thread")]
async fn everything_of_an_identity_has_the_labels_that_a_policy_demands(
    #[case] options: &str,
    #[case] kinds: &[&str],
) {
    let cluster = Cluster::private();
    let world = World::empty(&cluster).await;
    let apply = async |inherited: &str| {
        let more = format!("{options}\n  {inherited}");
        world.apply(&OBJECTS.replace("MORE", &more)).await;
    };
    let policy = demand_label(&world, world.platform.name()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);

    apply("").await;
    let refused = world.identity_is("main", "SecretAccessDenied").await;
    let message = condition(&refused, "Ready")["message"].as_str().unwrap();
    assert!(
        message.contains("every object needs the label team"),
        "{message}"
    );
    assert!(message.contains("spec.inheritedMetadata"), "{message}");
    // Its clients say what they wait for.
    let waiting = world
        .ready(Kind::OAuthClient, "backend", "False", "IdentityNotReady")
        .await;
    let message = condition(&waiting, "Ready")["message"].as_str().unwrap();
    assert!(
        message.contains("the API server refuses its Secrets"),
        "{message}"
    );

    apply("inheritedMetadata: {labels: {team: identity}, annotations: {contact: a@example.com}}")
        .await;
    world.identity_is("main", "Ready").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let names = all_have(&world, [json!("identity"), json!("a@example.com")]).await;
    let always = [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRoleBinding",
        "NetworkPolicy",
        "Service",
        "main-signing",
        "main-mac",
        "Credential",
        "pod",
    ];
    for kind in always.iter().chain(kinds) {
        assert!(names.iter().any(|name| name == kind), "{kind}: {names:?}");
    }

    apply("inheritedMetadata: {labels: {team: id2}}").await;
    all_have(&world, [json!("id2"), Value::Null]).await;
    world.identity_is("main", "Ready").await;

    let policies: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.client());
    policies
        .delete(&policy, &DeleteParams::default())
        .await
        .unwrap();
    let secrets: Api<Secret> = world.platform.api();
    let before = secrets.get("main-signing").await.unwrap().data;
    apply("").await;
    all_have(&world, [Value::Null, Value::Null]).await;
    world.identity_is("main", "Ready").await;
    assert_eq!(secrets.get("main-signing").await.unwrap().data, before);
}

/// The policy comes after the Secret. Everything that the operator writes from then on needs the label, also what it
/// writes before it can write the next token.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_rotation_continues_when_the_template_has_the_label_that_a_policy_demands() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let _running = Running::start(&world).await;
    let before = world
        .ready(Kind::ServiceAccessToken, "nightly", "True", "Ready")
        .await;
    let _policy = demand_label(&world, world.team.name()).await;

    let rotate = json!({"metadata": {"annotations": {"symbolon.dev/rotate": "1"}}});
    world
        .patch(Kind::ServiceAccessToken, "nightly", rotate)
        .await;
    let refused = world
        .ready(Kind::ServiceAccessToken, "nightly", "False", "Invalid")
        .await;
    let message = condition(&refused, "Ready")["message"].as_str().unwrap();
    for part in ["every object needs the label team", "spec.secret.template"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let template = json!({"spec": {"secret": {"template": {"labels": {"team": "id"}}}}});
    world
        .patch(Kind::ServiceAccessToken, "nightly", template)
        .await;
    let after = world
        .ready(Kind::ServiceAccessToken, "nightly", "True", "Ready")
        .await;
    assert_ne!(after["status"]["tokenId"], before["status"]["tokenId"]);
    assert_eq!(after["status"]["lastRotation"]["cause"], "Requested");
}
