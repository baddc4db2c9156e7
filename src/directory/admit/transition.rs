//! What must not change between two versions of an object: the CEL rules that read `oldSelf`.
//!
//! The API server enforces them on every update. Files have no API server, and an older definition may have let an
//! update through, so that dev mode and the reconciler check them here.

use serde_json::Value;

use super::volume;
use crate::directory::{Problem, Reason};
use crate::resources::Kind;

/// Returns what is wrong with replacing `old` by `new`.
pub fn problems(kind: Kind, old: &Value, new: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut refuse =
        |path: &str, message: &str| found.push(Problem::error(Reason::Invalid, path, message));
    for (path, message) in immutable(kind) {
        if old.pointer(path) != new.pointer(path) {
            refuse(path, message);
        }
    }
    if kind == Kind::OAuthClient && client_type(old) != client_type(new) {
        refuse(
            "/spec/type",
            "type is immutable: create another OAuthClient and delete this one",
        );
    }
    if kind == Kind::Identity {
        for message in volume::changed(old, new) {
            refuse("/spec/storage/sqlite", message);
        }
    }
    match kind {
        Kind::ServiceAccessToken
            if is_true(old, "/spec/revoked") && !is_true(new, "/spec/revoked") =>
        {
            refuse(
                "/spec/revoked",
                "a revoked token stays revoked: delete the ServiceAccessToken and recreate it",
            );
        }
        Kind::Identity | Kind::User if moves_back(old, new, "/spec/revokeIssuedBefore") => {
            refuse(
                "/spec/revokeIssuedBefore",
                "revokeIssuedBefore can only move forward: it cannot be removed or set to an earlier time",
            );
        }
        Kind::Credential if number(new, "/spec/high") < number(old, "/spec/high") => {
            refuse("/spec/high", "high must not decrease");
        }
        _ => {}
    }
    found
}

/// Returns the immutable fields of a kind. Adding or removing one of them is a change too.
const fn immutable(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Identity => &[(
            "/spec/issuer",
            "issuer is immutable: every issued token names it",
        )],
        Kind::Scope => &[
            (
                "/spec/identityRef",
                "identityRef is immutable: delete the Scope and recreate it",
            ),
            (
                "/spec/value",
                "value is immutable: create another Scope, move the clients to it and delete this one",
            ),
        ],
        Kind::OAuthClient => &[
            (
                "/spec/identityRef",
                "identityRef is immutable: delete the OAuthClient and recreate it",
            ),
            (
                "/spec/clientId",
                "clientId is immutable: create another OAuthClient and delete this one",
            ),
        ],
        Kind::User => &[
            (
                "/spec/identityRef",
                "identityRef is immutable: delete the User and recreate it",
            ),
            (
                "/spec/subject",
                "subject is immutable: applications know the person by it",
            ),
        ],
        Kind::ServiceAccessToken => &[(
            "/spec/clientRef",
            "clientRef is immutable: create another ServiceAccessToken and delete this one",
        )],
        Kind::Credential => &[
            ("/spec/identity", "identity is immutable"),
            ("/spec/owner", "owner is immutable"),
        ],
    }
}

/// Returns the type of an OAuthClient. The API server fills in the default, and files may leave it out.
fn client_type(object: &Value) -> &str {
    let given = object.pointer("/spec/type").and_then(Value::as_str);
    given.unwrap_or("Confidential")
}

fn is_true(object: &Value, path: &str) -> bool {
    object
        .pointer(path)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

fn number(object: &Value, path: &str) -> i64 {
    object
        .pointer(path)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn moves_back(old: &Value, new: &Value, path: &str) -> bool {
    let moment = |object: &Value| {
        object
            .pointer(path)?
            .as_str()?
            .parse::<jiff::Timestamp>()
            .ok()
    };
    match (moment(old), moment(new)) {
        (Some(old), Some(new)) => new < old,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_issued_tokens_depend_on_never_change() {
        for (kind, old, new, refused) in [
            (
                Kind::Identity,
                json!({"issuer": "https://a"}),
                json!({"issuer": "https://a"}),
                None,
            ),
            (
                Kind::Identity,
                json!({"issuer": "https://a"}),
                json!({"issuer": "https://b"}),
                Some("/spec/issuer"),
            ),
            (
                Kind::Identity,
                json!({"revokeIssuedBefore": "2026-01-02T00:00:00Z"}),
                json!({}),
                Some("/spec/revokeIssuedBefore"),
            ),
            (
                Kind::Identity,
                json!({"revokeIssuedBefore": "2026-01-02T00:00:00Z"}),
                json!({"revokeIssuedBefore": "2026-01-01T00:00:00Z"}),
                Some("/spec/revokeIssuedBefore"),
            ),
            (
                Kind::Identity,
                json!({}),
                json!({"revokeIssuedBefore": "2026-01-01T00:00:00Z"}),
                None,
            ),
            (
                Kind::Scope,
                json!({"value": "a"}),
                json!({}),
                Some("/spec/value"),
            ),
            (
                Kind::Scope,
                json!({}),
                json!({"value": "a"}),
                Some("/spec/value"),
            ),
            (
                Kind::OAuthClient,
                json!({"identityRef": {"name": "a"}}),
                json!({"identityRef": {"name": "b"}}),
                Some("/spec/identityRef"),
            ),
            (
                Kind::OAuthClient,
                json!({}),
                json!({"clientId": "a"}),
                Some("/spec/clientId"),
            ),
            (
                Kind::ServiceAccessToken,
                json!({"clientRef": {"name": "a"}}),
                json!({"clientRef": {"name": "b"}}),
                Some("/spec/clientRef"),
            ),
            (
                Kind::ServiceAccessToken,
                json!({"revoked": true}),
                json!({"revoked": false}),
                Some("/spec/revoked"),
            ),
            (
                Kind::ServiceAccessToken,
                json!({"revoked": true}),
                json!({}),
                Some("/spec/revoked"),
            ),
            (
                Kind::ServiceAccessToken,
                json!({}),
                json!({"revoked": true}),
                None,
            ),
            (
                Kind::Credential,
                json!({"high": 3}),
                json!({"high": 2}),
                Some("/spec/high"),
            ),
        ] {
            let problems = problems(kind, &json!({ "spec": old }), &json!({ "spec": new }));
            assert_eq!(
                problems.first().map(|problem| problem.path.as_str()),
                refused,
                "{kind}: {old} -> {new}"
            );
        }
    }
}
