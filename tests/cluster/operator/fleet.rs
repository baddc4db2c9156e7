//! An Identity gets a Deployment with all its objects, and the operator repairs them. There is no kubelet here: a task
//! of the test marks each pod as ready.

use std::{sync::Arc, time::Duration};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch,
        PatchParams, PostParams,
    },
};
use serde_json::{Value, json};
use symbolon::directory::{ObjectKey, Settings};
use symbolon::reconcile::cluster::fence::Fence;
use symbolon::reconcile::controller::{EmbeddedIdentity, Serving};
use symbolon::reconcile::fleet::{Fleet, Installation, Objects};
use symbolon::resources::{Kind, ManagedKind};
use tokio_util::task::AbortOnDropHandle;

use super::process::{Operator, fleet_rights, rights};
use super::world::{Running, World, api, condition, resource};
use crate::harness::{Cluster, PATIENCE, eventually};

pub(super) const IMAGE: &str = "registry.example.com/symbolon:1.0";

const IDENTITY: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  signing: {algorithms: [ES256]}
";

pub(super) fn identity(more: &str) -> String {
    format!("{IDENTITY}  {more}\n")
}

pub(super) fn installation(image: &str) -> Installation {
    Installation {
        image: image.to_owned(),
        server_cluster_role: "symbolon-server".to_owned(),
        ..Installation::default()
    }
}

/// Starts a controller that runs Identities' pods.
pub(super) async fn start(
    world: &World<'_>,
    of: Installation,
    embedded: Option<ObjectKey>,
) -> Running {
    let accepted = vec![world.platform.name().to_owned()];
    let of = Installation {
        identity_namespaces: accepted.clone(),
        ..of
    };
    let objects = Objects::new(world.client(), Duration::from_secs(5), Fence::open());
    let serving = Serving::Here {
        fleet: (!of.image.is_empty()).then(|| Arc::new(Fleet::new(objects, of))),
        // An embedded server that is always ready.
        embedded: embedded.map(|identity| EmbeddedIdentity::new(identity, || None)),
    };
    let settings = Settings {
        identity_namespaces: accepted,
        ..Settings::default()
    };
    let calls = api(world).await;
    let own = calls.own_writes().clone();
    Running::serving(world, calls, own, settings, serving).await
}

/// Marks each pod as ready until it is dropped.
pub(super) struct Kubelet(#[expect(dead_code, reason = "only held")] AbortOnDropHandle<()>);

impl Kubelet {
    pub(super) fn start(world: &World<'_>) -> Self {
        let pods: Api<Pod> = world.platform.api();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                make_ready(&pods).await;
            }
        });
        Self(AbortOnDropHandle::new(task))
    }
}

async fn make_ready(pods: &Api<Pod>) {
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let status = pod.status.unwrap_or_default();
        if status.phase.as_deref() == Some("Running") || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let ready = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]}});
        // The pod may be deleted already.
        drop(
            pods.patch_status(
                &pod.metadata.name.unwrap(),
                &PatchParams::default(),
                &Patch::Merge(ready),
            )
            .await,
        );
    }
}

