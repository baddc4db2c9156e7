//! A search over everything that may happen to one service token between any two requests, within bounds.

use futures::FutureExt as _;

use super::scripted::{Event, Scripted, Which};
use super::*;

const EVENTS: [Event; 10] = [
    Event::Revokes(Which::Oldest),
    Event::Revokes(Which::Newest),
    Event::Deletes(Which::Oldest),
    Event::Deletes(Which::Newest),
    Event::Cleans,
    Event::Restores,
    Event::RestoresOwner,
    Event::Kills,
    Event::LosesAnswer,
    Event::Overtakes,
];

/// The most runs until a run has nothing left to do.
const RUNS: usize = 8;

/// Returns the objects after the token was recreated with this uid. The client was not recreated.
fn world(uid: &str) -> World {
    let shop = "{name: shop, namespace: blue}";
    let nightly = "{name: nightly, namespace: blue}";
    World::new(
        &QUICKSTART
            .replace(shop, "{name: shop, namespace: blue, uid: client-1}")
            .replace(
                nightly,
                &format!("{{name: nightly, namespace: blue, uid: {uid}}}"),
            ),
    )
}

struct Search {
    case: Case,
    worlds: [World; 3],
    scripts: usize,
    /// What is wrong, by the events.
    wrong: BTreeMap<String, String>,
}

impl Search {
    fn new() -> Self {
        Self {
            case: Case::restored(),
            worlds: ["token-2", "token-3", "token-4"].map(world),
            scripts: 0,
            wrong: BTreeMap::new(),
        }
    }

    /// Follows a script, and returns the number of requests; `None` if a shorter script does the same.
    ///
    /// # Errors
    /// Returns what is wrong.
    fn follow(&self, script: &[(usize, Event)]) -> Result<Option<usize>, String> {
        let worlds = self.worlds.iter().collect();
        let cluster = Scripted::with(&self.case, worlds, [&self.case.token], script.to_vec());
        for _ in 0..RUNS {
            let is_last = !cluster.has_more();
            let is_done = cluster.run().now_or_never().unwrap();
            let told = |what: &str| Err(format!("{what}: {script:?}: {:#?}", outline(&cluster)));
            // What was restored while a run was going on waits for the next one.
            if is_done && !cluster.is_unseen() && cluster.is_dead() && cluster.accepts() {
                return told("revived");
            }
            if is_done && is_last {
                let is_right = cluster.is_dead() || cluster.accepts() || may_be_lost(script);
                return match (is_right, cluster.was_idle()) {
                    (false, _) => told("lost"),
                    (true, was_idle) => Ok((!was_idle).then(|| cluster.requests())),
                };
            }
        }
        // After a deletion the command fails as long as the old Credential stands.
        if cluster.is_dead() && cluster.accepts() {
            return Err(format!("revived: {script:?}: {:#?}", outline(&cluster)));
        }
        Err(format!("never done: {script:?}: {:#?}", outline(&cluster)))
    }

    fn extend(&mut self, script: &mut Vec<(usize, Event)>, depth: usize) {
        self.scripts += 1;
        let requests = match self.follow(script) {
            Ok(Some(requests)) => requests,
            Ok(None) => return,
            Err(wrong) => {
                let events: Vec<Event> = script.iter().map(|(_, event)| *event).collect();
                self.wrong.entry(format!("{events:?}")).or_insert(wrong);
                return;
            }
        };
        if depth == 0 {
            return;
        }
        let first = script.last().map_or(0, |(before, _)| *before);
        for before in first..=requests {
            for event in EVENTS {
                script.push((before, event));
                self.extend(script, depth - 1);
                script.pop();
            }
        }
    }
}

/// Whether a token may be lost that was neither revoked nor deleted with its Credential: if an empty Credential was deleted,
/// if two runs worked at the same time, or if the owner was recreated again after an interrupted run.
fn may_be_lost(script: &[(usize, Event)]) -> bool {
    let has = |events: &[Event]| script.iter().any(|(_, event)| events.contains(event));
    let deletes = [Which::Oldest, Which::Newest].map(Event::Deletes);
    has(&deletes)
        || has(&[Event::Overtakes])
        || has(&[Event::RestoresOwner]) && has(&[Event::Kills, Event::LosesAnswer])
}

/// Returns what matters of the Credentials in a message.
fn outline(cluster: &Scripted<'_>) -> Vec<String> {
    let line = |it: &Credential| {
        let (name, uid) = (it.metadata.name.as_deref(), it.metadata.uid.as_deref());
        let (tokens, revoked) = (it.spec.tokens.len(), &it.status);
        let rebound = &it.spec.memory.rebound;
        format!("{name:?} {uid:?}: {tokens} tokens, {revoked:?}, {rebound:?}")
    };
    cluster.credentials().iter().map(line).collect()
}

fn search(depth: usize) {
    let mut search = Search::new();
    search.extend(&mut Vec::new(), depth);
    let wrong: Vec<&str> = search.wrong.values().map(|it| &**it).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} scripts are wrong: {}",
        wrong.len(),
        search.scripts,
        wrong.join("\n")
    );
}

#[test]
fn a_token_that_was_revoked_or_whose_credential_was_deleted_is_never_accepted_afterwards() {
    search(2);
}

#[test]
#[ignore = "takes minutes: cargo test --lib restore -- --ignored"]
fn no_three_events_revive_a_token() {
    search(3);
}
