//! An object as the API server sent it, without the parts that nobody here reads.
//!
//! `managedFields`, the last applied configuration and `status` are most of an object's bytes; they are
//! dropped while parsing and never held. Any JSON object decodes: one that makes no sense must not
//! stop the watch of all others.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// What `kubectl apply` leaves behind.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object without `status`, `metadata.managedFields` and the last applied configuration.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub(super) Value);

impl Raw {
    pub(super) fn metadata(&self, field: &str) -> &str {
        self.0["metadata"][field].as_str().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(Fields(Level::Object))
            .map(Self)
    }
}

#[derive(Clone, Copy)]
enum Level {
    Object,
    Metadata,
}

struct Fields(Level);

impl<'de> Visitor<'de> for Fields {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = match (self.0, name.as_str()) {
                (Level::Object, "status") | (Level::Metadata, "managedFields") => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Level::Object, "metadata") => entries.next_value::<Metadata>()?.0,
                (Level::Metadata, "annotations") => without_last_applied(entries.next_value()?),
                _ => entries.next_value()?,
            };
            kept.insert(name, value);
        }
        Ok(Value::Object(kept))
    }
}

struct Metadata(Value);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(Fields(Level::Metadata))
            .map(Self)
    }
}

fn without_last_applied(mut annotations: Value) -> Value {
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    annotations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_reads_is_not_kept_and_the_rest_is() {
        let object = json!({
            "apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope", "future": [1],
            "metadata": {
                "name": "a", "managedFields": [{"manager": "kubectl"}],
                "annotations": {LAST_APPLIED: "{}", "symbolon.dev/rotate": "1"},
            },
            "spec": {"status": 1, "managedFields": 2},
            "status": {"conditions": []},
        });
        let Raw(kept) = serde_json::from_value(object).unwrap();
        assert_eq!(
            kept,
            json!({
                "apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope", "future": [1],
                "metadata": {"name": "a", "annotations": {"symbolon.dev/rotate": "1"}},
                "spec": {"status": 1, "managedFields": 2},
            })
        );
    }

    #[test]
    fn an_object_of_another_shape_decodes_all_the_same() {
        for odd in [
            json!({}),
            json!({"metadata": {"annotations": null}, "spec": "text"}),
        ] {
            assert!(serde_json::from_value::<Raw>(odd.clone()).is_ok(), "{odd}");
        }
    }

    #[test]
    fn depth_is_no_weapon_where_it_is_skipped() {
        let deep = format!(
            "{{\"status\":{}{}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(serde_json::from_str::<Raw>(&deep).is_ok());
    }
}
