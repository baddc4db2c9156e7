//! What the consent page shows, and what the person's consent covers.

use super::browser::left;
use super::main_path::payload;
use super::*;

/// The Scope `orders.read`, which releases these claims.
fn scope(claims: &str) -> String {
    format!(
        "apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {{name: orders.read, namespace: platform}}
spec:
  identityRef: {{name: main}}
  audiences: [https://api.example.com]
  allowedNamespaces: {{from: All}}
  description: Reads the orders
  claims: [{claims}]
"
    )
}

fn request() -> String {
    authorize("").replace("scope=openid%20profile", "scope=openid%20orders.read")
}

async fn town(claims: &str) -> Town {
    let mut town = Town::new().await;
    town.fixture.apply(&scope(claims));
    town.enrol().await;
    town
}

#[tokio::test]
async fn the_consent_page_shows_every_fact_that_is_released_by_whatever_scope() {
    let town = town("name, preferred_username, email, groups, department").await;
    let mut browser = town.browser();
    let page = browser.get(&request()).await;
    let consent = browser.sign_in(&page).await;
    for fact in [
        "Alice Adams",
        "alice@example.com",
        "staff",
        "sales",
        "Reads the orders",
    ] {
        assert!(consent.body.contains(fact), "{fact}: {consent}");
    }
}

#[tokio::test]
async fn a_scope_that_releases_more_than_was_shown_needs_a_new_consent() {
    let mut town = town("department").await;
    let mut browser = town.browser();
    let page = browser.get(&request()).await;
    let done = browser.reach_client(page).await;
    let tokens = town.redeem(&done.parameter("code").unwrap()).await.json();
    let claims = |reply: &serde_json::Value| payload(reply["access_token"].as_str().unwrap());
    assert_eq!(claims(&tokens)["department"], "sales");

    let cookies = browser.cookies.clone();
    town.fixture.apply(&scope("department, email"));
    let mut browser = town.browser();
    browser.cookies = cookies;
    // The grant from before gives what the person allowed.
    let refreshed = town
        .refresh(tokens["refresh_token"].as_str().unwrap())
        .await;
    let refreshed = claims(&refreshed.json());
    assert_eq!(refreshed["department"], "sales");
    assert_eq!(refreshed.get("email"), None, "{refreshed}");
    // The person is asked, and sees the new fact.
    let silent = browser.once(&format!("{}&prompt=none", request())).await;
    let error = left(&silent).parameter("error");
    assert_eq!(error.as_deref(), Some("consent_required"));
    let consent = browser.get(&request()).await;
    assert!(consent.body.contains("alice@example.com"), "{consent}");
    let done = browser.submit(&consent, &[]).await;
    let code = left(&done).parameter("code").unwrap();
    let tokens = town.redeem(&code).await.json();
    assert_eq!(claims(&tokens)["email"], "alice@example.com");
    // Less than was allowed needs no consent.
    let cookies = browser.cookies.clone();
    town.fixture.apply(&scope("email"));
    let mut browser = town.browser();
    browser.cookies = cookies;
    let silent = browser.once(&format!("{}&prompt=none", request())).await;
    assert!(left(&silent).parameter("code").is_some(), "{silent}");
}

#[tokio::test]
async fn a_page_that_was_shown_before_the_scope_released_more_allows_nothing() {
    let mut town = town("department").await;
    let mut browser = town.browser();
    let page = browser.get(&request()).await;
    let consent = browser.sign_in(&page).await;
    let cookies = browser.cookies.clone();
    town.fixture.apply(&scope("department, email"));
    let mut browser = town.browser();
    browser.cookies = cookies;
    let again = browser.submit(&consent, &[]).await;
    assert!(again.body.contains("Allow"), "{again}");
    assert!(again.body.contains("alice@example.com"), "{again}");
}
