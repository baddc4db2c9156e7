//! The token endpoint (RFC 6749, RFC 8707, RFC 9068).

use axum::http::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::directory::Change;
use crate::keys::Algorithm;
use crate::resources::Kind;
use crate::server::signing::Slot;

#[tokio::test]
async fn client_credentials_give_an_rfc_9068_token() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let reply = fixture.token(&shop, "").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    let answer = reply.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["scope"], "orders.read orders.write");
    assert!(answer.get("refresh_token").is_none());
    let claims = fixture.claims(answer["access_token"].as_str().unwrap());
    let (iat, exp) = (
        claims["iat"].as_i64().unwrap(),
        claims["exp"].as_i64().unwrap(),
    );
    assert_eq!(exp - iat, 3600);
    assert_eq!(claims["nbf"], claims["iat"]);
    assert!((now().as_second() - iat).abs() < 5);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 16);
    let expected = json!({
        "iss": "https://id.example.com/id", "aud": "https://api.example.com", "sub": "blue.shop", "client_id": "blue.shop",
        "client_uid": "OAuthClient-blue-shop", "client_system_user": "blue:robot", "principal_kind": "client",
        "scope": "orders.read orders.write",
        "iat": iat, "nbf": iat, "exp": exp, "jti": claims["jti"],
    });
    assert_eq!(claims, expected);
}

/// Takes all signatures of a client.
pub fn busy<'a>(fixture: &'a Fixture, client: &ObjectKey) -> Vec<Slot<'a>> {
    let signing = fixture.app.signing();
    std::iter::from_fn(|| signing.try_begin(client)).collect()
}

