//! Brings the labels and annotations that a live object inherits from its Identity up to date.
//!
//! An annotation remembers the inherited names, as for templates of Secrets: the operator removes what the Identity no
//! longer names, and never touches what others set. Objects that the operator writes by server-side apply need none of
//! this, because the API server remembers the operator's fields. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::secret::SecretObject;
use crate::directory::template::secret_metadata::is_reserved;
use crate::resources::{ANNOTATION_INHERITED, InheritedMetadata};

/// The domain of labels and annotations without which Symbolon cannot go on.
const OWN_DOMAIN: &str = "symbolon.dev/";

/// The inherited names on an object.
#[derive(Serialize, Deserialize, Default, Debug, PartialEq, Eq)]
#[serde(default)]
struct Named {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    labels: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    annotations: BTreeSet<String>,
}

impl Named {
    fn of(inherited: &InheritedMetadata) -> Self {
        Self {
            labels: inherited.labels.keys().cloned().collect(),
            annotations: inherited.annotations.keys().cloned().collect(),
        }
    }

    /// Returns what the object remembers. Others can write the annotation too, so names that no Identity can set are
    /// left out.
    fn remembered(annotations: &Value) -> Self {
        let text = annotations[ANNOTATION_INHERITED].as_str();
        let named: Option<Self> = text.and_then(|text| serde_json::from_str(text).ok());
        let mut named = named.unwrap_or_default();
        named.labels.retain(|name| !is_reserved(name));
        named.annotations.retain(|name| !is_reserved(name));
        named
    }
}

