//! What clients and verifiers see while the keys of an Identity rotate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};

use super::*;
use crate::keys::Algorithm::{ES256, EdDSA};
use crate::keys::fixtures::{at, record};
use crate::keys::schedule::{KeySettings, Memory, plan};
use crate::keys::{Algorithm, KeyRing, generate};

/// Returns the quickstart with this `spec.signing` of its Identity.
fn signing(signing: &str) -> String {
    format!("{QUICKSTART}---\n{MORE}")
        .replace("  gateways:", &format!("  signing: {signing}\n  gateways:"))
}

fn set(keys: &[(Algorithm, i64)]) -> KeySet {
    let key = |(algorithm, from): &(Algorithm, i64)| {
        record(Arc::new(generate(*algorithm).unwrap()), *from, None)
    };
    KeySet::from_records(keys.iter().map(key)).unwrap()
}

impl Fixture {
    fn take(&self, keys: &KeySet) {
        self.app.publisher().set_keys(keys.clone(), now()).unwrap();
    }

    async fn signed_with(&self, client: &str) -> Algorithm {
        let token = self.access_token(client, "").await;
        let snapshot = self.app.publisher().current();
        snapshot.ring().verify(&token).unwrap().algorithm
    }

    async fn kids(&self) -> Vec<String> {
        let jwks = self
            .get("/id/.well-known/openid-configuration/jwks")
            .await
            .json();
        let keys = jwks["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn an_algorithm_becomes_the_default_when_its_key_was_published_for_long_enough() {
    let mut fixture = Fixture::of(&signing("{algorithms: [ES256]}"), |_| {});
    let shop = fixture.shop();
    let later = now().as_second() + 1000;
    fixture.take(&set(&[(EdDSA, 0)]));
    assert_eq!(
        fixture.app.readiness(now()),
        Ok(()),
        "the key of another algorithm signs"
    );
    assert_eq!(fixture.signed_with(&shop).await, EdDSA);
    fixture.take(&set(&[(EdDSA, 0), (ES256, later)]));
    assert_eq!(fixture.signed_with(&shop).await, EdDSA);
    assert_eq!(fixture.kids().await.len(), 2, "the new key is published");
    fixture.take(&set(&[(EdDSA, 0), (ES256, 1)]));
    assert_eq!(fixture.signed_with(&shop).await, ES256);
}

#[tokio::test]
async fn a_client_that_names_an_algorithm_gets_it_at_once() {
    let yaml = signing("{algorithms: [ES256, EdDSA]}");
    let yaml = yaml.replace(
        "  systemUser:",
        "  tokens: {algorithm: EdDSA}\n  systemUser:",
    );
    let mut fixture = Fixture::of(&yaml, |_| {});
    let shop = fixture.shop();
    let later = now().as_second() + 1000;
    fixture.take(&set(&[(ES256, 0), (EdDSA, later)]));
    assert_eq!(fixture.signed_with(&shop).await, EdDSA);
    fixture.take(&set(&[(ES256, 0)]));
    assert_eq!(
        fixture.token(&shop, "").await.error(),
        (503, "temporarily_unavailable".into())
    );
}

#[tokio::test]
async fn a_distrusted_key_is_gone_before_it_is_replaced() {
    let mut fixture = Fixture::of(&signing("{algorithms: [ES256]}"), |_| {});
    let (shop, api) = (fixture.shop(), fixture.client("platform", "api"));
    let later = now().as_second() + 1000;
    let keys = set(&[(ES256, 0), (ES256, later)]);
    let [old, next] = [0, 1].map(|n| keys.records()[n].key.kid().to_owned());
    fixture.take(&keys);
    let token = fixture.access_token(&shop, "").await;
    assert_eq!(fixture.introspect(&api, &token).await["active"], true);

    fixture.apply(&signing(&format!(
        "{{algorithms: [ES256], distrusted: ['{old}']}}"
    )));
    assert_eq!(
        fixture.introspect(&api, &token).await,
        serde_json::json!({"active": false})
    );
    assert_eq!(fixture.kids().await, std::slice::from_ref(&next));
    let token = fixture.access_token(&shop, "").await;
    assert_eq!(
        jsonwebtoken::decode_header(&token).unwrap().kid,
        Some(next),
        "the next key signs at once"
    );
    assert_eq!(fixture.introspect(&api, &token).await["active"], true);

    fixture.take(&keys);
    assert_eq!(
        fixture.kids().await.len(),
        1,
        "setting the same keys again changes nothing"
    );
    fixture.apply(&signing("{algorithms: [ES256]}"));
    assert_eq!(fixture.kids().await.len(), 2, "trusted again");
}

#[tokio::test]
async fn if_the_signing_key_is_distrusted_and_none_follows_no_token_is_signed_until_a_key_comes() {
    let mut fixture = Fixture::of(&signing("{algorithms: [ES256]}"), |_| {});
    let shop = fixture.shop();
    let keys = set(&[(ES256, 0), (ES256, 1)]);
    let [retiring, signer] = [0, 1].map(|n| keys.records()[n].key.kid().to_owned());
    fixture.take(&keys);
    fixture.apply(&signing(&format!(
        "{{algorithms: [ES256], distrusted: ['{signer}']}}"
    )));
    let refusal = fixture.token(&shop, "").await;
    assert_eq!(refusal.header("retry-after"), "5");
    assert_eq!(refusal.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(
        fixture.kids().await,
        [retiring],
        "the retiring key still verifies"
    );
    fixture.take(&set(&[(ES256, 0), (ES256, 2)]));
    assert_eq!(fixture.signed_with(&shop).await, ES256);
}

// --- rotation under load ---------------------------------------------------------------------

/// A resource server. It caches the JWK Set and fetches it again for an unknown key.
#[derive(Default)]
struct Verifier {
    keys: BTreeMap<String, DecodingKey>,
    asked: usize,
}

impl Verifier {
    async fn verify(&mut self, fixture: &Fixture, token: &str) -> Result<(), String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let kid = header.kid.unwrap();
        if !self.keys.contains_key(&kid) {
            self.asked += 1;
            let reply = fixture
                .get("/id/.well-known/openid-configuration/jwks")
                .await;
            let jwks: JwkSet = serde_json::from_str(&reply.body).unwrap();
            let key = |jwk: &jsonwebtoken::jwk::Jwk| {
                (
                    jwk.common.key_id.clone().unwrap(),
                    DecodingKey::from_jwk(jwk).unwrap(),
                )
            };
            self.keys = jwks.keys.iter().map(key).collect();
        }
        let key = self
            .keys
            .get(&kid)
            .ok_or_else(|| format!("{kid} is unknown"))?;
        let mut validation = Validation::new(header.alg);
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, key, &validation)
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// An operator with the real plan and its own clock, on which an hour takes some milliseconds.
struct Operator {
    keys: KeySet,
    memory: Option<Memory>,
    settings: KeySettings,
    clock: Timestamp,
}

impl Operator {
    fn new() -> Self {
        let hours = SignedDuration::from_hours;
        Self {
            keys: KeySet::default(),
            memory: None,
            settings: KeySettings {
                algorithms: vec![EdDSA],
                rotate_every: hours(100),
                publish_ahead: hours(10),
                longest_token: hours(5),
                staleness: hours(0),
                distrusted: Vec::new(),
                emergency: None,
            },
            clock: at(1_000_000_000),
        }
    }

    /// Lets an hour pass and gives the server the keys.
    fn tick(&mut self, fixture: &Fixture) {
        self.clock += SignedDuration::from_hours(1);
        let plan = plan(&self.keys, self.memory.as_ref(), &self.settings, self.clock);
        let made = plan.makes().into_iter().map(|it| generate(it).unwrap());
        self.keys = plan.apply(&self.keys, made).unwrap();
        self.memory = Some(plan.memory);
        let publisher = fixture.app.publisher();
        publisher.set_keys(self.keys.clone(), self.clock).unwrap();
    }
}

/// Issues, verifies and introspects tokens until `stop` is set, and counts in `verified`. Returns the number of
/// verifications and of fetches of the JWK Set, and the failures.
async fn drive(
    fixture: Arc<Fixture>,
    (shop, api): (String, String),
    stop: Arc<AtomicBool>,
    hour: Arc<AtomicUsize>,
    verified: Arc<AtomicUsize>,
) -> (usize, usize, Vec<String>) {
    let (mut verifier, mut count, mut faults) = (Verifier::default(), 0, Vec::new());
    // The hour of issue, and the token.
    let mut alive: Vec<(usize, String)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let now = hour.load(Ordering::Relaxed);
        alive.push((now, fixture.access_token(&shop, "").await));
        alive.retain(|(issued, _)| now < issued + 5);
        // The newest, the oldest, and one between.
        for at in [alive.len().saturating_sub(1), 0, count % alive.len().max(1)] {
            let Some((issued, token)) = alive.get(at) else {
                continue;
            };
            let told = fixture.introspect(&api, token).await;
            let mut fault = (told["active"] != true).then(|| told.to_string());
            if let Err(why) = verifier.verify(&fixture, token).await {
                fault = fault.or(Some(why));
            }
            verified.fetch_add(1, Ordering::Relaxed);
            // A token that expired before the answer came is not a failure.
            if let Some(fault) = fault.filter(|_| hour.load(Ordering::Relaxed) < issued + 5) {
                faults.push(format!("issued at {issued}, verified at {now}: {fault}"));
            }
            count += 1;
        }
        tokio::task::yield_now().await;
    }
    (count, verifier.asked, faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_verification_fails_while_keys_rotate_and_algorithms_change_under_load() {
    let mut fixture = Fixture::of(&signing("{algorithms: [EdDSA]}"), |_| {});
    let clients = (fixture.shop(), fixture.client("platform", "api"));
    let mut operator = Operator::new();
    operator.tick(&fixture);
    let first = operator.keys.records()[0].key.kid().to_owned();
    // The same Identity with another algorithm, which the server gets later.
    let both = Fixture::of(&signing("{algorithms: [ES256]}"), |_| {});
    let fixture = Arc::new(fixture);
    let stop = Arc::new(AtomicBool::new(false));
    let [hour, verified] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let driver = |_| {
        let (stop, hour) = (stop.clone(), hour.clone());
        let drive = drive(
            fixture.clone(),
            clients.clone(),
            stop,
            hour,
            verified.clone(),
        );
        tokio::spawn(drive)
    };
    let drivers: Vec<_> = (0..3).map(driver).collect();
    let hours = 450;
    for now in 0..hours {
        if now == 230 {
            // Changes from EdDSA to ES256. The client keeps its uid.
            let directory = both.world.directory.clone();
            let identity = directory
                .identity(&ObjectKey::new("platform", "main"))
                .unwrap()
                .clone();
            fixture.app.publisher().update(|it| {
                it.apply(crate::directory::Change::Upsert(
                    crate::directory::Row::Identity(Box::new((*identity).clone())),
                ));
            });
            operator.settings.algorithms = vec![ES256];
        }
        operator.tick(&fixture);
        hour.fetch_add(1, Ordering::Relaxed);
        // Some verifications in each hour, however fast the machine is. A driver that ended has failed.
        let enough = verified.load(Ordering::Relaxed) + 3;
        while verified.load(Ordering::Relaxed) < enough
            && !drivers.iter().any(tokio::task::JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (mut count, mut asked) = (0, 0);
    for driver in drivers {
        let (verified, fetched, faults) = driver.await.unwrap();
        assert_eq!(faults, [""; 0]);
        (count, asked) = (count + verified, asked + fetched);
    }
    let signers = KeyRing::new(&operator.keys, operator.clock).unwrap();
    assert!(
        signers.algorithms().eq([ES256]),
        "the change of the algorithm is complete"
    );
    assert!(
        operator
            .keys
            .records()
            .iter()
            .all(|it| it.key.kid() != first)
    );
    assert!(count > 1000, "{count} verifications, {asked} fetches");
    assert!(asked < 100, "verifiers fetch once for each key: {asked}");
}
