//! The answers to gateways: 200, 401 or 403, or 503 while the server cannot judge a token.

use axum::http::StatusCode;

use super::*;

const GATEWAY: &str = "/id/connect/checktoken/api";

fn ask(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Returns the status, the challenge, and the four headers that are always present.
async fn answer(fixture: &Fixture, request: Request<Body>) -> (u16, String, [String; 4]) {
    let reply = fixture.send(request).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.body, "");
    let names = [
        "x-auth-subject",
        "x-auth-kind",
        "x-auth-client-id",
        "x-auth-scope",
    ];
    for name in names {
        let count = reply.headers.get_all(name).iter().count();
        assert_eq!(count, 1, "{name}\n{reply}");
    }
    assert_eq!(
        reply.headers.contains_key("x-envoy-auth-headers-to-remove"),
        reply.status == StatusCode::OK,
        "{reply}"
    );
    (
        reply.status.as_u16(),
        reply.header("www-authenticate").to_owned(),
        names.map(|name| reply.header(name).to_owned()),
    )
}

fn no_caller() -> [String; 4] {
    Default::default()
}

#[tokio::test]
async fn a_passed_request_names_its_caller_to_the_proxy() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    let bearer = format!("Bearer {token}");
    for header in [
        ("authorization", bearer.as_str()),
        ("x-api-key", &token),
        ("api-key", &token),
    ] {
        let (status, _, headers) = answer(&fixture, ask(GATEWAY, &[header])).await;
        assert_eq!(status, 200, "{}", header.0);
        assert_eq!(
            headers,
            ["blue:robot", "system", "blue.shop", "orders.read"]
        );
    }
    let shop = fixture.shop();
    let jwt = format!("Bearer {}", fixture.access_token(&shop, "").await);
    let (status, _, headers) = answer(&fixture, ask(GATEWAY, &[("authorization", &jwt)])).await;
    assert_eq!(
        (status, headers),
        (
            200,
            [
                "blue.shop",
                "client",
                "blue.shop",
                "orders.read orders.write"
            ]
            .map(str::to_owned)
        )
    );
}

#[tokio::test]
async fn query_further_path_method_and_body_are_ignored() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    let long = format!("?{}", "x".repeat(20_000));
    for path in [
        "?a=b",
        &long,
        "/",
        "/orders/7?token=x&client_secret=y",
        "?access_token=nonsense",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
            let mut request = ask(&format!("{GATEWAY}{path}"), &[("x-api-key", &token)]);
            *request.method_mut() = method.parse().unwrap();
            *request.body_mut() = Body::from("whatever");
            assert_eq!(
                fixture.send(request).await.status,
                StatusCode::OK,
                "{method} {path}"
            );
        }
    }
}

