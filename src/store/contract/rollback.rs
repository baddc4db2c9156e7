//! A fault at any step of any operation rolls all of it back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use uuid::Uuid;

use super::super::area::code::Authorized;
use super::super::area::consent::Agreement;
use super::super::area::enrolment::Enrolment;
use super::super::area::personal_token::Added;
use super::super::{Store, StoreError};
use super::contract;
use super::personal_tokens::token_of;
use super::world::{Coded, Everyone, NOW, POLICY, World, at, consent, new_id, presented, room};
use crate::people::account::{Account, AccountId};
use crate::people::grant::EndsWith;
use crate::people::guessing::Gate;
use crate::people::personal_token::{MOST_OF_PERSON, PersonalToken};
use crate::people::pushed::Pushed;
use crate::people::refresh::{Policy, Rotation, Token};
use crate::people::session::MAX_SESSIONS;
use crate::tokens::TokenHash;

contract!(a_fault_at_any_step_of_any_operation_rolls_all_of_it_back);

/// What the operations work on.
struct Scene {
    world: World,
    account: Account,
    /// Has as many sessions as a person may have.
    crowded: Account,
    unused: Coded,
    used: Coded,
    first: Token,
    second: Token,
    third: Token,
    personal: PersonalToken,
}

type Operation = for<'a> fn(&'a Scene) -> BoxFuture<'a, Result<(), StoreError>>;

/// Every operation that changes rows, with its name.
const OPERATIONS: [(&str, Operation); 19] = [
    ("redeem a code", |scene| {
        Box::pin(async move {
            scene
                .world
                .redeem(&scene.unused.request, NOW)
                .await
                .map(drop)
        })
    }),
    ("redeem a code again", |scene| {
        Box::pin(async move {
            let mut request = scene.used.request.clone();
            request.arrived_at = at(NOW + 100);
            scene.world.redeem(&request, NOW + 100).await.map(drop)
        })
    }),
    ("refresh", |scene| {
        Box::pin(async move { scene.world.refresh(&scene.third, NOW + 100).await.map(drop) })
    }),
    ("refresh without rotation", |scene| {
        Box::pin(async move {
            let stable = Policy {
                rotation: Rotation::Stable,
                ..POLICY
            };
            let token = presented(&scene.third);
            scene
                .world
                .refresh_by(&token, &stable, NOW + 1000)
                .await
                .map(drop)
        })
    }),
    ("refresh with an older generation", |scene| {
        Box::pin(async move { scene.world.refresh(&scene.first, NOW + 100).await.map(drop) })
    }),
    ("refresh with a late parent", |scene| {
        Box::pin(async move {
            scene
                .world
                .refresh(&scene.second, NOW + 100)
                .await
                .map(drop)
        })
    }),
    ("issue a code", |scene| {
        Box::pin(async move {
            let session = scene.world.store.read({
                let id = scene.unused.grant.session;
                move |tx| Box::pin(tx.session(id))
            });
            let Some((session, _)) = session.await? else {
                return Err(StoreError::Closed);
            };
            let coded = World::new_code(&session, EndsWith::Session);
            let authorized = Authorized {
                agreement: Agreement::Given("openid email".to_owned()),
                ..coded.authorized()
            };
            let issued = scene.world.store.issue_code(authorized, at(NOW)).await;
            issued.map(drop)
        })
    }),
    ("begin a session", |scene| {
        let session = World::new_session(&scene.account, NOW);
        Box::pin(async move {
            scene
                .world
                .store
                .begin_session(session, Vec::new())
                .await
                .map(drop)
        })
    }),
    ("begin one session too many", |scene| {
        let session = World::new_session(&scene.crowded, NOW + 1000);
        Box::pin(async move {
            let begun = scene.world.store.begin_session(session, Vec::new());
            begun.await.map(drop)
        })
    }),
    ("end a session", |scene| {
        let session = scene.unused.grant.session;
        Box::pin(async move {
            scene
                .world
                .store
                .end_session(session, at(NOW))
                .await
                .map(drop)
        })
    }),
    ("change a password", |scene| {
        let store = &scene.world.store;
        Box::pin(store.change_password(scene.account.id, "$argon2id$".to_owned(), at(NOW)))
    }),
    ("sign out everywhere", |scene| {
        Box::pin(
            scene
                .world
                .store
                .sign_out_everywhere(scene.account.id, at(NOW)),
        )
    }),
    ("withdraw a consent", |scene| {
        let account = scene.unused.grant.account;
        Box::pin(scene.world.store.withdraw_consent(account, "shop", at(NOW)))
    }),
    ("enrol", |scene| {
        let enrolment = Enrolment {
            link: [1; 32],
            issued_at: at(NOW),
            expires_at: at(NOW + 60),
            owner: "user:new".to_owned(),
            account: AccountId(Uuid::new_v4()),
            password: "$argon2id$".to_owned(),
        };
        Box::pin(async move { scene.world.store.enrol(enrolment, at(NOW)).await.map(drop) })
    }),
    ("push a request", |scene| {
        let id = new_id();
        let pushed = Pushed {
            id,
            hash: TokenHash::of("reference"),
            client: "shop".to_owned(),
            request: String::new(),
            expires_at: at(NOW + 60),
            presented_at: None,
            used_at: None,
        };
        Box::pin(async move {
            scene
                .world
                .store
                .push_request(pushed, &room(10))
                .await
                .map(drop)
        })
    }),
    ("create a personal token", |scene| {
        // The person has no room left, and a revoked token makes it.
        let token = token_of(&scene.account, NOW + 500);
        Box::pin(async move {
            let added = scene.world.store.add_personal_token(token, at(NOW));
            added.await.map(drop)
        })
    }),
    ("revoke a personal token", |scene| {
        let (account, id) = (scene.account.id, scene.personal.id);
        Box::pin(async move {
            let store = &scene.world.store;
            store
                .end_personal_token(account, id, at(NOW))
                .await
                .map(drop)
        })
    }),
    ("revoke all personal tokens", |scene| {
        Box::pin(async move {
            let store = &scene.world.store;
            let ended = store.end_personal_tokens(scene.account.id, at(NOW));
            ended.await.map(drop)
        })
    }),
    ("reserve attempts", |scene| {
        let gate = Gate {
            burst: 5,
            interval: Duration::from_secs(10),
        };
        let gates = vec![([1; 32], gate), ([2; 32], gate)];
        Box::pin(async move {
            scene
                .world
                .store
                .reserve_attempt(gates, at(NOW))
                .await
                .map(drop)
        })
    }),
];

