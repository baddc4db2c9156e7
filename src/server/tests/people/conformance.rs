//! Rules that the conformance suite of the OpenID Foundation checks and that no other test here guards. The page
//! docs/conformance.md lists all of them.

use super::browser::{Left, left, way};
use super::main_path::payload;
use super::*;

/// A client as the suite registers it: it sends no PKCE parameters.
const PLAIN: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: plain, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  displayName: The Suite
  grantTypes: [AuthorizationCode, RefreshToken]
  responseTypes: [Code, CodeIDToken]
  scopes: [openid, profile, email, offline_access]
  redirectUris: [https://app.example.com/callback, 'https://app.example.com/callback?a=1']
  postLogoutRedirectUris: [https://app.example.com/bye]
  pkce: Optional
  consent: Skip
";

/// A town with the suite's client, and its credentials.
async fn town() -> (Town, String) {
    let mut town = Town::new().await;
    town.enrol().await;
    town.fixture.apply(PLAIN);
    let plain = town.fixture.client("blue", "plain");
    (town, plain)
}

/// The path of an authorization request of the suite's client.
fn request(parameters: &str) -> String {
    format!("/id/connect/authorize?client_id=blue.plain&{parameters}")
}

const TO_CLIENT: &str = "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback";

fn code(more: &str) -> String {
    request(&format!(
        "response_type=code&scope=openid&{TO_CLIENT}{more}"
    ))
}

async fn tokens(town: &Town, plain: &str, left: &Left) -> Value {
    let code = left.parameter("code").unwrap_or_else(|| panic!("{left:?}"));
    let body = format!("grant_type=authorization_code&code={code}&{TO_CLIENT}");
    let reply = town.fixture.post(TOKEN, plain, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    reply.json()
}

fn id_token(tokens: &Value) -> Value {
    payload(tokens["id_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_request_without_pkce_nonce_and_state_succeeds_for_codes() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let page = browser.get(&code("")).await;
    let left = browser.reach_client(page).await;
    assert_eq!(left.parameter("state"), None);
    let tokens = tokens(&town, &plain, &left).await;
    let claims = id_token(&tokens);
    assert_eq!(claims["nonce"], Value::Null);
    assert_eq!(claims["aud"], "blue.plain");
    assert_eq!(tokens["token_type"], "Bearer");
}

#[tokio::test]
async fn a_client_without_a_duty_to_use_pkce_may_use_it_and_then_must_prove_it() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let more = format!("&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let page = browser.get(&code(&more)).await;
    let left = browser.reach_client(page).await;
    let code = left.parameter("code").unwrap();
    let body = format!("grant_type=authorization_code&code={code}&{TO_CLIENT}");
    let bare = town.fixture.post(TOKEN, &plain, &body).await;
    assert_eq!(bare.error().1, "invalid_grant");
    let body = format!("{body}&code_verifier={VERIFIER}");
    let reply = town.fixture.post(TOKEN, &plain, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
}

#[tokio::test]
async fn a_request_without_a_response_type_is_an_error() {
    let (town, _) = town().await;
    let mut browser = town.browser();
    let path = request(&format!("scope=openid&state=s&{TO_CLIENT}"));
    let page = browser.once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    let left = Left { uri: way(&page) };
    assert_eq!(left.parameter("error").as_deref(), Some("invalid_request"));
    assert_eq!(left.parameter("state").as_deref(), Some("s"));
}

/// The answer of this response type has an ID token, which needs the nonce (OpenID Connect Core section 3.3.2.11).
#[tokio::test]
async fn a_hybrid_request_without_a_nonce_is_an_error() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let hybrid = request(&format!(
        "response_type=code%20id_token&scope=openid&state=s&{TO_CLIENT}"
    ));
    let page = browser.once(&hybrid).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    let back = way(&page);
    assert!(back.starts_with(&format!("{REDIRECT}#")), "{back}");
    let back = Left { uri: back };
    assert_eq!(back.parameter("error").as_deref(), Some("invalid_request"));
    let page = browser.get(&format!("{hybrid}&nonce=n")).await;
    let left = browser.reach_client(page).await;
    let tokens = tokens(&town, &plain, &left).await;
    let (front, back) = (
        payload(&left.parameter("id_token").unwrap()),
        id_token(&tokens),
    );
    for claim in ["iss", "sub", "aud", "nonce", "auth_time", "sid"] {
        assert_eq!(front[claim], back[claim], "{claim}");
    }
}

#[tokio::test]
async fn the_order_of_scopes_and_parameters_does_not_matter() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let path = format!(
        "/id/connect/authorize?{TO_CLIENT}&nonce=n&scope=email%20profile%20openid&state=s&response_type=code&client_id=blue.plain"
    );
    let page = browser.get(&path).await;
    let left = browser.reach_client(page).await;
    let tokens = tokens(&town, &plain, &left).await;
    let info = town.userinfo(tokens["access_token"].as_str().unwrap());
    let info = info.await.json();
    assert_eq!(info["email"], "alice@example.com");
    assert_eq!(info["name"], "Alice Adams");
}

#[tokio::test]
async fn parameters_that_say_nothing_to_the_server_cause_no_error() {
    let (town, _) = town().await;
    for more in [
        "&display=page",
        "&display=popup",
        "&claims_locales=se",
        "&ui_locales=se",
        "&acr_values=1%202",
        "&acr_values=urn%3Aexample%3Agold",
        "&extra=foobar",
        "&login_hint=buffy%40id.example.com",
        "&prompt=",
    ] {
        let mut browser = town.browser();
        let page = browser.get(&code(more)).await;
        assert_eq!(page.status, StatusCode::OK, "{more}: {page}");
        let left = browser.reach_client(page).await;
        assert!(left.parameter("code").is_some(), "{more}: {left:?}");
    }
}

#[tokio::test]
async fn a_class_that_the_document_lists_and_the_sign_in_reaches_is_told() {
    let (town, plain) = town().await;
    let path = "/id/.well-known/openid-configuration";
    let document = town.fixture.get(path).await.json();
    let listed = document["acr_values_supported"].as_array().unwrap();
    let mut browser = town.browser();
    for acr in listed {
        let more = format!("&acr_values={}", encoded(acr.as_str().unwrap()));
        let page = browser.get(&code(&more)).await;
        let left = browser.reach_client(page).await;
        assert_eq!(id_token(&tokens(&town, &plain, &left).await)["acr"], *acr);
    }
}

/// OpenID Connect Discovery 1.0 section 3. The suite asks for no scope that the document does not list.
#[tokio::test]
async fn the_document_lists_the_scopes_and_claims_that_the_server_knows() {
    let (town, _) = town().await;
    let path = "/id/.well-known/openid-configuration";
    let document = town.fixture.get(path).await.json();
    assert_eq!(
        document["scopes_supported"],
        serde_json::json!(["openid", "profile", "email", "groups", "offline_access"])
    );
    let listed = document["claims_supported"].as_array().unwrap();
    for claim in ["sub", "name", "email", "email_verified", "groups"] {
        assert!(listed.iter().any(|it| it == claim), "{claim}: {listed:?}");
    }
    for (member, value) in [
        ("issuer", serde_json::json!(ISSUER)),
        ("subject_types_supported", serde_json::json!(["public"])),
        (
            "response_types_supported",
            serde_json::json!(["code", "code id_token"]),
        ),
        ("claims_parameter_supported", true.into()),
        ("request_parameter_supported", false.into()),
        ("request_uri_parameter_supported", false.into()),
        ("backchannel_logout_supported", true.into()),
        ("backchannel_logout_session_supported", true.into()),
        ("frontchannel_logout_supported", true.into()),
        ("frontchannel_logout_session_supported", true.into()),
    ] {
        assert_eq!(document[member], value, "{member}");
    }
    let algorithms = &document["id_token_signing_alg_values_supported"];
    assert!(algorithms.as_array().unwrap().contains(&"RS256".into()));
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "end_session_endpoint",
    ] {
        let url = document[endpoint].as_str().unwrap();
        assert!(url.starts_with(&format!("{ISSUER}/")), "{endpoint}: {url}");
    }
}

#[tokio::test]
async fn the_same_person_is_told_with_the_same_time_while_the_sign_in_is_young_enough() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let page = browser.get(&code("&max_age=15000")).await;
    let left_once = browser.reach_client(page).await;
    let first = tokens(&town, &plain, &left_once).await;
    let hint = first["id_token"].as_str().unwrap();
    for more in [
        "&max_age=10000".to_owned(),
        "&prompt=none".to_owned(),
        format!("&prompt=none&id_token_hint={hint}"),
    ] {
        let again = left(&browser.once(&code(&more)).await);
        let again = id_token(&tokens(&town, &plain, &again).await);
        for claim in ["sub", "auth_time", "sid"] {
            assert_eq!(again[claim], id_token(&first)[claim], "{more}: {claim}");
        }
    }
}

#[tokio::test]
async fn a_redirect_uri_is_the_registered_one_with_its_query() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let with = |query: &str| {
        let uri = encoded(&format!("{REDIRECT}{query}"));
        request(&format!(
            "response_type=code&scope=openid&redirect_uri={uri}"
        ))
    };
    for query in ["?a=2", "?a=1&b=1", "?", "#a", "/"] {
        let page = browser.once(&with(query)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{query}: {page}");
        assert_eq!(page.header("location"), "(none)");
        assert!(!page.body.contains(REDIRECT), "{query}: {page}");
    }
    // Two are registered, so the request must name one.
    let none = request("response_type=code&scope=openid");
    let page = browser.once(&none).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    let page = browser.get(&with("?a=1")).await;
    let left = browser.reach_client(page).await;
    assert!(
        left.uri.starts_with(&format!("{REDIRECT}?a=1&")),
        "{left:?}"
    );
    let code = left.parameter("code").unwrap();
    let body = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={}",
        encoded(&format!("{REDIRECT}?a=1"))
    );
    let reply = town.fixture.post(TOKEN, &plain, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
}

#[tokio::test]
async fn the_userinfo_endpoint_takes_a_post_with_the_token_in_the_header() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let page = browser.get(&code("")).await;
    let left = browser.reach_client(page).await;
    let tokens = tokens(&town, &plain, &left).await;
    let access = tokens["access_token"].as_str().unwrap();
    let path = "/id/connect/userinfo";
    for content_type in [None, Some("application/x-www-form-urlencoded")] {
        let mut request = Request::post(path).header("authorization", format!("Bearer {access}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let reply = town.fixture.send(request.body(Body::empty()).unwrap());
        let reply = reply.await;
        assert_eq!(reply.status, StatusCode::OK, "{content_type:?}: {reply}");
        assert_eq!(reply.json()["sub"], id_token(&tokens)["sub"]);
    }
}

/// RFC 6749 section 4.1.2.
#[tokio::test]
async fn a_code_that_comes_again_later_ends_the_access_token() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let page = browser.get(&code("")).await;
    let left = browser.reach_client(page).await;
    let access = tokens(&town, &plain, &left).await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let code = left.parameter("code").unwrap();
    let body = format!("grant_type=authorization_code&code={code}&{TO_CLIENT}");
    // The first one might have been sent twice at once, so it takes a moment until a use counts as a later one.
    let ends = tokio::time::timeout(Duration::from_secs(60), async {
        while town.userinfo(&access).await.status == StatusCode::OK {
            let again = town.fixture.post(TOKEN, &plain, &body).await;
            assert_eq!(again.error().1, "invalid_grant");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ends.await.unwrap();
}

/// OpenID Connect RP-Initiated Logout 1.0 section 2: without proof that the client knows the session, the person is
/// asked, and only a registered URI of a known client is a way back.
#[tokio::test]
async fn a_sign_out_that_proves_nothing_asks_and_never_leads_elsewhere() {
    let (town, plain) = town().await;
    let mut browser = town.browser();
    let page = browser.get(&code("")).await;
    let left_once = browser.reach_client(page).await;
    let tokens = tokens(&town, &plain, &left_once).await;
    let hint = tokens["id_token"].as_str().unwrap().to_owned();
    let mut parts = hint.split('.');
    let (_, claims) = (parts.next(), parts.next().unwrap());
    let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let bye = encoded("https://app.example.com/bye");
    let end = |query: &str| format!("/id/connect/endsession?{query}");
    for query in [
        String::new(),
        "state=s".to_owned(),
        format!("post_logout_redirect_uri={bye}&state=s"),
        format!("id_token_hint={none}.{claims}.&post_logout_redirect_uri={bye}"),
        format!("id_token_hint={none}.{claims}.AAAA&post_logout_redirect_uri={bye}"),
        "id_token_hint=x&state=s".to_owned(),
    ] {
        let page = browser.once(&end(&query)).await;
        assert_eq!(page.status, StatusCode::OK, "{query}: {page}");
        assert!(page.body.contains("alice"), "{query}: {page}");
        assert!(browser.has("session"), "{query}");
    }
    let query = format!("id_token_hint={hint}&post_logout_redirect_uri=");
    for uri in [
        "https://app.example.com/bye?foo=bar",
        "https://app.example.com/other",
        "https://evil.example.com/",
    ] {
        let page = browser
            .once(&end(&format!("{query}{}", encoded(uri))))
            .await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{uri}: {page}");
        assert!(browser.has("session"), "{uri}");
    }
    // Without a URI, and without a state.
    let page = browser.once(&end(&format!("id_token_hint={hint}"))).await;
    assert_eq!(page.status, StatusCode::OK, "{page}");
    assert!(!browser.has("session"));
    let silent = left(&browser.once(&code("&prompt=none")).await);
    let error = silent.parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
    let gone = browser.once(&end(&format!("{query}{bye}"))).await;
    assert_eq!(left(&gone).uri, "https://app.example.com/bye");
}
