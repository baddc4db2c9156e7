//! Changes to the claims of a token.

use serde_json::Value;

/// Returns claims with changes; `null` removes a claim.
pub(crate) fn changed(claims: &Value, changes: Value) -> Value {
    let mut claims = claims.clone();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap().clone() {
        match value {
            Value::Null => object.remove(&name),
            value => object.insert(name, value),
        };
    }
    claims
}
