//! What an Identity stores outside Kubernetes objects, and where: the part of [`IdentitySpec`](super::IdentitySpec)
//! that becomes a volume, or a Secret that is mounted.
//!
//! Machine clients and service tokens need none of it: resources hold all of their state.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::KeyRef;

/// Size of the volume of an Identity that sets none.
pub const DEFAULT_VOLUME: &str = "1Gi";

/// The schema of an Identity in PostgreSQL that sets none.
pub const DEFAULT_SCHEMA: &str = "symbolon";

/// What a server that is ready answers to readiness probes while it cannot use its store. The operator reads it. It tells
/// no reason, since every pod of the cluster may ask.
pub const STORE_FAILS: &str = "ok, but the store cannot be used: see the log";

/// Where data about people is stored.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.sqlite) || self.type == 'SQLite'").message("sqlite needs type: SQLite").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("!has(self.postgresql) || self.type == 'PostgreSQL'").message("postgresql needs type: PostgreSQL").field_path(".postgresql"))]
#[x_kube(validation = Rule::new("self.type != 'PostgreSQL' || has(self.postgresql)").message("type: PostgreSQL needs postgresql.urlSecretRef, the Secret with the URL of the database").field_path(".type"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(oldSelf.sqlite) && !isQuantity(oldSelf.sqlite.size)) || quantity(has(self.sqlite) ? self.sqlite.size : '1Gi').compareTo(quantity(has(oldSelf.sqlite) ? oldSelf.sqlite.size : '1Gi')) >= 0").message("a volume can only grow: set at least its current size").field_path(".sqlite"))]
#[x_kube(validation = Rule::new("self.type != 'SQLite' || oldSelf.type != 'SQLite' || (has(self.sqlite) && has(self.sqlite.storageClassName) ? self.sqlite.storageClassName : '') == (has(oldSelf.sqlite) && has(oldSelf.sqlite.storageClassName) ? oldSelf.sqlite.storageClassName : '')").message("storageClassName is immutable: a volume keeps its class").field_path(".sqlite"))]
pub struct Storage {
    /// Kind of storage. `None`: nothing is stored. `SQLite`: a file on a volume, and one pod. `PostgreSQL`: a database,
    /// and any number of pods. A change moves no data. Default: `None`.
    #[serde(default, rename = "type")]
    pub type_: StorageType,
    /// Volume of `type: SQLite`. Default: `1Gi` of the cluster's default `StorageClass`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteStorage>,
    /// Database of `type: PostgreSQL`, which requires it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresStorage>,
}

/// Kind of storage.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Storage::type_")]
pub enum StorageType {
    #[default]
    None,
    SQLite,
    PostgreSQL,
}

/// A PostgreSQL database.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.schema.startsWith('pg_')").message("schema must not begin with pg_, which PostgreSQL reserves").field_path(".schema"))]
pub struct PostgresStorage {
    /// Key of a Secret in this namespace that contains the URL of the database, in the form of libpq. Example of a URL:
    /// `postgres://user:password@host/database?sslmode=require`. The servers use a changed URL without a restart.
    pub url_secret_ref: KeyRef,
    /// Key of a Secret in this namespace that contains the certificates of the database's CA in PEM. Then `sslmode` is
    /// `verify-full`, unless the URL says `require` or `verify-ca`, which do not verify the host. Default: none, and the
    /// database proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<KeyRef>,
    /// Schema of the tables: 1 to 63 of `a-z`, `0-9` and `_`, beginning with a letter. The servers create it. Each
    /// Identity needs a schema of its own. Default: `symbolon`.
    #[serde(default = "symbolon")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    pub schema: String,
    /// Largest number of connections of one pod, 1 to 1000. Default: twice the number of its cores. Example: `10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: Option<i64>,
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

fn symbolon() -> String {
    DEFAULT_SCHEMA.to_owned()
}

fn gibibyte() -> String {
    DEFAULT_VOLUME.to_owned()
}
