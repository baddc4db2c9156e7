//! Accounts, sessions, enrolment, consents, pushed requests, replay guards and the gate against guessing.

use std::time::Duration;

use futures::future::join_all;
use uuid::Uuid;

use super::super::area::code::Authorized;
use super::super::area::consent::{Agreement, Consent};
use super::super::area::enrolment::{Enrolment, LinkEnd};
use super::super::area::session::{Brought, Found};
use super::super::{Holder, Outcome, StoreError};
use super::contract;
use super::world::{NOW, SHOP, World, at, consent, holder, new_id, pushed_by as request, room};
use crate::people::account::AccountId;
use crate::people::grant::{Ended, EndsWith};
use crate::people::guessing::Gate;
use crate::people::notice::NoAudience;
use crate::people::session::{MAX_SESSIONS, Session, SessionLimits};
use crate::tokens::{TokenHash, TokenId};

contract!(
    a_store_belongs_to_one_issuer,
    an_owner_has_one_account,
    a_new_owner_of_a_pinned_subject_takes_over_its_account_without_what_it_had,
    a_password_change_ends_sessions_and_grants,
    a_hash_is_renewed_only_if_nothing_else_has_changed,
    a_session_that_is_recorded_during_a_revocation_is_dead,
    the_oldest_of_too_many_sessions_ends_with_its_grants,
    a_session_is_judged_at_each_use,
    an_enrolment_link_works_once,
    a_withdrawn_value_is_known_for_longer_than_a_link_lasts,
    an_enrolment_link_from_before_a_revocation_does_not_work,
    a_withdrawn_consent_ends_the_grants,
    a_code_needs_the_consent_that_was_read,
    a_consent_is_given_with_the_code_or_not_at_all,
    a_withdrawal_that_races_codes_leaves_no_grant_alive,
    a_lapsed_session_gives_no_code,
    a_pushed_request_gives_one_code,
    a_value_is_accepted_once_until_it_expires,
    attempts_are_admitted_as_the_rule_says,
    an_attempt_is_reserved_for_all_subjects_or_none,
    a_sign_in_gives_its_attempts_back,
    an_authorization_request_finds_what_is_valid,
    racing_first_attempts_are_reserved_for_all_or_none,
    cancelled_and_failed_work_leaves_no_trace,
    a_caller_that_stops_waiting_does_not_cancel_its_transaction,
    a_read_cannot_write,
);

const LIMITS: SessionLimits = SessionLimits {
    idle: Duration::from_secs(160),
    absolute: Duration::from_secs(1000),
    remembered: Duration::from_secs(1000),
};

async fn a_store_belongs_to_one_issuer(world: &World) {
    let holder = |issuer: &str, uid: &str| Holder {
        uid: uid.to_owned(),
        ..holder(issuer)
    };
    let store = &world.store;
    for (issuer, uid, is_good) in [
        ("https://a", "1", true),
        ("https://a", "1", true),
        ("https://b", "1", false),
        ("https://a", "2", true),
    ] {
        let bound = store.bind(&holder(issuer, uid), at(NOW)).await;
        assert_eq!(bound.is_ok(), is_good, "{issuer} {uid}: {bound:?}");
    }
    store.probe(at(NOW + 1)).await.unwrap();
    let sql = format!("SELECT uid, written_at FROM {}store", store.qualifier());
    let row = store.ask(&sql).await.unwrap();
    assert_eq!(row.text(0).unwrap(), "2");
    assert_eq!(row.text(1).unwrap(), at(NOW + 1).to_string());
}

async fn an_owner_has_one_account(world: &World) {
    let ensure = || {
        world.store.write(|tx| {
            Box::pin(async {
                let id = AccountId(Uuid::new_v4());
                let account = tx.ensure_account(id, "user:1", at(NOW)).await?;
                Ok(Outcome::Save(account.id))
            })
        })
    };
    let all = join_all((0..20).map(|_| ensure())).await;
    let first = *all[0].as_ref().unwrap();
    assert!(all.into_iter().all(|id| id.unwrap() == first));
    let (account, password) = world.store.credentials("user:1").await.unwrap().unwrap();
    assert_eq!((account.id, password), (first, None));
    assert_eq!(world.store.credentials("user:2").await.unwrap(), None);
}

