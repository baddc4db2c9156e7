//! Codes and refresh tokens: races, lost replies and revocations.

use futures::future::join_all;

use super::super::StoreError;
use super::super::area::code::{CodeRefusal, Issue, Redeemed};
use super::super::area::refresh::{RefreshRefusal, Refreshed};
use super::contract;
use super::world::{Coded, NOW, POLICY, SHOP, TestRefreshed, World, at, keys, new_id, presented};
use crate::people::code::{Code, CodeVerdict, Use};
use crate::people::grant::{Client, Ended, EndsWith, Grant, GrantStanding};
use crate::people::refresh::{Policy, Presented, Rotation, Token};
use crate::tokens::reference::{self, Kind, Prefix};
use crate::tokens::{SystemEntropy, TokenHash};

contract!(
    of_100_parallel_redemptions_one_wins_and_nothing_ends,
    a_later_use_of_a_code_ends_what_the_first_gave,
    a_guessed_or_misbound_code_ends_nothing,
    a_denied_code_stays_unused,
    a_denied_refresh_changes_nothing,
    nothing_is_decided_about_what_is_refused,
    a_grant_keeps_its_sign_in_and_the_claims_of_its_request,
    an_expired_code_is_refused_while_its_row_is_there,
    a_code_of_an_ended_session_gives_nothing,
    of_100_parallel_refreshes_all_get_the_same_child,
    a_lost_reply_after_the_commit_gives_the_same_child,
    an_older_generation_ends_the_family_and_its_grant,
    a_guessed_refresh_token_ends_no_family,
    a_foreign_client_gets_nothing_and_ends_nothing,
    a_grant_that_says_nothing_known_is_a_fault,
    a_family_expires_while_its_row_is_there,
    a_stable_token_writes_now_and_then,
    a_revocation_that_races_refreshes_leaves_nothing_alive,
    a_grant_of_its_own_outlives_its_session,
);

fn refusal(refreshed: &TestRefreshed) -> Option<RefreshRefusal> {
    match refreshed {
        Refreshed::Refused { reason, .. } => Some(*reason),
        Refreshed::Granted { .. } | Refreshed::Denied(_) => None,
    }
}

