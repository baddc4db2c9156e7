//! Personal access tokens.

use futures::future::join_all;

use super::super::area::personal_token::Added;
use super::contract;
use super::world::{NOW, World, at, new_id};
use crate::people::account::Account;
use crate::people::agent::Agent;
use crate::people::grant::Ended;
use crate::people::personal_token::{KEPT_FOR, LastUse, MOST_OF_PERSON, PersonalToken};
use crate::people::testing::{self, SHOP};
use crate::tokens::TokenHash;
use crate::tokens::claims::Audience;

contract!(
    a_token_is_read_as_it_was_recorded,
    a_person_has_only_so_many_tokens_and_those_that_ended_make_room,
    a_token_of_before_a_revocation_of_the_account_has_ended,
    a_token_is_not_recorded_after_a_revocation_of_the_account,
    a_token_is_revoked_once_and_only_in_the_name_of_its_person,
    all_tokens_of_a_person_are_revoked_at_once,
    the_last_use_is_recorded_at_most_once_a_minute,
    a_token_goes_a_week_after_its_end,
);

/// The length of [`KEPT_FOR`] in seconds.
const WEEK: i64 = KEPT_FOR.as_secs().cast_signed();

pub(super) fn token_of(account: &Account, now: i64) -> PersonalToken {
    let id = new_id();
    PersonalToken {
        id,
        hash: TokenHash::of(id.as_str()),
        account: account.id,
        epoch: account.epoch,
        created_at: at(now),
        expires_at: Some(at(now + 1000)),
        ..testing::personal_token()
    }
}

async fn add(world: &World, token: &PersonalToken, now: i64) -> Added {
    let added = world.store.add_personal_token(token.clone(), at(now));
    added.await.unwrap()
}

async fn added(world: &World, account: &Account) -> PersonalToken {
    let token = token_of(account, NOW);
    assert_eq!(add(world, &token, NOW).await, Added::Recorded);
    token
}

async fn read(world: &World, token: &PersonalToken) -> Option<PersonalToken> {
    let found = world.store.personal_token(token.id).await.unwrap();
    found.map(|standing| standing.token)
}

async fn a_token_is_read_as_it_was_recorded(world: &World) {
    let person = world.person().await;
    let first = added(world, &person).await;
    let second = PersonalToken {
        audience: Audience::Many(vec!["https://a".to_owned(), "https://b".to_owned()]),
        claims: vec!["department".to_owned(), "email".to_owned()],
        scopes: "orders.read items".to_owned(),
        expires_at: None,
        ..token_of(&person, NOW + 1)
    };
    assert_eq!(add(world, &second, NOW + 1).await, Added::Recorded);
    for token in [&first, &second] {
        let found = world.store.personal_token(token.id).await.unwrap();
        let found = found.unwrap();
        assert_eq!(found.token, *token);
        assert_eq!(found.account, person);
        assert!(found.judge(SHOP).is_ok());
    }
    assert_eq!(world.store.personal_token(new_id()).await.unwrap(), None);
    let other = world.person().await;
    added(world, &other).await;
    let all = world.store.personal_tokens(person.id).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|standing| standing.token).collect();
    assert_eq!(all, [second, first], "the newest first");
}

async fn a_person_has_only_so_many_tokens_and_those_that_ended_make_room(world: &World) {
    let (person, other) = (world.person().await, world.person().await);
    let tokens: Vec<PersonalToken> = (0..i64::from(MOST_OF_PERSON))
        .map(|number| token_of(&person, NOW + number))
        .collect();
    for token in &tokens {
        assert_eq!(add(world, token, NOW).await, Added::Recorded);
    }
    let more = token_of(&person, NOW + 500);
    assert_eq!(add(world, &more, NOW + 500).await, Added::TooMany);
    assert_eq!(read(world, &more).await, None);
    added(world, &other).await;
    // A revoked token makes room, then an expired one. A valid one never does.
    let store = &world.store;
    let revoked = store.end_personal_token(person.id, tokens[7].id, at(NOW + 500));
    assert!(revoked.await.unwrap());
    assert_eq!(add(world, &more, NOW + 500).await, Added::Recorded);
    assert_eq!(read(world, &tokens[7]).await, None);
    let last = token_of(&person, NOW + 1000);
    assert_eq!(add(world, &last, NOW + 999).await, Added::TooMany);
    assert_eq!(add(world, &last, NOW + 1000).await, Added::Recorded);
    assert_eq!(read(world, &tokens[0]).await, None, "it has expired");
    let all = store.personal_tokens(person.id).await.unwrap();
    assert_eq!(all.len(), MOST_OF_PERSON as usize);
}

