//! How an Identity runs: the part of [`IdentitySpec`](super::IdentitySpec) that becomes a Deployment and the objects
//! around it.
//!
//! What Kubernetes itself validates (affinity, topology spread) is passed on unchanged.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{DurationString, KeyRef, LocalRef, durations, is_default};

/// Who serves an Identity.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at IdentitySpec::mode")]
pub enum Mode {
    #[default]
    Deployment,
    Embedded,
}

/// How clients reach an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.ingress) && has(self.httpRoute))").message("set ingress or httpRoute, not both").field_path(".httpRoute"))]
#[x_kube(validation = Rule::new(durations(&["self.idleTimeout"], "duration(self.idleTimeout) >= duration('5s') && duration(self.idleTimeout) <= duration('2h')")).message("idleTimeout must be between 5s and 2h").field_path(".idleTimeout"))]
#[x_kube(validation = Rule::new("!has(self.trustedProxies) || self.trustedProxies.all(cidr, isCIDR(cidr))").message("trustedProxies must be CIDRs, such as 10.0.0.0/8 or fd00::/8").field_path(".trustedProxies"))]
pub struct Network {
    /// Address ranges (CIDR) of proxies in front of the pods. Their `X-Forwarded-For` header is trusted. Default:
    /// none. Example: `[10.0.0.0/8]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 43)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub trusted_proxies: Vec<String>,
    /// What the servers may call besides public addresses, and which CAs they trust then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub egress: Egress,
    /// How long the server keeps a connection open that brings no request, `5s` to `2h`. A proxy or load balancer in
    /// front of it must close idle connections earlier than that, or it sends requests on connections that the server
    /// is closing. Default: `75s`. Example: `620s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<DurationString>,
    /// TLS that the server terminates itself. Default: TLS ends in front of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServingTls>,
    /// The Service of the Identity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: ServiceOptions,
    /// Creates an Ingress for the issuer's host and path. Cannot be combined with `httpRoute`. Default: no Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressOptions>,
    /// Creates an `HTTPRoute` for the issuer's host and path. Cannot be combined with `ingress`. Default: no
    /// `HTTPRoute`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<HttpRouteOptions>,
}

/// What the servers of an Identity may call besides public addresses, and which CAs they trust then. They call only what
/// clients name, such as `backchannelLogout`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.allowedNetworks) || self.allowedNetworks.all(cidr, isCIDR(cidr))").message("allowedNetworks must be CIDRs, such as 10.0.0.0/8 or fd00::/8").field_path(".allowedNetworks"))]
pub struct Egress {
    /// Address ranges (CIDR) of the cluster or the organisation in which clients may be called. The owners of clients
    /// then choose which address there gets a request, so list only what may get one. Default: none. Example:
    /// `[10.96.0.0/12]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 43)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_networks: Vec<String>,
    /// Key of a Secret in this namespace that contains certificates of CAs in PEM. The servers trust these CAs, besides
    /// those of their image, when they call clients. Default: none. Example: `{name: internal-ca, key: ca.crt}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
}

/// TLS that the server terminates itself.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingTls {
    /// Secret of type `kubernetes.io/tls` in this namespace. The server loads a renewed certificate without a
    /// restart.
    pub secret_ref: LocalRef,
}

/// The Service of an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct ServiceOptions {
    /// Type of the Service: `ClusterIP`, `NodePort` or `LoadBalancer`. Default: `ClusterIP`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Annotations of the Service, such as those for load balancers. The installation limits their keys. Default:
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Type of a Service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "Kubernetes' names")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// The Ingress of an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressOptions {
    /// `IngressClass` of the Ingress. Default: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub class_name: Option<String>,
    /// Annotations of the Ingress, such as those for its controller and cert-manager. The installation limits their
    /// keys. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Name of the Secret with the TLS certificate of the issuer's host. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub tls_secret_name: Option<String>,
}

/// The `HTTPRoute` of an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteOptions {
    /// Gateways that the route attaches to.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
}

/// A reference to a Gateway of the Gateway API.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Namespace of the Gateway. Default: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Default: all its listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
}

/// Bounds and target of autoscaling.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("self.min <= self.max").message("autoscaling.min must be at most autoscaling.max").field_path(".min"))]
pub struct Autoscaling {
    /// Smallest number of pods, 1 to 100. Default: 2.
    #[serde(default = "min_2")]
    #[schemars(range(min = 1, max = 100))]
    pub min: i64,
    /// Largest number of pods, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub max: i64,
    /// Average CPU use to aim at, in per cent of the CPU that the pods request. Default: 70.
    #[serde(default = "percent_70", rename = "targetCPUUtilization")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: i64,
}

/// Options of the pods: a fixed list, not a pod template.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodOptions {
    /// Container image. Default: the installation's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets in this namespace for pulling images, besides those of the installation. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// More labels of the pods; they cannot replace the operator's own. The installation limits their keys. Default:
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods. The installation limits their keys. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have to run the pods. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Name of the `PriorityClass` of the pods. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub priority_class_name: Option<String>,
    /// CPU and memory of each pod. Default: requests of `50m` CPU and `128Mi` memory, and a limit of `512Mi` memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Taints of nodes that the pods tolerate. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Kubernetes `affinity` of the pods, passed on unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Free>,
    /// Kubernetes `topologySpreadConstraints` of the pods, passed on unchanged. Default: spread over zones and nodes
    /// where possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Option<Vec<Free>>,
}

/// CPU and memory of a container.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Resources {
    /// Amounts that are reserved for each pod. Example: `{cpu: 100m, memory: 256Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// Amounts that each pod may use at most. Example: `{memory: 512Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// An amount as Kubernetes writes it: `2`, `500m`, `128Mi`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
#[allow(missing_docs, reason = "two ways to write one thing")]
pub enum Quantity {
    Number(i64),
    Text(String),
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        })
    }
}

/// An object that only Kubernetes validates.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct Free(pub Map<String, Value>);

impl JsonSchema for Free {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Free".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

const fn min_2() -> i64 {
    2
}
const fn percent_70() -> i64 {
    70
}