async fn a_fault_at_any_step_of_any_operation_rolls_all_of_it_back(world: &World) {
    for (name, operation) in OPERATIONS {
        // The transaction's begin and commit are steps as well; the last step is the reply after the commit.
        let mut failures = Vec::new();
        let scene = scene(name, &world.store).await;
        let before = scene.world.dump().await;
        let is_complete = loop {
            let step = i64::try_from(failures.len()).unwrap() + 1;
            scene.world.store.faults().arm(step);
            let done = operation(&scene).await;
            if scene.world.store.faults().disarm() {
                done.unwrap();
                break true;
            }
            assert!(
                done.is_err(),
                "{name}: step {step} failed and the operation did not"
            );
            failures.push(scene.world.dump().await == before);
            assert!(failures.len() < 40, "{name} does not end");
            if failures.last() == Some(&false) {
                break false;
            }
        };
        // Only the last step, a lost reply, may leave the change behind; without one the operation runs to its end.
        let changed = failures.iter().filter(|unchanged| !**unchanged).count();
        assert_eq!(changed, usize::from(!is_complete), "{name}: {failures:?}");
        assert!(failures.len() >= 2, "{name}: {failures:?}");
        if !is_complete {
            let after = scene.world.dump().await;
            let is_whole = is_whole(name, &scene, operation, &before, &after).await;
            assert!(is_whole, "{name}: half of the change was written");
        }
    }
}

/// Whether the operation was written completely although its reply was lost: it changed as many rows of each table as
/// the same operation does without faults.
async fn is_whole(
    name: &str,
    faulty: &Scene,
    operation: Operation,
    before: &[String],
    after: &[String],
) -> bool {
    let changes = |before: &[String], after: &[String]| {
        let new = after.iter().filter(|row| !before.contains(row));
        let mut tables: Vec<_> = new
            .map(|row| row.split(':').next().unwrap().to_owned())
            .collect();
        tables.sort();
        tables
    };
    let fresh = scene(name, &faulty.world.store).await;
    let start = fresh.world.dump().await;
    if name == "enrol" || name == "reserve attempts" {
        // These name the same rows in each scene.
        return !changes(before, after).is_empty();
    }
    operation(&fresh).await.unwrap();
    let end = fresh.world.dump().await;
    changes(before, after) == changes(&start, &end)
}

/// Returns a person with as many sessions as one may have. The oldest has a client.
async fn crowded(world: &World) -> Account {
    let account = world.person().await;
    let oldest = world.session(&account).await;
    let coded = World::new_code(&oldest, EndsWith::Session);
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let begin = |number| {
        let session = World::new_session(&account, NOW + i64::from(number));
        world.store.begin_session(session, Vec::new())
    };
    for begun in join_all((1..MAX_SESSIONS).map(begin)).await {
        assert_eq!(begun.unwrap(), Some(Vec::new()));
    }
    account
}

async fn scene(operation: &str, store: &Store) -> Scene {
    let world = World {
        store: store.telling(Arc::new(Everyone)),
        folder: None,
    };
    let account = world.person().await;
    let session = world.session(&account).await;
    let coded = World::new_code(&session, EndsWith::Session);
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let crowded = crowded(&world).await;
    let unused = world.code(EndsWith::Session).await;
    world
        .store
        .give_consent(unused.grant.account, consent("openid"))
        .await
        .unwrap();
    let (used, first) = world.family(EndsWith::Session).await;
    let second = world.child(&first, NOW + 1).await;
    let third = world.child(&second, NOW + 2).await;
    let personal = token_of(&account, NOW);
    let others = if operation == "create a personal token" {
        MOST_OF_PERSON - 1
    } else {
        1
    };
    let others = (0..others).map(|_| token_of(&account, NOW));
    let mut last = personal.id;
    for token in [personal.clone()].into_iter().chain(others) {
        last = token.id;
        let added = world.store.add_personal_token(token, at(NOW)).await;
        assert_eq!(added.unwrap(), Added::Recorded);
    }
    let ended = world.store.end_personal_token(account.id, last, at(NOW));
    assert!(ended.await.unwrap());
    Scene {
        world,
        account,
        crowded,
        unused,
        used,
        first,
        second,
        third,
        personal,
    }
}