#[tokio::test]
async fn while_a_client_has_many_requests_to_sign_other_namespaces_get_their_tokens() {
    let mut fixture = Fixture::new();
    let (shop, auditor) = (fixture.shop(), fixture.client("red", "auditor"));
    let signing = busy(&fixture, &ObjectKey::new("blue", "shop"));
    let mut waiting = Box::pin(fixture.token(&shop, ""));
    assert!((&mut waiting).now_or_never().is_none());
    let scope = fixture.token(&auditor, "&scope=items").await;
    assert_ne!(scope.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(signing);
    assert_eq!(waiting.await.status, StatusCode::OK);
}

/// They run one after the other on one thread. Without a pause before each signature, none would see another one.
#[tokio::test]
async fn requests_that_came_after_hundreds_of_one_namespace_do_not_wait_for_their_signatures() {
    for (algorithm, is_slow) in [("RS256", true), ("ES256", false)] {
        let algorithms = format!("  signing: {{algorithms: [{algorithm}]}}\n  gateways:");
        let yaml = QUICKSTART.replace("  gateways:", &algorithms);
        let mut fixture = Fixture::of(&format!("{yaml}---\n{MORE}"), |_| {});
        let (shop, auditor) = (fixture.shop(), fixture.client("red", "auditor"));
        let flood = (0..300).map(|_| Box::pin(fixture.token(&shop, "")));
        let mut flood: Vec<_> = flood.collect();
        let mut other = Box::pin(fixture.token(&auditor, "&scope=items"));
        let signed = flood
            .iter_mut()
            .filter_map(futures::FutureExt::now_or_never);
        let signed = signed.count();
        assert_eq!(signed, if is_slow { 0 } else { 300 });
        if !is_slow {
            continue;
        }
        assert!((&mut other).now_or_never().is_none());
        let answered = (&mut other).now_or_never();
        assert_ne!(answered.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        for request in flood {
            assert_eq!(request.await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_client_that_is_disabled_while_its_request_waits_to_be_signed_gets_no_token() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let signing = busy(&fixture, &ObjectKey::new("blue", "shop"));
    let mut waiting = Box::pin(fixture.token(&shop, ""));
    assert!((&mut waiting).now_or_never().is_none());
    let key = ObjectKey::new("blue", "shop");
    fixture.app.publisher().update(|directory| {
        directory.apply(Change::Delete(Kind::OAuthClient, key));
    });
    drop(signing);
    assert_eq!(waiting.await.error(), (401, "invalid_client".into()));
}

#[tokio::test]
async fn token_requests_of_a_namespace_that_wait_are_bounded() {
    let mut fixture = Fixture::of(&format!("{QUICKSTART}---\n{MORE}"), |config| {
        config.limits.requests = 12;
    });
    let shop = fixture.shop();
    let signing = busy(&fixture, &ObjectKey::new("blue", "shop"));
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(fixture.token(&shop, ""))).collect();
    for waiting in &mut waiting {
        assert!(waiting.now_or_never().is_none());
    }
    let refused = fixture.token(&shop, "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "1");
    drop(signing);
    for waiting in waiting {
        assert_eq!(waiting.await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn every_answer_of_the_token_endpoint_is_no_store() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    for reply in [
        fixture.token(&shop, "").await,
        fixture.token(&shop, "&scope=nope").await,
        fixture.token("", "").await,
        fixture.get(TOKEN).await,
    ] {
        assert_eq!(reply.header("cache-control"), "no-store", "{reply}");
        assert_eq!(reply.header("pragma"), "no-cache");
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn a_client_authenticates_by_basic_or_by_post_each_form_encoded() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let secret = secret.expose();
    let encoded = secret
        .bytes()
        .fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    for authorization in [
        basic("blue.shop", secret),
        basic("blue%2Eshop", &encoded),
        basic("blue.shop", secret).replacen("Basic", "bAsIc", 1),
    ] {
        let reply = fixture.token(&authorization, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
    }
    for more in [
        format!("&client_id=blue.shop&client_secret={secret}"),
        format!("&client_secret={encoded}&client_id=blue%2eshop"),
    ] {
        let reply = fixture.token("", &more).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
    }
    let both = fixture
        .token(&basic("blue.shop", secret), "&client_id=blue.shop")
        .await;
    assert_eq!(
        both.status,
        StatusCode::OK,
        "a client_id alone is not a second method: {both}"
    );
}

#[tokio::test]
async fn two_methods_at_once_are_refused_even_if_both_are_right() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let header = basic("blue.shop", secret.expose());
    for more in [
        format!("&client_id=blue.shop&client_secret={}", secret.expose()),
        format!("&client_secret={}", secret.expose()),
        "&client_id=blue.wide".to_owned(),
        "&client_assertion=x".to_owned(),
    ] {
        let reply = fixture.token(&header, &more).await;
        assert_eq!(reply.error(), (400, "invalid_request".into()), "{more}");
    }
    let mut twice = form(TOKEN, &header, "grant_type=client_credentials");
    twice
        .headers_mut()
        .append("authorization", header.parse().unwrap());
    assert_eq!(
        fixture.send(twice).await.error(),
        (400, "invalid_request".into())
    );
}

#[tokio::test]
async fn credentials_in_the_query_are_refused() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let path = format!(
        "{TOKEN}?client_id=blue.shop&client_secret={}",
        secret.expose()
    );
    let reply = fixture
        .post(&path, "", "grant_type=client_credentials")
        .await;
    assert_eq!(reply.error(), (400, "invalid_request".into()));
    assert!(!reply.body.contains(secret.expose()));
}

#[rstest]
#[case::repeated(
    "grant_type=client_credentials&grant_type=client_credentials",
    "invalid_request"
)]
#[case::repeated_scope("grant_type=client_credentials&scope=a&scope=a", "invalid_request")]
#[case::no_grant("scope=orders.read", "invalid_request")]
#[case::empty_grant("grant_type=", "invalid_request")]
#[case::nul("grant_type=client_credentials&scope=%00", "invalid_request")]
#[case::unknown_grant("grant_type=password", "unsupported_grant_type")]
#[case::another_case("grant_type=Client_Credentials", "unsupported_grant_type")]
#[case::ungranted_scope("grant_type=client_credentials&scope=green:items", "invalid_scope")]
#[case::unknown_scope(
    "grant_type=client_credentials&scope=orders.read+nope",
    "invalid_scope"
)]
#[case::malformed_scope(
    "grant_type=client_credentials&scope=orders.read++orders.write",
    "invalid_scope"
)]
#[case::quoted_scope("grant_type=client_credentials&scope=%22", "invalid_scope")]
#[case::openid("grant_type=client_credentials&scope=openid", "invalid_scope")]
#[case::profile(
    "grant_type=client_credentials&scope=orders.read+profile",
    "invalid_scope"
)]
#[case::email("grant_type=client_credentials&scope=email", "invalid_scope")]
#[case::offline_access("grant_type=client_credentials&scope=offline_access", "invalid_scope")]
#[case::unknown_resource(
    "grant_type=client_credentials&resource=https://nope",
    "invalid_target"
)]
#[case::one_unknown_resource(
    "grant_type=client_credentials&resource=https://api.example.com&resource=https://nope",
    "invalid_target"
)]
#[case::fragment(
    "grant_type=client_credentials&resource=https://api.example.com%23x",
    "invalid_target"
)]
#[tokio::test]
async fn an_invalid_request_gets_the_error_code_of_the_rfc(
    #[case] body: &str,
    #[case] error: &str,
) {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let reply = fixture.post(TOKEN, &shop, body).await;
    assert_eq!(reply.error(), (400, error.into()), "{reply}");
}