async fn a_new_owner_of_a_pinned_subject_takes_over_its_account_without_what_it_had(world: &World) {
    let store = &world.store;
    let before = world.person().await;
    store
        .change_password(before.id, "old".to_owned(), at(NOW))
        .await
        .unwrap();
    let (before, _) = store.credentials(&before.owner).await.unwrap().unwrap();
    let session = world.session(&before).await;
    let links = [1, 2].map(|link| Enrolment {
        account: before.id,
        ..enrolment(link, "user:new", NOW - 10)
    });
    // The second link is as old as the account's last revocation: the take-over.
    let both = join_all(links.map(|link| store.enrol(link, at(NOW + 1)))).await;
    let mut used = both.into_iter().filter_map(Result::unwrap);
    let account = used.next().unwrap();
    assert_eq!(used.next(), None);
    assert_eq!((account.id, &*account.owner), (before.id, "user:new"));
    assert!(account.epoch > before.epoch);
    assert_eq!(store.credentials(&before.owner).await.unwrap(), None);
    let alive = store.use_session(session.id, session.hash, LIMITS, at(NOW + 2));
    assert_eq!(alive.await.unwrap(), None);
    // Without a link, the account has no password.
    let other = world.person().await;
    store
        .change_password(other.id, "old".to_owned(), at(NOW))
        .await
        .unwrap();
    let ensured = store.ensure_account(other.id, "user:third".to_owned(), at(NOW));
    assert_eq!(ensured.await.unwrap().id, other.id);
    let (_, password) = store.credentials("user:third").await.unwrap().unwrap();
    assert_eq!(password, None);
}

async fn a_password_change_ends_sessions_and_grants(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let coded = World::new_code(&session, EndsWith::Grant);
    let grant = coded.grant.id;
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let store = &world.store;
    let alive = || store.use_session(session.id, session.hash, LIMITS, at(NOW));
    assert!(alive().await.unwrap().is_some());
    store
        .change_password(account.id, "$argon2id$1".to_owned(), at(NOW))
        .await
        .unwrap();
    assert!(alive().await.unwrap().is_none());
    let standing = store.grant(grant).await.unwrap().unwrap();
    assert_eq!(standing.judge(SHOP, at(NOW)), Err(Ended::Account));
    let (account, password) = store.credentials(&account.owner).await.unwrap().unwrap();
    assert_eq!(password.as_deref(), Some("$argon2id$1"));
    // The person signs in at the same moment.
    world.session(&account).await;
}

async fn a_hash_is_renewed_only_if_nothing_else_has_changed(world: &World) {
    let store = &world.store;
    let owner = world.person().await.owner;
    let read = || async { store.credentials(&owner).await.unwrap().unwrap() };
    let id = read().await.0.id;
    let change = |hash: &str| store.change_password(id, hash.to_owned(), at(NOW));
    change("old").await.unwrap();
    let (account, _) = read().await;
    let renewed = store.renew_password(&account, "old", "new", at(NOW)).await;
    assert!(renewed.unwrap());
    let again = store
        .renew_password(&account, "old", "other", at(NOW))
        .await;
    assert!(!again.unwrap(), "another hash is stored");
    change("new").await.unwrap();
    let late = store
        .renew_password(&account, "new", "other", at(NOW))
        .await;
    assert!(!late.unwrap(), "the account was revoked");
    assert_eq!(read().await.1.as_deref(), Some("new"));
}

async fn a_session_that_is_recorded_during_a_revocation_is_dead(world: &World) {
    let account = world.person().await;
    let old = world.session(&account).await;
    world
        .store
        .sign_out_everywhere(account.id, at(NOW - 5))
        .await
        .unwrap();
    // This replica's clock is ahead, and it has read the account before the revocation.
    let late = World::new_session(&account, NOW + 5);
    let begun = world.store.begin_session(late, Vec::new()).await;
    assert_eq!(begun.unwrap(), None);
    let coded = World::new_code(&old, EndsWith::Grant);
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert_eq!(issued.unwrap(), None, "a dead session gives no code");
}

