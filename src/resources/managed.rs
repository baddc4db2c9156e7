//! The Kubernetes kinds that the operator creates for an Identity, and the labels and annotations that mark their
//! objects.

use super::common::LABEL_MANAGED;

/// Label on every object that the operator creates for an Identity: the Identity's name.
pub const LABEL_IDENTITY: &str = "symbolon.dev/identity";
/// Annotation with the Identity as `<namespace>/<name>`, on objects outside its namespace and on objects that belong
/// to it by name only.
pub const ANNOTATION_OF_IDENTITY: &str = "symbolon.dev/identity-of";
/// Annotation with the names of labels and annotations that an object inherited from its Identity.
pub const ANNOTATION_INHERITED: &str = "symbolon.dev/inherited";
/// Annotation with a digest of what the operator last applied.
pub const ANNOTATION_APPLIED: &str = "symbolon.dev/applied";
/// Annotation on a Deployment or StatefulSet with a digest of its pod template.
pub const ANNOTATION_POD_TEMPLATE: &str = "symbolon.dev/template";
/// Annotation on a Deployment or StatefulSet with a digest of the pod options in its Identity.
pub const ANNOTATION_POD_OPTIONS: &str = "symbolon.dev/pod-options";
/// Annotation on a Deployment or StatefulSet that says who decides its number of replicas.
pub const ANNOTATION_REPLICAS: &str = "symbolon.dev/replicas";
/// Annotation on a Deployment or StatefulSet that says why it was last rolled out.
pub const ANNOTATION_ROLLOUT: &str = "symbolon.dev/rollout";

/// A Kubernetes kind that the operator creates objects of.
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
    /// All kinds, in the order in which they are created.
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

    /// Returns the name in manifests.
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

    /// Returns the plural in URLs.
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

    /// Returns the `apiVersion` in manifests.
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

    /// Returns whether every cluster has the kind. The operator looks for the others first, and does not watch them.
    pub const fn is_built_in(self) -> bool {
        !matches!(self, Self::HttpRoute | Self::ServiceMonitor)
    }

    /// Returns whether objects of the kind run pods.
    pub const fn is_workload(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet)
    }

    /// Returns the URL path of the kind's objects, in one namespace or in all.
    pub fn path(self, namespace: Option<&str>) -> String {
        let version = self.api_version();
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = self.plural();
        match namespace.filter(|_| self != Self::ClusterRoleBinding) {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{version}/{plural}"),
        }
    }

    /// Returns whether the operator may have given this name to one of its objects. The name becomes part of a path,
    /// and others can choose any name.
    pub fn is_name(text: &str) -> bool {
        let is_ours =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
        (1..=253).contains(&text.len()) && text.bytes().all(is_ours) && !text.starts_with('.')
    }

    /// Returns the label selector that lists of these kinds use.
    pub fn label_selector() -> String {
        format!("{LABEL_MANAGED}=true,{LABEL_IDENTITY}")
    }
}

impl std::fmt::Display for ManagedKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The metadata that a watch reports of an object created for an Identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedSeen {
    /// Kind of the object.
    pub kind: ManagedKind,
    /// Namespace of the object; `None` for cluster-scoped kinds.
    pub namespace: Option<Box<str>>,
    /// Name of the object.
    pub name: Box<str>,
    /// The object's `resourceVersion`; `None` if it was deleted.
    pub version: Option<Box<str>>,
    /// Value of [`ANNOTATION_OF_IDENTITY`].
    pub identity: Option<Box<str>>,
}
