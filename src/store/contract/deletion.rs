//! Expired rows are deleted in bounded batches, and nothing that is still needed.

use std::time::Duration;

use futures::future::join_all;

use super::super::area::code::Redeemed;
use super::super::cleanup::BATCH;
use super::super::{Cleaned, Deleted};
use super::contract;
use super::world::{NOW, SHOP, World, at};
use crate::people::grant::EndsWith;
use crate::people::later;
use crate::people::notice::Participant;
use crate::people::session::{MAX_SESSIONS, Session};

contract!(
    each_round_deletes_a_bounded_batch,
    rows_go_when_nothing_needs_them_any_more,
    sessions_that_have_ended_go_long_before_they_would_have_expired,
    sessions_that_a_family_outlives_are_no_expired_rows,
    a_session_knows_its_clients_when_their_grants_are_deleted,
    the_age_of_the_oldest_expired_row_is_known,
    the_background_task_deletes_all_that_has_expired,
    replicas_that_delete_at_the_same_time_delete_each_row_once,
);

async fn fill_once(world: &World, count: u64) {
    let accept = |number: u64| {
        let mut value = [0; 32];
        value[..8].copy_from_slice(&number.to_be_bytes());
        world.store.accept_once(value, at(NOW + 60), at(NOW))
    };
    for start in (0..count).step_by(100) {
        for accepted in join_all((start..(start + 100).min(count)).map(accept)).await {
            assert!(accepted.unwrap());
        }
    }
}

async fn each_round_deletes_a_bounded_batch(world: &World) {
    let batch = BATCH.unsigned_abs();
    fill_once(world, batch + 100).await;
    let round = |now| world.store.delete_expired(at(now));
    assert_eq!(round(NOW + 59).await.unwrap(), Deleted::default());
    let first = round(NOW + 60).await.unwrap();
    assert_eq!((first.rows, first.more), (batch, true));
    let second = round(NOW + 60).await.unwrap();
    assert_eq!((second.rows, second.more), (100, false));
    assert!(world.dump().await.is_empty());
}

async fn rows_go_when_nothing_needs_them_any_more(world: &World) {
    let (coded, token) = world.family(EndsWith::Session).await;
    let count = |table: &str, dump: &[String]| {
        dump.iter()
            .filter(|row| row.starts_with(&format!("{table}:")))
            .count()
    };
    let counts = |dump: Vec<String>| {
        ["code", "refresh", "grants", "participant", "session"].map(|table| count(table, &dump))
    };
    let round = |after| world.store.delete_expired(at(NOW + after));
    // The code is kept for ten minutes after its expiry.
    round(659).await.unwrap();
    assert_eq!(counts(world.dump().await), [1, 1, 1, 1, 1]);
    round(660).await.unwrap();
    assert_eq!(counts(world.dump().await), [0, 1, 1, 1, 1]);
    // The session is revoked, and its grant with it. The rows stay until the grant expires, and the token is refused.
    world
        .store
        .end_session(coded.grant.session, at(NOW + 700))
        .await
        .unwrap();
    round(9_999).await.unwrap();
    assert_eq!(counts(world.dump().await), [0, 1, 1, 1, 1]);
    assert!(matches!(
        world.refresh(&token, NOW + 700).await.unwrap(),
        super::super::area::refresh::Refreshed::Refused { .. }
    ));
    round(10_000).await.unwrap();
    assert_eq!(counts(world.dump().await), [0, 0, 0, 0, 0]);
}

/// A person can sign in again and again, and sessions may last for months.
async fn sessions_that_have_ended_go_long_before_they_would_have_expired(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let begun = std::cell::Cell::new(0);
    let begin = async || {
        begun.set(begun.get() + 1);
        let session = Session {
            created_at: later(at(NOW), Duration::from_micros(begun.get())),
            ..World::new_session(&account, NOW)
        };
        let begun = store.begin_session(session.clone(), Vec::new()).await;
        assert!(begun.unwrap().is_some());
        session
    };
    let sessions = async |second: i64| {
        while store.delete_expired(at(NOW + second)).await.unwrap().more {}
        let dump = world.dump().await;
        dump.iter()
            .filter(|row| row.starts_with("session:"))
            .count()
    };
    let most = usize::from(MAX_SESSIONS);
    for _ in 0..most + 30 {
        begin().await;
    }
    let last = begin().await;
    // A code that no one redeems, a grant that lasts longer than its session, and one that ends with it.
    let unused = World::new_code(&last, EndsWith::Session);
    let issued = store.issue_code(unused.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    for ends_with in [EndsWith::Session, EndsWith::Grant] {
        let session = begin().await;
        let coded = World::new_code(&session, ends_with);
        let issued = store.issue_code(coded.authorized(), at(NOW)).await;
        assert!(issued.unwrap().is_some());
        let (redeemed, _) = world.redeem(&coded.request, NOW).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Granted(_)));
        assert!(store.end_session(session.id, at(NOW)).await.unwrap());
    }
    assert!(store.end_session(last.id, at(NOW)).await.unwrap());
    let open = most - 2;
    assert_eq!(
        sessions(599).await,
        most + 33,
        "their clients are told meanwhile"
    );
    assert_eq!(sessions(601).await, open + 3, "those with grants stay");
    assert_eq!(sessions(660).await, open + 2, "the code is gone");
    assert_eq!(sessions(9_999).await, open + 2);
    assert_eq!(sessions(10_000).await, open);
    assert_eq!(sessions(86_400).await, 0);
}