async fn the_oldest_of_too_many_sessions_ends_with_its_grants(world: &World) {
    let account = world.person().await;
    let mut sessions = Vec::new();
    for number in 0..i64::from(MAX_SESSIONS) {
        let session = World::new_session(&account, NOW + number);
        assert!(
            world
                .store
                .begin_session(session.clone(), Vec::new())
                .await
                .unwrap()
                .is_some()
        );
        sessions.push(session);
    }
    let coded = World::new_code(&sessions[0], EndsWith::Session);
    let grant = coded.grant.id;
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let one_more = World::new_session(&account, NOW + 100);
    let begun = world
        .store
        .begin_session(one_more.clone(), Vec::new())
        .await;
    assert_eq!(begun.unwrap(), Some(vec![sessions[0].id]));
    sessions.push(one_more);
    let id = account.id;
    let listed = world
        .store
        .read(move |tx| Box::pin(tx.sessions_of(id)))
        .await
        .unwrap();
    let ids = |sessions: &[Session]| {
        sessions
            .iter()
            .map(|session| session.id)
            .collect::<Vec<TokenId>>()
    };
    assert_eq!(ids(&listed), ids(&sessions[1..]));
    let standing = world.store.grant(grant).await.unwrap().unwrap();
    assert!(standing.judge(SHOP, at(NOW)).is_err());
}

async fn a_session_is_judged_at_each_use(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let used = |cookie: &str, now| {
        let store = world.store.clone();
        let cookie = TokenHash::of(cookie);
        async move {
            store
                .use_session(session.id, cookie, LIMITS, at(now))
                .await
                .unwrap()
        }
    };
    let cookie = session.id.as_str();
    assert!(used("guess", NOW).await.is_none());
    // Each use is within the idle limit of the one before.
    for now in (0..1000).step_by(150) {
        assert!(used(cookie, NOW + now).await.is_some(), "{now}");
    }
    assert!(used(cookie, NOW + 1000).await.is_none(), "the absolute end");
    let idle = world.session(&account).await;
    let lapsed = world
        .store
        .use_session(idle.id, idle.hash, LIMITS, at(NOW + 160))
        .await;
    assert!(lapsed.unwrap().is_none());
    assert!(world.store.end_session(session.id, at(NOW)).await.unwrap());
    assert!(!world.store.end_session(session.id, at(NOW)).await.unwrap());
    assert!(used(cookie, NOW + 900).await.is_none());
}

fn enrolment(link: u8, owner: &str, issued: i64) -> Enrolment {
    Enrolment {
        link: [link; 32],
        issued_at: at(issued),
        expires_at: at(issued + 3600),
        owner: owner.to_owned(),
        account: AccountId(Uuid::new_v4()),
        password: format!("$argon2id${link}"),
    }
}

async fn an_enrolment_link_works_once(world: &World) {
    let store = &world.store;
    let link = enrolment(1, "user:1", NOW);
    let late = store.enrol(link.clone(), at(NOW + 3600)).await.unwrap();
    assert_eq!(late, None, "expired");
    let all = join_all((0..20).map(|_| store.enrol(link.clone(), at(NOW + 1)))).await;
    let used = all
        .into_iter()
        .filter(|used| used.as_ref().unwrap().is_some());
    assert_eq!(used.count(), 1);
    let end = async |link| {
        let end = store.enrolment_end([link; 32], [9; 32], at(NOW + 1));
        end.await.unwrap()
    };
    assert_eq!(end(1).await, Some(LinkEnd::Used));
    assert_eq!(end(2).await, None);
    let (_, password) = store.credentials("user:1").await.unwrap().unwrap();
    assert_eq!(password.as_deref(), Some("$argon2id$1"));
}

async fn a_withdrawn_value_is_known_for_longer_than_a_link_lasts(world: &World) {
    let store = &world.store;
    let end = async |seconds| {
        let end = store.enrolment_end([2; 32], [9; 32], at(NOW + seconds));
        end.await.unwrap()
    };
    store.withdraw_enrolment([8; 32], at(NOW)).await.unwrap();
    assert_eq!(end(1).await, None, "another value");
    store.withdraw_enrolment([9; 32], at(NOW)).await.unwrap();
    assert_eq!(end(72 * 3600).await, Some(LinkEnd::Withdrawn));
    assert_eq!(end(74 * 3600).await, None);
    store
        .withdraw_enrolment([9; 32], at(NOW + 3600))
        .await
        .unwrap();
    // A replica whose clock is behind.
    store.withdraw_enrolment([9; 32], at(NOW)).await.unwrap();
    assert_eq!(end(73 * 3600 + 1800).await, Some(LinkEnd::Withdrawn));
    store
        .enrol(enrolment(2, "user:1", NOW), at(NOW + 1))
        .await
        .unwrap();
    assert_eq!(end(2).await, Some(LinkEnd::Used), "the person is told that");
}

