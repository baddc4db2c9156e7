//! Several replicas of the operator: the leader may be killed or suspended at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
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

use super::{
    process::{Operator, rights},
    world::{World, now, rotate},
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
        let data = secret.data.iter().flatten();
        let tokens = data.filter(|(key, _)| ["token", "client-secret"].contains(&key.as_str()));
        for (_, token) in tokens {
            let text = std::str::from_utf8(&token.0).unwrap();
            self.revealed.insert(TokenHash::of(text).to_string());
        }
    }
}

/// Passes every version of every object of a kind to `seen`, until the task is dropped.
async fn follow<K>(api: Api<K>, mut seen: impl FnMut(&K))
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.iter().for_each(&mut seen);
    let from = list.metadata.resource_version.unwrap();
    let params = WatchParams::default().timeout(290);
    let events = api.watch(&params, &from).await.unwrap();
    let mut events = events.boxed();
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => seen(&object),
            _ => {}
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
    let history = Arc::new(Mutex::new(History::default()));
    let kept = history.clone();
    let credentials = tokio::spawn(follow(world.platform.api(), move |credential| {
        kept.lock().unwrap().credential(credential);
    }));
    let kept = history.clone();
    let secrets = tokio::spawn(follow(world.team.api(), move |secret| {
        kept.lock().unwrap().secret(secret);
    }));

    let start = || Operator::start(&world, cluster.kubeconfig_path());
    let mut operators = vec![start(), start()];
    let mut takeovers = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        let leading = leader(&operators).await;
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
    // The Lease lasts 15 s, and a standby tries to acquire it every 2 s.
    assert!(takeovers.iter().all(|took| *took < Duration::from_secs(30)));

    // Give both watches time for the last events.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        !credentials.is_finished() && !secrets.is_finished(),
        "a watch ended, see its panic above"
    );
    let history = history.lock().unwrap();
    let recorded: BTreeSet<&String> = history
        .recorded
        .values()
        .flat_map(BTreeMap::values)
        .collect();
    let unknown: Vec<_> = history
        .revealed
        .iter()
        .filter(|hash| !recorded.contains(hash))
        .collect();
    assert!(unknown.is_empty(), "tokens without a record: {unknown:?}");
    // Each object has a first token, and a second one if a later round rotated it.
    let least = EACH * (2 * rounds - 1);
    assert!(
        history.revealed.len() as u64 >= least,
        "{} of {least}",
        history.revealed.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_of_a_leader_suspended_past_its_lease_takes_effect() {
    let cluster = Cluster::own();
    let world = World::new(cluster).await;
    let first = world.team.cluster_account("first", rights()).await;
    let second = world.team.cluster_account("second", rights()).await;
    let mut asleep = Operator::start(&world, first.kubeconfig_path());
    world.token_ready("nightly").await;
    let other = Operator::start(&world, second.kubeconfig_path());
    for number in 0..20 {
        world.apply_token(&format!("many-{number}"), "").await;
    }
    asleep.pause();
    let asleep_since = now();
    let slept = Instant::now();
    eventually("the other operator leads", async || {
        other.leads().await.then_some(())
    })
    .await;
    println!("taken over after {:?}", slept.elapsed());
    let mark = cluster.mark();
    asleep.resume();
    assert!(
        !asleep.wait().await,
        "it must fail, so that Kubernetes restarts it"
    );
    for number in 0..20 {
        world.token_ready(&format!("many-{number}")).await;
        world.assert_sound(&format!("many-{number}")).await;
    }
    let user = format!("system:serviceaccount:{}:first", world.team.name());
    let requests = cluster.requests(mark);
    let landed: Vec<_> = requests
        .iter()
        .filter(|it| it.user == user && it.code < 400)
        .filter(|it| !["get", "list", "watch"].contains(&&*it.verb))
        // Events only report earlier work.
        .filter(|it| it.resource != "events")
        // A request that was half sent is completed after the resume. Only its precondition can stop it, not a clock.
        .filter(|it| it.received > asleep_since)
        .collect();
    assert!(
        landed.is_empty(),
        "the suspended operator wrote after it was resumed: {landed:#?}"
    );
}

/// A renewal fails on a write conflict with another client. The leader must keep the Lease nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_keeps_a_lease_that_others_annotate() {
    let world = World::new(Cluster::shared()).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    world.token_ready("nightly").await;
    let leases = world.team.api::<Lease>();
    let holder = async || leases.get("operator").await.unwrap().spec.unwrap();
    let before = holder().await;
    let end = Instant::now() + Duration::from_secs(8);
    for count in 0.. {
        let note = json!({"metadata": {"annotations": {"example.com/count": count.to_string()}}});
        let params = PatchParams::default();
        let patched = leases.patch("operator", &params, &Patch::Merge(note)).await;
        patched.unwrap();
        if Instant::now() > end {
            break;
        }
    }
    assert!(operator.leads().await);
    let after = eventually("the Lease is renewed again", async || {
        let lease = holder().await;
        (before.renew_time < lease.renew_time).then_some(lease)
    })
    .await;
    assert_eq!(before.holder_identity, after.holder_identity);
}
