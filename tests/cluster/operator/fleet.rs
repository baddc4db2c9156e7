//! An Identity becomes a Deployment and all that belongs to it, and stays so. There is no kubelet here: a task of the test
//! says of each pod that it is ready.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams,
    },
};
use serde_json::{Value, json};
use symbolon::{
    directory::{ObjectKey, Settings},
    reconcile::{
        controller::Serving,
        fence::Fence,
        fleet::{Fleet, Installation, Objects},
    },
    resources::{Kind, ManagedKind},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::world::{Running, World, api, condition, resource};
use crate::harness::{Cluster, eventually};

const IMAGE: &str = "registry.example.com/symbolon:1.0";

const IDENTITY: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  signing: {algorithms: [ES256]}
";

fn identity(more: &str) -> String {
    format!("{IDENTITY}  {more}\n")
}

fn installation(image: &str) -> Installation {
    Installation {
        image: image.to_owned(),
        server_cluster_role: "symbolon-server".to_owned(),
        ..Installation::default()
    }
}

/// A controller that runs pods of an image.
async fn start(world: &World<'_>, of: Installation, embedded: Option<ObjectKey>) -> Running {
    let accepted = vec![world.platform.name().to_owned()];
    let of = Installation {
        identity_namespaces: accepted.clone(),
        ..of
    };
    let objects = Objects::new(world.client(), Duration::from_secs(5), Fence::open());
    let serving = Serving::Here {
        fleet: (!of.image.is_empty()).then(|| Arc::new(Fleet::new(objects, of))),
        embedded,
    };
    let settings = Settings {
        identity_namespaces: accepted,
        ..Settings::default()
    };
    let calls = api(world).await;
    let own = calls.own_writes().clone();
    Running::serving(world, calls, own, settings, serving).await
}

/// Says of each pod that it is ready, as long as it is held.
struct Kubelet {
    _task: AbortOnDropHandle<()>,
    paused: CancellationToken,
}

impl Kubelet {
    fn start(world: &World<'_>) -> Self {
        let pods: Api<Pod> = world.platform.api();
        let paused = CancellationToken::new();
        let is_paused = paused.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if !is_paused.is_cancelled() {
                    make_ready(&pods).await;
                }
            }
        });
        Self {
            _task: AbortOnDropHandle::new(task),
            paused,
        }
    }

    /// From now on no pod becomes ready.
    fn pause(&self) {
        self.paused.cancel();
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
        // It may be gone already.
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

fn objects(client: &Client, kind: ManagedKind, namespace: &str) -> Api<DynamicObject> {
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
    fn of(&self, kind: ManagedKind) -> Api<DynamicObject> {
        objects(&self.client(), kind, self.platform.name())
    }

    /// The Identity's object of a kind.
    async fn made(&self, kind: ManagedKind) -> Option<Value> {
        let name = match kind {
            ManagedKind::ClusterRoleBinding => format!("symbolon:{}:main", self.platform.name()),
            _ => "main-identity".to_owned(),
        };
        let found = self.of(kind).get_opt(&name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    async fn kinds_made(&self) -> Vec<&'static str> {
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

    async fn identity_named(&self, name: &str) -> Value {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client(),
            self.platform.name(),
            &resource(Kind::Identity),
        );
        serde_json::to_value(api.get(name).await.unwrap()).unwrap()
    }

    /// Waits until `Ready` of an Identity has this reason for its present generation.
    async fn identity_is(&self, name: &str, reason: &str) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(
            Duration::from_secs(50),
            eventually("the Identity comes to a state", async || {
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

    async fn patch_made(&self, kind: ManagedKind, patch: Value) {
        self.of(kind)
            .patch(
                "main-identity",
                &PatchParams::apply("kubectl-edit"),
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
    eventually("it counts", async || {
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