async fn an_enrolment_link_from_before_a_revocation_does_not_work(world: &World) {
    let store = &world.store;
    // Two links were issued; the first use revokes the account, so the other is void, even at the same moment.
    let links = [enrolment(1, "user:1", NOW), enrolment(2, "user:1", NOW)];
    let both = join_all(links.map(|link| store.enrol(link, at(NOW + 1)))).await;
    let used = both
        .into_iter()
        .filter(|used| used.as_ref().unwrap().is_some());
    assert_eq!(used.count(), 1);
    let newer = store
        .enrol(enrolment(3, "user:1", NOW + 2), at(NOW + 3))
        .await;
    assert!(newer.unwrap().is_some());
}

async fn a_withdrawn_consent_ends_the_grants(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let coded = World::new_code(&session, EndsWith::Grant);
    let grant = coded.grant.id;
    let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
    assert!(issued.unwrap().is_some());
    let store = &world.store;
    for scopes in ["openid", "openid email"] {
        let consent = consent(scopes);
        store
            .give_consent(account.id, consent.clone())
            .await
            .unwrap();
        assert_eq!(
            store.consent(account.id, "shop").await.unwrap(),
            Some(consent)
        );
    }
    store
        .withdraw_consent(account.id, "other", at(NOW))
        .await
        .unwrap();
    let judged = || async {
        store
            .grant(grant)
            .await
            .unwrap()
            .unwrap()
            .judge(SHOP, at(NOW))
            .map(drop)
    };
    assert_eq!(judged().await, Ok(()));
    store
        .withdraw_consent(account.id, "shop", at(NOW))
        .await
        .unwrap();
    assert_eq!(store.consent(account.id, "shop").await.unwrap(), None);
    assert_eq!(judged().await, Err(Ended::Revoked));
}

/// Issues a code that needs this agreement.
async fn issue(world: &World, session: &Session, agreement: Agreement) -> (TokenId, bool) {
    let coded = World::new_code(session, EndsWith::Grant);
    let authorized = Authorized {
        agreement,
        ..coded.authorized()
    };
    let issued = world.store.issue_code(authorized, at(NOW)).await;
    (coded.grant.id, issued.unwrap().is_some())
}

fn recorded(scopes: &str) -> Agreement {
    Agreement::Recorded(scopes.to_owned())
}

async fn a_code_needs_the_consent_that_was_read(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let store = &world.store;
    assert!(!issue(world, &session, recorded("openid")).await.1, "none");
    for (client, uid, scopes, is_good) in [
        ("shop", "1", "openid", true),
        ("shop", "1", "openid email", false),
        // It was given to the client that was deleted since.
        ("shop", "2", "openid", false),
        ("other", "1", "openid", false),
    ] {
        store
            .withdraw_consent(account.id, "shop", at(NOW))
            .await
            .unwrap();
        let consent = Consent {
            client: client.to_owned(),
            client_uid: uid.to_owned(),
            ..consent(scopes)
        };
        store.give_consent(account.id, consent).await.unwrap();
        let before = world.dump().await;
        let (_, issued) = issue(world, &session, recorded("openid")).await;
        assert_eq!(issued, is_good, "{client} {uid} {scopes}");
        assert_eq!(world.dump().await == before, !is_good);
    }
    let other = world.person().await;
    let session = world.session(&other).await;
    assert!(
        !issue(world, &session, recorded("openid")).await.1,
        "another person's"
    );
}

async fn a_consent_is_given_with_the_code_or_not_at_all(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    let given = |scopes: &str| Agreement::Given(scopes.to_owned());
    for scopes in ["openid", "openid email"] {
        assert!(issue(world, &session, given(scopes)).await.1);
        let found = world.store.consent(account.id, "shop").await.unwrap();
        assert_eq!(found, Some(consent(scopes)));
        assert!(issue(world, &session, recorded(scopes)).await.1);
    }
    world.store.end_session(session.id, at(NOW)).await.unwrap();
    let before = world.dump().await;
    assert!(!issue(world, &session, given("openid phone")).await.1);
    assert_eq!(world.dump().await, before);
}

