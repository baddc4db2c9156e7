//! What an Identity stores outside Kubernetes objects, and where: the part of [`IdentitySpec`](super::IdentitySpec)
//! that becomes a volume.
//!
//! Machine clients and service tokens need none of it: resources hold all of their state.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Size of the volume of an Identity that sets none.
pub const DEFAULT_VOLUME: &str = "1Gi";

/// Where data about people is stored.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.sqlite) || self.type == 'SQLite'").message("sqlite needs type: SQLite").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(oldSelf.sqlite) && !isQuantity(oldSelf.sqlite.size)) || quantity(has(self.sqlite) ? self.sqlite.size : '1Gi').compareTo(quantity(has(oldSelf.sqlite) ? oldSelf.sqlite.size : '1Gi')) >= 0").message("a volume can only grow: set at least its current size").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(self.sqlite) && has(self.sqlite.storageClassName) ? self.sqlite.storageClassName : '') == (has(oldSelf.sqlite) && has(oldSelf.sqlite.storageClassName) ? oldSelf.sqlite.storageClassName : '')").message("storageClassName is immutable: a volume keeps its class").field_path(".sqlite"))]
pub struct Storage {
    /// Kind of storage. `None`: nothing is stored. `SQLite`: a file on a volume, and one pod. Default: `None`.
    #[serde(default, rename = "type")]
    pub type_: StorageType,
    /// Volume of `type: SQLite`. Default: `1Gi` of the cluster's default `StorageClass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteStorage>,
}

/// Kind of storage.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Storage::type_")]
pub enum StorageType {
    #[default]
    None,
    SQLite,
}

/// The volume of an SQLite file.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.size) && quantity(self.size).compareTo(quantity('64Mi')) >= 0 && quantity(self.size).compareTo(quantity('16Ti')) <= 0").message("size must be between 64Mi and 16Ti").field_path(".size"))]
pub struct SqliteStorage {
    /// Size of the volume, `64Mi` to `16Ti`: a whole number of `Mi`, `Gi` or `Ti`. It can only grow. Default: `1Gi`.
    #[serde(default = "gibibyte")]
    #[schemars(
        length(min = 1, max = 8),
        regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$")
    )]
    pub size: String,
    /// `StorageClass` of the volume. Immutable. Default: the cluster's default.
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
