//! Checks that a raw object has the shape that its `CustomResourceDefinition` describes.
//!
//! The API server checks the same. This check is for objects that it has not seen (`symbolon check`, dev mode), for
//! objects that were stored under an older definition, and for fields and values of a newer release, which the types
//! would drop silently: what this release does not understand is never served. The CEL rules are in the admission of
//! each kind. `status` is not checked.
//!
//! Written by hand, because a schema of Kubernetes is not a JSON Schema: it has its own keywords (such as lists that
//! are maps), and libraries for JSON Schema neither know them nor name the field that was meant.

mod compile;
mod judge;
mod later;
mod metadata;
mod words;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use serde_json::{Map, Value};

use self::compile::{Node, Shape};
use self::judge::{At, Judge};
use super::Problem;
use super::problem::suggest::{nearest, shown};
use crate::resources::{API_VERSION, Kind};

/// Returns what is wrong with the shape of an object of a kind; errors only.
///
/// `apiVersion` and `kind` are checked where they are present.
pub fn validate(kind: Kind, object: &Value) -> Vec<Problem> {
    let spec = spec_of(kind);
    let mut judge = Judge::new(spec);
    match object {
        Value::Object(fields) => judge_root(&mut judge, kind, spec, fields),
        _ => judge.invalid(
            &At::ROOT,
            format!("this is not a manifest of kind {kind}: write an object with apiVersion, kind, metadata and spec"),
        ),
    }
    judge.problems
}

/// Returns a warning for each field of `metadata` that is unknown and therefore ignored.
pub fn ignored(object: &Value) -> Vec<Problem> {
    metadata::unknown_fields(object)
}

/// Returns whether a text is a DNS-1123 label, the form of namespace names.
pub fn is_dns_label(text: &str) -> bool {
    metadata::is_label(text)
}

/// Returns whether a text is a DNS-1123 subdomain, the form of the names of our objects and of Secrets.
pub fn is_dns_subdomain(text: &str) -> bool {
    metadata::is_subdomain(text)
}

/// Returns the fields at the root of an object that belong to an empty `metadata` or `spec`, because their indentation
/// is too small.
fn fields_beside<'o>(
    spec: &Node,
    object: &'o Map<String, Value>,
) -> Vec<(&'static str, Vec<&'o str>)> {
    let is_empty = |name: &str| object.get(name).is_some_and(Value::is_null);
    let of = |parent, is_below: &dyn Fn(&str) -> bool| {
        if !is_empty(parent) {
            return None;
        }
        let fields = object.keys().map(String::as_str);
        let fields: Vec<&str> = fields.filter(|name| is_below(name)).take(32).collect();
        (!fields.is_empty()).then_some((parent, fields))
    };
    let is_of_spec = |name: &str| match &spec.shape {
        Shape::Object(rules) => rules.property(name).is_some(),
        _ => false,
    };
    let is_of_metadata =
        |name: &str| matches!(name, "name" | "namespace" | "labels" | "annotations");
    let metadata = of("metadata", &is_of_metadata);
    metadata
        .into_iter()
        .chain(of("spec", &is_of_spec))
        .collect()
}

fn spec_of(kind: Kind) -> &'static Node {
    static SPECS: [OnceLock<Node>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    SPECS[kind as usize].get_or_init(|| compile::spec_of(kind))
}

fn judge_root(judge: &mut Judge<'_>, kind: Kind, spec: &Node, object: &Map<String, Value>) {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let root = &At::ROOT;
    let beside = fields_beside(spec, object);
    for (name, value) in object {
        let at = root.key(name);
        match name.as_str() {
            // One problem at the first of these fields covers the others.
            other if beside.iter().any(|(_, fields)| fields.contains(&other)) => {
                let told = beside.iter().find(|(_, fields)| fields[0] == other);
                if let Some((parent, _)) = told {
                    judge.unsupported(&at, format!("`{}` belongs to `{parent}`, which is empty: indent it and the fields below it by two spaces more", shown(other)));
                }
            }
            other if beside.iter().any(|(parent, _)| *parent == other) => {}
            "apiVersion" if value != API_VERSION => {
                judge.unsupported(
                    &at,
                    format!(
                        "this release does not know apiVersion {}: write {API_VERSION}",
                        shown(&value.to_string())
                    ),
                );
            }
            "kind" if value != kind.as_str() => judge.invalid(
                &at,
                format!("kind is {}, not {kind}", shown(&value.to_string())),
            ),
            "apiVersion" | "kind" | "metadata" | "status" => {}
            "spec" => judge.value(spec, value, &at),
            other => {
                let hint = match (words::odd_space(other), judge.home_of(other)) {
                    (Some(hint), _) => hint,
                    (None, Some(home)) => format!("it belongs at `{home}`"),
                    (None, None) => match nearest(other, FIELDS) {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => "remove it".to_owned(),
                    },
                };
                judge.unsupported(&at, format!("unknown field `{}`: {hint}", shown(other)));
            }
        }
    }
    if !beside.iter().any(|(parent, _)| *parent == "metadata") {
        metadata::judge(judge, object, root);
    }
    let metadata = object.get("metadata");
    if !object.contains_key("spec") && metadata.is_some_and(|it| it["spec"].is_object()) {
        judge.unsupported(
            &root.key("metadata").key("spec"),
            "spec belongs beside metadata and not in it: indent it and the fields below it by two spaces less",
        );
    } else if !object.contains_key("spec") {
        judge.invalid(
            &root.key("spec"),
            format!("spec is missing: write the desired state of the {kind} in it"),
        );
    }
}
