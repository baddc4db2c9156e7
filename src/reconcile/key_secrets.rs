//! The two Secrets of an Identity: `<identity>-signing`, which the server mounts, and `<identity>-mac`, by
//! which both know what the operator recorded.
//!
//! They are made where they are absent, and a key is added where an algorithm has none. Nothing in them
//! is ever replaced or removed here: what is there and makes no sense is somebody's to look at. They
//! belong to the Identity by name and are not owned by it: an Identity that was pruned by mistake comes
//! back with its keys. Absent: rotation.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::cluster::{ApiError, Cluster};
use super::secret::SecretObject;
use crate::directory::{ObjectKey, Problem, Reason};
use crate::keys::{Algorithm, KeyRecord, KeySet, generate, missing};
use crate::resources::{KeyStatus, LABEL_MANAGED, SigningAlgorithm};
use crate::tokens::{Entropy, MacKey};

/// The key of `<identity>-signing`.
pub const KEYSET: &str = "keyset.json";
/// The key of `<identity>-mac`.
pub const MAC: &str = "mac.key";
/// Whose keys a Secret holds, for people to read.
const ANNOTATION_IDENTITY: &str = "symbolon.dev/identity";
const SIGNING_SUFFIX: &str = "-signing";
const MAC_SUFFIX: &str = "-mac";

/// The Secret that holds an Identity's signing keys.
pub fn signing_secret(identity: &ObjectKey) -> ObjectKey {
    ObjectKey::new(
        &identity.namespace,
        &format!("{}{SIGNING_SUFFIX}", identity.name),
    )
}

/// The Secret that holds an Identity's mac key.
pub fn mac_secret(identity: &ObjectKey) -> ObjectKey {
    ObjectKey::new(
        &identity.namespace,
        &format!("{}{MAC_SUFFIX}", identity.name),
    )
}

/// The Identity that a Secret of this name would hold a key of.
pub(super) fn identity_of(secret: &ObjectKey) -> Option<ObjectKey> {
    let name = secret
        .name
        .strip_suffix(SIGNING_SUFFIX)
        .or_else(|| secret.name.strip_suffix(MAC_SUFFIX))?;
    Some(ObjectKey::new(&secret.namespace, name))
}

/// An Identity's keys as they are now.
#[derive(Debug)]
pub struct Keys {
    /// What is published of the signing keys, or why there are none.
    pub signing: Result<Vec<KeyStatus>, Problem>,
    /// The mac key, or why there is none.
    pub mac: Result<Arc<MacKey>, Problem>,
}

/// Makes what is missing and says what there is.
pub async fn ensure<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    wanted: &[SigningAlgorithm],
    now: Timestamp,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Keys, ApiError> {
    let mac = match read_mac(cluster, identity).await? {
        None => make_mac(cluster, identity, entropy).await?,
        Some(found) => found,
    };
    let wanted: Vec<Algorithm> = wanted.iter().copied().map(Algorithm::from).collect();
    Ok(Keys {
        signing: ensure_signing(cluster, identity, &wanted, now).await?,
        mac,
    })
}

/// The mac key; `None` where there is no Secret.
pub(super) async fn read_mac<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
) -> Result<Option<Result<Arc<MacKey>, Problem>>, ApiError> {
    let key = mac_secret(identity);
    Ok(cluster
        .secret(&key)
        .await?
        .map(|secret| mac_of(&key, &secret)))
}

fn mac_of(key: &ObjectKey, secret: &SecretObject) -> Result<Arc<MacKey>, Problem> {
    let bytes = secret.bytes(MAC).unwrap_or_default();
    let mac = MacKey::from_bytes(&bytes).map_err(|error| unusable(key, MAC, &error.to_string()))?;
    Ok(Arc::new(mac))
}

async fn make_mac<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Result<Arc<MacKey>, Problem>, ApiError> {
    let key = mac_secret(identity);
    let bytes = MacKey::generate(entropy);
    let secret = with_data(manifest(&key, identity), MAC, &*bytes);
    match cluster.create_secret(&secret).await {
        Ok(created) => Ok(mac_of(&key, &created)),
        // Somebody was faster: theirs counts.
        Err(ApiError::AlreadyExists) => {
            let theirs = read_mac(cluster, identity).await?;
            theirs.ok_or(ApiError::Conflict)
        }
        Err(error) => Err(error),
    }
}

