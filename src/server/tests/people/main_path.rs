//! From an enrolment link to a sign-out.

use super::*;
use crate::server::tests::people::browser::left;

#[tokio::test]
async fn a_person_enrols_signs_in_consents_and_the_client_gets_tokens_until_the_sign_out() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();

    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("Sign in"), "{page}");
    assert!(page.body.contains("The App"), "{page}");
    let consent = browser.sign_in(&page).await;
    assert_eq!(consent.status, StatusCode::OK, "{consent}");
    assert!(consent.body.contains("Allow"), "{consent}");
    let answer = browser.submit(&consent, &[]).await;
    let answer = left(&answer);
    assert!(answer.uri.starts_with(REDIRECT), "{answer:?}");
    assert_eq!(answer.parameter("state").as_deref(), Some("s1"));
    assert_eq!(answer.parameter("iss").as_deref(), Some(ISSUER));
    let code = answer.parameter("code").unwrap();

    let reply = town.redeem(&code).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    let tokens = reply.json();
    let access = tokens["access_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let id_token = tokens["id_token"].as_str().unwrap();
    assert_eq!(tokens["scope"], "openid profile offline_access");
    let claims = payload(id_token);
    assert_eq!(claims["nonce"], "n1");
    assert_eq!(claims["aud"], APP);
    assert_eq!(claims["acr"], "pwd");

    let info = town.userinfo(access).await;
    assert_eq!(info.status, StatusCode::OK, "{info}");
    assert_eq!(info.json()["preferred_username"], "alice");
    assert_eq!(info.json()["sub"], claims["sub"]);

    let reply = town.refresh(refresh).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    let refreshed = reply.json();
    let child = refreshed["refresh_token"].as_str().unwrap();
    assert_ne!(child, refresh);
    // The reply was lost: the same token gives the same child.
    assert_eq!(town.refresh(refresh).await.json()["refresh_token"], child);

    // A second request needs no page.
    let again = browser.once(&authorize("")).await;
    assert!(left(&again).parameter("code").is_some(), "{again}");

    let path = format!(
        "/id/connect/endsession?id_token_hint={id_token}&post_logout_redirect_uri={}&state=bye",
        encoded("https://app.example.com/bye")
    );
    let done = browser.once(&path).await;
    assert_eq!(
        left(&done).uri,
        "https://app.example.com/bye?state=bye",
        "{done}"
    );
    assert!(!browser.has("session"));
    assert_eq!(town.refresh(child).await.error().1, "invalid_grant");
    assert_eq!(town.userinfo(access).await.status, StatusCode::UNAUTHORIZED);
    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("type=\"password\""), "{page}");
}

/// Returns the claims of a JWT, without looking at its signature.
pub fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap();
    serde_json::from_slice(&json).unwrap()
}
