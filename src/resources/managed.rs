//! The kinds of Kubernetes that the operator makes of an Identity, and what their objects are marked with.

use super::common::LABEL_MANAGED;

/// Label on everything that is made of an Identity: the Identity's name.
pub const LABEL_IDENTITY: &str = "symbolon.dev/identity";
/// Annotation on what stands outside the Identity's namespace or is joined to it by name: `<namespace>/<name>`.
pub const ANNOTATION_OF_IDENTITY: &str = "symbolon.dev/identity-of";
/// Annotation with a digest of what was last applied.
pub const ANNOTATION_APPLIED: &str = "symbolon.dev/applied";
/// Annotation on a Deployment or StatefulSet with a digest of its pod template.
pub const ANNOTATION_POD_TEMPLATE: &str = "symbolon.dev/template";
/// Annotation on a Deployment or StatefulSet with a digest of what its Identity says about pods.
pub const ANNOTATION_POD_OPTIONS: &str = "symbolon.dev/pod-options";
/// Annotation on a Deployment or StatefulSet: who says how many replicas it has.
pub const ANNOTATION_REPLICAS: &str = "symbolon.dev/replicas";
/// Annotation on a Deployment or StatefulSet: why it was rolled out the last time.
pub const ANNOTATION_ROLLOUT: &str = "symbolon.dev/rollout";

/// A kind of Kubernetes that the operator makes objects of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "names of kinds")]
pub enum ManagedKind {
    ServiceAccount,
    Role,
    RoleBinding,
    ClusterRoleBinding,
    NetworkPolicy,
    Service,
    Deployment,
    StatefulSet,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    Ingress,
    HttpRoute,
    ServiceMonitor,
}

impl ManagedKind {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 13] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRoleBinding,
        Self::NetworkPolicy,
        Self::Service,
        Self::Deployment,
        Self::StatefulSet,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
        Self::ServiceMonitor,
    ];

    /// The name as manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::ServiceMonitor => "ServiceMonitor",
        }
    }

    /// The plural, as URLs write it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::Role => "roles",
            Self::RoleBinding => "rolebindings",
            Self::ClusterRoleBinding => "clusterrolebindings",
            Self::NetworkPolicy => "networkpolicies",
            Self::Service => "services",
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::Ingress => "ingresses",
            Self::HttpRoute => "httproutes",
            Self::ServiceMonitor => "servicemonitors",
        }
    }

    /// `apiVersion` as manifests write it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::Service => "v1",
            Self::Role | Self::RoleBinding | Self::ClusterRoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
            Self::NetworkPolicy | Self::Ingress => "networking.k8s.io/v1",
            Self::Deployment | Self::StatefulSet => "apps/v1",
            Self::PodDisruptionBudget => "policy/v1",
            Self::HorizontalPodAutoscaler => "autoscaling/v2",
            Self::HttpRoute => "gateway.networking.k8s.io/v1",
            Self::ServiceMonitor => "monitoring.coreos.com/v1",
        }
    }

    /// Whether every cluster knows it; the others are asked for first, and not watched.
    pub const fn is_built_in(self) -> bool {
        !matches!(self, Self::HttpRoute | Self::ServiceMonitor)
    }

    /// Whether it runs pods.
    pub const fn is_workload(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet)
    }

    /// The address of its objects: in a namespace, or everywhere.
    pub fn path(self, namespace: Option<&str>) -> String {
        let version = self.api_version();
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = self.plural();
        match namespace.filter(|_| self != Self::ClusterRoleBinding) {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{version}/{plural}"),
        }
    }

    /// Whether the operator may have called one of its objects so. It stands in paths: others' names may be anything.
    pub fn is_name(text: &str) -> bool {
        let is_ours =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
        (1..=253).contains(&text.len()) && text.bytes().all(is_ours) && !text.starts_with('.')
    }

    /// What their lists are narrowed to.
    pub fn label_selector() -> String {
        format!("{LABEL_MANAGED}=true,{LABEL_IDENTITY}")
    }
}

impl std::fmt::Display for ManagedKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a watch tells of an object that is made of an Identity: its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedSeen {
    /// Its kind.
    pub kind: ManagedKind,
    /// Its namespace; `None` for kinds without.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
    /// Its `resourceVersion`; `None`: it is gone.
    pub version: Option<Box<str>>,
    /// [`ANNOTATION_OF_IDENTITY`].
    pub identity: Option<Box<str>>,
}
