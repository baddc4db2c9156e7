//! Tokens of people are signed in the turn of their client, as those of machines are.

use super::*;
use crate::server::tests::token::busy;

/// Waits until so many requests of the app's namespace wait for their turn.
async fn in_line(town: &Town, count: usize) {
    let app = ObjectKey::new("blue", "app");
    while town.fixture.app.signing().in_line(&app) != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn tokens_of_people_wait_while_their_client_has_many_requests_to_sign() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    let code = browser.authorize("").await.parameter("code").unwrap();
    let app = ObjectKey::new("blue", "app");
    let mut last = None;
    for step in ["code", "refresh token"] {
        let signing = busy(&town.fixture, &app);
        let token: Option<String> = last.take();
        let request = async {
            match &token {
                None => town.redeem(&code).await,
                Some(token) => town.refresh(token).await,
            }
        };
        let mut request = Box::pin(request);
        tokio::select! {
            reply = &mut request => panic!("{step}: {reply}"),
            () = in_line(&town, 1) => {}
        }
        drop(signing);
        let reply = request.await;
        assert_eq!(reply.status, StatusCode::OK, "{step}: {reply}");
        last = reply.json()["refresh_token"].as_str().map(str::to_owned);
        assert_eq!(busy(&town.fixture, &app).len(), 2 * processors());
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[tokio::test]
async fn requests_for_tokens_of_people_that_wait_are_bounded_and_those_refused_use_up_no_code() {
    let store = Store::in_memory().await.unwrap();
    let town = Town::configured(store, |config| config.limits.requests = 12).await;
    town.enrol().await;
    let mut browser = town.browser();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(browser.authorize("").await.parameter("code").unwrap());
    }
    let signing = busy(&town.fixture, &ObjectKey::new("blue", "app"));
    let (last, first) = codes.split_last().unwrap();
    let waiting = futures::future::join_all(first.iter().map(|code| town.redeem(code)));
    let refused = async {
        in_line(&town, 3).await;
        let refused = town.redeem(last).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.header("retry-after"), "1");
        drop(signing);
    };
    let (replies, ()) = tokio::join!(waiting, refused);
    for reply in replies {
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
    }
    let reply = town.redeem(last).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
}

#[tokio::test]
async fn a_client_that_is_deleted_while_its_request_waits_gets_no_token_of_a_person() {
    let town = Town::new().await;
    town.enrol().await;
    let code = town.code().await;
    let app = ObjectKey::new("blue", "app");
    let signing = busy(&town.fixture, &app);
    let leaves = async {
        in_line(&town, 1).await;
        let deleted = crate::directory::Change::Delete(Kind::OAuthClient, app.clone());
        town.fixture.app.publisher().apply([deleted]);
        drop(signing);
    };
    let (reply, ()) = tokio::join!(town.redeem(&code), leaves);
    assert_eq!(reply.error(), (401, "invalid_client".into()));
}

/// Its look-up waits for the store within the revocation, which waits as well: each must free the turn.
#[tokio::test]
async fn a_revocation_never_waits_for_a_second_turn_of_its_connection() {
    let town = Town::new().await;
    town.enrol().await;
    let tokens = town.redeem(&town.code().await).await.json();
    for kind in ["access_token", "refresh_token"] {
        let body = format!("client_id={APP}&token={}", tokens[kind].as_str().unwrap());
        // Over a connection with a single turn.
        let mut browser = town.browser();
        let revoked = browser.post_once("/id/connect/revocation", &body);
        let revoked = tokio::time::timeout(Duration::from_mins(1), revoked).await;
        let reply = revoked.expect("it waits for its own turn");
        assert_eq!(reply.status, StatusCode::OK, "{kind} {reply}");
    }
}
