//! A platform, a team with a client and its tokens, and a crowd of clients that do nothing.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use symbolon::resources::Kind;

use crate::harness::{Cluster, TestNamespace, eventually};

/// The number of clients in a namespace of the crowd.
const CROWD: usize = 100;
/// The number of concurrent requests while the objects are created.
const IN_FLIGHT: usize = 32;

/// The cluster and the namespaces of the benchmark.
pub struct World<'a> {
    pub platform: TestNamespace<'a>,
    pub team: TestNamespace<'a>,
    /// The number of clients in the crowd.
    pub crowd: usize,
}

impl<'a> World<'a> {
    pub async fn new(cluster: &'a Cluster, crowd: usize) -> Self {
        cluster.install_crds().await;
        let world = Self {
            platform: cluster.namespace("platform").await,
            team: cluster.namespace("team").await,
            crowd,
        };
        for (kind, object) in world.objects() {
            world.create(kind, object).await;
        }
        let namespaces: Api<Namespace> = Api::all(world.client());
        for number in 0..crowd.div_ceil(CROWD) {
            let name = format!("crowd-{number}");
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        stream::iter(0..crowd)
            .for_each_concurrent(IN_FLIGHT, |number| world.create_in_crowd(number))
            .await;
        world
    }

    pub fn client(&self) -> Client {
        self.team.client()
    }

    fn objects(&self) -> [(Kind, Value); 4] {
        let (platform, team) = (self.platform.name(), self.team.name());
        let identity = json!({"name": "main", "namespace": platform});
        [
            (
                Kind::Identity,
                json!({
                    "metadata": {"name": "main", "namespace": platform},
                    "spec": {
                        "issuer": "https://id.example.com/id",
                        "access": {"clients": {"from": "All"}},
                        "limits": {"perNamespace": {"serviceTokens": 10_000, "mintsPerHour": 10_000}},
                        "signing": {"algorithms": ["ES256"]},
                        "gateways": [{"name": "api", "audience": "https://id.example.com/id", "scopes": ["read"]}],
                    },
                }),
            ),
            (
                Kind::Scope,
                json!({
                    "metadata": {"name": "read", "namespace": platform},
                    "spec": {"identityRef": {"name": "main"}, "allowedNamespaces": {"from": "All"}},
                }),
            ),
            (
                Kind::OAuthClient,
                json!({
                    "metadata": {"name": "backend", "namespace": team},
                    "spec": {
                        "identityRef": identity, "grantTypes": ["ClientCredentials"], "scopes": ["read"],
                        "systemUser": {"name": "backend"}, "referenceTokens": "AdministratorsOnly",
                    },
                }),
            ),
            (Kind::ServiceAccessToken, Self::token(team, "probe")),
        ]
    }

    /// A ServiceAccessToken of the client `backend`.
    pub fn token(namespace: &str, name: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clientRef": {"name": "backend"}, "scopes": ["read"], "lifetime": "720h"},
        })
    }

    async fn create_in_crowd(&self, number: usize) {
        let client = json!({
            "metadata": {"name": crowd_name(number), "namespace": crowd_namespace(number)},
            "spec": {
                "identityRef": {"name": "main", "namespace": self.platform.name()},
                "displayName": "One of the crowd", "grantTypes": ["ClientCredentials"], "scopes": ["read"],
            },
        });
        self.create(Kind::OAuthClient, client).await;
    }

    pub async fn create(&self, kind: Kind, mut object: Value) {
        object["apiVersion"] = json!("symbolon.dev/v1alpha1");
        object["kind"] = json!(kind.as_str());
        let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.api(kind, &namespace)
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    /// Returns the API of a kind in a namespace.
    pub fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), namespace, &resource(kind))
    }

    /// Returns the API of a kind in all namespaces.
    pub fn api_of_all(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client(), &resource(kind))
    }

    /// Waits until a token of the team is in its Secret.
    pub async fn token_in_secret(&self, name: &str) -> String {
        let (secrets, secret) = (self.team.api::<Secret>(), format!("{name}-token"));
        let text = async || {
            let data = secrets.get_opt(&secret).await.unwrap()?.data?;
            Some(String::from_utf8(data.get("token")?.0.clone()).unwrap())
        };
        let text = eventually("the operator issues a token", text).await;
        let owners = self.api(Kind::ServiceAccessToken, self.team.name());
        eventually("the operator reports it", async || {
            let owner = owners.get(name).await.unwrap();
            let epoch = owner.data["status"]["epoch"].as_i64();
            epoch.map(drop)
        })
        .await;
        text
    }
}

fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk("symbolon.dev", "v1alpha1", kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// The name of a client of the crowd.
pub fn crowd_name(number: usize) -> String {
    format!("one-{number}")
}

/// The namespace of a client of the crowd.
pub fn crowd_namespace(number: usize) -> String {
    format!("crowd-{}", number / CROWD)
}