async fn a_withdrawal_that_races_codes_leaves_no_grant_alive(world: &World) {
    for _ in 0..20 {
        let account = world.person().await;
        let session = world.session(&account).await;
        let consent = consent("openid");
        world.store.give_consent(account.id, consent).await.unwrap();
        let codes = join_all((0..8).map(|_| issue(world, &session, recorded("openid"))));
        let withdrawal = world.store.withdraw_consent(account.id, "shop", at(NOW));
        let (codes, withdrawn) = tokio::join!(codes, withdrawal);
        withdrawn.unwrap();
        for (grant, issued) in codes {
            let standing = world.store.grant(grant).await.unwrap();
            assert_eq!(standing.is_some(), issued);
            if let Some(standing) = standing {
                assert_eq!(standing.judge(SHOP, at(NOW)), Err(Ended::Revoked));
            }
        }
    }
}

async fn a_lapsed_session_gives_no_code(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    for (now, is_good) in [(86_399, true), (86_400, false)] {
        let mut authorized = World::new_code(&session, EndsWith::Grant).authorized();
        authorized.grant.created_at = at(NOW + now);
        let issued = world.store.issue_code(authorized, at(NOW + now)).await;
        assert_eq!(issued.unwrap().is_some(), is_good, "{now}");
    }
}

async fn a_pushed_request_gives_one_code(world: &World) {
    let store = &world.store;
    let pushed = request("shop");
    assert!(store.push_request(pushed.clone(), &room(10)).await.unwrap());
    let present = |client: &str, now| {
        let (store, client) = (store.clone(), client.to_owned());
        let (id, hash) = (pushed.id, pushed.hash);
        async move {
            store
                .present_request(id, hash, &client, at(now))
                .await
                .unwrap()
        }
    };
    assert!(present("other", NOW).await.is_none());
    assert_eq!(
        present("shop", NOW + 59).await.unwrap().request,
        pushed.request
    );
    assert!(
        present("shop", NOW + 300).await.is_some(),
        "people reload pages"
    );
    let account = world.person().await;
    let session = world.session(&account).await;
    let issue = || {
        let coded = World::new_code(&session, EndsWith::Grant);
        let authorized = Authorized {
            pushed: Some(pushed.id),
            ..coded.authorized()
        };
        store.issue_code(authorized, at(NOW))
    };
    let all = join_all((0..10).map(|_| issue())).await;
    let issued = all
        .into_iter()
        .filter(|issued| issued.as_ref().unwrap().is_some());
    assert_eq!(issued.count(), 1);
    let grants = world
        .dump()
        .await
        .iter()
        .filter(|row| row.starts_with("grants"))
        .count();
    assert_eq!(grants, 1, "the refused requests left no grant");
    // Its row names the client.
    let foreign = request("other");
    assert!(
        store
            .push_request(foreign.clone(), &room(10))
            .await
            .unwrap()
    );
    let authorized = Authorized {
        pushed: Some(foreign.id),
        ..World::new_code(&session, EndsWith::Grant).authorized()
    };
    let issued = store.issue_code(authorized, at(NOW)).await;
    assert_eq!(issued.unwrap(), None);
    assert!(present("shop", NOW + 300).await.is_none(), "used");
    let unused = request("shop");
    assert!(store.push_request(unused.clone(), &room(10)).await.unwrap());
    let late = store
        .present_request(unused.id, unused.hash, "shop", at(NOW + 60))
        .await;
    assert!(late.unwrap().is_none(), "never presented in time");
}

async fn a_value_is_accepted_once_until_it_expires(world: &World) {
    let store = &world.store;
    let accept = |value: u8, expires, now| store.accept_once([value; 32], at(expires), at(now));
    let all = join_all((0..100).map(|_| accept(1, NOW + 60, NOW))).await;
    let accepted = all
        .into_iter()
        .filter(|accepted| *accepted.as_ref().unwrap());
    assert_eq!(accepted.count(), 1);
    assert!(accept(2, NOW + 60, NOW).await.unwrap());
    assert!(!accept(1, NOW + 90, NOW + 59).await.unwrap());
    // The row is still there, but what it guarded has expired.
    assert!(accept(1, NOW + 120, NOW + 60).await.unwrap());
    assert!(!accept(1, NOW + 120, NOW + 61).await.unwrap());
}