async fn ensure_signing<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    wanted: &[Algorithm],
    now: Timestamp,
) -> Result<Result<Vec<KeyStatus>, Problem>, ApiError> {
    let key = signing_secret(identity);
    let found = cluster.secret(&key).await?;
    let mut set = match found.as_ref().map(|secret| keyset_of(&key, secret)) {
        None => KeySet::default(),
        Some(Ok(set)) => set,
        Some(Err(problem)) => return Ok(Err(problem)),
    };
    let missing = missing(&set, wanted, now);
    if missing.is_empty() {
        return Ok(Ok(statuses(&set, now)));
    }
    if let Some(problem) = found
        .as_ref()
        .and_then(|secret| refuse_change(&key, secret))
    {
        return Ok(Err(problem));
    }
    // An RSA key is tens of milliseconds of work, at times many.
    let made = tokio::task::spawn_blocking(move || make_keys(&missing)).await;
    let made = made.map_err(|_| failed())?.ok_or_else(failed)?;
    for signing_key in made {
        set.insert(KeyRecord::active_at_once(Arc::new(signing_key), now))
            .map_err(|_| failed())?;
    }
    let json = set.to_json().map_err(|_| failed())?;
    match found {
        None => {
            cluster
                .create_secret(&with_data(manifest(&key, identity), KEYSET, &json))
                .await?
        }
        Some(secret) => {
            cluster
                .replace_secret(&with_data(secret, KEYSET, &json))
                .await?
        }
    };
    Ok(Ok(statuses(&set, now)))
}

fn make_keys(algorithms: &[Algorithm]) -> Option<Vec<crate::keys::SigningKey>> {
    algorithms
        .iter()
        .map(|algorithm| generate(*algorithm).ok())
        .collect()
}

fn failed() -> ApiError {
    ApiError::Unavailable("a signing key could not be made".to_owned())
}

fn keyset_of(key: &ObjectKey, secret: &SecretObject) -> Result<KeySet, Problem> {
    let bytes = secret.bytes(KEYSET).unwrap_or_default();
    KeySet::parse(&bytes).map_err(|error| unusable(key, KEYSET, &error.to_string()))
}

/// Why a key may not be added to a Secret that is good otherwise.
fn refuse_change(key: &ObjectKey, secret: &SecretObject) -> Option<Problem> {
    if secret.is_immutable() {
        let message = format!(
            "the Secret {key} is immutable and lacks a key for an algorithm of spec.signing.algorithms: take the algorithm out, or replace the Secret by one with such a key"
        );
        return Some(Problem::error(
            Reason::SecretImmutable,
            "/spec/signing/algorithms",
            message,
        ));
    }
    (!secret.is_managed()).then(|| {
        let message = format!("the Secret {key} was not made by the operator and lacks a key for an algorithm of spec.signing.algorithms: add one, or label the Secret {LABEL_MANAGED}: \"true\" to let the operator add it");
        Problem::error(Reason::SecretConflict, "/spec/signing/algorithms", message)
    })
}

fn unusable(key: &ObjectKey, field: &str, why: &str) -> Problem {
    let message = format!(
        "the Secret {key} exists and its {field} cannot be used ({why}): restore it, or delete the Secret to have a new one made"
    );
    Problem::error(Reason::SecretConflict, "", message)
}

fn statuses(set: &KeySet, now: Timestamp) -> Vec<KeyStatus> {
    let published = set.published(now).map(|record| KeyStatus {
        kid: record.key.kid().to_owned(),
        algorithm: record.key.algorithm().into(),
    });
    published.collect()
}

fn manifest(key: &ObjectKey, identity: &ObjectKey) -> SecretObject {
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": *key.namespace, "name": *key.name,
            "labels": {LABEL_MANAGED: "true"},
            "annotations": {ANNOTATION_IDENTITY: *identity.name},
        },
        "type": "Opaque",
    });
    match manifest {
        Value::Object(manifest) => SecretObject::new(manifest),
        _ => SecretObject::new(serde_json::Map::new()),
    }
}

fn with_data(mut secret: SecretObject, field: &str, bytes: &[u8]) -> SecretObject {
    let encoded = Zeroizing::new(STANDARD.encode(bytes));
    secret.set_encoded(field, &encoded);
    secret
}
