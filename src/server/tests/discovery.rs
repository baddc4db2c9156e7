//! The public documents: OpenID Connect Discovery 1.0, RFC 8414, RFC 7517.

use axum::http::StatusCode;

use super::*;

const OPENID: &str = "/id/.well-known/openid-configuration";
const JWKS: &str = "/id/.well-known/openid-configuration/jwks";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server/id";

#[tokio::test]
async fn the_documents_list_exactly_the_endpoints_that_work() {
    let fixture = Fixture::new();
    let openid = fixture.get(OPENID).await;
    insta::assert_snapshot!(
        "openid_configuration",
        serde_json::to_string_pretty(&openid.json()).unwrap()
    );
    let server = fixture.get(AUTHORIZATION_SERVER).await;
    insta::assert_snapshot!(
        "authorization_server",
        serde_json::to_string_pretty(&server.json()).unwrap()
    );
    for (name, value) in openid.json().as_object().unwrap() {
        let Some(path) = value
            .as_str()
            .and_then(|url| url.strip_prefix("https://id.example.com"))
        else {
            continue;
        };
        if name != "issuer" {
            let reply = fixture.get(path).await;
            assert_ne!(reply.status, StatusCode::NOT_FOUND, "{name}");
        }
    }
}

#[tokio::test]
async fn the_issuer_never_comes_from_the_request() {
    let fixture = Fixture::new();
    let request = Request::get(OPENID)
        .header("host", "evil.example")
        .header("forwarded", "host=evil.example;proto=http")
        .header("x-forwarded-host", "evil.example");
    let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.json()["issuer"], "https://id.example.com/id");
    assert!(!reply.to_string().contains("evil"));
}

#[tokio::test]
async fn the_published_keys_verify_issued_tokens_and_have_no_private_members() {
    let mut fixture = Fixture::new();
    let jwks = fixture.get(JWKS).await.json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(member).is_none(), "private member {member}");
        }
    }
    let shop = fixture.shop();
    let token = fixture.access_token(&shop, "").await;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert!(
        keys.iter()
            .any(|key| key["kid"].as_str() == header.kid.as_deref())
    );
}

#[tokio::test]
async fn a_caller_that_has_the_document_gets_304() {
    let mut fixture = Fixture::new();
    for path in [OPENID, JWKS, AUTHORIZATION_SERVER] {
        let first = fixture.get(path).await;
        let etag = first.header("etag").to_owned();
        assert_eq!(first.header("cache-control"), "public, max-age=300");
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let request = Request::get(path).header("if-none-match", &known);
            let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (StatusCode::NOT_MODIFIED, ""),
                "{known}"
            );
            assert_eq!(reply.header("etag"), etag);
        }
        let request = Request::get(path).header("if-none-match", "\"other\"");
        assert_eq!(
            fixture
                .send(request.body(Body::empty()).unwrap())
                .await
                .status,
            StatusCode::OK
        );
    }
    let before = fixture.get(JWKS).await.header("etag").to_owned();
    fixture.apply(&QUICKSTART.replace("orders.write]", "]"));
    assert_eq!(
        fixture.get(JWKS).await.header("etag"),
        before,
        "its content has not changed"
    );
    fixture.app.publisher().set_keys(no_keys(), now()).unwrap();
    assert_ne!(fixture.get(JWKS).await.header("etag"), before);
}

#[tokio::test]
async fn web_pages_of_any_origin_may_read_the_documents_and_nothing_else() {
    let fixture = Fixture::new();
    for path in [OPENID, JWKS, AUTHORIZATION_SERVER] {
        assert_eq!(
            fixture
                .get(path)
                .await
                .header("access-control-allow-origin"),
            "*"
        );
        let request = Request::options(path)
            .header("origin", "https://page.example")
            .header("access-control-request-method", "GET");
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        assert_eq!(
            reply.header("access-control-allow-methods"),
            "GET, HEAD, OPTIONS"
        );
    }
    for path in [TOKEN, INTROSPECT, REVOKE] {
        let request = Request::options(path).header("origin", "https://page.example");
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "(none)",
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_gives_the_length_and_other_methods_get_405_with_the_allowed_ones() {
    let fixture = Fixture::new();
    for path in [OPENID, JWKS, AUTHORIZATION_SERVER] {
        let whole = fixture.get(path).await;
        let reply = fixture
            .send(Request::head(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(reply.header("content-length"), whole.body.len().to_string());
        let reply = fixture
            .send(Request::post(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn other_paths_are_404() {
    let fixture = Fixture::new();
    for path in [
        "/",
        "/id",
        "/id/",
        "/connect/token",
        "/.well-known/openid-configuration",
        "/id/connect/token/",
        "/id/connect/authorize",
        "/metrics",
        "/readyz",
    ] {
        assert_eq!(
            fixture.get(path).await.error(),
            (404, "not_found".into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_issuer_at_the_root_has_its_paths_at_the_root() {
    let yaml = QUICKSTART.replace("https://id.example.com/id", "https://id.example.com");
    let fixture = Fixture::of(&yaml, |_| {});
    let openid = fixture
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(
        openid["token_endpoint"],
        "https://id.example.com/connect/token"
    );
    assert_eq!(
        fixture
            .get("/.well-known/oauth-authorization-server")
            .await
            .json()["issuer"],
        "https://id.example.com"
    );
}
