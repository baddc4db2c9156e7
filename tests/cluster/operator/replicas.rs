//! Several replicas of the operator: the leader may be killed or suspended at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;
use symbolon::{
    resources::{Credential, Kind},
    tokens::TokenHash,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    process::Operator,
    proxy::{Asked, Gate, Pass, Proxy},
    world::{World, rotate},
};
use crate::harness::{Cluster, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;
/// The number of times that the leader is killed. Each costs the duration of a Lease. `SYMBOLON_KILLS` sets another
/// number.
const ROUNDS: u64 = 2;
/// The number of objects that each round creates.
const EACH: u64 = 8;

fn rounds() -> u64 {
    let more = std::env::var("SYMBOLON_KILLS").ok();
    more.map_or(ROUNDS, |more| {
        more.parse().expect("SYMBOLON_KILLS is a number")
    })
}

/// All versions seen: the hashes of the Secrets' tokens, and the Credentials' entries.
#[derive(Default)]
struct History {
    /// By owner uid: the hash of each epoch.
    recorded: BTreeMap<String, BTreeMap<i64, String>>,
    /// By owner uid: the last `high`.
    high: BTreeMap<String, i64>,
    /// The hashes of all tokens that were ever in a Secret.
    revealed: BTreeSet<String>,
}

impl History {
    fn credential(&mut self, credential: &Credential) {
        let spec = &credential.spec;
        let high = self.high.entry(spec.owner.uid.clone()).or_default();
        assert!(*high <= spec.high, "epochs must only grow");
        *high = spec.high;
        let recorded = self.recorded.entry(spec.owner.uid.clone()).or_default();
        for entry in &spec.tokens {
            let known = recorded.entry(entry.epoch).or_insert(entry.hash.clone());
            assert_eq!(*known, entry.hash, "an epoch must belong to one token");
        }
        let open = spec.tokens.iter().filter(|it| it.not_after.is_none());
        assert!(open.count() <= 2, "at most two tokens may have no end");
    }

    fn secret(&mut self, secret: &Secret) {
        self.revealed.extend(tokens_in(secret));
    }

    /// Whether the watches have passed on these versions, and so everything before them.
    fn has_seen(&self, credentials: &[Credential], secrets: &[Secret]) -> bool {
        let mut tokens = secrets.iter().flat_map(tokens_in);
        let has_entries = |credential: &Credential| {
            let spec = &credential.spec;
            let recorded = self.recorded.get(&spec.owner.uid);
            self.high.get(&spec.owner.uid) == Some(&spec.high)
                && recorded.is_some_and(|recorded| {
                    spec.tokens
                        .iter()
                        .all(|it| recorded.contains_key(&it.epoch))
                })
        };
        tokens.all(|hash| self.revealed.contains(&hash)) && credentials.iter().all(has_entries)
    }

    /// The revealed tokens that were never recorded.
    fn unrecorded(&self) -> Vec<&String> {
        let epochs = self.recorded.values().flat_map(BTreeMap::values);
        let recorded: BTreeSet<&String> = epochs.collect();
        let revealed = self.revealed.iter();
        revealed.filter(|hash| !recorded.contains(hash)).collect()
    }
}

/// The hashes of the tokens and client secrets in a Secret.
fn tokens_in(secret: &Secret) -> Vec<String> {
    let data = secret.data.iter().flatten();
    let tokens = data.filter(|(key, _)| ["token", "client-secret"].contains(&key.as_str()));
    let hash = |text: &[u8]| TokenHash::of(std::str::from_utf8(text).unwrap()).to_string();
    tokens.map(|(_, token)| hash(&token.0)).collect()
}

/// A history that two watches write.
struct Recording {
    history: Arc<Mutex<History>>,
    watches: [AbortOnDropHandle<()>; 2],
}

impl Recording {
    fn start(world: &World<'_>) -> Self {
        let history = Arc::new(Mutex::new(History::default()));
        let kept = history.clone();
        let credentials = follow(world.platform.api(), move |credential| {
            kept.lock().unwrap().credential(credential);
        });
        let kept = history.clone();
        let secrets = follow(world.team.api(), move |secret| {
            kept.lock().unwrap().secret(secret);
        });
        let watches = [tokio::spawn(credentials), tokio::spawn(secrets)];
        Self {
            history,
            watches: watches.map(AbortOnDropHandle::new),
        }
    }

    /// The history up to now.
    async fn until_now(&self, world: &World<'_>) -> std::sync::MutexGuard<'_, History> {
        let secrets = world.team.api::<Secret>();
        let secrets = secrets.list(&ListParams::default()).await.unwrap().items;
        let credentials = world.credentials().await;
        eventually("the watches have seen every present object", async || {
            assert!(
                !self.watches.iter().any(|watch| watch.is_finished()),
                "a watch ended, see its panic above"
            );
            let history = self.history.lock().unwrap();
            history.has_seen(&credentials, &secrets).then_some(())
        })
        .await;
        self.history.lock().unwrap()
    }
}

/// Passes every version of every object of a kind to `seen`, until the task is dropped.
async fn follow<K>(api: Api<K>, mut seen: impl FnMut(&K))
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.iter().for_each(&mut seen);
    let mut from = list.metadata.resource_version.unwrap();
    loop {
        // The API server ends a watch after some minutes.
        let events = api.watch(&WatchParams::default(), &from).await.unwrap();
        let mut events = events.boxed();
        while let Some(event) = events.try_next().await.unwrap() {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    seen(&object);
                    from = object.meta().resource_version.clone().unwrap();
                }
                WatchEvent::Deleted(object) => {
                    from = object.meta().resource_version.clone().unwrap();
                }
                WatchEvent::Bookmark(bookmark) => from = bookmark.metadata.resource_version,
                WatchEvent::Error(error) => panic!("the watch failed: {error:?}"),
            }
        }
    }
}