/// Returns the merge patch (RFC 7386) of an object's metadata; `None` if it is up to date.
pub(in crate::reconcile) fn patch(
    metadata: &Value,
    inherited: &InheritedMetadata,
) -> Option<Value> {
    let (before, now) = (
        Named::remembered(&metadata["annotations"]),
        Named::of(inherited),
    );
    let labels = changes(&metadata["labels"], &inherited.labels, &before.labels);
    let live = &metadata["annotations"];
    let mut annotations = changes(live, &inherited.annotations, &before.annotations);
    if now != before {
        let text = (now != Named::default()).then(|| serde_json::to_string(&now).ok());
        annotations.insert(ANNOTATION_INHERITED.to_owned(), json!(text.flatten()));
    }
    let mut patch = Map::new();
    for (field, changes) in [("labels", labels), ("annotations", annotations)] {
        if !changes.is_empty() {
            patch.insert(field.to_owned(), Value::Object(changes));
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn changes(
    live: &Value,
    wanted: &BTreeMap<String, String>,
    before: &BTreeSet<String>,
) -> Map<String, Value> {
    let gone = before.iter().filter(|name| !wanted.contains_key(*name));
    let gone = gone.filter(|name| live[name.as_str()].is_string());
    let gone = gone.map(|name| (name.clone(), Value::Null));
    let set = wanted
        .iter()
        .filter(|(name, value)| live[name.as_str()] != **value);
    let set = set.map(|(name, value)| (name.clone(), json!(value)));
    gone.chain(set).collect()
}

/// How much of the labels and annotations of an object a write keeps, after the API server refused it with more. No
/// label may hold up a revocation or a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reconcile) enum Keeps {
    /// All but what the object inherits from its Identity.
    Others,
    /// Only those of Symbolon.
    Own,
}

impl Keeps {
    /// Both, in the order in which a write tries them.
    pub(in crate::reconcile) const ALL: [Self; 2] = [Self::Others, Self::Own];

    /// Returns the names of labels and of annotations that a write leaves out.
    fn left_out(self, metadata: &Value) -> [Vec<String>; 2] {
        let named = Named::remembered(&metadata["annotations"]);
        let names = |field: &str, inherited: &BTreeSet<String>| {
            let present = metadata[field].as_object().into_iter().flatten();
            let is_left_out = |name: &&String| {
                *name == ANNOTATION_INHERITED
                    || match self {
                        Self::Others => inherited.contains(*name),
                        Self::Own => !name.starts_with(OWN_DOMAIN),
                    }
            };
            let names = present.map(|(name, _)| name).filter(is_left_out);
            names.cloned().collect()
        };
        [
            names("labels", &named.labels),
            names("annotations", &named.annotations),
        ]
    }

    /// Returns the Secret without the rest.
    pub(in crate::reconcile) fn of_secret(self, secret: &SecretObject) -> SecretObject {
        let metadata = secret.expose().get("metadata").unwrap_or(&Value::Null);
        let [labels, annotations] = self.left_out(metadata);
        let mut secret = secret.clone();
        for name in labels {
            secret.set_label(&name, None);
        }
        for name in annotations {
            secret.set_annotation(&name, None);
        }
        secret
    }

    /// Returns the metadata of a Credential without the rest.
    pub(in crate::reconcile) fn of_metadata(self, metadata: &ObjectMeta) -> ObjectMeta {
        let live = json!({"labels": metadata.labels, "annotations": metadata.annotations});
        let mut metadata = metadata.clone();
        let marks = [&mut metadata.labels, &mut metadata.annotations];
        for (marks, names) in marks.into_iter().zip(self.left_out(&live)) {
            if let Some(marks) = marks {
                marks.retain(|name, _| !names.contains(name));
            }
        }
        metadata
    }
}

/// Returns the Secret with what it inherits; `None` if it is up to date.
pub(in crate::reconcile) fn filled(
    secret: &SecretObject,
    inherited: &InheritedMetadata,
) -> Option<SecretObject> {
    let metadata = secret.expose().get("metadata").unwrap_or(&Value::Null);
    let patch = patch(metadata, inherited)?;
    let changes = |field: &str| patch[field].as_object().cloned().unwrap_or_default();
    let mut secret = secret.clone();
    for (name, value) in changes("labels") {
        secret.set_label(&name, value.as_str());
    }
    for (name, value) in changes("annotations") {
        secret.set_annotation(&name, value.as_str());
    }
    Some(secret)
}

/// Brings the metadata of a Credential up to date. Returns whether that changed it.
pub(in crate::reconcile) fn fill_metadata(
    metadata: &mut ObjectMeta,
    inherited: &InheritedMetadata,
) -> bool {
    let live = json!({"labels": metadata.labels, "annotations": metadata.annotations});
    let Some(patch) = patch(&live, inherited) else {
        return false;
    };
    for (field, marks) in [
        ("labels", &mut metadata.labels),
        ("annotations", &mut metadata.annotations),
    ] {
        for (name, value) in patch[field].as_object().into_iter().flatten() {
            let marks = marks.get_or_insert_default();
            match value.as_str() {
                Some(value) => drop(marks.insert(name.clone(), value.to_owned())),
                None => drop(marks.remove(name)),
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> InheritedMetadata {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        InheritedMetadata {
            labels: map(labels),
            annotations: map(annotations),
        }
    }

    /// Applies a merge patch to metadata.
    fn patched(mut metadata: Value, inherited: &InheritedMetadata) -> Value {
        let patch = patch(&metadata, inherited).unwrap_or_default();
        for (field, changes) in patch.as_object().into_iter().flatten() {
            for (name, value) in changes.as_object().unwrap() {
                let field = metadata[field].as_object_mut().unwrap();
                match value {
                    Value::Null => drop(field.remove(name)),
                    value => drop(field.insert(name.clone(), value.clone())),
                }
            }
        }
        metadata
    }

    #[test]
    fn inherited_names_are_set_changed_and_removed_and_others_stay() {
        let bare = json!({"labels": {"own": "1", "theirs": "2"}, "annotations": {"note": "3"}});
        let first = inherited(&[("team", "a"), ("env", "x")], &[("owner", "o")]);
        let set = patched(bare.clone(), &first);
        assert_eq!(
            set["labels"],
            json!({"own": "1", "theirs": "2", "team": "a", "env": "x"})
        );
        assert_eq!(set["annotations"]["owner"], "o");
        assert_eq!(patch(&set, &first), None, "nothing is left to do");
        let changed = patched(set, &inherited(&[("team", "b")], &[]));
        assert_eq!(
            changed["labels"],
            json!({"own": "1", "theirs": "2", "team": "b"})
        );
        assert_eq!(changed["annotations"]["owner"], Value::Null);
        assert_eq!(patched(changed, &InheritedMetadata::default()), bare);
        assert_eq!(patch(&json!({}), &InheritedMetadata::default()), None);
    }

    #[test]
    fn a_removed_or_changed_value_is_restored() {
        let wanted = inherited(&[("team", "a")], &[]);
        let set = patched(json!({"labels": {}, "annotations": {}}), &wanted);
        for change in [json!("b"), Value::Null] {
            let mut live = set.clone();
            live["labels"]["team"] = change;
            assert_eq!(
                patch(&live, &wanted),
                Some(json!({"labels": {"team": "a"}}))
            );
        }
    }

    #[test]
    fn a_leaner_write_leaves_out_what_is_inherited_and_then_what_others_set() {
        let live = json!({
            "labels": {"symbolon.dev/managed": "true", "theirs": "1"},
            "annotations": {"symbolon.dev/key-schedule": "{}", "note": "2"},
        });
        let set = patched(
            live.clone(),
            &inherited(&[("team", "a")], &[("owner", "o")]),
        );
        let of = |metadata: &Value| {
            let manifest = json!({"metadata": metadata});
            SecretObject::new(manifest.as_object().unwrap().clone())
        };
        let own = json!({
            "labels": {"symbolon.dev/managed": "true"},
            "annotations": {"symbolon.dev/key-schedule": "{}"},
        });
        for (keeps, expected) in [(Keeps::Others, live), (Keeps::Own, own)] {
            assert_eq!(keeps.of_secret(&of(&set)), of(&expected), "{keeps:?}");
            let metadata: ObjectMeta = serde_json::from_value(set.clone()).unwrap();
            let left = keeps.of_metadata(&metadata);
            assert_eq!(serde_json::to_value(left).unwrap(), expected, "{keeps:?}");
        }
    }

    /// Any user with write access can set the annotation.
    #[test]
    fn the_memory_removes_no_name_that_an_identity_cannot_set() {
        let memory = r#"{"labels": ["symbolon.dev/managed", "team"], "annotations": ["symbolon.dev/key-schedule"]}"#;
        let live = json!({
            "labels": {"symbolon.dev/managed": "true", "team": "a"},
            "annotations": {"symbolon.dev/key-schedule": "{}", ANNOTATION_INHERITED: memory},
        });
        let left = patched(live, &InheritedMetadata::default());
        assert_eq!(left["labels"], json!({"symbolon.dev/managed": "true"}));
        assert_eq!(
            left["annotations"],
            json!({"symbolon.dev/key-schedule": "{}"})
        );
    }
}