#[tokio::test]
async fn the_token_endpoint_accepts_only_a_posted_form() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let mut request = form(TOKEN, &shop, "grant_type=client_credentials");
        *request.method_mut() = method.parse().unwrap();
        let reply = fixture.send(request).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.header("allow"), "POST");
    }
    let mut request = form(TOKEN, &shop, r#"{"grant_type":"client_credentials"}"#);
    request
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    assert_eq!(
        fixture.send(request).await.error(),
        (400, "invalid_request".into())
    );
    let mut request = form(TOKEN, &shop, "grant_type=client_credentials");
    request.headers_mut().remove("content-type");
    assert_eq!(
        fixture.send(request).await.error(),
        (400, "invalid_request".into())
    );
}

#[tokio::test]
async fn failed_authentication_is_401_with_a_basic_challenge() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let secret = secret.expose();
    let flipped = if secret.ends_with('a') { "b" } else { "a" };
    let wrong = format!("{}{flipped}", &secret[..secret.len() - 1]);
    let token = fixture.nightly();
    for (authorization, more) in [
        (String::new(), String::new()),
        (basic("blue.shop", &wrong), String::new()),
        (basic("blue.shop", ""), String::new()),
        (basic("blue.shop", &token), String::new()),
        (basic("blue.nobody", secret), String::new()),
        (basic("blue.wide", secret), String::new()),
        ("Basic !".to_owned(), String::new()),
        (
            format!("Basic {}", STANDARD.encode("blue.shop")),
            String::new(),
        ),
        (format!("Bearer {secret}"), String::new()),
        (String::new(), "&client_id=blue.shop".to_owned()),
        (
            String::new(),
            format!("&client_id=blue.shop&client_secret={wrong}"),
        ),
        (String::new(), format!("&client_secret={secret}")),
        (
            String::new(),
            "&client_assertion=x&client_assertion_type=y".to_owned(),
        ),
    ] {
        let reply = fixture.token(&authorization, &more).await;
        assert_eq!(
            reply.error(),
            (401, "invalid_client".into()),
            "{authorization} {more}"
        );
        assert_eq!(
            reply.header("www-authenticate"),
            r#"Basic realm="https://id.example.com/id", charset="UTF-8""#
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_client_get_the_same_answer() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let another = fixture.secret("blue", "wide");
    let known = fixture
        .token(&basic("blue.shop", another.expose()), "")
        .await;
    let unknown = fixture
        .token(&basic("blue.nobody", secret.expose()), "")
        .await;
    assert_eq!(known, unknown);
}

#[tokio::test]
async fn a_client_that_is_disabled_is_refused_at_once() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    assert_eq!(fixture.token(&shop, "").await.status, StatusCode::OK);
    fixture.apply(&QUICKSTART.replace(
        "grantTypes: [ClientCredentials]",
        "grantTypes: [ClientCredentials]\n  disabled: true",
    ));
    assert_eq!(
        fixture.token(&shop, "").await.error(),
        (401, "invalid_client".into())
    );
}

