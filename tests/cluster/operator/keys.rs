//! The signing keys of an Identity on a real API server: rotation, emergency rotation, and a deleted Identity.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use symbolon::resources::{Identity, Kind};

use super::process::{Operator, rights};
use super::serving::{Server, client_secret};
use super::world::{Running, World, now};
use crate::harness::{Cluster, PATIENCE, eventually};

impl World<'_> {
    async fn change_identity(&self, patch: Value) {
        let identities = self.platform.api::<Identity>();
        let patch = Patch::Merge(patch);
        let params = PatchParams::default();
        identities.patch("main", &params, &patch).await.unwrap();
    }

    async fn emergency(&self, value: &str) {
        let annotations = json!({"symbolon.dev/rotate-keys": value});
        self.change_identity(json!({"metadata": {"annotations": annotations}}))
            .await;
    }

    async fn algorithms(&self, algorithms: &[&str]) {
        self.change_identity(json!({"spec": {"signing": {"algorithms": algorithms}}}))
            .await;
    }

    /// The algorithm, phase and kid of each key, sorted by algorithm and phase.
    async fn keys(&self) -> Vec<(String, String, String)> {
        let identity = self.platform.api::<Identity>().get("main").await.unwrap();
        let status = serde_json::to_value(identity.status).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let keys = status["keys"].as_array().into_iter().flatten();
        let mut keys: Vec<_> = keys
            .map(|key| {
                (
                    text(&key["algorithm"]),
                    text(&key["phase"]),
                    text(&key["kid"]),
                )
            })
            .collect();
        keys.sort();
        keys
    }

    async fn phases(&self, what: &str, wanted: &[(&str, &str)]) -> Vec<String> {
        let mut found = Vec::new();
        let keys = tokio::time::timeout(
            PATIENCE.saturating_sub(Duration::from_secs(1)),
            eventually(what, async || {
                found = self.keys().await;
                let phases = found
                    .iter()
                    .map(|(algorithm, phase, _)| (&**algorithm, &**phase));
                phases.eq(wanted.iter().copied()).then(|| found.clone())
            }),
        );
        let keys = keys.await.unwrap_or_else(|_| panic!("{what}: {found:?}"));
        keys.into_iter().map(|(.., kid)| kid).collect()
    }

    async fn key_secret(&self, name: &str) -> Option<Secret> {
        self.platform.api::<Secret>().get_opt(name).await.unwrap()
    }

    async fn gone_since(&self, name: &str) -> Option<String> {
        let secret = self.key_secret(name).await?;
        secret
            .metadata
            .annotations?
            .get("symbolon.dev/identity-gone-since")
            .cloned()
    }
}

