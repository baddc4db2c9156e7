//! Clients with a secret.

use super::*;

pub const WEB: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: web, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  displayName: The Site
  grantTypes: [AuthorizationCode, RefreshToken]
  scopes: [openid, profile, offline_access]
  redirectUris: [https://app.example.com/callback]
";

#[tokio::test]
async fn a_client_with_a_secret_needs_it_and_keeps_its_refresh_token() {
    let mut town = Town::new().await;
    town.enrol().await;
    town.fixture.apply(WEB);
    let web = town.fixture.client("blue", "web");
    let mut browser = town.browser();
    let path = authorize("").replace(APP, "blue.web");
    let page = browser.get(&path).await;
    assert!(page.body.contains("The Site"), "{page}");
    let code = browser.reach_client(page).await.parameter("code").unwrap();
    let body = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={}&code_verifier={VERIFIER}",
        encoded(REDIRECT)
    );
    // Without the secret, and as another client, the code stays unused.
    let bare = town
        .fixture
        .post(TOKEN, "", &format!("{body}&client_id=blue.web"))
        .await;
    assert_eq!(bare.error().1, "invalid_client");
    assert_eq!(town.redeem(&code).await.error().1, "invalid_grant");
    let reply = town.fixture.post(TOKEN, &web, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    let refresh = reply.json()["refresh_token"].as_str().unwrap().to_owned();

    let told = town.fixture.introspect(&web, &refresh).await;
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(told["client_id"], "blue.web");
    let body = format!("grant_type=refresh_token&refresh_token={refresh}");
    for _ in 0..2 {
        let reply = town.fixture.post(TOKEN, &web, &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
    }
    // The app cannot use what another client was given.
    assert_eq!(town.refresh(&refresh).await.error().1, "invalid_grant");
}
