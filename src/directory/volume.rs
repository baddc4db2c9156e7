//! The volume of an Identity: what may be asked for, and what may become of it. Pure.

use serde_json::Value;

use crate::resources::{DEFAULT_VOLUME, Mode, SqliteStorage, Storage, StorageType};

/// The smallest volume, in mebibytes.
const LEAST: u64 = 64;
/// The largest.
const MOST: u64 = 16 << 20;

/// The volume that an Identity asks for; `None` where nothing is kept.
pub fn wanted(storage: &Storage) -> Option<SqliteStorage> {
    match storage.type_ {
        StorageType::None => None,
        StorageType::SQLite => Some(storage.sqlite.clone().unwrap_or_default()),
    }
}

/// What is wrong with it: the field, and why.
pub(super) fn faults(
    storage: &Storage,
    mode: Mode,
    replicas: Option<i64>,
    is_autoscaled: bool,
) -> Vec<(&'static str, &'static str)> {
    let is_sqlite = storage.type_ == StorageType::SQLite;
    let size = storage.sqlite.as_ref().map(|sqlite| &*sqlite.size);
    let is_size_good = size
        .and_then(mebibytes)
        .is_none_or(|size| (LEAST..=MOST).contains(&size));
    [
        (
            is_sqlite || storage.sqlite.is_none(),
            "/spec/storage/sqlite",
            "sqlite goes with type: SQLite",
        ),
        (
            is_size_good,
            "/spec/storage/sqlite/size",
            "size is 64Mi to 16Ti",
        ),
        (
            !is_sqlite || mode == Mode::Deployment,
            "/spec/storage/type",
            "mode: Embedded has no volume: storage.type SQLite goes with mode: Deployment",
        ),
        (
            !is_sqlite || (!is_autoscaled && replicas.is_none_or(|replicas| replicas <= 1)),
            "/spec/storage/type",
            "storage.type SQLite is one file, written by one pod: replicas is 0 or 1, and there is no autoscaling",
        ),
    ]
    .into_iter()
    .filter_map(|(is_good, path, message)| (!is_good).then_some((path, message)))
    .collect()
}

/// Why the volume of an Identity may not become another, while it has one.
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
        found.push("a volume only grows");
    }
    if sqlite(new, "storageClassName") != sqlite(old, "storageClassName") {
        found.push("storageClassName is immutable: a volume keeps its class");
    }
    found
}

/// Mebibytes of a volume's size; `None` for what is not a whole number of Mi, Gi or Ti.
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
