//! An object as far as it is read: [`crate::json_stream::Keep`] says which parts those are.
//!
//! `managedFields`, the last applied configuration and `status` are most of an object's bytes; they are
//! dropped while parsing and never held, but for `status.uses` and `status.revoked`, which Credentials alone have. Any
//! JSON object decodes: one that makes no sense must not stop the watch of all others.

use serde::de::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What `kubectl apply` leaves behind.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object without `status` (but `uses` and `revoked`), `metadata.managedFields` and the last applied configuration.
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
    Status,
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
                (Level::Object, "status") => {
                    let Status(status) = entries.next_value()?;
                    if status.as_object().is_none_or(Map::is_empty) {
                        continue;
                    }
                    status
                }
                (Level::Metadata, "managedFields") => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Level::Status, name) if !["uses", "revoked"].contains(&name) => {
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

/// Nothing where it is no map.
struct Status(Value);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyStatus).map(Self)
    }
}

struct AnyStatus;

impl<'de> Visitor<'de> for AnyStatus {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        Fields(Level::Status).visit_map(entries)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
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
            "status": {"conditions": [], "uses": [{"epoch": 1}], "revoked": ["a"]},
        });
        let Raw(kept) = serde_json::from_value(object).unwrap();
        assert_eq!(
            kept,
            json!({
                "apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope", "future": [1],
                "metadata": {"name": "a", "annotations": {"symbolon.dev/rotate": "1"}},
                "spec": {"status": 1, "managedFields": 2},
                "status": {"uses": [{"epoch": 1}], "revoked": ["a"]},
            })
        );
    }

    #[test]
    fn an_object_of_another_shape_decodes_all_the_same() {
        for odd in [
            json!({}),
            json!({"metadata": {"annotations": null}, "spec": "text"}),
            json!({"status": {}}),
            json!({"status": null}),
            json!({"status": [1, "a"]}),
            json!({"status": 1.5, "kind": true}),
        ] {
            assert!(serde_json::from_value::<Raw>(odd.clone()).is_ok(), "{odd}");
        }
    }

    #[test]
    fn depth_is_no_weapon_where_it_is_skipped() {
        let deep = format!(
            "{{\"status\":{{\"conditions\":{}{}}}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(serde_json::from_str::<Raw>(&deep).is_ok());
    }
}
