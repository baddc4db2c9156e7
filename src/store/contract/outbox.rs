//! The outbox: a notice is written with the end of its session, is taken once at a time, and goes in the end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::super::area::enrolment::Enrolment;
use super::super::area::outbox::Due;
use super::super::{Deleted, Store};
use super::contract;
use super::world::{Coded, Everyone, NOW, SHOP, World, at};
use crate::people::account::Account;
use crate::people::grant::EndsWith;
use crate::people::notice::{
    Audience, MOST_OF_CLIENT, MOST_OF_NAMESPACE, Noted, Notice, Participant, given_up_at,
};
use crate::people::session::{MAX_SESSIONS, Session};
use crate::tokens::TokenId;

contract!(
    each_client_of_a_session_gets_one_notice_of_its_end,
    a_client_that_names_no_place_gets_none,
    every_way_to_end_the_sessions_of_a_person_writes_notices,
    the_oldest_of_too_many_sessions_leaves_notices,
    each_client_with_notices_is_due_once_the_longest_first,
    a_taken_notice_is_not_due_until_its_time_has_passed,
    who_is_late_changes_nothing,
    replicas_that_take_at_the_same_time_take_each_notice_once,
    what_waits_of_a_client_and_of_a_namespace_is_bounded,
    a_notice_that_is_too_old_is_not_told_and_is_deleted,
);

fn telling(world: &World) -> Store {
    world.store.telling(Arc::new(Everyone))
}

/// Lets clients get a grant in the session.
async fn take_part(store: &Store, session: &Session, clients: &[&str]) {
    for client in clients {
        let mut authorized = World::new_code(session, EndsWith::Session).authorized();
        authorized.grant.client = (*client).to_owned();
        let issued = store.issue_code(authorized, at(NOW)).await;
        assert!(issued.unwrap().is_some());
    }
}

/// Takes every notice, as if an hour had almost passed.
async fn all(store: &Store) -> Vec<Notice> {
    let (now, until) = (at(NOW + 3500), at(NOW + 3599));
    let mut found = Vec::new();
    for due in store.due_notices(now).await.unwrap() {
        found.extend(
            store
                .take_notices(&due.client, 100, now, until)
                .await
                .unwrap(),
        );
    }
    found.sort_by(|one, other| one.client.cmp(&other.client));
    found
}

fn told(notices: &[Notice]) -> Vec<(&str, TokenId)> {
    let told = notices.iter();
    told.map(|notice| (&*notice.client.id, notice.session))
        .collect()
}

/// Ends a session in which the shop has a grant.
async fn signed_out(world: &World) -> Coded {
    let coded = world.code(EndsWith::Session).await;
    let ended = telling(world).sign_out(coded.grant.session, at(NOW)).await;
    assert!(ended.unwrap().is_some());
    coded
}

async fn each_client_of_a_session_gets_one_notice_of_its_end(world: &World) {
    let store = telling(world);
    let account = world.person().await;
    let session = world.session(&account).await;
    take_part(&store, &session, &["shop", "mail", "shop"]).await;
    for is_first in [true, false] {
        let ended = store.sign_out(session.id, at(NOW)).await.unwrap();
        assert_eq!(ended.is_some(), is_first);
    }
    let notices = all(&store).await;
    assert_eq!(told(&notices), [("mail", session.id), ("shop", session.id)]);
    assert_ne!(notices[0].id, notices[1].id);
    let expected = Notice {
        id: notices[1].id,
        client: Participant {
            id: SHOP.id.to_owned(),
            uid: SHOP.uid.to_owned(),
        },
        account: account.id,
        session: session.id,
        tries: 1,
    };
    assert_eq!(notices[1], expected);
}

