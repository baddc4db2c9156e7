//! Random operations, several at once, against a model of the rules.

use futures::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::super::area::code::Redeemed;
use super::super::area::refresh::{RefreshRefusal, Refreshed};
use super::contract;
use super::world::{Coded, NOW, World, at};
use crate::people::grant::EndsWith;
use crate::people::refresh::Token;

contract!(random_operations_at_once_follow_the_model);

#[derive(Clone, Debug)]
enum Step {
    /// This many refreshes at once, with the token of this generation, counted back from the newest.
    Refresh {
        back: usize,
        times: usize,
    },
    /// This many redemptions at once.
    Redeem {
        times: usize,
    },
    Wait(i64),
    EndSession,
    EndGrant,
    EndAccount,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (prop_oneof![6 => Just(0_usize), 3 => Just(1), 1 => 2..4_usize], 1..8_usize)
            .prop_map(|(back, times)| Step::Refresh { back, times }),
        2 => (1..5_usize).prop_map(|times| Step::Redeem { times }),
        4 => prop_oneof![0..5_i64, 55..65_i64].prop_map(Step::Wait),
        1 => Just(Step::EndSession),
        1 => Just(Step::EndGrant),
        1 => Just(Step::EndAccount),
    ];
    proptest::collection::vec(step, 1..25)
}

/// What the rules say, with everything remembered that the rows do not keep.
struct Model {
    now: i64,
    is_alive: bool,
    ends_with: EndsWith,
    code_used: Option<i64>,
    issued: Vec<Token>,
    replaced: i64,
}

async fn random_operations_at_once_follow_the_model(world: &World) {
    let mut runner = TestRunner::default();
    for number in 0..24 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let ends_with = [EndsWith::Session, EndsWith::Grant][number % 2];
        follow(world, ends_with, &steps).await;
    }
}

async fn follow(world: &World, ends_with: EndsWith, steps: &[Step]) {
    let coded = world.code(ends_with).await;
    let mut model = Model {
        now: NOW,
        is_alive: true,
        ends_with,
        code_used: None,
        issued: Vec::new(),
        replaced: NOW,
    };
    for (number, step) in steps.iter().enumerate() {
        let place = format!("step {number} of {steps:?} with {ends_with:?}");
        match step {
            Step::Wait(seconds) => model.now += seconds,
            Step::EndSession => {
                world
                    .store
                    .end_session(coded.grant.session, at(model.now))
                    .await
                    .unwrap();
                model.is_alive &= model.ends_with == EndsWith::Grant;
            }
            Step::EndGrant => {
                world
                    .store
                    .end_grant(coded.grant.id, at(model.now))
                    .await
                    .unwrap();
                model.is_alive = false;
            }
            Step::EndAccount => {
                world
                    .store
                    .sign_out_everywhere(coded.grant.account, at(model.now))
                    .await
                    .unwrap();
                model.is_alive = false;
            }
            Step::Redeem { times } => redeem(world, &coded, &mut model, *times, &place).await,
            Step::Refresh { back, times } => {
                refresh(world, &mut model, *back, *times, &place).await
            }
        }
        let standing = world.store.grant(coded.grant.id).await.unwrap().unwrap();
        let is_alive = standing.grant.ended_at.is_none()
            && (ends_with == EndsWith::Grant || standing.session_ended_at.is_none())
            && standing.account.allows(standing.grant.epoch);
        assert_eq!(is_alive, model.is_alive, "{place}");
    }
}

async fn redeem(world: &World, coded: &Coded, model: &mut Model, times: usize, place: &str) {
    let mut request = coded.request.clone();
    request.arrived_at = at(model.now);
    let all = join_all((0..times).map(|_| world.redeem(&request, model.now))).await;
    let mut granted = Vec::new();
    for outcome in all {
        if let (Redeemed::Granted(_), token) = outcome.unwrap() {
            granted.push(token);
        }
    }
    match model.code_used {
        None if model.is_alive && model.now < NOW + 60 => {
            assert_eq!(granted.len(), 1, "{place}");
            model.issued = granted;
            model.code_used = Some(model.now);
            model.replaced = model.now;
        }
        used => {
            assert!(granted.is_empty(), "{place}");
            model.is_alive &= used.is_none_or(|used| model.now <= used + 1);
        }
    }
}

async fn refresh(world: &World, model: &mut Model, back: usize, times: usize, place: &str) {
    let Some(newest) = model.issued.len().checked_sub(1) else {
        return;
    };
    let back = back.min(newest);
    let token = model.issued[newest - back].clone();
    let all = join_all((0..times).map(|_| world.refresh(&token, model.now))).await;
    let mut children = Vec::new();
    let mut refusals = Vec::new();
    for outcome in all {
        match outcome.unwrap() {
            Refreshed::Granted { token, .. } => children.push(token.unwrap()),
            Refreshed::Denied(why) => panic!("{why}: {place}"),
            Refreshed::Refused { reason, .. } => refusals.push(reason),
        }
    }
    let is_same = children.iter().all(|child| child.text == children[0].text);
    assert!(is_same, "one child: {place}");
    match back {
        0 if model.is_alive => {
            assert!(refusals.is_empty(), "{refusals:?}: {place}");
            model.issued.push(children[0].clone());
            model.replaced = model.now;
        }
        1 if model.is_alive && model.now < model.replaced + 60 => {
            assert!(refusals.is_empty(), "{refusals:?}: {place}");
            assert_eq!(children[0].text, model.issued[newest].text, "{place}");
        }
        _ => {
            assert!(children.is_empty(), "{place}");
            let expected = [RefreshRefusal::Reuse, RefreshRefusal::Ended];
            assert!(
                refusals.iter().all(|why| expected.contains(why)),
                "{refusals:?}: {place}"
            );
            if back > 0 {
                model.is_alive = false;
            }
        }
    }
}
