//! Two servers with one database: what one does counts at the other, and without the database only people wait.

use super::*;
use crate::store::Settings;
use crate::store::testing::{PostgresServer, few};

/// Changes at one server are known to the other within this time.
const SOON: Duration = Duration::from_secs(1);

/// Returns a server with a pool of its own.
async fn replica(database: &PostgresServer) -> Town {
    let settings = Settings::new(&database.url, "symbolon", few(4)).unwrap();
    Town::with(Store::connect(settings).await.unwrap()).await
}

/// The tokens of a person who signs in at a server, and her browser there.
async fn signed_in(town: &Town) -> (Value, Browser<'_>) {
    town.enrol().await;
    let mut browser = town.browser();
    let left = browser.authorize("").await;
    let reply = town.redeem(&left.parameter("code").unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    (reply.json(), browser)
}

fn text<'v>(tokens: &'v Value, name: &str) -> &'v str {
    tokens[name].as_str().unwrap()
}

/// Waits until a server refuses a refresh token, and returns how long that took.
async fn ended(town: &Town, token: &str) -> Duration {
    let begun = std::time::Instant::now();
    while town.refresh(token).await.status == StatusCode::OK {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never ends");
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_at_one_replica_refreshes_at_another_and_signs_out_at_both() {
    let database = PostgresServer::start(&[]);
    let (first, second) = (replica(&database).await, replica(&database).await);
    let (tokens, browser) = signed_in(&first).await;
    let parent = text(&tokens, "refresh_token");

    // The balancer sends the refresh, its repetition and the browser to other servers.
    let reply = second.refresh(parent).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    let refreshed = reply.json();
    let child = text(&refreshed, "refresh_token");
    assert_eq!(first.refresh(parent).await.json()["refresh_token"], child);
    let info = second.userinfo(text(&tokens, "access_token")).await;
    assert_eq!(info.json()["preferred_username"], "alice", "{info}");
    let mut elsewhere = second.browser();
    elsewhere.cookies = browser.cookies.clone();
    let again = elsewhere.once(&authorize("")).await;
    assert!(browser::left(&again).parameter("code").is_some(), "{again}");

    let path = format!(
        "/id/connect/endsession?id_token_hint={}&post_logout_redirect_uri={}",
        text(&tokens, "id_token"),
        encoded("https://app.example.com/bye")
    );
    let done = elsewhere.once(&path).await;
    assert_eq!(
        browser::left(&done).uri,
        "https://app.example.com/bye",
        "{done}"
    );
    for town in [&first, &second] {
        let took = ended(town, child).await;
        assert!(took <= SOON, "{took:?}");
        let info = town.userinfo(text(&tokens, "access_token")).await;
        assert_eq!(info.status, StatusCode::UNAUTHORIZED, "{info}");
    }
    let mut browser = browser;
    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("type=\"password\""), "{page}");
}

/// One guess is one guess, whichever replica it reaches; a code is used once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_redeemed_at_one_of_two_replicas() {
    let database = PostgresServer::start(&[]);
    let (first, second) = (replica(&database).await, replica(&database).await);
    let (_, mut browser) = signed_in(&first).await;
    let left = browser.authorize("").await;
    let code = left.parameter("code").unwrap();
    let (one, other) = tokio::join!(first.redeem(&code), second.redeem(&code));
    let statuses = [one.status, other.status];
    let won = statuses.iter().filter(|it| **it == StatusCode::OK).count();
    assert_eq!(won, 1, "{one} {other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_machines_go_on_and_people_wait_until_it_is_back() {
    let mut database = PostgresServer::start(&[]);
    let mut town = replica(&database).await;
    let machine = town.fixture.shop();
    let tokens = signed_in(&town).await.0;
    let refresh = text(&tokens, "refresh_token");

    database.kill();
    for _ in 0..3 {
        for reply in [
            town.refresh(refresh).await,
            town.userinfo(text(&tokens, "access_token")).await,
            town.browser().get(&Town::link()).await,
        ] {
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply}");
            assert_ne!(reply.header("retry-after"), "(none)", "{reply}");
        }
        let reply = town.fixture.token(&machine, "").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
        assert_eq!(town.fixture.app.readiness(now()), Ok(()));
    }

    database.restart();
    let back = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let reply = town.refresh(refresh).await;
            if reply.status == StatusCode::OK {
                return reply.json();
            }
        }
    });
    let refreshed = back.await.unwrap();
    let info = town.userinfo(text(&refreshed, "access_token")).await;
    assert_eq!(info.status, StatusCode::OK, "{info}");
}
