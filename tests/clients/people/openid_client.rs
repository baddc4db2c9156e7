//! `openid-client`, an npm package: what an application does from sign-in to sign-out.

use serde_json::{Value, json};

use super::{API, Town};
use crate::ALGORITHMS;
use crate::node;
use crate::support::free_port;

#[test]
fn openid_client_signs_a_person_in_refreshes_and_signs_out() {
    let port = free_port();
    let mut town = Town::with(|folder| {
        let port = format!("http://127.0.0.1:{port}/backchannel");
        folder.replace("shop.yaml", "http://127.0.0.1:1/backchannel", &port);
    });
    let clients: serde_json::Map<_, _> = ALGORITHMS
        .iter()
        .map(|&algorithm| {
            let client = town.client("shop", &algorithm.to_lowercase());
            (algorithm.to_owned(), client)
        })
        .collect();
    let task = json!({
        "issuer": town.dev.issuer,
        "public": { "id": "shop.public" },
        "pushed": town.client("shop", "pushed"),
        "api": town.client("platform", "api"),
        "clients": clients,
        "backchannelPort": port,
    });
    let seen = town.run(node("people_with_openid_client.mjs"), &task);
    judge_public(&seen["public"], &town.dev.issuer);
    judge_prompts(&seen["prompts"]);
    judge_pushed(&seen["pushed"], &town.dev.issuer);
    for algorithm in ALGORITHMS {
        judge_hybrid(&seen["hybrid"][algorithm], algorithm);
    }
    for method in ["basic", "post"] {
        let seen = &seen["methods"][method];
        assert_eq!(seen["token_type"], "bearer");
        assert_eq!(seen["wrong"], 401, "{method}: {seen}");
    }
}

fn judge_public(seen: &Value, issuer: &str) {
    assert_eq!(seen["forms"], json!(["signin", "consent"]));
    assert_eq!(seen["header"]["alg"], "RS256");
    let claims = &seen["claims"];
    assert_eq!(claims["iss"], issuer);
    assert_eq!(claims["aud"], "shop.public");
    assert_eq!(claims["acr"], "pwd");
    assert_eq!(claims["amr"], json!(["pwd"]));
    for claim in ["auth_time", "at_hash", "sid", "nonce"] {
        assert!(!claims[claim].is_null(), "{claim}: {claims}");
    }
    // The userinfo endpoint has the claims of these scopes (OpenID Connect Core section 5.4).
    for claim in ["name", "email", "preferred_username"] {
        assert!(claims[claim].is_null(), "{claim}: {claims}");
    }
    let scope = "openid profile email groups offline_access orders.read";
    assert_eq!(seen["scope"], scope);

    let userinfo = &seen["userinfo"];
    assert_eq!(userinfo["sub"], claims["sub"]);
    assert_eq!(userinfo["name"], "Alice Adams");
    assert_eq!(userinfo["preferred_username"], "alice");
    assert_eq!(userinfo["email"], "alice@example.com");
    assert_eq!(userinfo["groups"], json!(["buyers", "staff"]));

    let access = &seen["access"];
    assert_eq!(access["aud"], API);
    assert_eq!(access["sub"], claims["sub"]);
    assert_eq!(access["client_id"], "shop.public");
    assert_eq!(access["department"], "sales");
    assert_eq!(access["sid"], claims["sid"]);
    let introspection = &seen["introspection"];
    assert_eq!(introspection["active"], true, "{introspection}");
    assert_eq!(introspection["sub"], claims["sub"]);
    assert_eq!(introspection["scope"], "orders.read");

    // A public client gets a new refresh token at each use; a repeated use gives the same one.
    assert_eq!(seen["rotates"], true);
    assert_eq!(seen["same_child"], true);
    for claim in ["iss", "sub", "aud", "auth_time", "sid", "acr", "amr"] {
        assert_eq!(seen["refreshed_claims"][claim], claims[claim], "{claim}");
    }
    assert_eq!(
        seen["refreshed_claims"]["nonce"],
        Value::Null,
        "OpenID Connect Core section 12.2"
    );

    assert_eq!(seen["silent"]["forms"], json!([]));
    assert_eq!(seen["silent"]["sid"], claims["sid"]);

    assert_eq!(seen["left"], "http://127.0.0.1:4711/bye?state=leaving");
    let inactive = json!({ "active": false });
    let after = &seen["after_sign_out"];
    assert_eq!(after["refresh"], "invalid_grant");
    assert_eq!(after["introspection"], inactive);
    assert_eq!(after["forms"], json!(["signin"]), "the consent is kept");
    let after = &seen["after_revocation"];
    assert_eq!(after["refresh"], "invalid_grant");
    assert_eq!(
        after["introspection"], inactive,
        "a refresh token takes its access tokens with it"
    );
}

fn judge_prompts(seen: &Value) {
    assert_eq!(seen["before"], "login_required");
    assert_eq!(seen["filled_in"], "alice", "the hint is in the form");
    assert_eq!(seen["hinted"][0], "signin", "and signs no one in");
    assert_eq!(seen["login"], json!(["signin"]));
    assert_eq!(seen["moved_on"], true);
    assert_eq!(seen["consent"], json!(["consent"]));
    assert_eq!(seen["max_age_0"], json!(["signin"]));
    assert_eq!(seen["max_age_1h"], json!([]));
    assert_eq!(seen["after"], Value::Null);
    assert_eq!(seen["with_hint"], Value::Null);
    assert_eq!(seen["with_others"], "invalid_request");
    assert_eq!(
        seen["essential_acr"], "unmet_authentication_requirements",
        "an essential class that cannot be reached is an error"
    );
}

fn judge_pushed(seen: &Value, issuer: &str) {
    assert_eq!(seen["unpushed"], "invalid_request", "par: Required");
    assert_eq!(seen["parameters"], json!(["client_id", "request_uri"]));
    assert_eq!(seen["forms"], json!(["signin"]), "consent: Skip");
    assert_eq!(seen["used"], 400, "a pushed request is good for one code");
    assert_eq!(seen["keeps"], true, "a confidential client keeps its token");
    let (logout, claims) = (&seen["logout"], &seen["claims"]);
    assert_eq!(logout["iss"], issuer);
    assert_eq!(logout["sub"], claims["sub"]);
    assert_eq!(logout["sid"], claims["sid"]);
    assert_eq!(logout["nonce"], Value::Null);
    assert_eq!(logout["alg"], "RS256");
    assert_eq!(
        logout["events"],
        json!({ "http://schemas.openid.net/event/backchannel-logout": {} })
    );
    assert_eq!(seen["after"], "invalid_grant");
}

fn judge_hybrid(seen: &Value, algorithm: &str) {
    for mode in ["fragment", "form_post"] {
        let seen = &seen[mode];
        assert_eq!(
            seen["names"],
            json!(["code", "id_token", "iss", "state"]),
            "{algorithm} {mode}"
        );
        assert_eq!(seen["alg"], algorithm);
        assert_eq!(seen["same_person"], true);
        let has = |place: &str, claim: &str| {
            let claims = seen[place].as_array().unwrap();
            claims.iter().any(|it| it == claim)
        };
        assert!(has("front", "c_hash"), "{seen}");
        assert!(!has("front", "at_hash"), "{seen}");
        assert!(has("back", "at_hash"), "{seen}");
        // There is an access token, so the claims of the scope come from the userinfo endpoint.
        assert!(!has("front", "email"), "{seen}");
        assert_eq!(seen["userinfo"]["email"], "alice@example.com");
    }
    assert_eq!(seen["query"], "invalid_request", "{algorithm}");
}
