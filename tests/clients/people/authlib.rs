//! Authlib, a Python package.

use serde_json::{Value, json};

use super::Town;
use crate::python;

#[test]
fn authlib_signs_a_person_in_refreshes_and_revokes() {
    let mut town = Town::new();
    let task = json!({
        "issuer": town.dev.issuer,
        "public": { "id": "shop.public" },
        "confidential": town.client("shop", "es256"),
    });
    let seen = town.run(python("people_with_authlib.py"), &task);
    for (client, forms, rotates) in [
        ("public", json!(["signin", "consent"]), true),
        ("confidential", json!(["consent"]), false),
    ] {
        let seen = &seen[client];
        assert_eq!(seen["forms"], forms, "{client}");
        let claims = &seen["claims"];
        assert_eq!(claims["nonce"], "n1");
        assert!(claims["at_hash"].is_string(), "{claims}");
        let userinfo = &seen["userinfo"];
        assert_eq!(userinfo["sub"], claims["sub"]);
        assert_eq!(userinfo["email"], "alice@example.com");
        assert_eq!(userinfo["name"], "Alice Adams");
        assert_eq!(seen["rotates"], rotates, "{client}");
        assert_eq!(seen["revocation"], 200);
        assert_eq!(
            seen["userinfo_after"], 401,
            "a refresh token takes its access tokens with it"
        );
        assert_eq!(seen["refused"], "invalid_grant");
    }
    let hybrid = &seen["hybrid"];
    assert_eq!(hybrid["names"], json!(["code", "id_token", "iss", "state"]));
    assert!(hybrid["claims"]["c_hash"].is_string(), "{hybrid}");
    assert_eq!(hybrid["claims"]["at_hash"], Value::Null);
}