async fn leader(operators: &[Operator]) -> usize {
    eventually("an operator leads", async || {
        for (index, operator) in operators.iter().enumerate() {
            if operator.leads().await {
                return Some(index);
            }
        }
        None
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_leader_at_any_moment_loses_no_token_and_no_record() {
    let cluster = Cluster::own();
    let world = World::new(cluster).await;
    let recording = Recording::start(&world);

    let start = || Operator::start(&world, cluster.kubeconfig_path());
    let mut operators = vec![start(), start()];
    let mut takeovers = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        let leading = leader(&operators).await;
        if round > 0 {
            // A rotation that is requested before the first token is in its Secret leaves that token out.
            for number in 0..EACH {
                world
                    .token_ready(&format!("of-{}-{number}", round - 1))
                    .await;
            }
        }
        // Issue and rotate many tokens and delete a Secret, so that the kill comes in the middle of some write.
        for number in 0..EACH {
            world.apply_token(&format!("of-{round}-{number}"), "").await;
        }
        if round > 0 {
            for number in 0..EACH {
                let name = format!("of-{}-{number}", round - 1);
                world.patch(TOKEN, &name, rotate(&round.to_string())).await;
            }
            let lost = format!("of-{}-0-token", round - 1);
            let api = world.team.api::<Secret>();
            drop(api.delete(&lost, &DeleteParams::default()).await);
        }
        let moment = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 2;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        drop(operators.remove(leading));
        let killed = Instant::now();
        operators.push(start());
        leader(&operators).await;
        takeovers.push(killed.elapsed());
    }
    for round in 0..rounds {
        for number in 0..EACH {
            let name = format!("of-{round}-{number}");
            // All tokens except those of the last round were rotated. The status may still be old.
            let epoch = if round + 1 < rounds { 2 } else { 1 };
            eventually("the token is issued or rotated as requested", async || {
                let status = world.get(TOKEN, &name).await["status"].clone();
                let told = status["epoch"].as_i64() >= Some(epoch);
                let held = world.text(&format!("{name}-token")).await;
                held.filter(|_| told)
            })
            .await;
            world.token_ready(&name).await;
            world.assert_sound(&name).await;
        }
    }
    println!("taken over after {takeovers:?}");
    let history = recording.until_now(&world).await;
    let unknown = history.unrecorded();
    assert!(unknown.is_empty(), "tokens without a record: {unknown:?}");
    // Each object has a first token, and a second one if a later round rotated it.
    let least = EACH * (2 * rounds - 1);
    assert!(
        history.revealed.len() as u64 >= least,
        "{} of {least}",
        history.revealed.len()
    );
}

// --- a suspended leader ------------------------------------------------------------------------

/// The writes of the issuing protocol for a new token.
const WRITES: [(Method, &str); 3] = [
    (Method::POST, "secrets"),
    (Method::POST, "credentials"),
    (Method::PUT, "secrets"),
];
/// The number of writes of each of these kinds that are in flight when the leader is suspended.
const OF_EACH: usize = 2;
/// The number of passes that have read everything by then, and would write next.
const READERS: usize = 3;

/// Holds the requests of a leader until each pass over the team's objects waits for one.
#[derive(Default)]
struct InFlight {
    has_begun: AtomicBool,
    is_over: AtomicBool,
    held: Mutex<([usize; 3], usize)>,
    /// Lets through one write of each kind, and the answers to the reads.
    soon: Gate,
    /// Lets through the other writes.
    late: Gate,
    never: Gate,
}

impl InFlight {
    fn rule(&self, asked: &Asked) -> Pass {
        if self.is_over.load(Ordering::SeqCst) {
            // Without an answer, the operator finds by its own clock that it no longer leads. Until then it runs, so
            // that it could write.
            return match &*asked.resource {
                "leases" => Pass::RequestAfter(self.never.clone()),
                _ => Pass::AtOnce,
            };
        }
        if !self.has_begun.load(Ordering::SeqCst) {
            return Pass::AtOnce;
        }
        let mut held = self.held.lock().unwrap();
        let (writes, readers) = &mut *held;
        let kind = WRITES.iter().position(|(method, of)| asked.is(method, of));
        if let Some(count) = kind.map(|kind| &mut writes[kind])
            && *count < OF_EACH
        {
            *count += 1;
            let gate = if *count == 1 { &self.soon } else { &self.late };
            return Pass::RequestAfter(gate.clone());
        }
        // A pass reads its owner last, and then writes.
        let is_last_read = asked.is(&Method::GET, TOKEN.plural()) && !asked.name.is_empty();
        if *writes == [OF_EACH; 3] && is_last_read {
            *readers += 1;
            return Pass::AnswerAfter(self.soon.clone());
        }
        Pass::AtOnce
    }

    fn held(&self) -> ([usize; 3], usize) {
        *self.held.lock().unwrap()
    }
}

/// The operator asks a clock before each write. So a write that passed this check before a pause may arrive after
/// another operator has become the leader. Its precondition makes it harmless. Nothing else may arrive.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_suspended_leader_only_writes_in_flight_arrive_and_they_harm_no_token() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let recording = Recording::start(&world);
    let flight = Arc::new(InFlight::default());
    let rule = flight.clone();
    let proxy = Proxy::start(&world, move |asked| rule.rule(asked)).await;
    // One namespace gets three quarters of the concurrency.
    let in_flight = WRITES.len() * OF_EACH + READERS;
    let concurrency = (in_flight * 4 / 3).to_string();
    // A request does not time out while it is held.
    let more = ["--concurrency", &concurrency, "--request-timeout", "60"];
    let mut asleep = Operator::start_with(&world, &proxy.kubeconfig_path(), &more);
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let other = Operator::start(&world, cluster.kubeconfig_path());

    flight.has_begun.store(true, Ordering::SeqCst);
    let names: Vec<_> = (0..20).map(|number| format!("many-{number}")).collect();
    for name in &names {
        world.apply_token(name, "").await;
    }
    let all = ([OF_EACH; 3], READERS);
    eventually("every pass waits for a request", async || {
        (flight.held() == all).then_some(())
    })
    .await;
    // It still runs and leads, but it can do nothing more.
    let renewals = || {
        let asked = proxy.asked();
        let renewed = asked.iter().filter(|it| it.is(&Method::PUT, "leases"));
        renewed
            .filter(|it| it.answered == Some(StatusCode::OK))
            .count()
    };
    let before = renewals();
    eventually("the Lease is renewed twice", async || {
        (renewals() >= before + 2).then_some(())
    })
    .await;
    assert_eq!(flight.held(), all);
    assert!(asleep.leads().await && !other.leads().await);

    asleep.pause();
    eventually("the other operator leads", async || {
        other.leads().await.then_some(())
    })
    .await;
    flight.is_over.store(true, Ordering::SeqCst);
    let paused = proxy.asked().len();
    // Half of the writes arrive, in a race with the writes of the new leader. The passes that read may continue.
    flight.soon.cancel();
    asleep.resume();
    assert!(
        !asleep.wait().await,
        "it must fail, so that Kubernetes restarts it"
    );
    let asked = proxy.asked();
    let ours = ["secrets", "credentials", TOKEN.plural()];
    let is_ours = |it: &&Asked| it.is_write() && ours.contains(&&*it.resource);
    let written: Vec<_> = asked[paused..].iter().filter(is_ours).collect();
    assert!(
        written.is_empty(),
        "it wrote after its Lease had ended: {written:#?}"
    );
    for asked in asked.iter().filter(is_ours) {
        let version = &asked.body["metadata"]["resourceVersion"];
        let is_conditioned = asked.is_write() && version.is_string();
        assert!(
            asked.method == Method::POST || asked.method == Method::PUT && is_conditioned,
            "neither a create nor a conditioned write: {asked:#?}"
        );
    }

    let mut tokens = Vec::new();
    for name in &names {
        world.token_ready(name).await;
        world.assert_sound(name).await;
        tokens.push(world.text(&format!("{name}-token")).await);
    }
    // The other half arrives when the new leader has done everything.
    flight.late.cancel();
    let late = eventually("the last writes are answered", async || {
        let asked = proxy
            .asked()
            .into_iter()
            .take(paused)
            .filter(|it| is_ours(&it));
        let answers: Vec<_> = asked.map(|it| it.answered).collect();
        answers.iter().all(Option::is_some).then_some(answers)
    })
    .await;
    let refused = late.iter().filter(|it| **it == Some(StatusCode::CONFLICT));
    assert!(
        refused.count() >= WRITES.len(),
        "a write took effect although the new leader had written: {late:?}"
    );
    for (name, token) in names.iter().zip(tokens) {
        world.token_ready(name).await;
        world.assert_sound(name).await;
        assert_eq!(world.text(&format!("{name}-token")).await, token, "{name}");
    }
    let history = recording.until_now(&world).await;
    let unknown = history.unrecorded();
    assert!(unknown.is_empty(), "tokens without a record: {unknown:?}");
}

/// A renewal fails on a write conflict with another client. The leader must keep the Lease nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_keeps_a_lease_that_others_annotate() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let annotates = Arc::new(AtomicBool::new(false));
    let (is_on, client, namespace) = (
        annotates.clone(),
        world.client(),
        world.team.name().to_owned(),
    );
    // Annotates the Lease right before its renewal arrives.
    let proxy = Proxy::start(&world, move |asked| {
        if asked.is(&Method::PUT, "leases") && is_on.swap(false, Ordering::SeqCst) {
            let (gate, api) = (Gate::new(), Api::namespaced(client.clone(), &namespace));
            tokio::spawn(annotate(api, gate.clone()));
            return Pass::RequestAfter(gate);
        }
        Pass::AtOnce
    })
    .await;
    let operator = Operator::start(&world, &proxy.kubeconfig_path());
    world.token_ready("nightly").await;
    let leases = world.team.api::<Lease>();
    let holder = async || leases.get("operator").await.unwrap().spec.unwrap();
    annotates.store(true, Ordering::SeqCst);
    let renewals = |status| {
        let asked = proxy.asked();
        let renewals = asked.iter().filter(|it| it.is(&Method::PUT, "leases"));
        renewals.filter(|it| it.answered == Some(status)).count()
    };
    eventually("a renewal fails on a write conflict", async || {
        (renewals(StatusCode::CONFLICT) > 0).then_some(())
    })
    .await;
    let before = holder().await;
    let after = eventually("the Lease is renewed again", async || {
        let lease = holder().await;
        (before.renew_time < lease.renew_time).then_some(lease)
    })
    .await;
    assert_eq!(before.holder_identity, after.holder_identity);
    assert_eq!(before.lease_transitions, after.lease_transitions);
    assert!(operator.leads().await);
}

async fn annotate(leases: Api<Lease>, done: Gate) {
    let note = Patch::Merge(json!({"metadata": {"annotations": {"example.com/note": "x"}}}));
    let params = PatchParams::default();
    leases.patch("operator", &params, &note).await.unwrap();
    done.cancel();
}