#[tokio::test]
async fn a_grant_that_the_client_may_not_use_is_unauthorized_client() {
    let mut fixture = Fixture::new();
    let api = fixture.client("platform", "api");
    assert_eq!(
        fixture.token(&api, "").await.error(),
        (400, "unauthorized_client".into())
    );
}

#[tokio::test]
async fn a_client_without_a_granted_scope_gets_no_token() {
    let mut fixture = Fixture::new();
    let auditor = fixture.client("red", "auditor");
    assert_eq!(
        fixture.token(&auditor, "").await.error(),
        (400, "invalid_scope".into())
    );
}

#[tokio::test]
async fn a_scope_with_the_policy_on_request_is_granted_only_if_requested() {
    let mut fixture = Fixture::new();
    let wide = fixture.client("blue", "wide");
    let resource = "&resource=https://api.example.com";
    let all = fixture.token(&wide, resource).await.json();
    assert_eq!(all["scope"], "orders.read");
    let named = fixture
        .token(&wide, "&scope=orders.admin+orders.read+orders.admin")
        .await
        .json();
    assert_eq!(named["scope"], "orders.admin orders.read");
}

#[tokio::test]
async fn a_token_is_for_one_resource() {
    let mut fixture = Fixture::new();
    let wide = fixture.client("blue", "wide");
    for more in ["", "&scope=orders.read+green:items"] {
        let reply = fixture.token(&wide, more).await;
        assert_eq!(reply.error(), (400, "invalid_target".into()), "{more}");
        assert!(
            reply.body.contains("resource"),
            "the answer names the parameter: {reply}"
        );
    }
    for (resource, scope) in [
        ("https://api.example.com", "orders.read"),
        ("https://id.example.com/id/green", "green:items"),
    ] {
        let token = fixture
            .access_token(&wide, &format!("&resource={resource}"))
            .await;
        let claims = fixture.claims(&token);
        assert_eq!(
            (&claims["aud"], &claims["scope"]),
            (&json!(resource), &json!(scope))
        );
    }
    let both = "&resource=https://api.example.com&resource=https://id.example.com/id/green";
    assert_eq!(
        fixture.token(&wide, both).await.error(),
        (400, "invalid_target".into())
    );
}

#[tokio::test]
async fn the_identity_may_allow_many_resources_and_an_array_of_scopes() {
    let yaml = QUICKSTART.replace(
        "  gateways:",
        "  tokens: {audience: Many, scopeClaim: Array}\n  gateways:",
    );
    let mut fixture = Fixture::of(&format!("{yaml}---\n{MORE}"), |_| {});
    let wide = fixture.client("blue", "wide");
    let token = fixture.access_token(&wide, "").await;
    let claims = fixture.claims(&token);
    assert_eq!(
        claims["aud"],
        json!(["https://api.example.com", "https://id.example.com/id/green"])
    );
    assert_eq!(claims["scope"], json!(["orders.read", "green:items"]));
}