/// Tells one client.
struct Only(&'static str);

impl Audience for Only {
    fn namespace_of(&self, client: &Participant) -> Option<Arc<str>> {
        (client.id == self.0).then(|| "blue".into())
    }

    fn ended(&self, noted: Noted) {
        let expected = Noted {
            waiting: 1,
            dropped: 0,
        };
        assert_eq!(noted, expected);
    }
}

async fn a_client_that_names_no_place_gets_none(world: &World) {
    let store = world.store.telling(Arc::new(Only("mail")));
    let account = world.person().await;
    let session = world.session(&account).await;
    take_part(&store, &session, &["shop", "mail"]).await;
    let ended = store.sign_out(session.id, at(NOW)).await.unwrap();
    assert_eq!(ended.unwrap().len(), 2);
    assert_eq!(told(&all(&store).await), [("mail", session.id)]);
}

/// Returns a person with two sessions that have clients, and one that has ended before.
async fn person(world: &World) -> (Account, Vec<(&'static str, TokenId)>) {
    let account = world.person().await;
    let before = world.session(&account).await;
    take_part(&world.store, &before, &["shop"]).await;
    let ended = world.store.sign_out(before.id, at(NOW)).await.unwrap();
    assert!(ended.is_some());
    let (one, other) = (world.session(&account).await, world.session(&account).await);
    take_part(&world.store, &one, &["mail"]).await;
    take_part(&world.store, &other, &["shop"]).await;
    (account, vec![("mail", one.id), ("shop", other.id)])
}

async fn every_way_to_end_the_sessions_of_a_person_writes_notices(world: &World) {
    let store = telling(world);
    let now = at(NOW);
    for way in 0..3 {
        let (account, expected) = person(world).await;
        match way {
            0 => store.sign_out_everywhere(account.id, now).await.unwrap(),
            1 => {
                let hash = "$argon2id$".to_owned();
                store.change_password(account.id, hash, now).await.unwrap();
            }
            _ => {
                let enrolment = Enrolment {
                    link: [1; 32],
                    issued_at: now,
                    expires_at: at(NOW + 60),
                    owner: account.owner.clone(),
                    account: account.id,
                    password: "$argon2id$".to_owned(),
                };
                assert!(store.enrol(enrolment, now).await.unwrap().is_some());
            }
        }
        let notices = all(&store).await;
        assert_eq!(told(&notices), expected, "{way}");
        for notice in notices {
            store.end_notice(notice.id).await.unwrap();
        }
        store.sign_out_everywhere(account.id, now).await.unwrap();
        assert_eq!(all(&store).await, [], "they had ended before");
    }
}

async fn the_oldest_of_too_many_sessions_leaves_notices(world: &World) {
    let store = telling(world);
    let account = world.person().await;
    let oldest = world.session(&account).await;
    take_part(&store, &oldest, &["shop"]).await;
    for number in 1..=MAX_SESSIONS {
        let session = World::new_session(&account, NOW + i64::from(number));
        let ended = store.begin_session(session, Vec::new()).await.unwrap();
        let is_last = number == MAX_SESSIONS;
        let expected = is_last.then_some(oldest.id).into_iter().collect();
        assert_eq!(ended, Some(expected), "{number}");
    }
    assert_eq!(told(&all(&store).await), [("shop", oldest.id)]);
}

async fn each_client_with_notices_is_due_once_the_longest_first(world: &World) {
    let store = telling(world);
    let account = world.person().await;
    for (since, clients) in [(5, ["shop", "mail"]), (3, ["shop", "chat"])] {
        let session = world.session(&account).await;
        take_part(&store, &session, &clients).await;
        let ended = store.sign_out(session.id, at(NOW + since)).await;
        assert!(ended.unwrap().is_some());
    }
    let due = |client: &str, since| Due {
        client: client.to_owned(),
        namespace: "blue".to_owned(),
        since: at(NOW + since),
    };
    let all = store.due_notices(at(NOW + 10)).await.unwrap();
    assert_eq!(all, [due("chat", 3), due("shop", 3), due("mail", 5)]);
    let some = store.due_notices(at(NOW + 4)).await.unwrap();
    assert_eq!(some, [due("chat", 3), due("shop", 3)]);
    assert_eq!(store.due_notices(at(NOW + 2)).await.unwrap(), []);
}

async fn a_taken_notice_is_not_due_until_its_time_has_passed(world: &World) {
    signed_out(world).await;
    let store = &world.store;
    let take = |now, until| store.take_notices("shop", 10, at(NOW + now), at(NOW + until));
    let first = take(0, 60).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(take(59, 120).await.unwrap(), []);
    assert_eq!(store.due_notices(at(NOW + 59)).await.unwrap(), []);
    // The replica that took it has ended.
    let second = take(60, 120).await.unwrap();
    assert_eq!((second[0].id, second[0].tries), (first[0].id, 2));
    let back = (at(NOW + 120), at(NOW + 70));
    store
        .put_notice_back(second[0].id, back.0, back.1, 1)
        .await
        .unwrap();
    assert_eq!(take(69, 130).await.unwrap(), []);
    assert_eq!(take(70, 130).await.unwrap()[0].tries, 2);
    store.end_notice(first[0].id).await.unwrap();
    assert_eq!(take(3000, 3001).await.unwrap(), []);
}

async fn who_is_late_changes_nothing(world: &World) {
    signed_out(world).await;
    let store = &world.store;
    let take = |now, until| store.take_notices("shop", 10, at(NOW + now), at(NOW + until));
    let first = take(0, 60).await.unwrap();
    take(60, 120).await.unwrap();
    let before = world.dump().await;
    let late = store.put_notice_back(first[0].id, at(NOW + 60), at(NOW + 61), 1);
    late.await.unwrap();
    assert_eq!(world.dump().await, before);
}

async fn replicas_that_take_at_the_same_time_take_each_notice_once(world: &World) {
    let store = telling(world);
    let account = world.person().await;
    for _ in 0..40 {
        let session = world.session(&account).await;
        take_part(&store, &session, &["shop"]).await;
        store.sign_out(session.id, at(NOW)).await.unwrap();
    }
    let mut taken = Vec::new();
    // One round may find every row in the hands of another replica.
    while taken.len() < 40 {
        let take = |_| store.take_notices("shop", 7, at(NOW), at(NOW + 60));
        for notices in join_all((0..8).map(take)).await {
            let notices = notices.unwrap();
            assert!(notices.len() <= 7);
            taken.extend(
                notices
                    .into_iter()
                    .map(|notice| notice.id.as_str().to_owned()),
            );
        }
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 40);
}

/// Fills the outbox with notices of clients of the namespace.
async fn fill(world: &World, client: &str, count: u32) {
    let (qualifier, next, end) = (world.store.qualifier(), NOW * 1_000_000, i64::MAX);
    let hex = if qualifier.is_empty() { "x''" } else { "''" };
    let rows: Vec<String> = (0..count)
        .map(|number| {
            format!("('{client}{number}', '{client}', '1', 'blue', {hex}, 's', 0, {next}, {end})")
        })
        .collect();
    let sql = format!("INSERT INTO {qualifier}outbox VALUES {}", rows.join(","));
    world.store.all(&sql).await.unwrap();
}

async fn what_waits_of_a_client_and_of_a_namespace_is_bounded(world: &World) {
    let count = |dump: Vec<String>| {
        let rows = dump.iter().filter(|row| row.starts_with("outbox:"));
        u32::try_from(rows.count()).unwrap()
    };
    fill(world, "shop", MOST_OF_CLIENT - 1).await;
    signed_out(world).await;
    assert_eq!(count(world.dump().await), MOST_OF_CLIENT);
    // The person is signed out in any case.
    signed_out(world).await;
    assert_eq!(count(world.dump().await), MOST_OF_CLIENT, "the client");
    let left = MOST_OF_NAMESPACE - MOST_OF_CLIENT;
    fill(world, "mail", left / 2).await;
    fill(world, "chat", left / 2).await;
    let store = telling(world);
    let session = world.session(&world.person().await).await;
    take_part(&store, &session, &["news"]).await;
    assert!(store.sign_out(session.id, at(NOW)).await.unwrap().is_some());
    assert_eq!(
        count(world.dump().await),
        MOST_OF_NAMESPACE,
        "the namespace"
    );
}

async fn a_notice_that_is_too_old_is_not_told_and_is_deleted(world: &World) {
    signed_out(world).await;
    let store = &world.store;
    let end = given_up_at(at(NOW));
    let before = end - Duration::from_secs(1);
    assert_eq!(store.due_notices(before).await.unwrap().len(), 1);
    assert_eq!(store.delete_expired(before).await.unwrap().notices, 0);
    assert_eq!(store.due_notices(end).await.unwrap(), []);
    let taken = store.take_notices("shop", 10, end, end + Duration::from_secs(60));
    assert_eq!(taken.await.unwrap(), []);
    let deleted = store.delete_expired(end).await.unwrap();
    assert!(matches!(deleted, Deleted { notices: 1, .. }), "{deleted:?}");
    assert_eq!(store.delete_expired(end).await.unwrap().notices, 0);
}
