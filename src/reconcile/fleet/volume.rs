//! The volume of an Identity that keeps something: what is claimed for it, and what is done when it is to be larger. Pure.
//!
//! Nothing here deletes a claim, and nothing else does: what people have stays until somebody deletes it by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{name_of, quantity};
use crate::directory::{ObjectKey, Problem, Reason, volume::mebibytes};
use crate::resources::SqliteStorage;

/// The volume's name in the pod, and the claim template's.
pub(super) const CLAIM: &str = "data";
/// Where it is mounted.
pub(super) const STORE_DIR: &str = "/var/lib/symbolon";
/// The store in it.
pub(super) const STORE_FILE: &str = "symbolon.db";

/// The claim of the one pod, as the StatefulSet's controller names it.
pub(super) fn claim_name(identity: &ObjectKey) -> String {
    format!("{CLAIM}-{}-0", name_of(identity))
}

/// What the StatefulSet claims.
pub(super) fn claim_template(volume: &SqliteStorage, labels: &BTreeMap<String, String>) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    });
    if let Some(class) = &volume.storage_class_name {
        spec["storageClassName"] = json!(class);
    }
    json!({"metadata": {"name": CLAIM, "labels": labels}, "spec": spec})
}

/// Whether the live StatefulSet claims another volume than the wanted one: it cannot be told so, only made anew.
pub(super) fn claims_another(live: &Value, wanted: &Value) -> bool {
    let claim = |set: &Value, pointer: &str| {
        let template = &set["spec"]["volumeClaimTemplates"][0]["spec"];
        template.pointer(pointer).cloned().unwrap_or_default()
    };
    let size = |set: &Value| claim(set, "/resources/requests/storage");
    let class = |set: &Value| claim(set, "/storageClassName");
    // A default class may have been written in.
    let is_other_class = !class(wanted).is_null() && class(live) != class(wanted);
    is_other_class || !quantity::is_same(&size(live), &size(wanted))
}

/// The patch that makes a live claim as large as is wanted; `None` where it is that already, or larger.
pub(super) fn growth(claim: &Value, wanted: &str) -> Option<Value> {
    let live = claim["spec"]["resources"]["requests"]["storage"].as_str()?;
    // An amount that we do not write ourselves is somebody's own, and left to them.
    if mebibytes(live)? >= mebibytes(wanted)? {
        return None;
    }
    Some(json!({
        "metadata": {"resourceVersion": claim["metadata"]["resourceVersion"]},
        "spec": {"resources": {"requests": {"storage": wanted}}},
    }))
}

/// The cluster does not let a claim grow. Everything is served as before.
pub(super) fn not_grown(claim: &str, wanted: &str, words: &str) -> Problem {
    let message = format!(
        "the volume {claim} cannot grow to {wanted}: {words}. Allow it in the StorageClass (allowVolumeExpansion), or move the data to a larger volume"
    );
    Problem::error(Reason::Pending, "/spec/storage/sqlite/size", message)
}
