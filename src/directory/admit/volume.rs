//! The storage of an Identity: which volume or database it may ask for, and how a volume may change. Pure.

use serde_json::Value;

use crate::resources::{DEFAULT_VOLUME, Mode, SqliteStorage, Storage, StorageType};

/// Smallest volume, in mebibytes.
const LEAST: u64 = 64;
/// Largest volume, in mebibytes.
const MOST: u64 = 16 << 20;

/// Returns the volume that an Identity asks for; `None` if it needs none.
pub fn wanted(storage: &Storage) -> Option<SqliteStorage> {
    match storage.type_ {
        StorageType::None | StorageType::PostgreSQL => None,
        StorageType::SQLite => Some(storage.sqlite.clone().unwrap_or_default()),
    }
}

/// Whether the storage is a database that need not prove to the servers that it is the right one.
pub(super) fn is_unproven(storage: &Storage) -> bool {
    let database = storage.postgresql.as_ref();
    database.is_some_and(|database| database.ca_secret_ref.is_none())
}

/// Returns what is wrong with the storage: the field and the message.
pub(super) fn faults(
    storage: &Storage,
    mode: Mode,
    replicas: Option<i64>,
    is_autoscaled: bool,
) -> Vec<(&'static str, &'static str)> {
    let is_sqlite = storage.type_ == StorageType::SQLite;
    let is_postgres = storage.type_ == StorageType::PostgreSQL;
    let has_reserved_schema = storage
        .postgresql
        .as_ref()
        .is_some_and(|postgresql| postgresql.schema.starts_with("pg_"));
    let size = storage.sqlite.as_ref().map(|sqlite| &*sqlite.size);
    let is_size_good = size
        .and_then(mebibytes)
        .is_none_or(|size| (LEAST..=MOST).contains(&size));
    [
        (
            is_sqlite || storage.sqlite.is_none(),
            "/spec/storage/sqlite",
            "sqlite needs type: SQLite",
        ),
        (
            is_size_good,
            "/spec/storage/sqlite/size",
            "size must be between 64Mi and 16Ti",
        ),
        (
            is_postgres || storage.postgresql.is_none(),
            "/spec/storage/postgresql",
            "postgresql needs type: PostgreSQL",
        ),
        (
            !is_postgres || storage.postgresql.is_some(),
            "/spec/storage/type",
            "type: PostgreSQL needs postgresql.urlSecretRef, the Secret with the URL of the database",
        ),
        (
            !has_reserved_schema,
            "/spec/storage/postgresql/schema",
            "schema must not begin with pg_, which PostgreSQL reserves",
        ),
        (
            storage.type_ == StorageType::None || mode == Mode::Deployment,
            "/spec/storage/type",
            "storage needs mode: Deployment, since the operator's own pods have no store",
        ),
        (
            !is_sqlite || (!is_autoscaled && replicas.is_none_or(|replicas| replicas <= 1)),
            "/spec/storage/type",
            "storage.type: SQLite allows one pod, which writes the file: set replicas to 0 or 1 and remove autoscaling",
        ),
    ]
    .into_iter()
    .filter_map(|(is_good, path, message)| (!is_good).then_some((path, message)))
    .collect()
}

/// Returns why the volume of an Identity may not change from `old` to `new`; nothing if either has no volume.
pub(super) fn changed(old: &Value, new: &Value) -> Vec<&'static str> {
    let has = |object: &Value| object["spec"]["storage"]["type"] == "SQLite";
    if !has(old) || !has(new) {
        return Vec::new();
    }
    let sqlite = |object: &Value, field: &str| {
        let value = object["spec"]["storage"]["sqlite"][field].as_str();
        value.map(str::to_owned)
    };
    let size = |object: &Value| {
        let size = sqlite(object, "size");
        mebibytes(size.as_deref().unwrap_or(DEFAULT_VOLUME))
    };
    let mut found = Vec::new();
    if size(new) < size(old) {
        found.push("a volume can only grow: set at least its current size");
    }
    if sqlite(new, "storageClassName") != sqlite(old, "storageClassName") {
        found.push("storageClassName is immutable: a volume keeps its class");
    }
    found
}

/// Parses the size of a volume in mebibytes; `None` if it is not a whole number of Mi, Gi or Ti.
pub fn mebibytes(size: &str) -> Option<u64> {
    let units = [("Mi", 1_u64), ("Gi", 1 << 10), ("Ti", 1 << 20)];
    units.into_iter().find_map(|(unit, factor)| {
        let number: u64 = size.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(factor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_of_a_binary_unit() {
        for (size, read) in [
            ("64Mi", Some(64)),
            ("1Gi", Some(1024)),
            ("16Ti", Some(16 << 20)),
            ("1G", None),
            ("1.5Gi", None),
            ("Gi", None),
            ("", None),
        ] {
            assert_eq!(mebibytes(size), read, "{size}");
        }
    }
}