async fn attempts_are_admitted_as_the_rule_says(world: &World) {
    let store = &world.store;
    let gate = Gate {
        burst: 5,
        interval: Duration::from_secs(10),
    };
    let all =
        join_all((0..100).map(|_| store.reserve_attempt(vec![([1; 32], gate)], at(NOW)))).await;
    let admitted = all
        .into_iter()
        .filter(|admitted| *admitted.as_ref().unwrap());
    assert_eq!(admitted.count(), 5);
    // The stored state is what the pure rule says, at every moment.
    let mut stored = None;
    for now in [
        0, 0, 3, 3, 3, 3, 12, 13, 13, 40, 41, 41, 41, 41, 41, 500, 500,
    ] {
        let expected = gate.at(at(NOW + now)).reserve(stored);
        let admitted = store
            .reserve_attempt(vec![([2; 32], gate)], at(NOW + now))
            .await
            .unwrap();
        assert_eq!(admitted, expected.is_some(), "{now}");
        stored = expected.or(stored);
        assert_eq!(store.attempts([2; 32]).await.unwrap(), stored, "{now}");
    }
    assert!(store.clear_attempts([1; 32]).await.unwrap());
    assert!(!store.clear_attempts([1; 32]).await.unwrap());
    assert!(
        store
            .reserve_attempt(vec![([1; 32], gate)], at(NOW))
            .await
            .unwrap()
    );
}

async fn an_attempt_is_reserved_for_all_subjects_or_none(world: &World) {
    let store = &world.store;
    let gate = |burst| Gate {
        burst,
        interval: Duration::from_secs(10),
    };
    let both = || vec![([9; 32], gate(1)), ([1; 32], gate(3))];
    let twice = [both(), both()].concat();
    assert!(store.reserve_attempt(twice, at(NOW)).await.unwrap());
    let before = store.attempts([1; 32]).await.unwrap();
    assert!(!store.reserve_attempt(both(), at(NOW)).await.unwrap());
    assert_eq!(
        store.attempts([1; 32]).await.unwrap(),
        before,
        "the other subject keeps its attempt"
    );
    // A success pays nothing, and a subject that is named twice counts once.
    store
        .refund_attempt([both(), both()].concat())
        .await
        .unwrap();
    assert!(store.reserve_attempt(both(), at(NOW)).await.unwrap());
}

async fn a_sign_in_gives_its_attempts_back(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let gate = Gate {
        burst: 3,
        interval: Duration::from_secs(10),
    };
    let gates = || vec![([7; 32], gate), ([8; 32], gate)];
    assert!(store.reserve_attempt(gates(), at(NOW)).await.unwrap());
    let before = store.attempts([7; 32]).await.unwrap();
    assert!(store.reserve_attempt(gates(), at(NOW)).await.unwrap());
    // The account was revoked since its password was read: nothing is given back.
    let stale = Session {
        epoch: account.epoch - 1,
        ..World::new_session(&account, NOW)
    };
    assert_eq!(store.begin_session(stale, gates()).await.unwrap(), None);
    assert_ne!(store.attempts([7; 32]).await.unwrap(), before);
    let session = World::new_session(&account, NOW);
    assert!(
        store
            .begin_session(session, gates())
            .await
            .unwrap()
            .is_some()
    );
    for subject in [[7; 32], [8; 32]] {
        assert_eq!(store.attempts(subject).await.unwrap(), before);
    }
}

/// No row exists yet, so no statement can wait for another one's row before it inserts.
async fn racing_first_attempts_are_reserved_for_all_or_none(world: &World) {
    let store = &world.store;
    let gate = |burst| Gate {
        burst,
        interval: Duration::from_secs(10),
    };
    for round in 0..10 {
        // The network may try often, the account once.
        let both = || vec![([100 + round; 32], gate(100)), ([200 + round; 32], gate(1))];
        let all = join_all((0..8).map(|_| store.reserve_attempt(both(), at(NOW)))).await;
        let admitted = all.into_iter().filter(|it| *it.as_ref().unwrap());
        assert_eq!(admitted.count(), 1);
        for subject in [[100 + round; 32], [200 + round; 32]] {
            let stored = store.attempts(subject).await.unwrap();
            assert_eq!(stored, Some(at(NOW + 10)), "only one attempt is stored");
        }
    }
}

