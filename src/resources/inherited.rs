//! What every object that the operator creates for an Identity inherits from it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::template::{ANNOTATION_NAMES, LABEL_NAMES, annotations, free, labels, names};

/// Message of the rule on inherited labels in reserved domains.
pub const RESERVED_INHERITED_LABELS: &str = "inheritedMetadata must not set labels of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other labels";
/// Message of the rule on inherited annotations in reserved domains.
pub const RESERVED_INHERITED_ANNOTATIONS: &str = "inheritedMetadata must not set annotations of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other annotations";

/// Labels and annotations that the operator sets on every object that it creates for an Identity, from the first write
/// on. It removes what the Identity no longer names, and leaves alone what others wrote.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[x_kube(validation = Rule::new(names("labels")).message(LABEL_NAMES).field_path(".labels"))]
#[x_kube(validation = Rule::new(free("labels")).message(RESERVED_INHERITED_LABELS).field_path(".labels"))]
#[x_kube(validation = Rule::new(names("annotations")).message(ANNOTATION_NAMES).field_path(".annotations"))]
#[x_kube(validation = Rule::new(free("annotations")).message(RESERVED_INHERITED_ANNOTATIONS).field_path(".annotations"))]
pub struct InheritedMetadata {
    /// Labels of the objects, such as those that a policy of the cluster requires. They cannot replace the operator's
    /// own. The installation limits their keys. Default: none. Example: `{team: identity}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the objects. They cannot replace the operator's own, nor those of `pod`, `network.service` and
    /// `network.ingress`. The installation limits their keys. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}