const SECRETS: [&str; 2] = ["main-signing", "main-mac"];

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_rotation_happens_once_per_value_and_is_reported_by_events() {
    let world = World::new(Cluster::shared()).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    let active = [("ES256", "Active")];
    let first = world.phases("the first key is active", &active).await;
    world.emergency("1").await;
    let second = eventually("the key is replaced", async || {
        let keys = world.phases("there is one active key", &active).await;
        (keys != first).then_some(keys)
    })
    .await;
    let events = world.platform.api::<Event>();
    let told = async |reason: &str, kid: &str| {
        eventually(&format!("an event {reason} names {kid}"), async || {
            let events = events.list(&ListParams::default()).await.unwrap();
            let mut events = events.items.into_iter();
            events.find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.note.as_ref().is_some_and(|note| note.contains(kid))
            })
        })
        .await;
    };
    told("KeyActivated", &first[0]).await;
    told("KeyRetired", &first[0]).await;
    told("KeyActivated", &second[0]).await;

    drop(operator);
    let _operator = Operator::start(&world, account.kubeconfig_path());
    world.algorithms(&["ES256", "EdDSA"]).await;
    let both = [("ES256", "Active"), ("EdDSA", "Published")];
    let keys = world
        .phases("the next operator publishes a key", &both)
        .await;
    assert_eq!(
        keys[0], second[0],
        "the next operator must not repeat the emergency rotation"
    );

    told("KeyPublished", &keys[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_create_only_one_key() {
    let world = World::new(Cluster::shared()).await;
    let _running = [Running::start(&world).await, Running::start(&world).await];
    let active = [("ES256", "Active")];
    let mut known = BTreeSet::from_iter(world.phases("the first key is active", &active).await);
    for round in 0..5 {
        world.emergency(&round.to_string()).await;
        let next = eventually("the key is replaced", async || {
            let keys = world.phases("there is one active key", &active).await;
            (!known.contains(&keys[0])).then_some(keys)
        })
        .await;
        // Time in which the other operator could replace the key again.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(world.phases("the key stays", &active).await, next);
        known.extend(next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_deleted_identity_are_kept_for_three_days() {
    let world = World::new(Cluster::shared()).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    let identities = world.platform.api::<Identity>();
    let mut manifest = identities.get("main").await.unwrap();
    let keys = world
        .phases("the Identity has a key", &[("ES256", "Active")])
        .await;
    let prune = async || {
        identities
            .delete("main", &DeleteParams::default())
            .await
            .unwrap();
        for secret in SECRETS {
            let what = format!("{secret} is marked");
            eventually(&what, async || world.gone_since(secret).await).await;
        }
    };
    prune().await;
    assert_eq!(
        world.credentials().await.len(),
        2,
        "the Credentials of the client and of the token"
    );
    manifest.metadata = kube::core::ObjectMeta {
        name: Some("main".into()),
        ..Default::default()
    };
    identities
        .create(&PostParams::default(), &manifest)
        .await
        .unwrap();
    assert_eq!(
        world
            .phases("the recreated Identity has its key", &[("ES256", "Active")])
            .await,
        keys
    );
    for secret in SECRETS {
        let what = format!("{secret} is no longer marked");
        eventually(&what, async || {
            world.gone_since(secret).await.is_none().then_some(())
        })
        .await;
    }
    world.token_ready("nightly").await;
    assert_eq!(world.text("nightly-token").await, Some(token.clone()));
    assert!(world.accepts(&token).await);

    prune().await;
    // Another leader, three days later.
    drop(running);
    let since = (now() - jiff::SignedDuration::from_hours(73)).to_string();
    let annotations = json!({"symbolon.dev/identity-gone-since": since});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let secrets = world.platform.api::<Secret>();
    secrets
        .patch("main-signing", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let _running = Running::start(&world).await;
    eventually("the Secret is deleted after three days", async || {
        world
            .key_secret("main-signing")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    // Time in which the operator could delete the other Secret.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        world.key_secret("main-mac").await.is_some(),
        "the other Secret was marked later"
    );
    assert_eq!(world.credentials().await.len(), 2);
}

// --- under load ------------------------------------------------------------------------------

/// A verifier that caches the JWKS, as client libraries do.
#[derive(Default)]
struct Verifier {
    jwks: Option<JwkSet>,
    fetches: usize,
}

impl Verifier {
    async fn verify(&mut self, server: &Server, token: &str) -> Result<(), String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let kid = header.kid.unwrap();
        let is_known = |jwks: &JwkSet| jwks.find(&kid).is_some();
        if !self.jwks.as_ref().is_some_and(is_known) {
            self.fetches += 1;
            let url = server.url(".well-known/openid-configuration/jwks");
            let jwks = server.http.get(url).send().await.unwrap().json().await;
            self.jwks = Some(jwks.unwrap());
        }
        let jwk = self.jwks.as_ref().and_then(|jwks| jwks.find(&kid));
        let key = DecodingKey::from_jwk(jwk.ok_or_else(|| format!("{kid} is unknown"))?).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.validate_aud = false;
        let verified = jsonwebtoken::decode::<Value>(token, &key, &validation);
        verified.map(drop).map_err(|error| error.to_string())
    }
}

/// New algorithms, and the resulting phases of the keys.
type Change<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

/// Issues, verifies and introspects tokens until `stop` is set, and counts the tokens in `issued`. Returns the number
/// of fetches of the JWKS, and the failures.
async fn drive(
    server: &Server,
    (id, secret): (&str, &str),
    stop: &AtomicBool,
    issued: &AtomicUsize,
) -> (usize, Vec<String>) {
    let mut verifier = Verifier::default();
    let mut tokens: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match server.access_token(id, secret).await {
            Ok(answer) => tokens.push(answer["access_token"].as_str().unwrap().to_owned()),
            Err(status) => faults.push(format!("no token: {status}")),
        }
        // Every token is valid for an hour, so all must stay valid.
        let some = [tokens.last(), tokens.first(), tokens.get(tokens.len() / 2)];
        for token in some.into_iter().flatten() {
            if let Err(why) = verifier.verify(server, token).await {
                faults.push(why);
            }
            if !server.introspects(id, secret, token).await {
                faults.push("introspected as inactive".to_owned());
            }
        }
        issued.store(tokens.len(), Ordering::Relaxed);
    }
    (verifier.fetches, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verification_fails_while_algorithms_change_under_load() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let _operator = Operator::start(&world, account.kubeconfig_path());
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::new(folder.path());
    mount.update(&world).await;
    let keys = ["--keys-dir", folder.path().to_str().unwrap()];
    let server = Server::start(&world, cluster.kubeconfig_path(), &keys).await;
    let (id, secret) = client_secret(&world).await;
    let (stop, issued) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = drive(&server, (&id, &secret), &stop, &issued);
    let changes: [Change<'_>; 4] = [
        (
            &["ES256", "EdDSA"],
            &[("ES256", "Active"), ("EdDSA", "Published")],
        ),
        // ES256 signs until EdDSA has been published for long enough.
        (&["EdDSA"], &[("ES256", "Active"), ("EdDSA", "Published")]),
        (
            &["PS256", "EdDSA"],
            &[
                ("ES256", "Active"),
                ("EdDSA", "Published"),
                ("PS256", "Published"),
            ],
        ),
        (
            &["ES256"],
            &[
                ("ES256", "Active"),
                ("EdDSA", "Retiring"),
                ("PS256", "Retiring"),
            ],
        ),
    ];
    let changing = async {
        for (algorithms, phases) in changes {
            world.algorithms(algorithms).await;
            let kids = world.phases(&format!("{algorithms:?}"), phases).await;
            mount.update(&world).await;
            eventually("the server has loaded the mounted keys", async || {
                let jwks = server.jwks().await;
                let served = jwks["keys"].as_array().unwrap().iter();
                let served: BTreeSet<_> = served.filter_map(|jwk| jwk["kid"].as_str()).collect();
                let mounted = kids.iter().map(String::as_str).collect();
                (served == mounted).then_some(())
            })
            .await;
            let enough = issued.load(Ordering::Relaxed) + 26;
            eventually("more tokens are issued and verified", async || {
                (issued.load(Ordering::Relaxed) >= enough).then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((fetches, faults), ()) = tokio::join!(load, changing);
    let count = issued.load(Ordering::Relaxed);
    assert_eq!(faults, [""; 0], "of {count}");
    assert!(count > 100, "{count}");
    assert!(
        fetches <= 2,
        "a key must be published before it signs: {fetches} fetches"
    );

    // An emergency rotation invalidates issued tokens, but none that is issued after it.
    let before = server.jwks().await;
    world.emergency("now").await;
    eventually("the server has the new key", async || {
        mount.update(&world).await;
        (server.jwks().await != before).then_some(())
    })
    .await;
    let answer = server.access_token(&id, &secret).await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    Verifier::default().verify(&server, token).await.unwrap();
    assert!(server.introspects(&id, &secret, token).await);
}

/// A mounted Secret as the kubelet writes it: files are links through `..data`, which is replaced in one step.
struct Mount<'a>(&'a std::path::Path, AtomicUsize);

impl<'a> Mount<'a> {
    fn new(folder: &'a std::path::Path) -> Self {
        for file in ["keyset.json", "mac.key"] {
            let target = std::path::Path::new("..data").join(file);
            std::os::unix::fs::symlink(target, folder.join(file)).unwrap();
        }
        Self(folder, AtomicUsize::new(0))
    }

    async fn update(&self, world: &World<'_>) {
        let version = format!("..{}", self.1.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.0.join(&version)).unwrap();
        for (secret, file) in [("main-signing", "keyset.json"), ("main-mac", "mac.key")] {
            let data = world.key_secret(secret).await.unwrap().data.unwrap();
            std::fs::write(self.0.join(&version).join(file), &data[file].0).unwrap();
        }
        let link = self.0.join("..data_tmp");
        std::os::unix::fs::symlink(&version, &link).unwrap();
        std::fs::rename(link, self.0.join("..data")).unwrap();
    }
}
