//! What one namespace, and one person at one client, can store.

use super::super::area::code::{Authorized, Redeemed};
use super::super::area::pushed::Room;
use super::super::area::refresh::Refreshed;
use super::contract;
use super::world::{NOW, SHOP, World, at, pushed_by, room};
use crate::people::grant::{EndsWith, MOST_OF_CLIENT};
use crate::people::pushed::Pushed;

contract!(
    pushed_requests_are_capped,
    what_a_namespace_pushes_is_bounded_in_bytes,
    a_pushed_request_that_no_browser_presents_is_deleted_when_it_expires,
    the_oldest_of_too_many_grants_of_a_person_and_client_ends,
);

async fn pushed_requests_are_capped(world: &World) {
    let store = &world.store;
    let push = async |pushed: &Pushed, most| {
        let admitted = store.push_request(pushed.clone(), &room(most)).await;
        assert!(admitted.unwrap());
    };
    let is_kept = async |pushed: &Pushed| {
        let (table, id) = (store.qualifier(), pushed.id.as_str());
        let query = format!("SELECT 1 FROM {table}par WHERE id = '{id}'");
        !store.all(&query).await.unwrap().is_empty()
    };
    // One more than the cap lets the oldest go, whether a browser presented it or not.
    let open: Vec<Pushed> = (0..3)
        .map(|second| Pushed {
            expires_at: at(NOW + 60 + second),
            ..pushed_by("shop")
        })
        .collect();
    for pushed in &open {
        push(pushed, 3).await;
    }
    let shown = store.present_request(open[0].id, open[0].hash, "shop", at(NOW));
    assert!(shown.await.unwrap().is_some());
    push(&pushed_by("other"), 3).await;
    assert!(is_kept(&open[0]).await, "another client's do not count");
    let next = Pushed {
        expires_at: at(NOW + 70),
        ..pushed_by("shop")
    };
    push(&next, 3).await;
    assert!(!is_kept(&open[0]).await, "the oldest");
    assert!(is_kept(&open[1]).await);
    assert!(is_kept(&open[2]).await);
    assert!(is_kept(&next).await);
    // A used one goes first.
    let account = world.person().await;
    let session = world.session(&account).await;
    let authorized = Authorized {
        pushed: Some(next.id),
        ..World::new_code(&session, EndsWith::Grant).authorized()
    };
    assert!(
        store
            .issue_code(authorized, at(NOW))
            .await
            .unwrap()
            .is_some()
    );
    push(&pushed_by("shop"), 3).await;
    assert!(!is_kept(&next).await);
    assert!(is_kept(&open[1]).await);
}

/// A public client's requests can be pushed by anyone, and a tenant can have many clients.
async fn what_a_namespace_pushes_is_bounded_in_bytes(world: &World) {
    const ROW: usize = 16 << 10;
    let store = &world.store;
    // The text that JSON makes longest. PostgreSQL stores no NUL, and JSON sends none.
    let longest: String = "\\u0000".chars().cycle().take(ROW).collect();
    let of = |namespace: &str| Room {
        namespace: namespace.to_owned(),
        of_client: 4,
        of_namespace: 10,
    };
    let mut pushed = Vec::new();
    for turn in 0..10 {
        for client in ["one", "two", "three", "four"] {
            let request = Pushed {
                request: longest.clone(),
                expires_at: at(NOW + 60 + turn),
                ..pushed_by(client)
            };
            let added = store.push_request(request.clone(), &of("blue")).await;
            assert!(added.unwrap(), "the oldest goes, and not the newest");
            // Some are presented, some are used.
            if turn % 2 == 0 {
                let shown = store.present_request(request.id, request.hash, client, at(NOW));
                assert!(shown.await.unwrap().is_some());
            }
            pushed.push(request);
        }
    }
    let foreign = store.push_request(pushed_by("five"), &of("green")).await;
    assert!(foreign.unwrap());
    let kept = async |namespace: &str| {
        let query = format!(
            "SELECT count(*), CAST(coalesce(sum(length(request)), 0) AS BIGINT) FROM {}par WHERE namespace = '{namespace}'",
            store.qualifier()
        );
        let row = store.ask(&query).await.unwrap();
        (row.int(0).unwrap(), row.int(1).unwrap())
    };
    let most = i64::try_from(10 * ROW).unwrap();
    assert_eq!(kept("blue").await, (10, most));
    assert_eq!(kept("green").await.0, 1);
    let last = pushed.last().unwrap();
    let shown = store.present_request(last.id, last.hash, &last.client, at(NOW));
    assert_eq!(shown.await.unwrap().unwrap().request, longest);
}

async fn a_pushed_request_that_no_browser_presents_is_deleted_when_it_expires(world: &World) {
    let store = &world.store;
    let requests = [pushed_by("shop"), pushed_by("shop"), pushed_by("shop")];
    for pushed in &requests {
        let added = store.push_request(pushed.clone(), &room(10)).await;
        assert!(added.unwrap());
    }
    let [_, shown, used] = &requests;
    let present = store.present_request(shown.id, shown.hash, "shop", at(NOW + 30));
    assert!(present.await.unwrap().is_some());
    let kept = async |second| {
        store.delete_expired(at(NOW + second)).await.unwrap();
        let dump = world.dump().await;
        dump.iter().filter(|row| row.starts_with("par:")).count()
    };
    assert_eq!(kept(0).await, 3);
    let account = world.person().await;
    let session = world.session(&account).await;
    let authorized = Authorized {
        pushed: Some(used.id),
        ..World::new_code(&session, EndsWith::Grant).authorized()
    };
    assert!(
        store
            .issue_code(authorized, at(NOW))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(kept(59).await, 2, "the used one has gone");
    assert_eq!(kept(60).await, 1);
    assert_eq!(kept(629).await, 1, "people reload the page");
    assert_eq!(kept(630).await, 0);
}

/// Once the person has consented, a code costs only a request, and its rows last.
async fn the_oldest_of_too_many_grants_of_a_person_and_client_ends(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let session = world.session(&account).await;
    let issue = async |number: u32, client: &str| {
        let mut coded = World::new_code(&session, EndsWith::Grant);
        coded.grant.created_at = at(NOW + i64::from(number));
        coded.grant.client = client.to_owned();
        let issued = store.issue_code(coded.authorized(), at(NOW)).await;
        (coded, issued.unwrap().unwrap())
    };
    let (first, ended) = issue(0, SHOP.id).await;
    assert_eq!(ended, []);
    let (redeemed, token) = world.redeem(&first.request, NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Granted(_)));
    for number in 1..MOST_OF_CLIENT {
        assert_eq!(issue(number, SHOP.id).await.1, []);
    }
    assert_eq!(
        issue(0, "other").await.1,
        [],
        "another client's do not count"
    );
    assert!(store.grant(first.grant.id).await.unwrap().is_some());
    let (last, ended) = issue(MOST_OF_CLIENT, SHOP.id).await;
    assert_eq!(ended, [first.grant.id]);
    assert_eq!(store.grant(first.grant.id).await.unwrap(), None);
    let refreshed = world.refresh(&token, NOW).await.unwrap();
    assert!(
        matches!(refreshed, Refreshed::Refused { .. }),
        "{refreshed:?}"
    );
    let (redeemed, _) = world.redeem(&last.request, NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Granted(_)));
}
