//! Requests for several APIs (RFC 8707), and what a pushed request may ask for (RFC 9126).

use super::main_path::payload;
use super::*;

/// RFC 8707 section 2.2: the person allows both APIs at once, and no token serves at both.
#[tokio::test]
async fn one_request_names_resources_of_different_owners_and_each_token_is_for_one() {
    let mut town = Town::new().await;
    town.enrol().await;
    town.change(
        "orders.read]\n  redirectUris",
        "orders.read, green:items]\n  redirectUris",
    );
    let (orders, items) = ("https://api.example.com", "https://id.example.com/id/green");
    let both = format!("&resource={}&resource={}", encoded(orders), encoded(items));
    let path =
        authorize(&both).replace("scope=openid", "scope=openid%20orders.read%20green%3Aitems");
    let mut browser = town.browser();
    let page = browser.get(&path).await;
    let left = browser.reach_client(page).await;
    let code = left.parameter("code").unwrap_or_else(|| panic!("{left:?}"));
    // Without a choice, and for another resource, the code stays unused.
    assert_eq!(town.redeem(&code).await.error().1, "invalid_target");
    let other = format!("{code}&resource=https%3A%2F%2Fother.example.com");
    assert_eq!(town.redeem(&other).await.error().1, "invalid_target");
    let first = town
        .redeem(&format!("{code}&resource={}", encoded(orders)))
        .await;
    assert_eq!(first.status, StatusCode::OK, "{first}");
    let first = first.json();
    let refresh = first["refresh_token"].as_str().unwrap();
    let second = town
        .refresh(&format!("{refresh}&resource={}", encoded(items)))
        .await;
    let second = second.json();
    for (tokens, audience, scope) in [
        (first, orders, "orders.read"),
        (second, items, "green:items"),
    ] {
        let claims = payload(tokens["access_token"].as_str().unwrap());
        assert_eq!(claims["aud"], audience);
        assert_eq!(claims["scope"], scope);
    }
}

/// RFC 9126 section 2.1: it is checked as at the authorization endpoint, so the client learns at once what is wrong.
#[tokio::test]
async fn a_pushed_request_for_what_the_client_may_not_have_is_refused() {
    let town = Town::new().await;
    let pushed = async |path: String| {
        let query = path.split_once('?').unwrap().1.to_owned();
        town.fixture.post("/id/connect/par", "", &query).await
    };
    let good = pushed(authorize("")).await;
    assert_eq!(good.status, StatusCode::CREATED, "{good}");
    let unknown = authorize("").replace("scope=openid", "scope=openid%20orders.write");
    let nowhere = authorize("&resource=https%3A%2F%2Fother.example.com");
    for (path, error) in [
        (unknown, "invalid_scope"),
        (nowhere, "invalid_target"),
        (authorize("&prompt=none%20login"), "invalid_request"),
        (authorize("&request=x"), "request_not_supported"),
    ] {
        let refused = pushed(path).await;
        assert_eq!(refused.error(), (400, error.to_owned()), "{refused}");
    }
}
