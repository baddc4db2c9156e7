//! The gates against guessing keep attackers out, and let each person back in.

use super::*;
use crate::people::password::Password;
use crate::people::session::SessionLimits;
use crate::server::people::sign_in::{Failed, Tried};
use crate::tokens::Prefix;

async fn fails(town: &Town, name: &str, password: &str) -> Reply {
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let fields = [("username", name), ("password", password)];
    browser.submit(&page, &fields).await
}

/// Someone guesses until the account takes no more guesses from strangers.
async fn lock_out(town: &Town) {
    for _ in 0..20 {
        let reply = fails(town, "alice", "not the password").await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply}");
    }
    panic!("no limit");
}

#[tokio::test]
async fn an_enrolment_link_leads_a_locked_out_person_back() {
    let town = Town::new().await;
    lock_out(&town).await;
    let mut browser = town.browser();
    let page = browser.get(&Town::link()).await;
    let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
    let done = browser.submit(&page, &fields).await;
    assert_eq!(done.status, StatusCode::OK, "{done}");

    let mut another = town.browser();
    let page = another.get(&authorize("")).await;
    let done = another.sign_in(&page).await;
    assert_eq!(done.status, StatusCode::OK, "the gate is open: {done}");

    lock_out(&town).await;
    let page = browser.get(&authorize("")).await;
    let done = browser.sign_in(&page).await;
    assert_eq!(done.status, StatusCode::OK, "a known browser: {done}");
    let refused = fails(&town, "alice", PASSWORD).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
}

/// It is refused without a hash, so a stranger could close the gates of whole networks with it.
#[tokio::test]
async fn a_password_that_is_too_long_to_be_one_counts_at_no_gate() {
    let town = Town::new().await;
    town.enrol().await;
    let long = "x".repeat(2000);
    for name in ["alice", "nobody"] {
        for _ in 0..30 {
            let reply = fails(&town, name, &long).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply}");
        }
    }
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let done = browser.sign_in(&page).await;
    assert_eq!(done.status, StatusCode::OK, "{done}");
}

/// Behind a NAT64 each caller counts as its IPv4 address, else a site without IPv4 would have the room of one caller.
#[tokio::test]
async fn callers_behind_a_nat64_do_not_share_a_gate() {
    let town = Town::new().await;
    let keys = PeopleKeys::new(mac(), None, ISSUER);
    let store = town.people.store.clone();
    let mut people = People::new(store, keys, Passwords::default());
    people.attempts.network.burst = 1;
    people.attempts.network.interval = Duration::from_hours(1);
    let hour = Duration::from_hours(1);
    let is_admitted = async |name: &str, address: &str| {
        let tried = Tried {
            name,
            candidate: None,
            password: Password::new("not the password").ok(),
            address: Some(address.parse().unwrap()),
            known: None,
            present: None,
            is_remembered: false,
            limits: SessionLimits {
                idle: hour,
                absolute: hour,
                remembered: hour,
            },
            prefix: Prefix::default(),
        };
        let proved = people.prove(tried, now(), |_| None).await.unwrap();
        !matches!(proved, Err(Failed::TooMany { .. }))
    };
    assert!(is_admitted("one", "64:ff9b::192.0.2.1").await);
    assert!(is_admitted("two", "64:ff9b::192.0.2.2").await);
    assert!(!is_admitted("three", "192.0.2.1").await);
    assert!(!is_admitted("four", "::ffff:192.0.2.2").await);
}
