//! Issuing, searched: the real plan and the real driver over a simulated API server, in every order of
//! steps within bounds, with two operators, crashes, late and lost requests, users, time and the
//! sweeper. In each state, and once all is at rest, the invariants hold ([`world::Broken`]).
//!
//! ```text
//! cargo test --test issuing                                  within one action and one fault
//! cargo test --release --test issuing -- --ignored --nocapture        deeper: see DEEP below
//! ```

mod real;
mod world;

use std::collections::{HashMap, VecDeque};

use symbolon::resources::OnSecretDeleted;

use real::{Asked, Real};
use world::{Bounds, Broken, Laws, State, World};

/// What a search found.
struct Found {
    states: usize,
    steps: usize,
    rests: usize,
    runs: usize,
    is_exhausted: bool,
    broken: Option<(Broken, Vec<&'static str>)>,
}

fn world(bounds: Bounds) -> World {
    let policy = if bounds.revoke_on_delete {
        OnSecretDeleted::Revoke
    } else {
        OnSecretDeleted::Overlap
    };
    World {
        real: Real::new(policy),
        bounds,
    }
}

/// Breadth first, so that what is found is shortest. Rest is checked in one of `rest_share` states.
fn search(bounds: Bounds, rest_share: u64, most: usize) -> Found {
    let mut world = world(bounds);
    let mut initial = State::initial();
    initial.canonical();
    let mut seen: HashMap<u64, (u64, &'static str)> =
        HashMap::from([(initial.fingerprint(), (0, ""))]);
    let mut queue = VecDeque::from([initial]);
    let mut found = Found {
        states: 0,
        steps: 0,
        rests: 0,
        runs: 0,
        is_exhausted: false,
        broken: None,
    };
    let mut steps = Vec::new();
    while let Some(state) = queue.pop_front() {
        let from = state.fingerprint();
        if from % rest_share == 0 {
            for order in 0..3 {
                for is_lost in [false, true] {
                    found.rests += 1;
                    if let Some(broken) = world.at_rest(&state, order, is_lost) {
                        found.broken = Some((broken, path(&seen, from, "then all is at rest")));
                        break;
                    }
                }
            }
        }
        steps.clear();
        world.successors(&state, &mut steps);
        for (mut next, name) in steps.iter().copied() {
            found.steps += 1;
            if let Some(broken) = next.check() {
                found.broken = Some((broken, path(&seen, from, name)));
                break;
            }
            next.canonical();
            if let std::collections::hash_map::Entry::Vacant(place) = seen.entry(next.fingerprint())
            {
                place.insert((from, name));
                queue.push_back(next);
            }
        }
        if found.broken.is_some() || seen.len() >= most {
            break;
        }
    }
    found.is_exhausted = queue.is_empty();
    (found.states, found.runs) = (seen.len(), world.real.runs);
    found
}

fn path(
    seen: &HashMap<u64, (u64, &'static str)>,
    mut at: u64,
    last: &'static str,
) -> Vec<&'static str> {
    let mut names = vec![last];
    while let Some((from, name)) = seen.get(&at).filter(|(_, name)| !name.is_empty()) {
        names.push(name);
        at = *from;
    }
    names.reverse();
    names
}

/// Everything within the bounds is good, and all of it was seen.
fn holds(bounds: Bounds, rest_share: u64) {
    let started = std::time::Instant::now();
    let found = search(bounds, rest_share, usize::MAX);
    println!(
        "{} actions, {} faults, {}: {} states, {} steps, {} times at rest, {} runs of the driver, {:.1?}",
        bounds.actions,
        bounds.faults,
        if bounds.revoke_on_delete {
            "Revoke"
        } else {
            "Overlap"
        },
        found.states,
        found.steps,
        found.rests,
        found.runs,
        started.elapsed()
    );
    if let Some((broken, path)) = found.broken {
        panic!("{broken:?} after\n  {}", path.join("\n  "));
    }
    assert!(found.is_exhausted);
}

const fn bounds(actions: u8, faults: u8, revoke_on_delete: bool) -> Bounds {
    Bounds {
        actions,
        faults,
        revoke_on_delete,
        laws: Laws::ALL,
    }
}

#[test]
fn a_pass_reads_the_credential_before_the_secret_and_the_owner_last() {
    let mut real = Real::new(OnSecretDeleted::Overlap);
    assert_eq!(
        real.reads(),
        [Asked::GetCredential, Asked::GetSecret, Asked::GetOwner]
    );
}

#[test]
fn every_order_of_one_action_is_good() {
    holds(bounds(1, 0, true), 1);
    holds(bounds(1, 0, false), 1);
}