/// Envoy passes on the caller's headers that it is not told to remove. CGI, WSGI and PHP read these names as identity
/// headers.
#[tokio::test]
async fn envoy_is_told_to_remove_other_spellings_and_the_key_headers() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    let reply = fixture.send(ask(GATEWAY, &[("x-api-key", &token)])).await;
    let removed = reply.header("x-envoy-auth-headers-to-remove");
    let removed: Vec<&str> = removed.split(',').collect();
    for name in ["x_auth_subject", "x.auth-client_id", "x-api-key", "api-key"] {
        assert!(removed.contains(&name), "{name} in {removed:?}");
    }
    assert!(!removed.contains(&"x-auth-subject"), "{removed:?}");
}

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error() {
    let fixture = Fixture::new();
    for headers in [&[][..], &[("authorization", "Basic eDp5")]] {
        let (status, challenge, names) = answer(&fixture, ask(GATEWAY, headers)).await;
        assert_eq!((status, names), (401, no_caller()));
        assert_eq!(
            challenge,
            r#"Bearer realm="https://id.example.com/id", scope="orders.read""#
        );
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_ignored() {
    let mut fixture = Fixture::new();
    let path = format!("{GATEWAY}?access_token={}", fixture.nightly());
    let (status, challenge, _) = answer(&fixture, ask(&path, &[])).await;
    assert_eq!((status, challenge.contains("error")), (401, false));
}

#[tokio::test]
async fn several_tokens_and_malformed_ones_are_401_with_invalid_request() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    let bearer = format!("Bearer {token}");
    for headers in [
        &[("authorization", bearer.as_str()), ("x-api-key", &token)][..],
        &[("x-api-key", &token), ("api-key", &token)],
        &[("x-api-key", &token), ("x-api-key", &token)],
        &[("authorization", "Bearer")],
        &[("x-api-key", "")],
        &[("x-api-key", "a b")],
    ] {
        let (status, challenge, names) = answer(&fixture, ask(GATEWAY, headers)).await;
        assert_eq!((status, names), (401, no_caller()), "{headers:?}");
        assert!(
            challenge.ends_with(r#"error="invalid_request", scope="orders.read""#),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn a_bad_token_and_one_for_another_audience_are_invalid_token() {
    let mut fixture = Fixture::new();
    let (wide, secret) = (
        fixture.client("blue", "wide"),
        fixture.secret("blue", "shop"),
    );
    let other = fixture
        .access_token(&wide, "&resource=https://id.example.com/id/green")
        .await;
    for token in ["nonsense", "a.b.c", secret.expose(), &other] {
        let (status, challenge, names) =
            answer(&fixture, ask(GATEWAY, &[("x-api-key", token)])).await;
        assert_eq!((status, names), (401, no_caller()), "{token}");
        assert!(
            challenge.ends_with(r#"error="invalid_token", scope="orders.read""#),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn a_token_without_the_scopes_is_403_and_the_challenge_names_them() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let token = fixture.access_token(&shop, "&scope=orders.write").await;
    let (status, challenge, names) = answer(&fixture, ask(GATEWAY, &[("x-api-key", &token)])).await;
    assert_eq!((status, names), (403, no_caller()));
    assert!(
        challenge.ends_with(r#"error="insufficient_scope", scope="orders.read""#),
        "{challenge}"
    );
}

#[tokio::test]
async fn an_unknown_gateway_lets_no_one_pass() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    for gateway in [
        "nope", "API", "api%2F", "..", "%00", "%ff", "api;x", "/api", ".",
    ] {
        let path = format!("/id/connect/checktoken/{gateway}");
        let (status, challenge, names) =
            answer(&fixture, ask(&path, &[("x-api-key", &token)])).await;
        assert_eq!((status, names), (403, no_caller()), "{gateway}");
        assert_eq!(challenge, r#"Bearer realm="https://id.example.com/id""#);
    }
}

#[tokio::test]
async fn a_path_without_a_gateway_name_is_an_unknown_gateway() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    for path in [
        "/id/connect/checktoken",
        "/id/connect/checktoken/",
        "/id/connect/checktoken?api",
    ] {
        for method in ["GET", "POST", "PURGE"] {
            let mut request = ask(path, &[("x-api-key", &token)]);
            *request.method_mut() = method.parse().unwrap();
            let (status, _, names) = answer(&fixture, request).await;
            assert_eq!((status, names), (403, no_caller()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn while_the_server_cannot_answer_no_one_passes() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    fixture
        .app
        .status()
        .heard_at("2026-01-01T00:00:00Z".parse().unwrap());
    let reply = fixture.send(ask(GATEWAY, &[("x-api-key", &token)])).await;
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(reply.header("www-authenticate"), "(none)");
    let (status, _, names) = answer(&fixture, ask(GATEWAY, &[("x-api-key", &token)])).await;
    assert_eq!((status, names), (503, no_caller()));
}

/// 401 would tell the caller that its token is bad.
#[tokio::test]
async fn before_the_keys_are_loaded_nothing_is_said_about_a_jwt() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let jwt = fixture.access_token(&shop, "").await;
    let config = Config::new(ObjectKey::new("platform", "main"));
    fixture.app = App::new(config, FakeRevoker::default()).unwrap();
    fixture.app.status().lists_complete();
    fixture.publish();
    for (token, status) in [(&*jwt, 503), ("a.b", 503), ("nonsense", 401)] {
        let (told, _, names) = answer(&fixture, ask(GATEWAY, &[("x-api-key", token)])).await;
        assert_eq!((told, names), (status, no_caller()), "{token}");
    }
    let keys = fixtures::key_set();
    fixture.app.publisher().set_keys(keys, now()).unwrap();
    let (status, ..) = answer(&fixture, ask(GATEWAY, &[("x-api-key", &jwt)])).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn changed_requirements_apply_to_the_next_answer_and_its_challenge() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let token = fixture.access_token(&shop, "&scope=orders.read").await;
    let gateway = "audience: https://api.example.com, scopes: [orders.read]";
    for (scopes, status, challenged) in [
        (
            "[orders.read, orders.write]",
            403,
            "orders.read orders.write",
        ),
        ("[orders.write]", 403, "orders.write"),
        ("[orders.read]", 200, "orders.read"),
        ("[]", 200, ""),
    ] {
        let changed = format!("audience: https://api.example.com, scopes: {scopes}");
        fixture.apply(&QUICKSTART.replace(gateway, &changed));
        let (told, ..) = answer(&fixture, ask(GATEWAY, &[("x-api-key", &token)])).await;
        assert_eq!(told, status, "{scopes}");
        let (_, challenge, _) = answer(&fixture, ask(GATEWAY, &[])).await;
        let scope = challenge.split_once(r#"scope=""#).map_or("", |it| it.1);
        assert_eq!(scope.trim_end_matches('"'), challenged, "{challenge}");
    }
}

#[tokio::test]
async fn a_withdrawal_takes_effect_at_once() {
    let mut fixture = Fixture::new();
    let token = fixture.nightly();
    assert_eq!(
        answer(&fixture, ask(GATEWAY, &[("x-api-key", &token)]))
            .await
            .0,
        200
    );
    fixture.apply(&QUICKSTART.replace(
        "clientRef: {name: shop}",
        "clientRef: {name: shop}\n  revoked: true",
    ));
    assert_eq!(
        answer(&fixture, ask(GATEWAY, &[("x-api-key", &token)]))
            .await
            .0,
        401
    );
}