async fn an_authorization_request_finds_what_is_valid(world: &World) {
    let store = &world.store;
    let account = world.person().await;
    let session = world.session(&account).await;
    let consent = consent("openid");
    store
        .give_consent(account.id, consent.clone())
        .await
        .unwrap();
    let pushed = request("shop");
    assert!(store.push_request(pushed.clone(), &room(10)).await.unwrap());
    let cookie = Some((session.id, session.hash));
    let reference = Some((pushed.id, pushed.hash));
    let look = |session, client: &str, pushed, now| {
        let client = client.to_owned();
        let brought = Brought {
            session,
            client,
            pushed,
        };
        async move { store.authorization(brought, LIMITS, at(now)).await.unwrap() }
    };
    let none = Found::default();
    assert_eq!(look(None, "shop", None, NOW).await, none);
    let guessed = Some((session.id, TokenHash::of("guess")));
    assert_eq!(
        look(
            guessed,
            "shop",
            Some((pushed.id, TokenHash::of("guess"))),
            NOW
        )
        .await,
        none
    );
    assert_eq!(
        look(
            Some((new_id(), session.hash)),
            "shop",
            Some((new_id(), pushed.hash)),
            NOW
        )
        .await,
        none
    );
    let found = look(cookie, "other", reference, NOW).await;
    assert_eq!(
        (found.consent, found.pushed),
        (None, None),
        "of another client"
    );
    assert!(found.session.is_some());
    let found = look(cookie, "shop", reference, NOW + 1).await;
    assert_eq!(found.session.unwrap().0.id, session.id);
    assert_eq!(found.consent, Some(consent));
    assert_eq!(found.pushed.unwrap().request, pushed.request);
    // Presented above, so a reload works; and the use of the session is recorded.
    assert!(
        look(cookie, "shop", reference, NOW + 100)
            .await
            .pushed
            .is_some()
    );
    assert!(
        look(cookie, "shop", reference, NOW + 250)
            .await
            .session
            .is_some()
    );
    let found = look(None, "shop", reference, NOW + 250).await;
    assert_eq!((found.session, found.consent), (None, None));
    assert!(found.pushed.is_some(), "before the sign-in");
    store.end_session(session.id, at(NOW + 260)).await.unwrap();
    let found = look(cookie, "shop", reference, NOW + 261).await;
    assert_eq!(
        (found.session, found.consent),
        (None, None),
        "the session has ended"
    );
}

async fn cancelled_and_failed_work_leaves_no_trace(world: &World) {
    let before = world.dump().await;
    let add = |end: fn(bool) -> Result<Outcome<bool>, StoreError>| {
        world.store.write(move |tx| {
            Box::pin(async move {
                let id = AccountId(Uuid::new_v4());
                let owner = id.0.to_string();
                let account = tx.ensure_account(id, &owner, at(NOW)).await?;
                end(account.id == id)
            })
        })
    };
    let saved = |found| Ok(Outcome::Save(found));
    // They share a commit with work that is saved.
    let all = tokio::join!(
        add(|found| Ok(Outcome::Cancel(found))),
        add(saved),
        add(|_| Err(StoreError::Closed)),
        add(saved),
        add(|_| panic!("work that panics")),
        add(saved),
    );
    assert!(all.0.unwrap() && all.1.unwrap() && all.3.unwrap() && all.5.unwrap());
    assert!(all.2.is_err() && all.4.is_err());
    assert_eq!(world.dump().await.len(), before.len() + 3);
}

/// Its client may have gone away, which must not close a connection to the database.
async fn a_caller_that_stops_waiting_does_not_cancel_its_transaction(world: &World) {
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (go, may_go) = tokio::sync::oneshot::channel::<()>();
    let write = world.store.write(move |tx| {
        Box::pin(async move {
            begun.send(()).unwrap();
            may_go.await.unwrap();
            let id = AccountId(Uuid::new_v4());
            tx.ensure_account(id, "user:1", at(NOW)).await?;
            Ok(Outcome::Save(()))
        })
    });
    tokio::select! {
        _ = write => unreachable!("it waits"),
        begun = has_begun => begun.unwrap(),
    }
    go.send(()).unwrap();
    while world.store.credentials("user:1").await.unwrap().is_none() {}
}

async fn a_read_cannot_write(world: &World) {
    let account = world.person().await.id;
    let before = world.dump().await;
    let read = world
        .store
        .read(move |tx| Box::pin(tx.revoke_account(&NoAudience, account, at(NOW))))
        .await;
    assert!(matches!(read, Err(StoreError::Misused(_))), "{read:?}");
    let unknown = AccountId(Uuid::new_v4());
    let single = world
        .store
        .write_single(move |tx| Box::pin(tx.revoke_account(&NoAudience, unknown, at(NOW))));
    let single = single.await;
    assert!(matches!(single, Err(StoreError::Misused(_))), "{single:?}");
    assert_eq!(world.dump().await, before);
}
