//! From a raw object to its type.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::Object;
use crate::directory::{ObjectKey, Problem, Reason, schema};
use crate::resources::{IdentityRef, Kind};

/// Reads the metadata of an object; `None` if it has no name, uid or creation time.
pub(super) fn object<T>(raw: &Value, state: Result<T, Vec<Problem>>) -> Option<Object<T>> {
    let metadata = raw.get("metadata")?;
    let text = |field: &str| metadata.get(field).and_then(Value::as_str);
    Some(Object {
        key: intern::key(text("namespace").unwrap_or_default(), text("name")?),
        uid: intern::text(text("uid")?),
        created: text("creationTimestamp")?.parse().ok()?,
        generation: metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        state,
    })
}

/// Decodes an object after the schema has accepted it.
pub(super) fn decode<T: DeserializeOwned>(kind: Kind, raw: &Value) -> Result<T, Vec<Problem>> {
    let problems = schema::validate(kind, raw);
    if !problems.is_empty() {
        return Err(problems);
    }
    T::deserialize(raw)
        .map_err(|error| vec![Problem::error(Reason::Invalid, "", error.to_string())])
}

/// Returns the Identity that an object refers to, or the default one.
pub(super) fn identity_of(
    reference: Option<&IdentityRef>,
    namespace: &str,
    settings: &Settings,
) -> Option<ObjectKey> {
    match reference {
        Some(reference) => Some(intern::key(
            reference.namespace.as_deref().unwrap_or(namespace),
            &reference.name,
        )),
        None => settings.default_identity.clone(),
    }
}
