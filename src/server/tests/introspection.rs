//! Introspection (RFC 7662), and the join that makes every withdrawal take effect at once.

use serde_json::json;

use super::*;
use crate::resources::Kind;

fn inactive() -> Value {
    json!({"active": false})
}

/// `active: false` would be wrong, and callers may remember it.
#[tokio::test]
async fn before_the_keys_are_loaded_nothing_is_said_about_a_jwt() {
    let mut fixture = Fixture::new();
    let (api, shop) = (fixture.client("platform", "api"), fixture.shop());
    let jwt = fixture.access_token(&shop, "").await;
    let config = Config::new(ObjectKey::new("platform", "main"));
    fixture.app = App::new(config, FakeRevoker::default()).unwrap();
    fixture.app.status().lists_complete();
    fixture.publish();
    for (path, client) in [(INTROSPECT, &api), (REVOKE, &shop)] {
        for (token, status) in [(&*jwt, 503), ("nonsense", 200)] {
            let reply = fixture.post(path, client, &format!("token={token}")).await;
            assert_eq!(reply.status, status, "{path} {token}");
        }
    }
}

#[tokio::test]
async fn the_api_of_the_audience_sees_a_service_token() {
    let mut fixture = Fixture::new();
    let (api, token) = (fixture.client("platform", "api"), fixture.nightly());
    let mut answer = fixture.introspect(&api, &token).await;
    let (iat, exp) = (
        answer["iat"].as_i64().unwrap(),
        answer["exp"].as_i64().unwrap(),
    );
    assert_eq!(exp - iat, 2160 * 3600);
    for claim in ["iat", "nbf", "exp", "jti"] {
        answer.as_object_mut().unwrap().remove(claim).unwrap();
    }
    assert_eq!(
        answer,
        json!({
            "active": true, "iss": "https://id.example.com/id", "sub": "blue:robot", "aud": "https://api.example.com",
            "client_id": "blue.shop", "scope": "orders.read", "token_type": "Bearer", "principal_kind": "system",
            "client_system_user": "blue:robot",
        })
    );
}

#[tokio::test]
async fn the_api_of_the_audience_sees_an_access_token() {
    let mut fixture = Fixture::new();
    let (api, shop) = (fixture.client("platform", "api"), fixture.shop());
    let token = fixture.access_token(&shop, "&scope=orders.read").await;
    let (answer, claims) = (
        fixture.introspect(&api, &token).await,
        fixture.claims(&token),
    );
    for claim in [
        "iss",
        "sub",
        "aud",
        "client_id",
        "scope",
        "iat",
        "nbf",
        "exp",
        "jti",
        "principal_kind",
    ] {
        assert_eq!(answer[claim], claims[claim], "{claim}");
    }
    assert_eq!(answer["active"], true);
}

#[tokio::test]
async fn anyone_else_learns_only_that_the_token_is_not_active() {
    let mut fixture = Fixture::new();
    let (token, shop) = (fixture.nightly(), fixture.shop());
    let jwt = fixture.access_token(&shop, "").await;
    for stranger in [("green", "store"), ("red", "auditor"), ("blue", "wide")] {
        let stranger = fixture.client(stranger.0, stranger.1);
        assert_eq!(fixture.introspect(&stranger, &token).await, inactive());
        assert_eq!(fixture.introspect(&stranger, &jwt).await, inactive());
    }
}

#[tokio::test]
async fn a_client_sees_its_own_token() {
    let mut fixture = Fixture::new();
    let (token, shop) = (fixture.nightly(), fixture.shop());
    assert_eq!(
        fixture.introspect(&shop, &token).await["scope"],
        "orders.read"
    );
}

#[tokio::test]
async fn a_client_named_by_the_owner_of_a_scope_sees_that_scope() {
    let mut fixture = Fixture::new();
    let (wide, auditor) = (
        fixture.client("blue", "wide"),
        fixture.client("red", "auditor"),
    );
    let token = fixture
        .access_token(&wide, "&scope=orders.admin+orders.read")
        .await;
    assert_eq!(
        fixture.introspect(&auditor, &token).await["scope"],
        "orders.admin"
    );
}

#[tokio::test]
async fn each_api_sees_only_the_scopes_of_its_own_audience() {
    let yaml = QUICKSTART.replace("  gateways:", "  tokens: {audience: Many}\n  gateways:");
    let mut fixture = Fixture::of(&format!("{yaml}---\n{MORE}"), |_| {});
    let wide = fixture.client("blue", "wide");
    let (api, store) = (
        fixture.client("platform", "api"),
        fixture.client("green", "store"),
    );
    let token = fixture.access_token(&wide, "").await;
    let seen = |answer: Value| (answer["aud"].clone(), answer["scope"].clone());
    assert_eq!(
        seen(fixture.introspect(&api, &token).await),
        (json!("https://api.example.com"), json!("orders.read"))
    );
    assert_eq!(
        seen(fixture.introspect(&store, &token).await),
        (
            json!("https://id.example.com/id/green"),
            json!("green:items")
        )
    );
    let narrow = fixture
        .access_token(&wide, "&resource=https://api.example.com")
        .await;
    assert_eq!(
        fixture.introspect(&store, &narrow).await,
        inactive(),
        "the token was not issued for this API"
    );
}

#[tokio::test]
async fn the_caller_must_authenticate() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    let reply = fixture
        .post(INTROSPECT, "", &format!("token={token}"))
        .await;
    assert_eq!(reply.error(), (401, "invalid_client".into()));
    let bearer = format!("Bearer {token}");
    let reply = fixture
        .post(INTROSPECT, &bearer, &format!("token={token}"))
        .await;
    assert_eq!(reply.error(), (401, "invalid_client".into()));
}

