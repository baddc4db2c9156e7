//! Checks the fields of `metadata` that people write: names, labels, annotations.
//!
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>

use serde_json::{Map, Value};

use super::super::{Problem, Reason};
use super::judge::{At, Judge};
use crate::directory::problem::suggest::{nearest, shown};

/// Every field of `ObjectMeta`.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Largest size of all annotations together in bytes, as in the API server.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

pub(super) fn judge(judge: &mut Judge<'_>, object: &Map<String, Value>, root: &At<'_>) {
    let at = root.key("metadata");
    match object.get("metadata") {
        Some(Value::Object(metadata)) => fields(judge, metadata, &at),
        Some(_) => judge.invalid(
            &at,
            "metadata must be an object: write the object's name and namespace in it",
        ),
        None => judge.invalid(
            &at,
            "metadata is missing: write the object's name and namespace in it",
        ),
    }
}

fn fields(judge: &mut Judge<'_>, metadata: &Map<String, Value>, at: &At<'_>) {
    for (name, value) in metadata {
        let here = at.key(name);
        match (name.as_str(), value) {
            ("name", Value::String(text)) => name_rule(judge, text, &here),
            ("namespace", Value::String(text)) if is_label(text) => {}
            ("namespace", Value::String(text)) => {
                let hint = instead(text, is_label);
                judge.invalid(&here, format!("`{}` is not a valid namespace: write at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit{hint}", shown(text)));
            }
            ("name" | "namespace", Value::Null) => {
                judge.invalid(&here, format!("{name} has no value: write one"));
            }
            ("name" | "namespace", other) => {
                judge.invalid(
                    &here,
                    format!(
                        "{name} must be a string: put {} in quotes",
                        shown(&other.to_string())
                    ),
                );
            }
            ("labels", Value::Object(labels)) => labels_rule(judge, labels, &here),
            ("annotations", Value::Object(annotations)) => {
                annotations_rule(judge, annotations, &here);
            }
            ("labels" | "annotations", Value::Null) => {}
            ("labels" | "annotations", _) => {
                judge.invalid(
                    &here,
                    format!("{name} must be an object with string values"),
                );
            }
            _ => {}
        }
    }
    if !metadata.contains_key("name") {
        let why = if metadata.contains_key("generateName") {
            ": generateName is not enough, since other objects refer to this one by name"
        } else {
            ""
        };
        judge.invalid(&at.key("name"), format!("metadata.name is missing{why}"));
    }
}

/// Returns a warning for each unknown field of `metadata`. Not an error, since a newer API server may add fields.
pub(super) fn unknown_fields(object: &Value) -> Vec<Problem> {
    let names = object
        .get("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys);
    let unknown = names.filter(|name| !FIELDS.contains(&name.as_str()));
    unknown
        .map(|name| {
            let hint = nearest(name, FIELDS).map(|known| format!(": did you mean `{known}`?"));
            let message = format!(
                "`{}` is not a field of metadata, so the API server ignores it{}",
                shown(name),
                hint.unwrap_or_default()
            );
            Problem::warning(
                Reason::UnsupportedValue,
                At::ROOT.key("metadata").key(name).pointer(),
                message,
            )
        })
        .collect()
}

fn name_rule(judge: &mut Judge<'_>, text: &str, at: &At<'_>) {
    if !is_subdomain(text) {
        let hint = instead(text, is_subdomain);
        judge.invalid(at, format!("`{}` is not a valid name: write at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit{hint}", shown(text)));
    }
}

/// Returns the name that was meant, as a question to append to a message.
fn instead(text: &str, is_valid: impl Fn(&str) -> bool) -> String {
    let better = text.trim().replace(['_', ' '], "-").to_lowercase();
    if is_valid(&better) {
        format!("; did you mean `{}`?", shown(&better))
    } else {
        String::new()
    }
}

fn labels_rule(judge: &mut Judge<'_>, labels: &Map<String, Value>, at: &At<'_>) {
    for (key, value) in labels {
        let here = at.key(key);
        if !is_qualified(key) {
            judge.invalid(&here, format!("`{}` is not a valid label key: write at most 63 letters, digits, '-', '_' and '.', with an optional domain and '/' before them", shown(key)));
        }
        match value {
            Value::String(text) if text.is_empty() || is_word(text) => {}
            Value::String(text) => judge.invalid(&here, format!("`{}` is not a valid label value: write at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", shown(text))),
            other => judge.invalid(&here, format!("a label value must be a string: put {} in quotes", shown(&other.to_string()))),
        }
    }
}

fn annotations_rule(judge: &mut Judge<'_>, annotations: &Map<String, Value>, at: &At<'_>) {
    let mut size = 0;
    for (key, value) in annotations {
        let here = at.key(key);
        if !is_qualified(&key.to_lowercase()) {
            judge.invalid(&here, format!("`{}` is not a valid annotation key: write at most 63 letters, digits, '-', '_' and '.', with an optional domain and '/' before them", shown(key)));
        }
        match value {
            Value::String(text) => size += key.len() + text.len(),
            other => judge.invalid(
                &here,
                format!(
                    "an annotation value must be a string: put {} in quotes",
                    shown(&other.to_string())
                ),
            ),
        }
    }
    if size > ANNOTATIONS_LIMIT {
        judge.invalid(at, "the annotations must have at most 256 KiB together");
    }
}

/// Returns whether a text is a DNS-1123 label.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

/// Returns whether a text is a DNS-1123 subdomain.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label_of_any_length)
}

fn is_label_of_any_length(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    !text.is_empty()
        && text.as_bytes().iter().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => {
            domain.len() <= 253 && domain.split('.').all(is_label_of_any_length) && is_word(name)
        }
        None => is_word(key),
    }
}