async fn a_token_of_before_a_revocation_of_the_account_has_ended(world: &World) {
    let person = world.person().await;
    let token = added(world, &person).await;
    let store = &world.store;
    store
        .sign_out_everywhere(person.id, at(NOW + 1))
        .await
        .unwrap();
    let found = store.personal_token(token.id).await.unwrap().unwrap();
    assert_eq!(found.judge(SHOP), Err(Ended::Account));
}

async fn a_token_is_not_recorded_after_a_revocation_of_the_account(world: &World) {
    let person = world.person().await;
    world
        .store
        .sign_out_everywhere(person.id, at(NOW))
        .await
        .unwrap();
    let token = token_of(&person, NOW);
    assert_eq!(add(world, &token, NOW).await, Added::Revoked);
    assert_eq!(read(world, &token).await, None);
}

async fn a_token_is_revoked_once_and_only_in_the_name_of_its_person(world: &World) {
    let (person, other) = (world.person().await, world.person().await);
    let token = added(world, &person).await;
    let end = async |account: &Account, now| {
        let ended = world
            .store
            .end_personal_token(account.id, token.id, at(now));
        ended.await.unwrap()
    };
    assert!(!end(&other, NOW + 1).await);
    assert_eq!(read(world, &token).await.unwrap().ended_at, None);
    let both = join_all([NOW + 2, NOW + 2].map(|now| end(&person, now))).await;
    assert_eq!(both.iter().filter(|ended| **ended).count(), 1);
    assert!(!end(&person, NOW + 3).await);
    assert_eq!(
        read(world, &token).await.unwrap().ended_at,
        Some(at(NOW + 2))
    );
}

async fn all_tokens_of_a_person_are_revoked_at_once(world: &World) {
    let (person, other) = (world.person().await, world.person().await);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(added(world, &person).await);
    }
    let kept = added(world, &other).await;
    let end = async || {
        let ended = world.store.end_personal_tokens(person.id, at(NOW + 1));
        let mut ended = ended.await.unwrap();
        ended.sort_unstable();
        ended
    };
    let mut ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
    ids.sort_unstable();
    assert_eq!(end().await, ids);
    assert!(end().await.is_empty());
    for token in &tokens {
        assert!(read(world, token).await.unwrap().ended_at.is_some());
    }
    assert_eq!(read(world, &kept).await, Some(kept));
}

async fn the_last_use_is_recorded_at_most_once_a_minute(world: &World) {
    let person = world.person().await;
    let token = added(world, &person).await;
    let used = |second, network: Option<&str>, agent| LastUse {
        at: at(NOW + second),
        network: network.map(str::to_owned),
        agent,
    };
    let note = async |used| world.store.note_personal_token(token.id, used).await;
    let first = used(0, Some("192.0.2.0/24"), Some(Agent::Curl));
    note(first.clone()).await.unwrap();
    assert_eq!(read(world, &token).await.unwrap().used, Some(first.clone()));
    note(used(59, None, Some(Agent::Git))).await.unwrap();
    assert_eq!(read(world, &token).await.unwrap().used, Some(first));
    let second = used(60, None, None);
    note(second.clone()).await.unwrap();
    assert_eq!(read(world, &token).await.unwrap().used, Some(second));
    // What is left of a revoked token is what was known then.
    let store = &world.store;
    store
        .end_personal_token(person.id, token.id, at(NOW + 61))
        .await
        .unwrap();
    note(used(500, None, None)).await.unwrap();
    let left = read(world, &token).await.unwrap().used.unwrap();
    assert_eq!(left.at, at(NOW + 60));
}

async fn a_token_goes_a_week_after_its_end(world: &World) {
    let person = world.person().await;
    let expiring = added(world, &person).await;
    let revoked = added(world, &person).await;
    let for_ever = PersonalToken {
        expires_at: None,
        ..token_of(&person, NOW)
    };
    assert_eq!(add(world, &for_ever, NOW).await, Added::Recorded);
    let store = &world.store;
    store
        .end_personal_token(person.id, revoked.id, at(NOW + 10))
        .await
        .unwrap();
    let left = async |second: i64| {
        store.delete_expired(at(NOW + second)).await.unwrap();
        let all = [&expiring, &revoked, &for_ever].map(|token| read(world, token));
        let all = join_all(all).await;
        all.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    assert_eq!(left(10 + WEEK - 1).await, [true, true, true]);
    assert_eq!(left(10 + WEEK).await, [true, false, true]);
    assert_eq!(left(1000 + WEEK - 1).await, [true, false, true]);
    assert_eq!(left(1000 + WEEK).await, [false, false, true]);
    let years = 100 * 365 * 86_400;
    assert_eq!(left(years).await, [false, false, true]);
    store
        .end_personal_token(person.id, for_ever.id, at(NOW + years))
        .await
        .unwrap();
    assert_eq!(left(years + WEEK).await, [false, false, false]);
}
