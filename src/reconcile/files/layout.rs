//! The paths of objects' files in the state folder.

use std::path::{Path, PathBuf};

use crate::directory::{ObjectKey, schema};
use crate::resources::Kind;

/// Returns the path of an object's file in the state folder; `None` if its name is not valid.
pub(super) fn path(folder: &str, key: &ObjectKey) -> Option<PathBuf> {
    let is_safe = is_safe(&key.namespace) && is_safe(&key.name);
    let folder = || Path::new(folder).join(&*key.namespace);
    is_safe.then(|| folder().join(format!("{}.yaml", key.name)))
}

pub(super) fn status_path(kind: Kind, key: &ObjectKey) -> Option<PathBuf> {
    path(&format!("status/{kind}"), key)
}

/// Whether a name is a valid file name that stays inside the folder.
pub(super) fn is_safe(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(schema::is_dns_label)
}
