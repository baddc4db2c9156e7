//! The database of an Identity with `storage.type: PostgreSQL`: how its pods reach it. Pure.
//!
//! The operator never connects to it. The pods mount the Secrets with its URL and CA as files, and follow their changes.

use serde_json::{Value, json};

use crate::resources::{DEFAULT_SCHEMA, IdentitySpec, KeyRef, PostgresStorage, StorageType};

/// The name of the volume.
const VOLUME: &str = "database";
/// The mount path.
const DATABASE_DIR: &str = "/var/run/symbolon/database";
/// The file with the URL.
const URL: &str = "url";
/// The file with the certificates of the CA.
const CA: &str = "ca.crt";

/// Returns the database that an Identity asks for.
pub(in super::super) fn wanted(spec: &IdentitySpec) -> Option<&PostgresStorage> {
    let postgresql = spec.storage.postgresql.as_ref();
    postgresql.filter(|_| spec.storage.type_ == StorageType::PostgreSQL)
}

/// Returns the server's arguments. None of them is a secret.
pub(super) fn arguments(spec: &IdentitySpec) -> Vec<String> {
    let Some(database) = wanted(spec) else {
        return Vec::new();
    };
    let mut arguments = vec![format!("--store-url-file={DATABASE_DIR}/{URL}")];
    if database.ca_secret_ref.is_some() {
        arguments.push(format!("--store-ca-file={DATABASE_DIR}/{CA}"));
    }
    if database.schema != DEFAULT_SCHEMA {
        arguments.push(format!("--store-schema={}", database.schema));
    }
    if let Some(most) = database.max_connections {
        arguments.push(format!("--store-max-connections={most}"));
    }
    arguments
}

/// Returns where the container mounts the volume.
pub(super) fn mount(spec: &IdentitySpec) -> Option<Value> {
    wanted(spec)?;
    Some(json!({"name": VOLUME, "mountPath": DATABASE_DIR, "readOnly": true}))
}

/// Returns the volume. A Secret that is missing must not keep pods from starting, because machine clients do not need
/// the database; once it exists, the kubelet writes the file.
pub(super) fn volume(spec: &IdentitySpec) -> Option<Value> {
    let database = wanted(spec)?;
    let part = |of: &KeyRef, path: &str| {
        let items = json!([{"key": of.key, "path": path}]);
        json!({"secret": {"name": of.name, "items": items, "optional": true}})
    };
    let mut sources = vec![part(&database.url_secret_ref, URL)];
    sources.extend(database.ca_secret_ref.iter().map(|ca| part(ca, CA)));
    // Only the process's group may read it.
    Some(json!({"name": VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}))
}
