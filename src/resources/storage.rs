//! What an Identity keeps beside Kubernetes' objects, and where: the part of [`IdentitySpec`](super::IdentitySpec) that
//! becomes a volume.
//!
//! Machine clients and service tokens need none of it: their truth is in resources.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The volume of an Identity that says no size.
pub const DEFAULT_VOLUME: &str = "1Gi";

/// What is kept for people, and where.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.sqlite) || self.type == 'SQLite'").message("sqlite goes with type: SQLite").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(oldSelf.sqlite) && !isQuantity(oldSelf.sqlite.size)) || quantity(has(self.sqlite) ? self.sqlite.size : '1Gi').compareTo(quantity(has(oldSelf.sqlite) ? oldSelf.sqlite.size : '1Gi')) >= 0").message("a volume only grows").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(self.sqlite) && has(self.sqlite.storageClassName) ? self.sqlite.storageClassName : '') == (has(oldSelf.sqlite) && has(oldSelf.sqlite.storageClassName) ? oldSelf.sqlite.storageClassName : '')").message("storageClassName is immutable: a volume keeps its class").field_path(".sqlite"))]
pub struct Storage {
    /// `None`: nothing is kept. `SQLite`: a file on a volume of its own, and one pod.
    #[serde(default, rename = "type")]
    pub type_: StorageType,
    /// The volume of `type: SQLite`. Absent: 1Gi of the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteStorage>,
}

/// Where things are kept.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Storage::type_")]
pub enum StorageType {
    #[default]
    None,
    SQLite,
}

/// The volume of a `SQLite` file.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.size) && quantity(self.size).compareTo(quantity('64Mi')) >= 0 && quantity(self.size).compareTo(quantity('16Ti')) <= 0").message("size is 64Mi to 16Ti").field_path(".size"))]
pub struct SqliteStorage {
    /// How large the volume is: a whole number of Mi, Gi or Ti. It only grows.
    #[serde(default = "gibibyte")]
    #[schemars(
        length(min = 1, max = 8),
        regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$")
    )]
    pub size: String,
    /// The `StorageClass`. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub storage_class_name: Option<String>,
}

impl Default for SqliteStorage {
    fn default() -> Self {
        Self {
            size: gibibyte(),
            storage_class_name: None,
        }
    }
}

fn gibibyte() -> String {
    DEFAULT_VOLUME.to_owned()
}