#[tokio::test]
async fn the_client_chooses_the_type_of_its_tokens_before_the_identity() {
    for (identity, client, typ) in [
        (None, None, "at+jwt"),
        (Some("JWT"), None, "JWT"),
        (None, Some("JWT"), "JWT"),
        (Some("JWT"), Some("AtJWT"), "at+jwt"),
        (Some("AtJWT"), Some("JWT"), "JWT"),
    ] {
        let tokens = |typ: Option<&str>| {
            typ.map_or(String::new(), |typ| {
                format!("  tokens: {{accessTokenType: {typ}}}\n")
            })
        };
        let yaml = QUICKSTART
            .replace("  gateways:", &format!("{}  gateways:", tokens(identity)))
            .replace("  systemUser:", &format!("{}  systemUser:", tokens(client)));
        let mut fixture = Fixture::of(&yaml, |_| {});
        let shop = fixture.shop();
        let token = fixture.access_token(&shop, "").await;
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ), "{identity:?} {client:?}");
    }
}

#[tokio::test]
async fn a_lifetime_never_exceeds_the_ceiling_of_the_identity() {
    for (spec, lifetime) in [
        ("tokens: {accessTokenLifetime: 30m}", 1800),
        ("tokens: {accessTokenLifetime: 20h}", 7200),
    ] {
        let yaml = QUICKSTART
            .replace(
                "  gateways:",
                "  limits: {maxAccessTokenLifetime: 2h}\n  gateways:",
            )
            .replace("  systemUser:", &format!("  {spec}\n  systemUser:"));
        let mut fixture = Fixture::of(&yaml, |_| {});
        let shop = fixture.shop();
        assert_eq!(
            fixture.token(&shop, "").await.json()["expires_in"],
            lifetime,
            "{spec}"
        );
    }
}

#[tokio::test]
async fn a_client_chooses_among_the_algorithms_of_the_identity() {
    for algorithm in Algorithm::ALL {
        let yaml = QUICKSTART
            .replace(
                "  gateways:",
                "  signing: {algorithms: [RS256, PS256, ES256, EdDSA]}\n  gateways:",
            )
            .replace(
                "  systemUser:",
                &format!("  tokens: {{algorithm: {algorithm}}}\n  systemUser:"),
            );
        let mut fixture = Fixture::of(&yaml, |_| {});
        let shop = fixture.shop();
        let token = fixture.access_token(&shop, "").await;
        let snapshot = fixture.app.publisher().current();
        assert_eq!(snapshot.ring().verify(&token).unwrap().algorithm, algorithm);
    }
}

#[tokio::test]
async fn a_caller_that_fails_in_a_loop_must_wait_and_locks_no_one_out() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let wrong = basic("blue.shop", "wrong");
    let mut waits = 0;
    for _ in 0..100 {
        let reply = fixture.token(&wrong, "").await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
            waits += 1;
        }
    }
    assert!(waits > 20, "{waits}");
    let reply = fixture.token(&shop, "").await;
    assert_eq!(
        reply.status,
        StatusCode::OK,
        "the right secret is accepted, even from the same address"
    );
}

#[tokio::test]
async fn a_body_beyond_64_kib_is_refused_with_a_length_or_streamed() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let large = format!("grant_type=client_credentials&x={}", "x".repeat(64 << 10));
    assert_eq!(
        fixture.post(TOKEN, &shop, &large).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let pieces = (0..100).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'a'; 1024])));
    let mut request = form(TOKEN, &shop, "");
    *request.body_mut() = Body::from_stream(futures::stream::iter(pieces));
    assert_eq!(
        fixture.send(request).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let mut pieces = vec!["grant_type=client_", "cred", "entials"].into_iter();
    let mut request = form(TOKEN, &shop, "");
    *request.body_mut() = Body::from_stream(futures::stream::iter(std::iter::from_fn(move || {
        pieces
            .next()
            .map(|piece| Ok::<_, std::io::Error>(bytes::Bytes::from(piece)))
    })));
    assert_eq!(fixture.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_signing_key_the_answer_is_503() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    fixture.app.publisher().set_keys(no_keys(), now()).unwrap();
    assert_eq!(
        fixture.token(&shop, "").await.error(),
        (503, "temporarily_unavailable".into())
    );
    // The other endpoints need no key, so the server stays ready.
    assert_eq!(fixture.app.readiness(now()), Ok(()));
}
