//! What strangers, and pages that a person visits, take from others: nothing.

use super::browser::left;
use super::*;
use crate::store::testing::{PostgresServer, few};
use crate::store::{Outcome, Settings};
use crate::tokens::{Prefix, SystemEntropy, reference};

/// A town in which alice has a password.
async fn town() -> Town {
    let town = Town::new().await;
    town.enrol().await;
    town
}

/// Any page can lead the browser to an authorization request, with its cookies.
#[tokio::test]
async fn a_page_that_opens_authorization_requests_ends_no_refresh_token() {
    let town = town().await;
    let mut browser = town.browser();
    let first = browser.authorize("").await;
    let tokens = town.redeem(&first.parameter("code").unwrap()).await.json();
    for number in 0..120 {
        let prompt = if number % 2 == 0 { "" } else { "&prompt=none" };
        let navigated = browser.once(&authorize(prompt)).await;
        assert!(left(&navigated).parameter("code").is_some(), "{navigated}");
    }
    let refreshed = town.refresh(tokens["refresh_token"].as_str().unwrap());
    assert_eq!(refreshed.await.status, StatusCode::OK);
}

/// A site of IPv6 has 65,536 networks.
#[tokio::test]
async fn the_networks_of_one_site_do_not_end_what_another_site_has_pushed_for_a_public_client() {
    let town = town().await;
    let request = authorize("");
    let (_, query) = request.split_once('?').unwrap();
    let push = async |address: std::net::Ipv6Addr| {
        let request = form("/id/connect/par", "", query);
        let answer = town.fixture.app.answer(Some(address.into()), request);
        Reply::of(answer.await).await
    };
    let mine = push("2001:db8:1::1".parse().unwrap()).await.json();
    let (mut pushed, mut refused) = (0, 0);
    for network in 0..60_u128 {
        for _ in 0..60 {
            let site = 0x2001_0db8_00cc_u128 << 80;
            let reply = push((site | (network << 64) | 1).into()).await;
            match reply.status {
                StatusCode::CREATED => pushed += 1,
                status => {
                    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{reply}");
                    assert_ne!(reply.header("retry-after"), "(none)");
                    refused += 1;
                }
            }
        }
    }
    assert!(pushed >= 240 && refused >= 2400, "{pushed} {refused}");
    let uri = encoded(mine["request_uri"].as_str().unwrap());
    let path = format!("/id/connect/authorize?client_id={APP}&request_uri={uri}");
    let page = town.browser().get(&path).await;
    assert!(page.body.contains("type=\"password\""), "{page}");
}

/// Anyone can make up a link, as many as they like.
#[tokio::test]
async fn a_link_that_was_made_up_asks_nothing_of_the_store() {
    let town = Town::new().await;
    town.people.store.close().await.unwrap();
    let mut browser = town.browser();
    let genuine = browser.once(&Town::link()).await;
    assert_eq!(genuine.status, StatusCode::SERVICE_UNAVAILABLE, "{genuine}");
    let tag = "A".repeat(43);
    for link in [
        format!("enr1.x.1.9.{tag}"),
        format!("enr1.{ALICE}.1.99999999999.{tag}"),
    ] {
        let page = browser.once(&format!("/id/enroll?link={link}")).await;
        assert!(page.status.is_client_error(), "{page}");
    }
}

/// A made-up session cookie needs no credentials, and each request with one asks the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_slow_two_addresses_do_not_keep_a_third_from_it() {
    let database = PostgresServer::start(&[]);
    let settings = Settings::new(&database.url, "symbolon", few(1)).unwrap();
    let town = Town::with(Store::connect(settings).await.unwrap()).await;
    town.enrol().await;
    let cookies = {
        let mut browser = town.browser();
        browser.authorize("").await;
        browser.cookies.clone()
    };
    let (name, session) = cookies
        .iter()
        .find(|(name, _)| name.contains("symbolon-session-"))
        .unwrap();
    let session = format!("{name}={session}");
    let prefix = Prefix::default();
    let minted = reference::mint(&prefix, reference::Kind::Session, &mut SystemEntropy);
    let made_up = format!("{name}={}", minted.token.expose());
    let ask = |address: [u8; 4], cookie: &str| {
        let request = Request::get("/id/signin").header("cookie", cookie);
        let request = request.body(Body::empty()).unwrap();
        let app = town.fixture.app.clone();
        tokio::spawn(
            async move { Reply::of(app.answer(Some(address.into()), request).await).await },
        )
    };

    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, is_released) = tokio::sync::oneshot::channel::<()>();
    let store = town.people.store.clone();
    let holding = tokio::spawn(async move {
        let held = store.write(move |_| {
            Box::pin(async move {
                begun.send(()).unwrap();
                is_released.await.unwrap_or_default();
                Ok(Outcome::Cancel(()))
            })
        });
        held.await
    });
    has_begun.await.unwrap();
    let flood: Vec<_> = (0..600_u16)
        .map(|number| ask([203, 0, 113 + u8::from(number % 2 == 0), 1], &made_up))
        .collect();
    // Those beyond the shares of the two are refused at once.
    let refused = || flood.iter().filter(|asked| asked.is_finished()).count();
    let all_have_come = tokio::time::timeout(Duration::from_secs(60), async {
        while refused() < 600 - 2 * 128 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    all_have_come.await.unwrap();
    let alice = ask([198, 51, 100, 1], &session);
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
    let page = alice.await.unwrap();
    assert_eq!(page.status, StatusCode::OK, "{page}");
    assert!(page.body.contains("alice"), "{page}");
    let mut busy = 0;
    for asked in flood {
        let reply = asked.await.unwrap();
        busy += usize::from(reply.status == StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(busy, 600 - 2 * 128);
}
