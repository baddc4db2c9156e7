//! Whether a raw object has the shape that its `CustomResourceDefinition` describes.
//!
//! The API server asks the same; this is for objects that it has not seen (`symbolon check`, dev mode),
//! for those that were stored under an older definition, and for fields and values of a newer release,
//! which the types would drop in silence: what is not understood is never served. The rules written in
//! CEL are not here, they are in the rules of each kind. `status` is not judged.

mod compile;
mod judge;
mod metadata;
mod words;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use serde_json::{Map, Value};

use self::compile::Node;
use self::judge::{At, Judge};
use super::Problem;
use super::suggest::{nearest, shown};
use crate::resources::{API_VERSION, Kind};

/// What is wrong with the shape of an object of a kind; empty if nothing is. Never a warning.
///
/// `apiVersion` and `kind` are judged where they are present.
pub fn validate(kind: Kind, object: &Value) -> Vec<Problem> {
    let spec = spec_of(kind);
    let mut judge = Judge::new(spec);
    match object {
        Value::Object(fields) => judge_root(&mut judge, kind, spec, fields),
        _ => judge.invalid(
            &At::ROOT,
            format!("this is no {kind}: write an object with apiVersion, kind, metadata and spec"),
        ),
    }
    judge.problems
}

/// Fields of `metadata` that nobody knows and everybody ignores, as warnings.
pub fn ignored(object: &Value) -> Vec<Problem> {
    metadata::unknown_fields(object)
}

/// Whether a text is a DNS-1123 label, as namespaces are.
pub fn is_dns_label(text: &str) -> bool {
    metadata::is_label(text)
}

/// Whether a text is a DNS-1123 subdomain, as the names of our objects and of Secrets are.
pub fn is_dns_subdomain(text: &str) -> bool {
    metadata::is_subdomain(text)
}

fn spec_of(kind: Kind) -> &'static Node {
    static SPECS: [OnceLock<Node>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    SPECS[kind as usize].get_or_init(|| compile::spec_of(kind))
}

fn judge_root(judge: &mut Judge<'_>, kind: Kind, spec: &Node, object: &Map<String, Value>) {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let root = &At::ROOT;
    for (name, value) in object {
        let at = root.key(name);
        match name.as_str() {
            "apiVersion" if value != API_VERSION => {
                judge.unsupported(
                    &at,
                    format!(
                        "apiVersion {} is not known to this release: write {API_VERSION}",
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
                let home = judge
                    .home_of(other)
                    .or_else(|| nearest(other, FIELDS).map(str::to_owned));
                let hint = home.map_or_else(
                    || "take it out".to_owned(),
                    |home| format!("its place is `{home}`"),
                );
                judge.unsupported(&at, format!("unknown field `{}`: {hint}", shown(other)));
            }
        }
    }
    metadata::judge(judge, object, root);
    if !object.contains_key("spec") {
        judge.invalid(
            &root.key("spec"),
            format!("spec is missing: write what the {kind} should be"),
        );
    }
}
