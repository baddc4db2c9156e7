//! Real client libraries obtain and verify tokens with only the issuer: `PyJWT`, Authlib, jose, openid-client. Real
//! verifiers run the recipes of docs/verifiers.md.
//!
//! Each library has a small script in `python/` or `node/`. The script gets an issuer, credentials and expected values,
//! uses the library as an application would, and prints the results as JSON. The tests here check the results.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod install;
mod people;
mod recipes;
mod script;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use support::{Client, Dev, Folder};

const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "EdDSA", "PS256"];
const AUDIENCE: &str = "https://api.example.com";
const SCOPE: &str = "orders.read";

#[test]
fn pyjwt() {
    let seen = seen_by(python("with_pyjwt.py"));
    assert_eq!(
        seen["refused"],
        json!({
            "audience": "InvalidAudienceError",
            "issuer": "InvalidIssuerError",
            "algorithm": "InvalidAlgorithmError",
            "signature": "InvalidSignatureError",
        })
    );
}

#[test]
fn authlib() {
    let seen = seen_by(python("with_authlib.py"));
    assert_eq!(
        seen["refused"],
        json!({
            "audience": "invalid_claim",
            "issuer": "invalid_claim",
            "algorithm": "unsupported_algorithm",
            "signature": "bad_signature",
        })
    );
}

#[test]
fn jose() {
    let seen = seen_by(node("with_jose.mjs"));
    assert_eq!(
        seen["refused"],
        json!({
            "audience": "ERR_JWT_CLAIM_VALIDATION_FAILED",
            "issuer": "ERR_JWT_CLAIM_VALIDATION_FAILED",
            "algorithm": "ERR_JOSE_ALG_NOT_ALLOWED",
            "type": "ERR_JWT_CLAIM_VALIDATION_FAILED",
            "signature": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        })
    );
}

#[test]
fn openid_client() {
    let seen = seen_by(node("with_openid_client.mjs"));
    assert_eq!(
        seen["refused"],
        json!({
            "audience": "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
            "issuer": "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
            "algorithm": "OAUTH_INVALID_RESPONSE",
            "signature": "OAUTH_INVALID_RESPONSE",
        })
    );
}

fn python(script: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python");
    let mut command = Command::new(install::python());
    command.arg("-B").arg(scripts.join(script));
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(install::node().join(script));
    command
}

/// Runs a script against a new server, and checks the results that are the same for every library.
fn seen_by(script: Command) -> Value {
    let folder = Folder::copy_of("tests/clients/manifests");
    let dev = Dev::start(&folder);
    let seen = script::run(script, &task(&folder, &dev));
    for algorithm in ALGORITHMS {
        for method in ["basic", "post"] {
            judge_token(&seen["tokens"][algorithm][method], algorithm, &dev.issuer);
        }
        judge_introspection(
            &seen["introspections"][algorithm],
            &client_id(algorithm),
            &dev.issuer,
        );
        assert_eq!(
            seen["introspections"][algorithm]["sub"],
            client_id(algorithm)
        );
    }
    assert_eq!(seen["wrong_secret"], "invalid_client");
    judge_service_token(&seen["service"], &dev.issuer);
    seen
}

fn client_id(algorithm: &str) -> String {
    format!("shop.{}", algorithm.to_lowercase())
}

fn task(folder: &Folder, dev: &Dev) -> Value {
    let credentials = |namespace: &str, name: &str| {
        let client =
            Client::of(&folder.secret(namespace, &format!("{name}-client"), "client-secret"));
        json!({ "id": client.id, "secret": client.secret })
    };
    let clients: serde_json::Map<_, _> = ALGORITHMS
        .iter()
        .map(|&algorithm| {
            (
                algorithm.to_owned(),
                credentials("shop", &algorithm.to_lowercase()),
            )
        })
        .collect();
    json!({
        "issuer": dev.issuer,
        "audience": AUDIENCE,
        "scope": SCOPE,
        "clients": clients,
        "api": credentials("platform", "api"),
        "service": {
            "token": folder.secret("shop", "report-token", "token")["token"],
            "client": credentials("shop", "rs256"),
            "gateway": dev.url("/connect/checktoken/api"),
        },
    })
}

/// RFC 6749 section 5.1 and RFC 9068 section 2.
fn judge_token(seen: &Value, algorithm: &str, issuer: &str) {
    let (header, claims) = (&seen["header"], &seen["claims"]);
    assert_eq!(header["alg"], algorithm);
    assert_eq!(header["typ"], "at+jwt");
    assert!(header["kid"].is_string(), "{header}");
    assert_eq!(header.as_object().unwrap().len(), 3, "{header}");

    let id = client_id(algorithm);
    assert_eq!(claims["iss"], issuer);
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(claims["sub"], id.as_str());
    assert_eq!(claims["client_id"], id.as_str());
    assert_eq!(claims["scope"], SCOPE);
    assert_eq!(
        claims["client_system_user"],
        format!("shop:{}", algorithm.to_lowercase())
    );
    assert_eq!(number(claims, "exp") - number(claims, "iat"), 600);
    assert!(claims["jti"].is_string(), "{claims}");

    let reply = &seen["reply"];
    assert_eq!(reply["expires_in"], 600);
    assert!(
        reply["token_type"]
            .as_str()
            .unwrap()
            .eq_ignore_ascii_case("Bearer"),
        "{reply}"
    );
    assert_eq!(
        reply["refresh_token"],
        Value::Null,
        "client_credentials must not return a refresh token (RFC 6749 section 4.4.3)"
    );
}

/// RFC 7662 section 2.2.
fn judge_introspection(seen: &Value, client_id: &str, issuer: &str) {
    assert_eq!(seen["active"], true, "{seen}");
    assert_eq!(seen["iss"], issuer);
    assert_eq!(seen["aud"], AUDIENCE);
    assert_eq!(seen["client_id"], client_id);
    assert_eq!(seen["scope"], SCOPE);
    assert!(number(seen, "exp") > number(seen, "iat"), "{seen}");
}

fn judge_service_token(seen: &Value, issuer: &str) {
    judge_introspection(&seen["introspection"], "shop.rs256", issuer);
    assert_eq!(
        seen["introspection"]["sub"], "shop:rs256",
        "the token acts as the system user"
    );
    assert_eq!(
        seen["checked"],
        json!([200, 200, 200]),
        "Bearer, X-Api-Key, Api-Key"
    );
    assert_eq!(seen["revocation"], 200);
    assert_eq!(
        seen["introspection_after"],
        json!({ "active": false }),
        "an inactive token has no other member"
    );
    assert_eq!(seen["checked_after"], 401);
}

fn number(object: &Value, name: &str) -> i64 {
    object[name]
        .as_i64()
        .unwrap_or_else(|| panic!("{name} of {object}"))
}
