//! The volume of an Identity with storage: its claim, and its growth. Pure.
//!
//! No code deletes a claim: people's data stays until someone deletes it by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{name_of, quantity};
use crate::directory::admit::volume::mebibytes;
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::inherited;
use crate::resources::{InheritedMetadata, SqliteStorage};

/// The name of the volume in the pod and of the claim template.
pub(super) const CLAIM: &str = "data";
/// The mount path.
pub(super) const STORE_DIR: &str = "/var/lib/symbolon";
/// The file name of the store in the volume.
pub(super) const STORE_FILE: &str = "symbolon.db";

/// Returns the name of the single pod's claim, as the StatefulSet controller names it.
pub(super) fn claim_name(identity: &ObjectKey) -> String {
    format!("{CLAIM}-{}-0", name_of(identity))
}

/// Returns the claim template of the StatefulSet.
pub(super) fn claim_template(
    volume: &SqliteStorage,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    });
    if let Some(class) = &volume.storage_class_name {
        spec["storageClassName"] = json!(class);
    }
    let mut metadata = json!({"name": CLAIM, "labels": labels});
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    json!({"metadata": metadata, "spec": spec})
}

/// Keeps the metadata of the live claim template, which is immutable and used only for new claims. [`relabelling`]
/// changes the live claim.
pub(super) fn keep_template_metadata(body: &mut Value, live: &Value) {
    let metadata = &live["spec"]["volumeClaimTemplates"][0]["metadata"];
    if metadata.is_object()
        && let Some(template) = body.pointer_mut("/spec/volumeClaimTemplates/0/metadata")
    {
        for field in ["labels", "annotations"] {
            if let Some(template) = template.as_object_mut() {
                template.remove(field);
                if metadata[field].is_object() {
                    template.insert(field.to_owned(), metadata[field].clone());
                }
            }
        }
    }
}

/// Whether the live StatefulSet claims another volume than the wanted one. Claim templates are immutable, so the
/// StatefulSet must be recreated.
pub(super) fn claims_another(live: &Value, wanted: &Value) -> bool {
    let claim = |set: &Value, pointer: &str| {
        let template = &set["spec"]["volumeClaimTemplates"][0]["spec"];
        template.pointer(pointer).cloned().unwrap_or_default()
    };
    let size = |set: &Value| claim(set, "/resources/requests/storage");
    let class = |set: &Value| claim(set, "/storageClassName");
    // The API server may have filled in the default class.
    let is_other_class = !class(wanted).is_null() && class(live) != class(wanted);
    is_other_class || !quantity::is_same(&size(live), &size(wanted))
}

/// Returns the patch of a live claim's inherited metadata; `None` if it is up to date.
pub(super) fn relabelling(claim: &Value, inherited: &InheritedMetadata) -> Option<Value> {
    let mut metadata = inherited::patch(&claim["metadata"], inherited)?;
    metadata["resourceVersion"] = claim["metadata"]["resourceVersion"].clone();
    Some(json!({"metadata": metadata}))
}

/// Returns the patch that grows a live claim to the wanted size; `None` if it is as large already, or larger.
pub(super) fn growth(claim: &Value, wanted: &str) -> Option<Value> {
    let live = claim["spec"]["resources"]["requests"]["storage"].as_str()?;
    // A quantity in a form that the operator does not write was set by someone else, and stays.
    if mebibytes(live)? >= mebibytes(wanted)? {
        return None;
    }
    Some(json!({
        "metadata": {"resourceVersion": claim["metadata"]["resourceVersion"]},
        "spec": {"resources": {"requests": {"storage": wanted}}},
    }))
}

/// Returns the problem that the cluster does not let a claim grow. The Identity is served as before.
pub(super) fn not_grown(claim: &str, wanted: &str, words: &str) -> Problem {
    let message = format!(
        "the PersistentVolumeClaim {claim} cannot grow to {wanted}: {words}; set allowVolumeExpansion in its StorageClass, or move the data to a larger volume"
    );
    Problem::error(Reason::Pending, "/spec/storage/sqlite/size", message)
}

/// Returns the problem that the cluster refuses the inherited metadata of a claim. The Identity is served as before.
pub(super) fn not_relabelled(claim: &str, words: &str) -> Problem {
    let message = format!(
        "the PersistentVolumeClaim {claim} cannot get the labels and annotations of spec.inheritedMetadata: {words}"
    );
    Problem::error(Reason::Pending, "/spec/inheritedMetadata", message)
}