/// Otherwise each look would read all of them, for months: refresh tokens last much longer than sessions.
async fn sessions_that_a_family_outlives_are_no_expired_rows(world: &World) {
    let account = world.person().await;
    let session = Session {
        expires_at: at(NOW + 1_000),
        ..World::new_session(&account, NOW)
    };
    let begun = world.store.begin_session(session.clone(), Vec::new()).await;
    assert!(begun.unwrap().is_some());
    let overdue = |now| async move {
        let all = world.store.overdue(at(now)).await.unwrap();
        all.into_iter()
            .find(|it| it.table == "session")
            .unwrap()
            .age
    };
    assert_eq!(overdue(NOW + 2_000).await, Duration::from_secs(1_000));
    let coded = World::new_code(&session, EndsWith::Grant);
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let (redeemed, _) = world.redeem(&coded.request, NOW).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Granted(_)), "{redeemed:?}");
    // Another sign-in in the same browser ends sooner than the family.
    assert!(world.store.renew_session(session).await.unwrap());
    assert_eq!(overdue(NOW + 10_000).await, Duration::ZERO);
    let last = at(NOW + 10_000 + 86_400);
    while world.store.delete_expired(last).await.unwrap().more {}
    assert!(
        world
            .dump()
            .await
            .iter()
            .all(|row| row.starts_with("account:"))
    );
}

async fn a_session_knows_its_clients_when_their_grants_are_deleted(world: &World) {
    let coded = world.code(EndsWith::Session).await;
    let two_hours = at(NOW + 7_200);
    world.store.delete_expired(two_hours).await.unwrap();
    assert_eq!(world.store.grant(coded.grant.id).await.unwrap(), None);
    let clients = world.store.sign_out(coded.grant.session, two_hours).await;
    let expected = Participant {
        id: SHOP.id.to_owned(),
        uid: SHOP.uid.to_owned(),
    };
    assert_eq!(clients.unwrap(), Some(vec![expected]));
}

async fn the_age_of_the_oldest_expired_row_is_known(world: &World) {
    fill_once(world, 1).await;
    let age = |now| async move {
        let all = world.store.overdue(at(now)).await.unwrap();
        all.into_iter().find(|it| it.table == "once").unwrap().age
    };
    assert_eq!(age(NOW).await, Duration::ZERO);
    assert_eq!(age(NOW + 90).await, Duration::from_secs(30));
}

async fn the_background_task_deletes_all_that_has_expired(world: &World) {
    let batch = BATCH.unsigned_abs();
    fill_once(world, 2 * batch + 1).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |cleaned: Result<Cleaned, _>| drop(sender.send(cleaned.unwrap()));
    let task = world.store.keep_clean(|| at(NOW + 60), tell);
    let first = tokio::select! {
        () = task => unreachable!("it never ends"),
        first = receiver.recv() => first.unwrap(),
    };
    assert_eq!(first.rows, 2 * batch + 1);
    assert!(first.overdue.iter().all(|it| it.age == Duration::ZERO));
    assert!(world.dump().await.is_empty());
}

async fn replicas_that_delete_at_the_same_time_delete_each_row_once(world: &World) {
    let count = 3 * BATCH.unsigned_abs();
    fill_once(world, count).await;
    let mut deleted = 0;
    // A round may find every row in the hands of another replica.
    while deleted < count {
        for round in join_all((0..4).map(|_| world.store.delete_expired(at(NOW + 60)))).await {
            deleted += round.unwrap().rows;
        }
    }
    assert_eq!(deleted, count);
    assert!(world.dump().await.is_empty());
}

/// A store in a file gives the space of deleted rows back.
#[tokio::test]
async fn the_sqlite_file_shrinks() {
    let world = World::sqlite().await;
    fill_once(&world, 20_000).await;
    let path = world.folder.as_ref().unwrap().path().join("symbolon.db");
    let size = || async {
        world
            .store
            .ask("PRAGMA wal_checkpoint(TRUNCATE)")
            .await
            .ok();
        std::fs::metadata(&path).unwrap().len()
    };
    let full = size().await;
    while world.store.delete_expired(at(NOW + 60)).await.unwrap().more {}
    // Each round gives back some pages; a few more rounds do the rest.
    for _ in 0..50 {
        world.store.delete_expired(at(NOW + 60)).await.unwrap();
    }
    world.store.close().await.unwrap();
    let empty = std::fs::metadata(&path).unwrap().len();
    assert!(empty < full.max(1_000_000) / 4, "{full} -> {empty}");
}