#[tokio::test]
async fn a_request_without_a_token_is_invalid_and_the_hint_changes_nothing() {
    let mut fixture = Fixture::new();
    let (api, token) = (fixture.client("platform", "api"), fixture.nightly());
    let reply = fixture.post(INTROSPECT, &api, "token=").await;
    assert_eq!(reply.error(), (400, "invalid_request".into()));
    for hint in ["refresh_token", "access_token", "nonsense"] {
        let body = format!("token={token}&token_type_hint={hint}");
        let reply = fixture.post(INTROSPECT, &api, &body).await;
        assert_eq!(reply.json()["active"], true, "{hint}");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_text_that_is_not_an_issued_token_is_inactive() {
    let mut fixture = Fixture::new();
    let (api, token) = (fixture.client("platform", "api"), fixture.nightly());
    let secret = fixture.secret("blue", "shop");
    let shop = basic("blue.shop", secret.expose());
    let jwt = fixture.access_token(&shop, "").await;
    let (head, signature) = jwt.rsplit_once('.').unwrap();
    let mut broken = signature.to_owned();
    let flipped = if broken.starts_with('A') { "B" } else { "A" };
    broken.replace_range(0..1, flipped);
    for bad in [
        "x".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}x"),
        token.to_uppercase(),
        secret.expose().to_owned(),
        format!("{head}.{broken}"),
        format!("{head}."),
        head.to_owned(),
    ] {
        assert_eq!(fixture.introspect(&api, &bad).await, inactive(), "{bad}");
    }
}

#[tokio::test]
async fn every_withdrawal_ends_a_service_token_and_an_access_token_at_once() {
    let shop = "metadata: {name: shop, namespace: blue}";
    let withdrawals = [
        (
            "the client is disabled",
            "grantTypes: [ClientCredentials]\n  scopes",
            "disabled: true\n  grantTypes: [ClientCredentials]\n  scopes",
        ),
        (
            "the client was recreated",
            shop,
            "metadata: {name: shop, namespace: blue, uid: another}",
        ),
        (
            "the client gave the scope up",
            "scopes: [orders.read, orders.write]",
            "scopes: [orders.write]",
        ),
        (
            "the client's principal changed",
            "{name: robot}",
            "{name: other}",
        ),
        (
            "the scope is disabled",
            "metadata: {name: orders.read, namespace: platform}\nspec:\n",
            "metadata: {name: orders.read, namespace: platform}\nspec:\n  disabled: true\n",
        ),
        (
            "the Identity no longer allows the namespace",
            "clients: {from: All}",
            "clients: {from: Same}",
        ),
    ];
    for (what, old, new) in withdrawals {
        let mut fixture = Fixture::new();
        let (api, shop, token) = (
            fixture.client("platform", "api"),
            fixture.shop(),
            fixture.nightly(),
        );
        let jwt = fixture.access_token(&shop, "&scope=orders.read").await;
        assert_eq!(fixture.introspect(&api, &token).await["active"], true);
        assert_eq!(fixture.introspect(&api, &jwt).await["active"], true);
        assert!(QUICKSTART.contains(old), "{what}");
        fixture.apply(&QUICKSTART.replace(old, new));
        assert_eq!(
            fixture.introspect(&api, &token).await,
            inactive(),
            "{what}: service token"
        );
        assert_eq!(
            fixture.introspect(&api, &jwt).await,
            inactive(),
            "{what}: access token"
        );
    }
}

#[tokio::test]
async fn tokens_issued_before_revoke_issued_before_are_inactive() {
    let mut fixture = Fixture::new();
    let (shop, token) = (fixture.shop(), fixture.nightly());
    let jwt = fixture.access_token(&shop, "").await;
    let soon = now() + jiff::SignedDuration::from_millis(1100);
    let revoke = format!("  revokeIssuedBefore: {soon}\n  gateways:");
    fixture.apply(&QUICKSTART.replace("  gateways:", &revoke));
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let api = fixture.client("platform", "api");
    assert_eq!(fixture.introspect(&api, &token).await, inactive());
    assert_eq!(fixture.introspect(&api, &jwt).await, inactive());
    assert_eq!(
        fixture.token(&shop, "").await.error(),
        (401, "invalid_client".into()),
        "client secrets too"
    );
}

#[tokio::test]
async fn a_revoked_or_deleted_service_access_token_is_inactive() {
    let mut fixture = Fixture::new();
    let (api, token) = (fixture.client("platform", "api"), fixture.nightly());
    fixture.apply(&QUICKSTART.replace(
        "clientRef: {name: shop}",
        "clientRef: {name: shop}\n  revoked: true",
    ));
    assert_eq!(fixture.introspect(&api, &token).await, inactive());

    let mut fixture = Fixture::new();
    let (api, token) = (fixture.client("platform", "api"), fixture.nightly());
    fixture
        .world
        .delete(Kind::ServiceAccessToken, "blue", "nightly");
    fixture.publish();
    assert_eq!(fixture.introspect(&api, &token).await, inactive());
}

#[tokio::test]
async fn a_lowered_ceiling_shortens_access_tokens_issued_before() {
    let mut fixture = Fixture::new();
    let (api, shop) = (fixture.client("platform", "api"), fixture.shop());
    let token = fixture.access_token(&shop, "").await;
    let lower = "  limits: {maxAccessTokenLifetime: 5m}\n  gateways:";
    fixture.apply(&QUICKSTART.replace("  gateways:", lower));
    let answer = fixture.introspect(&api, &token).await;
    assert_eq!(
        answer["exp"].as_i64().unwrap() - answer["iat"].as_i64().unwrap(),
        300
    );
}