async fn of_100_parallel_redemptions_one_wins_and_nothing_ends(world: &World) {
    let Coded { request, grant, .. } = world.code(EndsWith::Session).await;
    let all = join_all((0..100).map(|_| world.redeem(&request, NOW))).await;
    let (mut won, mut already) = (Vec::new(), 0);
    for outcome in all {
        match outcome.unwrap() {
            (Redeemed::Granted(_), token) => won.push(token),
            (
                Redeemed::Refused {
                    reason: CodeRefusal::Code(CodeVerdict::AlreadyUsed),
                    ended: false,
                },
                _,
            ) => already += 1,
            (other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!((won.len(), already), (1, 99));
    let standing = world.store.grant(grant.id).await.unwrap().unwrap();
    assert!(standing.judge(SHOP, at(NOW)).is_ok());
    world.child(&won[0], NOW + 1).await;
}

async fn a_later_use_of_a_code_ends_what_the_first_gave(world: &World) {
    let (
        Coded {
            mut request, grant, ..
        },
        token,
    ) = world.family(EndsWith::Grant).await;
    request.arrived_at = at(NOW + 2);
    let (again, _) = world.redeem(&request, NOW + 2).await.unwrap();
    let expected = Redeemed::Refused {
        reason: CodeRefusal::Code(CodeVerdict::Reuse),
        ended: true,
    };
    assert_eq!(again, expected);
    let standing = world.store.grant(grant.id).await.unwrap().unwrap();
    assert_eq!(standing.judge(SHOP, at(NOW + 2)), Err(Ended::Revoked));
    let refreshed = world.refresh(&token, NOW + 2).await.unwrap();
    assert_eq!(refusal(&refreshed), Some(RefreshRefusal::Ended));
}

async fn a_guessed_or_misbound_code_ends_nothing(world: &World) {
    let (Coded { request, grant, .. }, _) = world.family(EndsWith::Grant).await;
    let mut wrong = [(); 4].map(|()| request.clone());
    wrong[0].hash = TokenHash::of("guess");
    wrong[1].client.id = "other";
    wrong[2].id = new_id();
    wrong[3].client.uid = "recreated";
    for mut request in wrong {
        request.arrived_at = at(NOW + 5);
        let (refused, _) = world.redeem(&request, NOW + 5).await.unwrap();
        assert!(
            matches!(refused, Redeemed::Refused { ended: false, .. }),
            "{refused:?}"
        );
    }
    let standing = world.store.grant(grant.id).await.unwrap().unwrap();
    assert!(standing.judge(SHOP, at(NOW + 5)).is_ok());
}

/// Such as for a wrong `resource`: a request with a correct one can follow.
async fn a_denied_code_stays_unused(world: &World) {
    let Coded { request, .. } = world.code(EndsWith::Session).await;
    let before = world.dump().await;
    let deny = |_: &GrantStanding, _: &Code| Err::<(Issue, ()), _>("no");
    for _ in 0..2 {
        let denied = world
            .store
            .redeem_code(request.clone(), at(NOW), deny)
            .await;
        assert_eq!(denied.unwrap(), Redeemed::Denied("no"));
    }
    assert_eq!(world.dump().await, before);
    let (redeemed, _) = world.redeem(&request, NOW + 1).await.unwrap();
    assert!(matches!(redeemed, Redeemed::Granted(_)), "{redeemed:?}");
}

async fn a_denied_refresh_changes_nothing(world: &World) {
    let stable = Policy {
        rotation: Rotation::Stable,
        ..POLICY
    };
    let (_, first) = world.family(EndsWith::Grant).await;
    let second = world.child(&first, NOW + 1).await;
    let before = world.dump().await;
    // The current token, with and without rotation, and its parent within the grace.
    for (token, policy, now) in [
        (&second, &POLICY, 1000),
        (&second, &stable, 1000),
        (&first, &POLICY, 2),
    ] {
        let mut times = 0;
        let deny = |_: &GrantStanding| {
            times += 1;
            Err("no")
        };
        let token = presented(token);
        let denied = world.refresh_if(&token, policy, NOW + now, deny).await;
        let denied = denied.unwrap();
        assert!(matches!(denied, Refreshed::Denied("no")), "{denied:?}");
        assert_eq!(times, 1);
    }
    assert_eq!(world.dump().await, before);
    world.child(&second, NOW + 2).await;
}

async fn nothing_is_decided_about_what_is_refused(world: &World) {
    let (Coded { request, .. }, token) = world.family(EndsWith::Grant).await;
    let ended = world.code(EndsWith::Session).await;
    let session = ended.grant.session;
    world.store.end_session(session, at(NOW)).await.unwrap();
    for request in [request, ended.request] {
        let refused = world.store.redeem_code(request, at(NOW), |_, _| {
            panic!("a refused code needs no decision")
        });
        let refused: Redeemed<(), ()> = refused.await.unwrap();
        assert!(matches!(refused, Redeemed::Refused { .. }), "{refused:?}");
    }
    let token = presented(&token);
    let refused = world.refresh_if(&token, &POLICY, NOW + 3200, |_| {
        panic!("a refused token needs no decision")
    });
    assert_eq!(
        refusal(&refused.await.unwrap()),
        Some(RefreshRefusal::Expired)
    );
}

/// What a later refresh and the userinfo endpoint say about the sign-in is what the first tokens said.
async fn a_grant_keeps_its_sign_in_and_the_claims_of_its_request(world: &World) {
    let account = world.person().await;
    let session = world.session(&account).await;
    for claims in [None, Some(r#"{"userinfo":{"email":null}}"#.to_owned())] {
        let mut coded = World::new_code(&session, EndsWith::Session);
        coded.grant.authenticated_at = at(NOW - 500);
        coded.grant.acr = "https://symbolon.dev/acr/mfa".to_owned();
        coded.grant.methods = "pwd otp mfa".to_owned();
        coded.grant.claims = claims;
        let issued = world.store.issue_code(coded.authorized(), at(NOW)).await;
        assert!(issued.unwrap().is_some());
        let (redeemed, token) = world.redeem(&coded.request, NOW).await.unwrap();
        assert_eq!(redeemed, Redeemed::Granted(coded.grant.clone()));
        let later = Grant {
            expires_at: at(NOW + 10_000),
            ..coded.grant
        };
        let refreshed = world.refresh(&token, NOW + 1).await.unwrap();
        let Refreshed::Granted { decided, .. } = refreshed else {
            panic!("{refreshed:?}");
        };
        assert_eq!(decided, later);
        let standing = world.store.grant(later.id).await.unwrap().unwrap();
        assert_eq!(standing.grant, later);
    }
}

async fn an_expired_code_is_refused_while_its_row_is_there(world: &World) {
    let Coded { request, .. } = world.code(EndsWith::Grant).await;
    let (refused, _) = world.redeem(&request, NOW + 60).await.unwrap();
    let expected = Redeemed::Refused {
        reason: CodeRefusal::Code(CodeVerdict::Expired),
        ended: false,
    };
    assert_eq!(refused, expected);
}

async fn a_code_of_an_ended_session_gives_nothing(world: &World) {
    for ends_with in [EndsWith::Session, EndsWith::Grant] {
        let Coded { request, grant, .. } = world.code(ends_with).await;
        match ends_with {
            EndsWith::Session => world
                .store
                .end_session(grant.session, at(NOW))
                .await
                .map(drop),
            EndsWith::Grant => {
                world
                    .store
                    .sign_out_everywhere(grant.account, at(NOW))
                    .await
            }
        }
        .unwrap();
        let (refused, _) = world.redeem(&request, NOW + 1).await.unwrap();
        let expected = Redeemed::Refused {
            reason: CodeRefusal::Ended,
            ended: false,
        };
        assert_eq!(refused, expected, "{ends_with:?}");
    }
}

async fn of_100_parallel_refreshes_all_get_the_same_child(world: &World) {
    let (_, mut token) = world.family(EndsWith::Session).await;
    for round in 1..4 {
        let all = join_all((0..100).map(|_| world.child(&token, NOW + round))).await;
        let child = all[0].clone();
        assert!(
            all.iter().all(|other| other.text == child.text),
            "one child"
        );
        assert_eq!(child.generation, token.generation + 1);
        token = child;
    }
}

async fn a_lost_reply_after_the_commit_gives_the_same_child(world: &World) {
    let (_, token) = world.family(EndsWith::Session).await;
    let mut lost = 0;
    for step in 1..20 {
        world.store.faults().arm(step);
        let first = world.refresh(&token, NOW + 1).await;
        if world.store.faults().disarm() {
            assert!(first.is_ok(), "no step failed");
            break;
        }
        let error = first.unwrap_err();
        let is_injected = |error: &StoreError| matches!(error, StoreError::Injected);
        assert!(
            is_injected(&error)
                || matches!(&error, StoreError::RolledBack(cause) if is_injected(cause)),
            "{error}"
        );
        lost += 1;
    }
    assert!(
        lost >= 2,
        "at least the read, the write and the reply failed"
    );
    // Whether or not the last failure came after the commit, the client gets one child.
    let child = world.child(&token, NOW + 2).await;
    assert_eq!(world.child(&token, NOW + 3).await.text, child.text);
    let (family, _) = world.store.family(token.id).await.unwrap().unwrap();
    assert_eq!((family.generation, family.hash), (1, child.hash));
}

async fn an_older_generation_ends_the_family_and_its_grant(world: &World) {
    let (Coded { grant, .. }, first) = world.family(EndsWith::Grant).await;
    let second = world.child(&first, NOW + 1).await;
    let third = world.child(&second, NOW + 2).await;
    let reused = world.refresh(&first, NOW + 3).await.unwrap();
    assert!(
        matches!(
            reused,
            Refreshed::Refused {
                reason: RefreshRefusal::Reuse,
                ended: true
            }
        ),
        "{reused:?}"
    );
    for token in [first, second, third] {
        let refused = world.refresh(&token, NOW + 4).await.unwrap();
        assert_eq!(refusal(&refused), Some(RefreshRefusal::Ended));
    }
    let standing = world.store.grant(grant.id).await.unwrap().unwrap();
    assert_eq!(standing.judge(SHOP, at(NOW + 4)), Err(Ended::Revoked));
}

async fn a_guessed_refresh_token_ends_no_family(world: &World) {
    let (_, token) = world.family(EndsWith::Grant).await;
    let token = world.child(&token, NOW + 1).await;
    let before = world.dump().await;
    for secret in [[0; 32], [1; 32], [255; 32]] {
        let guess =
            reference::with_secret(&Prefix::default(), Kind::RefreshToken, token.id, &secret);
        let guess = Presented::parse(guess.token.expose(), &Prefix::default()).unwrap();
        let refused = world.refresh_by(&guess, &POLICY, NOW + 200).await.unwrap();
        assert_eq!(refusal(&refused), Some(RefreshRefusal::Guessed));
    }
    let stranger = keys().first(&Prefix::default(), &mut SystemEntropy);
    let refused = world.refresh(&stranger, NOW + 200).await.unwrap();
    assert_eq!(refusal(&refused), Some(RefreshRefusal::Unknown));
    assert_eq!(world.dump().await, before);
}

/// A recreated client is a foreign one.
async fn a_foreign_client_gets_nothing_and_ends_nothing(world: &World) {
    let (Coded { grant, .. }, first) = world.family(EndsWith::Grant).await;
    let second = world.child(&first, NOW + 1).await;
    let third = world.child(&second, NOW + 2).await;
    let unused = world.code(EndsWith::Grant).await;
    let before = world.dump().await;
    for (id, uid) in [("other", "1"), ("shop", "recreated")] {
        let client = Client { id, uid };
        // The current token, its parent within and after the grace, and an older one, which is stolen.
        for (token, now) in [(&third, 3), (&second, 3), (&second, 500), (&first, 3)] {
            let refused = world.refresh_as(client, token, NOW + now).await.unwrap();
            assert_eq!(
                refusal(&refused),
                Some(RefreshRefusal::Foreign),
                "{refused:?}"
            );
        }
        let request = Use {
            client,
            ..unused.request.clone()
        };
        let (refused, _) = world.redeem(&request, NOW).await.unwrap();
        let expected = Redeemed::Refused {
            reason: CodeRefusal::Code(CodeVerdict::Misbound),
            ended: false,
        };
        assert_eq!(refused, expected);
        let standing = world.store.grant(grant.id).await.unwrap().unwrap();
        assert_eq!(standing.judge(client, at(NOW + 3)), Err(Ended::Client));
    }
    assert_eq!(world.dump().await, before);
    world.child(&third, NOW + 3).await;
}

/// Another release, or another program, wrote the row.
async fn a_grant_that_says_nothing_known_is_a_fault(world: &World) {
    let (Coded { grant, .. }, token) = world.family(EndsWith::Session).await;
    let unused = world.code(EndsWith::Session).await;
    let qualifier = world.store.qualifier();
    let sql = format!("UPDATE {qualifier}grants SET ends_with = 2");
    world.store.all(&sql).await.unwrap();
    let refreshed = world.refresh(&token, NOW + 1).await.map(drop);
    let redeemed = world.redeem(&unused.request, NOW + 1).await.map(drop);
    let read = world.store.grant(grant.id).await.map(drop);
    for done in [refreshed, redeemed, read] {
        assert!(matches!(done, Err(StoreError::Value { .. })), "{done:?}");
    }
}

async fn a_family_expires_while_its_row_is_there(world: &World) {
    let (_, token) = world.family(EndsWith::Grant).await;
    let refused = world.refresh(&token, NOW + 3200).await.unwrap();
    assert_eq!(refusal(&refused), Some(RefreshRefusal::Expired));
    assert!(world.store.family(token.id).await.unwrap().is_some());
}

async fn a_stable_token_writes_now_and_then(world: &World) {
    let stable = Policy {
        rotation: Rotation::Stable,
        ..POLICY
    };
    let (_, token) = world.family(EndsWith::Grant).await;
    let before = world.dump().await;
    let kept = world
        .refresh_by(&presented(&token), &stable, NOW + 99)
        .await
        .unwrap();
    assert!(
        matches!(kept, Refreshed::Granted { token: None, .. }),
        "{kept:?}"
    );
    assert_eq!(
        world.dump().await,
        before,
        "a use soon after another writes nothing"
    );
    // The idle limit slides: each use is within it of the one before.
    for now in [3000, 6000, 9000] {
        let kept = world
            .refresh_by(&presented(&token), &stable, NOW + now)
            .await
            .unwrap();
        assert!(matches!(kept, Refreshed::Granted { .. }), "{now}: {kept:?}");
    }
}

/// How a race is revoked.
#[derive(Clone, Copy, Debug)]
enum Revocation {
    Grant,
    Session,
    Account,
    Password,
}

async fn a_revocation_that_races_refreshes_leaves_nothing_alive(world: &World) {
    for how in [
        Revocation::Grant,
        Revocation::Session,
        Revocation::Account,
        Revocation::Password,
    ] {
        let (Coded { grant, .. }, token) = world.family(EndsWith::Session).await;
        // A chain of refreshes runs while the revocation lands.
        let chain = async {
            let mut tokens: Vec<Token> = vec![token.clone()];
            loop {
                match world
                    .refresh(&tokens[tokens.len() - 1], NOW + 1)
                    .await
                    .unwrap()
                {
                    Refreshed::Granted {
                        token: Some(child), ..
                    } => tokens.push(child),
                    _ => return tokens,
                }
            }
        };
        let revoke = async {
            // Let a few refreshes be granted first.
            while world
                .store
                .family(token.id)
                .await
                .unwrap()
                .unwrap()
                .0
                .generation
                < 3
            {}
            let store = &world.store;
            match how {
                Revocation::Grant => store.end_grant(grant.id, at(NOW + 1)).await.map(drop),
                Revocation::Session => store
                    .end_session(grant.session, at(NOW + 1))
                    .await
                    .map(drop),
                Revocation::Account => store.sign_out_everywhere(grant.account, at(NOW + 1)).await,
                Revocation::Password => {
                    let hash = "$argon2id$".to_owned();
                    store
                        .change_password(grant.account, hash, at(NOW + 1))
                        .await
                }
            }
            .unwrap();
        };
        let (tokens, ()) = tokio::join!(chain, revoke);
        assert!(tokens.len() > 3, "{how:?}");
        for token in &tokens {
            let after = world.refresh(token, NOW + 1).await.unwrap();
            assert!(refusal(&after).is_some(), "{how:?}: {after:?}");
        }
        let standing = world.store.grant(grant.id).await.unwrap().unwrap();
        assert!(standing.judge(SHOP, at(NOW + 1)).is_err(), "{how:?}");
    }
}

async fn a_grant_of_its_own_outlives_its_session(world: &World) {
    let (Coded { grant, .. }, token) = world.family(EndsWith::Grant).await;
    assert!(
        world
            .store
            .end_session(grant.session, at(NOW + 1))
            .await
            .unwrap()
    );
    world.child(&token, NOW + 2).await;
}