pub(super) fn objects(client: &Client, kind: ManagedKind, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = kind
        .api_version()
        .rsplit_once('/')
        .unwrap_or(("", kind.api_version()));
    let gvk = GroupVersionKind::gvk(group, version, kind.as_str());
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
    if kind == ManagedKind::ClusterRoleBinding {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

impl World<'_> {
    pub(super) fn of(&self, kind: ManagedKind) -> Api<DynamicObject> {
        objects(&self.client(), kind, self.platform.name())
    }

    /// The Identity's object of a kind.
    pub(super) async fn made(&self, kind: ManagedKind) -> Option<Value> {
        let name = match kind {
            ManagedKind::ClusterRoleBinding => format!("symbolon:{}:main", self.platform.name()),
            _ => "main-identity".to_owned(),
        };
        let found = self.of(kind).get_opt(&name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    pub(super) async fn kinds_made(&self) -> Vec<&'static str> {
        let mut made = Vec::new();
        for kind in ManagedKind::ALL
            .into_iter()
            .filter(|kind| kind.is_built_in())
        {
            if self.made(kind).await.is_some() {
                made.push(kind.as_str());
            }
        }
        made
    }

    pub(super) async fn identity_named(&self, name: &str) -> Value {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client(),
            self.platform.name(),
            &resource(Kind::Identity),
        );
        serde_json::to_value(api.get(name).await.unwrap()).unwrap()
    }

    /// Waits until `Ready` of an Identity has this reason for the current generation.
    pub(super) async fn identity_is(&self, name: &str, reason: &str) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(
            PATIENCE.saturating_sub(Duration::from_secs(1)),
            eventually("the Identity has the reason", async || {
                last = self.identity_named(name).await;
                let ready = condition(&last, "Ready");
                let is_so = ready["reason"] == reason
                    && ready["observedGeneration"] == last["metadata"]["generation"];
                is_so.then(|| last.clone())
            }),
        )
        .await;
        found.unwrap_or_else(|_| panic!("{name} is not {reason}: {:#}", last["status"]))
    }

    async fn deployment_is(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let deployment = self.made(ManagedKind::Deployment).await?;
            holds(&deployment).then_some(deployment)
        })
        .await
    }

    pub(super) async fn patch_made(&self, kind: ManagedKind, patch: Value) {
        self.of(kind)
            .patch(
                "main-identity",
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_becomes_a_deployment_and_is_ready_when_its_pods_are() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    world.apply(IDENTITY).await;
    let waiting = world.identity_is("main", "RollingOut").await;
    assert_eq!(condition(&waiting, "Reconciling")["status"], "True");
    eventually("the message counts the ready replicas", async || {
        let object = world.identity_named("main").await;
        (condition(&object, "Ready")["message"] == "0 of 2 replicas are ready").then_some(())
    })
    .await;

    let _kubelet = Kubelet::start(&world);
    let ready = world.identity_is("main", "Ready").await;
    let status = &ready["status"];
    assert_eq!(status["replicas"], 2);
    assert_eq!(status["readyReplicas"], 2);
    assert_eq!(status["version"], "1.0");
    assert_eq!(
        status["selector"],
        "app.kubernetes.io/component=identity,app.kubernetes.io/instance=main,app.kubernetes.io/name=symbolon"
    );
    assert_eq!(condition(&ready, "Reconciling")["status"], "False");
    assert_eq!(
        world.kinds_made().await,
        [
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRoleBinding",
            "NetworkPolicy",
            "Service",
            "Deployment",
            "PodDisruptionBudget"
        ]
    );
    let deployment = world.made(ManagedKind::Deployment).await.unwrap();
    let owner = &deployment["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], ready["metadata"]["uid"]);
    assert_eq!(
        [&owner["controller"], &owner["blockOwnerDeletion"]],
        [&json!(true), &json!(false)]
    );
}

/// Pods that mount a missing Secret stay in `ContainerCreating`, and their status does not say why.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_certificate_is_reported_until_it_exists() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    world
        .apply(&identity(
            "replicas: 1\n  network: {tls: {secretRef: {name: web-tls}}}",
        ))
        .await;
    let refused = world.identity_is("main", "SecretNotFound").await;
    let message = condition(&refused, "Ready")["message"].as_str().unwrap();
    assert!(
        message.contains("the Secret web-tls") && message.contains("does not exist"),
        "{message}"
    );
    let data = ["tls.crt", "tls.key"].map(|key| (key.to_owned(), ByteString(b"x".to_vec())));
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("web-tls".into()),
            ..ObjectMeta::default()
        },
        data: Some(data.into()),
        ..Secret::default()
    };
    let secrets = world.platform.api::<Secret>();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let _kubelet = Kubelet::start(&world);
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_repaired_and_additions_of_others_stay() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 2")).await;
    world.identity_is("main", "Ready").await;

    let edit = json!({
        "metadata": {"annotations": {"example.com/note": "mine"}},
        "spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "symbolon", "image": "evil"}]}}},
    });
    world
        .of(ManagedKind::Deployment)
        .patch(
            "main-identity",
            &PatchParams::default(),
            &Patch::Strategic(edit),
        )
        .await
        .unwrap();
    let repaired = world
        .deployment_is("the Deployment is repaired", |it| {
            it["spec"]["replicas"] == 2
                && it["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
        })
        .await;
    assert_eq!(
        repaired["metadata"]["annotations"]["example.com/note"],
        "mine"
    );
    let role = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]});
    world.patch_made(ManagedKind::Role, role).await;
    eventually("the Role is repaired", async || {
        let role = world.made(ManagedKind::Role).await?;
        (role["rules"][0]["resources"] == json!(["users", "credentials"])).then_some(())
    })
    .await;
    world
        .of(ManagedKind::Service)
        .delete("main-identity", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the Service is recreated", async || {
        world.made(ManagedKind::Service).await
    })
    .await;
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unwanted_fields_and_objects_are_removed() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    let all = "{autoscaling: {min: 2, max: 4}, network: {ingress: {}}, pod: {nodeSelector: {disk: fast}, labels: {team: a}}}";
    let with = |more: &str| {
        let mut object: Value = serde_yaml::from_str(&identity("")).unwrap();
        let more: Value = serde_yaml::from_str(more).unwrap();
        let spec = object["spec"].as_object_mut().unwrap();
        spec.extend(more.as_object().unwrap().clone());
        object.to_string()
    };
    world.apply(&with(all)).await;
    world.identity_is("main", "Ready").await;
    let made = world.kinds_made().await;
    assert!(
        made.contains(&"HorizontalPodAutoscaler") && made.contains(&"Ingress"),
        "{made:?}"
    );

    world.apply(&with("{replicas: 1}")).await;
    let deployment = world
        .deployment_is("the node selector is removed", |it| {
            it["spec"]["template"]["spec"].get("nodeSelector").is_none()
        })
        .await;
    let template = &deployment["spec"]["template"];
    assert!(template["metadata"]["labels"].get("team").is_none());
    eventually("the unwanted objects are deleted", async || {
        let made = world.kinds_made().await;
        let gone = ["HorizontalPodAutoscaler", "Ingress", "PodDisruptionBudget"];
        gone.iter().all(|kind| !made.contains(kind)).then_some(())
    })
    .await;
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_sets_the_replicas_and_takes_over_without_a_dip() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 3")).await;
    world.identity_is("main", "Ready").await;
    world
        .apply(&identity("autoscaling: {min: 2, max: 9}"))
        .await;
    world
        .deployment_is("the autoscaler has taken over", |it| {
            it["metadata"]["annotations"]["symbolon.dev/replicas"] == "autoscaling"
                && it["spec"]["replicas"] == 3
        })
        .await;

    // Scale as the autoscaler does.
    let scale = json!({"spec": {"replicas": 6}});
    world
        .of(ManagedKind::Deployment)
        .patch_scale(
            "main-identity",
            &PatchParams::default(),
            &Patch::Merge(scale),
        )
        .await
        .unwrap();
    let more = "autoscaling: {min: 2, max: 9}\n  pod: {labels: {team: a}}";
    world.apply(&identity(more)).await;
    let deployment = world
        .deployment_is("the Deployment has the new label", |it| {
            it["spec"]["template"]["metadata"]["labels"]["team"] == "a"
        })
        .await;
    assert_eq!(deployment["spec"]["replicas"], 6);
    let ready = world.identity_is("main", "Ready").await;
    assert_eq!(ready["status"]["readyReplicas"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scale_subresource_of_an_identity_scales_it() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 2")).await;
    world.identity_is("main", "Ready").await;
    let api: Api<symbolon::resources::Identity> = world.platform.api();
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    api.patch_scale("main", &PatchParams::default(), &scale)
        .await
        .unwrap();
    world
        .deployment_is("the Deployment has four replicas", |it| {
            it["spec"]["replicas"] == 4
        })
        .await;
    world.identity_is("main", "Ready").await;
    let scale = api.get_scale("main").await.unwrap().status.unwrap();
    assert_eq!(scale.replicas, 4);
    assert!(scale.selector.unwrap().contains("instance=main"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_or_limits_replaces_no_pod() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    let before = world.made(ManagedKind::Deployment).await.unwrap();
    let more =
        "replicas: 1\n  limits: {maxAccessTokenLifetime: 2h}\n  tokens: {accessTokenLifetime: 30m}";
    world
        .apply(&identity(more).replace("[ES256]", "[ES256, EdDSA]"))
        .await;
    eventually("there is a key for the other algorithm", async || {
        let object = world.identity_named("main").await;
        let keys = object["status"]["keys"].as_array()?;
        keys.iter()
            .any(|key| key["algorithm"] == "EdDSA")
            .then_some(())
    })
    .await;
    world.identity_is("main", "Ready").await;
    let after = world.made(ManagedKind::Deployment).await.unwrap();
    assert_eq!(
        before["metadata"]["generation"],
        after["metadata"]["generation"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_conflict_is_reported_and_the_other_object_is_never_written() {
    let world = World::empty(Cluster::shared()).await;
    let foreign = json!({"metadata": {"name": "main-identity"}, "spec": {"ports": [{"port": 1}]}});
    let services = world.of(ManagedKind::Service);
    let foreign = services
        .create(
            &PostParams::default(),
            &serde_json::from_value(foreign).unwrap(),
        )
        .await
        .unwrap();
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(IDENTITY).await;
    let told = world.identity_is("main", "ValueConflict").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    let named = format!("Service {}/main-identity", world.platform.name());
    assert!(message.contains(&named), "{message}");
    assert_eq!(condition(&told, "Stalled")["status"], "True");
    assert_eq!(services.get("main-identity").await.unwrap(), foreign);
    services
        .delete("main-identity", &DeleteParams::default())
        .await
        .unwrap();
    world.identity_is("main", "Ready").await;
}

/// The creator of the account could act as it. So it gets no rights, loses those that it has, and no pod uses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_of_a_user_gets_no_rights_and_no_pods() {
    let world = World::empty(Cluster::shared()).await;
    let accounts = world.of(ManagedKind::ServiceAccount);
    let foreign = async || {
        let account = json!({"metadata": {"name": "main-identity"}});
        let account = serde_json::from_value(account).unwrap();
        accounts.create(&PostParams::default(), &account).await
    };
    let before = foreign().await.unwrap();
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 1")).await;
    let told = world.identity_is("main", "ValueConflict").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    let named = format!("ServiceAccount {}/main-identity", world.platform.name());
    assert!(message.contains(&named), "{message}");
    assert_eq!(accounts.get("main-identity").await.unwrap(), before);
    assert!(
        world
            .kinds_made()
            .await
            .iter()
            .all(|kind| *kind == "ServiceAccount")
    );

    accounts
        .delete("main-identity", &DeleteParams::default())
        .await
        .unwrap();
    world.identity_is("main", "Ready").await;
    assert!(world.made(ManagedKind::ClusterRoleBinding).await.is_some());
    // A user replaces our account. The operator may recreate ours first, so repeat until the user's is in place.
    eventually("the account is a user's", async || {
        drop(
            accounts
                .delete("main-identity", &DeleteParams::default())
                .await,
        );
        foreign().await.ok()
    })
    .await;
    world.identity_is("main", "ValueConflict").await;
    for kind in [ManagedKind::RoleBinding, ManagedKind::ClusterRoleBinding] {
        eventually("its rights are removed", async || {
            world.made(kind).await.is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_identity_leaves_only_its_keys() {
    let world = World::empty(Cluster::own()).await;
    let running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    let identities: Api<symbolon::resources::Identity> = world.platform.api();
    let gone = async |what: &str| {
        eventually(what, async || {
            world.kinds_made().await.is_empty().then_some(())
        })
        .await;
    };
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    let delete = async || {
        let deleted = identities.delete("main", &DeleteParams::default()).await;
        deleted.unwrap();
    };
    delete().await;
    gone("all objects are deleted").await;
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = world.platform.api();
    assert!(secrets.get_opt("main-signing").await.unwrap().is_some());

    // The same while no operator runs.
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    drop(running);
    delete().await;
    let _running = start(&world, installation(IMAGE), None).await;
    gone("the remaining objects are swept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_in_a_steady_state_and_after_a_restart() {
    let cluster = Cluster::own();
    let world = World::empty(cluster).await;
    let running = start(&world, installation(IMAGE), None).await;
    let kubelet = Kubelet::start(&world);
    world
        .apply(&identity(
            "autoscaling: {max: 4}\n  network: {ingress: {}}\n  \
             pod: {resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: 2, memory: 1.5Gi}}}",
        ))
        .await;
    world.identity_is("main", "Ready").await;
    let platform = world.platform.name();
    // The controllers of Kubernetes also write to a Deployment.
    let ours = |since| {
        let requests = cluster.requests(since).into_iter();
        let ours = requests.filter(|request| request.user == "admin");
        let here = ours.filter(|it| it.namespace == platform || it.name.contains(platform));
        here.collect::<Vec<_>>()
    };
    let writes = |since| {
        let mut requests = ours(since);
        requests.retain(|it| !["get", "list", "watch"].contains(&&*it.verb));
        requests
    };
    eventually("nothing is written for two seconds", async || {
        let mark = cluster.mark();
        tokio::time::sleep(Duration::from_secs(2)).await;
        writes(mark).is_empty().then_some(())
    })
    .await;
    drop(kubelet);
    drop(running);
    cluster.audited().await;
    let mark = cluster.mark();
    let _running = start(&world, installation(IMAGE), None).await;
    eventually("the operator has read the Deployment", async || {
        let requests = ours(mark);
        let mut requests = requests.iter();
        requests.any(|it| it.is("get", "deployments")).then_some(())
    })
    .await;
    // Time in which it could write.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(writes(mark), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_is_rolled_out_to_one_identity_after_another() {
    let world = World::empty(Cluster::shared()).await;
    let running = start(&world, installation(IMAGE), None).await;
    let kubelet = Kubelet::start(&world);
    let names = ["main", "other", "third"];
    for name in names {
        let yaml = identity("replicas: 1").replace("name: main", &format!("name: {name}"));
        world
            .apply(&yaml.replace("example.com/id", &format!("example.com/{name}")))
            .await;
    }
    for name in names {
        world.identity_is(name, "Ready").await;
    }
    drop((running, kubelet));

    let newer = "registry.example.com/symbolon:2.0";
    let _running = start(&world, installation(newer), None).await;
    let images = async || {
        let mut newer_ones = Vec::new();
        for deployment in world
            .of(ManagedKind::Deployment)
            .list(&ListParams::default())
            .await
            .unwrap()
        {
            let name = deployment.metadata.labels.clone().unwrap()["symbolon.dev/identity"].clone();
            let image = &deployment.data["spec"]["template"]["spec"]["containers"][0]["image"];
            if image == newer {
                newer_ones.push(name);
            }
        }
        newer_ones
    };
    let first = eventually("one Identity gets the new image", async || {
        images().await.pop()
    })
    .await;
    let waiting = names.into_iter().find(|name| *name != first).unwrap();
    let told = eventually("another Identity reports that it waits", async || {
        let object = world.identity_named(waiting).await;
        let reconciling = condition(&object, "Reconciling").clone();
        (reconciling["status"] == "True").then_some((object, reconciling))
    })
    .await;
    assert_eq!(
        condition(&told.0, "Ready")["status"],
        "True",
        "the waiting Identity is still served"
    );
    let message = told.1["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("{}/{first}", world.platform.name())),
        "{message}"
    );
    // A change of an Identity's own spec does not wait.
    let own = identity("pod: {labels: {a: b}}\n  replicas: 1")
        .replace("name: main", &format!("name: {waiting}"))
        .replace("example.com/id", &format!("example.com/{waiting}"));
    world.apply(&own).await;
    eventually("the change is rolled out at once", async || {
        images().await.contains(&waiting.to_owned()).then_some(())
    })
    .await;
    // A change of the replicas does not wait either, and does not roll out the new image.
    let third = names
        .into_iter()
        .find(|name| ![&*first, waiting].contains(name))
        .unwrap();
    let scaled = identity("replicas: 3")
        .replace("name: main", &format!("name: {third}"))
        .replace("example.com/id", &format!("example.com/{third}"));
    world.apply(&scaled).await;
    eventually("the Deployment is scaled at once", async || {
        let name = format!("{third}-identity");
        let deployment = world.of(ManagedKind::Deployment).get(&name).await.unwrap();
        (deployment.data["spec"]["replicas"] == 3).then_some(())
    })
    .await;
    // Time in which the third Identity could be upgraded.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(images().await.len(), 2, "the third Identity still waits");

    let _kubelet = Kubelet::start(&world);
    for name in names {
        eventually("the Identity is upgraded", async || {
            let object = world.identity_named(name).await;
            let is_done = object["status"]["version"] == "2.0"
                && condition(&object, "Reconciling")["status"] == "False";
            is_done.then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_accepted_only_in_the_installations_namespaces() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    world
        .apply(&IDENTITY.replace("namespace: PLATFORM", "namespace: TEAM"))
        .await;
    let api: Api<symbolon::resources::Identity> = world.team.api();
    let message = eventually(
        "the condition says that the namespace is not allowed",
        async || {
            let object = serde_json::to_value(api.get("main").await.unwrap()).unwrap();
            let ready = condition(&object, "Ready");
            (ready["reason"] == "NamespaceNotAllowed")
                .then(|| ready["message"].as_str().unwrap().to_owned())
        },
    )
    .await;
    assert!(
        message.contains(world.platform.name()) && message.contains("--identity-namespace"),
        "{message}"
    );
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = world.team.api();
    assert!(secrets.get_opt("main-signing").await.unwrap().is_none());
    // It does not block an Identity with the same issuer in an allowed namespace.
    world.apply(&identity("replicas: 0")).await;
    world.identity_is("main", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_identity_has_no_pods_and_waits_for_the_operators_option() {
    let world = World::empty(Cluster::shared()).await;
    let running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("replicas: 1")).await;
    world.identity_is("main", "Ready").await;
    world.apply(&identity("mode: Embedded")).await;
    let told = world.identity_is("main", "Pending").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("--embedded-identity"), "{message}");
    assert!(
        world.made(ManagedKind::Deployment).await.is_some(),
        "the pods must stay until another server is ready"
    );
    drop(running);
    let _running = start(&world, installation(IMAGE), Some(world.identity())).await;
    let ready = world.identity_is("main", "Ready").await;
    eventually("its own pods are deleted", async || {
        world.kinds_made().await.is_empty().then_some(())
    })
    .await;
    assert!(ready["status"].get("replicas").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_rights_suffice_to_run_pods_and_to_grant_their_rights() {
    let world = World::empty(Cluster::shared()).await;
    let rules: Vec<_> = rights().into_iter().chain(fleet_rights()).collect();
    let account = world.team.cluster_account("operator", rules).await;
    // The ClusterRole that the chart installs and the operator binds.
    let role = format!("symbolon-server-{}", world.platform.name());
    let reader = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role},
        "rules": [
            {"apiGroups": ["symbolon.dev"], "verbs": ["get", "list", "watch"],
             "resources": ["identities", "scopes", "oauthclients", "serviceaccesstokens"]},
            {"apiGroups": [""], "verbs": ["get", "list", "watch"], "resources": ["namespaces"]},
        ],
    });
    let roles: Api<k8s_openapi::api::rbac::v1::ClusterRole> = Api::all(world.client());
    roles
        .create(
            &PostParams::default(),
            &serde_json::from_value(reader).unwrap(),
        )
        .await
        .unwrap();
    let platform = world.platform.name();
    let _operator = Operator::start_with(
        &world,
        account.kubeconfig_path(),
        &[
            "--image",
            IMAGE,
            "--identity-namespace",
            platform,
            "--server-cluster-role",
            &role,
        ],
    );
    let _kubelet = Kubelet::start(&world);
    world
        .apply(&identity("autoscaling: {max: 3}\n  network: {ingress: {}}"))
        .await;
    world.identity_is("main", "Ready").await;
    // An operator of some namespaces binds the right to read only in these.
    let name = format!("symbolon:{platform}:main");
    assert!(world.made(ManagedKind::ClusterRoleBinding).await.is_none());
    for namespace in world.namespaces() {
        let bindings = objects(&world.client(), ManagedKind::RoleBinding, &namespace);
        assert!(bindings.get_opt(&name).await.unwrap().is_some());
    }
    let identities: Api<symbolon::resources::Identity> = world.platform.api();
    identities
        .delete("main", &DeleteParams::default())
        .await
        .unwrap();
    let team = objects(&world.client(), ManagedKind::RoleBinding, world.team.name());
    eventually("the binding in the team's namespace is swept", async || {
        team.get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    roles.delete(&role, &DeleteParams::default()).await.unwrap();
}

/// A CRD that accepts any object.
fn definition(kind: ManagedKind) -> Value {
    let (group, version) = kind.api_version().rsplit_once('/').unwrap();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let plural = kind.plural();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind.as_str(), "plural": plural},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": anything}}],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_route_waits_until_the_cluster_has_its_crd() {
    let cluster = Cluster::private();
    let world = World::empty(&cluster).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity("network: {ingress: {}}")).await;
    world.identity_is("main", "Ready").await;
    world
        .apply(&identity(
            "network: {httpRoute: {parentRefs: [{name: gate}]}}",
        ))
        .await;
    let told = eventually(
        "the pods are ready and the Identity waits for the route",
        async || {
            let told = world.identity_is("main", "Pending").await;
            (told["status"]["readyReplicas"] == 2).then_some(told)
        },
    )
    .await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("Gateway API"), "{message}");
    // The Ingress stays until the route exists.
    assert!(world.made(ManagedKind::Ingress).await.is_some());

    let definitions: Api<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    > = Api::all(world.client());
    for kind in [ManagedKind::HttpRoute, ManagedKind::ServiceMonitor] {
        definitions
            .create(
                &PostParams::default(),
                &serde_json::from_value(definition(kind)).unwrap(),
            )
            .await
            .unwrap();
    }
    world.identity_is("main", "Ready").await;
    let route = world.made(ManagedKind::HttpRoute).await.unwrap();
    assert_eq!(
        route["spec"]["hostnames"][0],
        format!("{}.example.com", world.platform.name())
    );
    assert!(world.made(ManagedKind::ServiceMonitor).await.is_some());
    assert!(world.made(ManagedKind::Ingress).await.is_none());
    world.apply(&identity("")).await;
    eventually("the route is deleted", async || {
        world
            .made(ManagedKind::HttpRoute)
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

// --- stores -------------------------------------------------------------------------------------

/// The API of the claims, of which the Identity's only pod has one.
fn claims(world: &World<'_>) -> Api<PersistentVolumeClaim> {
    world.platform.api()
}

const CLAIM: &str = "data-main-identity-0";

#[tokio::test(flavor = "multi_thread")]
async fn the_previous_pods_serve_until_others_are_ready_and_volumes_are_never_deleted() {
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let kubelet = Kubelet::start(&world);
    world.apply(&identity("storage: {type: None}")).await;
    world.identity_is("main", "Ready").await;
    drop(kubelet);

    world.apply(&identity("storage: {type: SQLite}")).await;
    world.identity_is("main", "RollingOut").await;
    eventually("the volume is claimed", async || {
        claims(&world).get_opt(CLAIM).await.unwrap()
    })
    .await;
    // Time in which the operator could delete it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        world.made(ManagedKind::Deployment).await.is_some(),
        "the pods must stay until another server is ready"
    );
    let kubelet = Kubelet::start(&world);
    let ready = world.identity_is("main", "Ready").await;
    assert_eq!(
        [
            &ready["status"]["replicas"],
            &ready["status"]["readyReplicas"]
        ],
        [&json!(1), &json!(1)]
    );
    assert_eq!(ready["status"]["version"], "1.0");
    eventually("the previous pods are deleted", async || {
        world
            .made(ManagedKind::Deployment)
            .await
            .is_none()
            .then_some(())
    })
    .await;
    world
        .patch_made(ManagedKind::StatefulSet, json!({"spec": {"replicas": 3}}))
        .await;
    eventually(
        "the StatefulSet has one replica again, since a second pod would have another volume",
        async || {
            let set = world.made(ManagedKind::StatefulSet).await?;
            (set["spec"]["replicas"] == 1).then_some(())
        },
    )
    .await;

    world.apply(&identity("storage: {type: None}")).await;
    eventually("the Identity has a Deployment again", async || {
        let is_gone = world.made(ManagedKind::StatefulSet).await.is_none();
        (is_gone && world.made(ManagedKind::Deployment).await.is_some()).then_some(())
    })
    .await;
    world.identity_is("main", "Ready").await;
    drop(kubelet);
    let claim = claims(&world).get(CLAIM).await.unwrap();
    assert!(claim.metadata.deletion_timestamp.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_under_the_pod_that_uses_it() {
    let world = World::empty(Cluster::shared()).await;
    let class = format!("grows-{}", world.platform.name());
    let classes: Api<StorageClass> = Api::all(world.client());
    let made = json!({"metadata": {"name": class}, "provisioner": "example.com/none", "allowVolumeExpansion": true});
    classes
        .create(
            &PostParams::default(),
            &serde_json::from_value(made).unwrap(),
        )
        .await
        .unwrap();
    let volumes: Api<PersistentVolume> = Api::all(world.client());
    let volume = json!({"metadata": {"name": class}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "claimRef": {"namespace": world.platform.name(), "name": CLAIM}, "hostPath": {"path": "/nowhere"}}});
    volumes
        .create(
            &PostParams::default(),
            &serde_json::from_value(volume).unwrap(),
        )
        .await
        .unwrap();
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    let sized = |size: &str| {
        identity(&format!(
            "storage: {{type: SQLite, sqlite: {{size: {size}, storageClassName: {class}}}}}"
        ))
    };
    world.apply(&sized("1Gi")).await;
    world.identity_is("main", "Ready").await;
    eventually("the claim is bound", async || {
        let claim = claims(&world).get(CLAIM).await.unwrap();
        (claim.status?.phase? == "Bound").then_some(())
    })
    .await;
    let pods: Api<Pod> = world.platform.api();
    let before = pods.get("main-identity-0").await.unwrap().metadata.uid;

    world.apply(&sized("2Gi")).await;
    eventually("the claim is larger", async || {
        let claim = claims(&world).get(CLAIM).await.unwrap();
        let claim = serde_json::to_value(claim).unwrap();
        (claim["spec"]["resources"]["requests"]["storage"] == "2Gi").then_some(())
    })
    .await;
    world.identity_is("main", "Ready").await;
    let set = world.made(ManagedKind::StatefulSet).await.unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(template["resources"]["requests"]["storage"], "2Gi");
    let after = pods.get("main-identity-0").await.unwrap().metadata.uid;
    assert_eq!(before, after, "the pod was not replaced");

    let fixed = json!({"allowVolumeExpansion": false});
    classes
        .patch(&class, &PatchParams::default(), &Patch::Merge(fixed))
        .await
        .unwrap();
    world.apply(&sized("3Gi")).await;
    let told = world.identity_is("main", "Pending").await;
    let message = condition(&told, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("cannot grow to 3Gi"), "{message}");
    drop(classes.delete(&class, &DeleteParams::default()).await);
    drop(volumes.delete(&class, &DeleteParams::default()).await);
}
