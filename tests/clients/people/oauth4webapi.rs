//! `oauth4webapi`, an npm package: what single requests may say, and what both sides refuse.

use serde_json::{Value, json};

use super::{API, Town};
use crate::node;

#[test]
fn oauth4webapi_sends_each_parameter_and_both_sides_refuse_what_is_wrong() {
    let mut town = Town::new();
    let stock = format!("{}/stock", town.dev.issuer);
    let task = json!({
        "issuer": town.dev.issuer,
        "public": { "id": "shop.public" },
        "resources": { "orders": API, "stock": stock },
    });
    let seen = town.run(node("people_with_oauth4webapi.mjs"), &task);
    assert_eq!(
        seen["resources"],
        json!({
            "first": { "aud": API, "scope": "orders.read" },
            "second": { "aud": stock, "scope": "stock:read" },
            "all": "invalid_target",
            "other": "invalid_target",
            "wider": "invalid_target",
        })
    );
    judge_claims(&seen["claims"]);
    let signed = &seen["signed"];
    assert_eq!(signed["json"]["type"], "application/json");
    assert_eq!(signed["jwt"]["type"], "application/jwt");
    let (json, jwt) = (&signed["json"]["facts"], &signed["jwt"]["facts"]);
    assert_eq!(jwt["iss"], town.dev.issuer.as_str());
    assert_eq!(jwt["aud"], "shop.public");
    for claim in ["sub", "name", "preferred_username"] {
        assert!(json[claim].is_string(), "{json}");
        assert_eq!(jwt[claim], json[claim]);
    }
    let pushed = &seen["pushed"];
    assert_eq!(pushed["status"], 201);
    assert_eq!(pushed["form"], "urn:ietf:params:oauth:request_uri");
    assert_eq!(pushed["scope"], "openid");
    assert_eq!(pushed["refused"], "invalid_scope");
    assert_eq!(
        seen["library"],
        json!({
            "iss": "OAUTH_INVALID_RESPONSE",
            "no_iss": "OAUTH_INVALID_RESPONSE",
            "state": "OAUTH_INVALID_RESPONSE",
            "nonce": "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
        })
    );
    assert_eq!(
        seen["server"],
        json!({
            "scope": "invalid_scope",
            "resource": "invalid_target",
            "request": "request_not_supported",
            "request_uri": "request_uri_not_supported",
            "registration": "registration_not_supported",
            "response_mode": "invalid_request",
            "claims": "invalid_request",
            "unknown": null,
            "verifier": "invalid_grant",
            "redirect_uri": "invalid_grant",
        })
    );
    assert_eq!(
        seen["code"],
        json!({ "first": "string", "again": "invalid_grant" })
    );
}

/// The parameter `claims` releases single claims of scopes that the client was given, and of no others.
fn judge_claims(seen: &Value) {
    assert_eq!(seen["id_token"]["email"], "alice@example.com");
    assert_eq!(seen["id_token"]["name"], Value::Null);
    assert_eq!(seen["userinfo"]["name"], "Alice Adams");
    assert_eq!(seen["userinfo"]["department"], "sales");
    assert_eq!(seen["userinfo"]["unknown"], Value::Null);
    let narrow = &seen["narrow"];
    assert_eq!(narrow["id_token"]["email"], Value::Null, "{narrow}");
    assert_eq!(narrow["userinfo"]["department"], Value::Null, "{narrow}");
}
