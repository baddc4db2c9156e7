//! The two key Secrets of an Identity: `<identity>-signing`, which the server mounts, and `<identity>-mac`, with which
//! operator and server verify what the operator recorded.
//!
//! They are created where they are missing. The signing keys follow their [`schedule`](crate::keys::schedule) by
//! read-modify-write, so that of two leaders only one creates the next key. A mac key is never replaced here, and
//! neither is the data of a Secret that is immutable or not the operator's: someone must look at invalid content. The
//! Secrets belong to the Identity by name, without an owner reference, so that an Identity that was pruned by mistake
//! comes back with its keys. Not here: the schedule itself, and the sweep after a deleted Identity.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::cluster::Cluster;
use super::cluster::api::ApiError;
use super::cluster::forms::write_secret;
use super::cluster::inherited::{self, Keeps};
use super::cluster::secret::SecretObject;
use crate::directory::tables::record::IdentityRecord;
use crate::directory::{ObjectKey, Problem, Reason};
use crate::keys::schedule::{self, KeySettings, Memory, Phase, Plan};
use crate::keys::{Algorithm, KeySet, SigningKey, generate};
use crate::resources::{
    ANNOTATION_ROTATE_KEYS, InheritedMetadata, KeyPhase, KeyStatus, LABEL_MANAGED, Moment,
};
use crate::tokens::{Entropy, MacKey};

/// The data key in `<identity>-signing`.
pub const KEYSET: &str = "keyset.json";
/// The data key in `<identity>-mac`.
pub const MAC: &str = "mac.key";
/// The Identity whose keys the Secret holds, for people to read.
pub(super) const ANNOTATION_IDENTITY: &str = "symbolon.dev/identity";
/// What the schedule remembers in addition to the keys.
const ANNOTATION_SCHEDULE: &str = "symbolon.dev/key-schedule";
/// Since when the Identity of a key Secret is gone.
pub(super) const ANNOTATION_GONE: &str = "symbolon.dev/identity-gone-since";
/// When an operator last found that the Identity of a marked key Secret is still gone.
pub(super) const ANNOTATION_STILL_GONE: &str = "symbolon.dev/identity-gone-checked";
/// The marks of a key Secret whose Identity is gone.
const MARKS: [&str; 2] = [ANNOTATION_GONE, ANNOTATION_STILL_GONE];
/// The maximum number of keys in a status.
const MAX_TOLD: usize = 32;
const SIGNING_SUFFIX: &str = "-signing";
const MAC_SUFFIX: &str = "-mac";

/// Returns the name of the Secret with an Identity's signing keys.
pub fn signing_secret(identity: &ObjectKey) -> ObjectKey {
    ObjectKey::new(
        &identity.namespace,
        &format!("{}{SIGNING_SUFFIX}", identity.name),
    )
}

/// Returns the name of the Secret with an Identity's mac key.
pub fn mac_secret(identity: &ObjectKey) -> ObjectKey {
    ObjectKey::new(
        &identity.namespace,
        &format!("{}{MAC_SUFFIX}", identity.name),
    )
}

/// Returns the Identity that a Secret with this name would hold a key of.
pub(super) fn identity_of(secret: &ObjectKey) -> Option<ObjectKey> {
    let name = secret
        .name
        .strip_suffix(SIGNING_SUFFIX)
        .or_else(|| secret.name.strip_suffix(MAC_SUFFIX))?;
    Some(ObjectKey::new(&secret.namespace, name))
}

/// The current keys of an Identity.
#[derive(Debug)]
pub struct IdentityKeys {
    /// The published signing keys, or why there are none.
    pub signing: Result<SigningKeys, Problem>,
    /// The mac key, or why it cannot be used.
    pub mac: Result<Arc<MacKey>, Problem>,
    /// Why a Secret could not be written as it should be. The keys are as they are in the Secrets.
    pub refused: Option<ApiError>,
}

/// The signing keys as the status shows them.
#[derive(Debug)]
pub struct SigningKeys {
    /// All published keys.
    pub keys: Vec<KeyStatus>,
    /// When the next action or status change is due.
    pub next: Option<Timestamp>,
    /// When the next key begins to sign; in the past if that is overdue.
    pub rotates_at: Option<Timestamp>,
}

/// The keys and the metadata that an Identity's key Secrets should have.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The algorithms and the schedule of the signing keys.
    pub settings: KeySettings,
    /// Labels and annotations of both Secrets.
    pub inherited: Arc<InheritedMetadata>,
}

/// Returns what an Identity's key Secrets should have.
pub fn asked(identity: &IdentityRecord) -> Asked {
    let algorithms = identity.algorithms.iter().copied();
    let settings = KeySettings {
        algorithms: algorithms.map(Algorithm::from).collect(),
        rotate_every: identity.rotate_keys_every,
        publish_ahead: identity.publish_keys_ahead,
        longest_token: identity.max_access_token_lifetime,
        staleness: identity.max_staleness,
        distrusted: identity.distrusted_keys.clone(),
        emergency: identity.rotate_keys.as_deref().map(str::to_owned),
    };
    Asked {
        settings,
        inherited: identity.inherited.clone(),
    }
}

/// Creates the keys that are missing or due, brings the metadata of their Secrets up to date, and returns all keys.
pub async fn ensure<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    asked: &Asked,
    now: Timestamp,
    entropy: &mut (dyn Entropy + Send),
) -> Result<IdentityKeys, ApiError> {
    let mut refused = None;
    let mac = match ensure_mac(cluster, identity, &asked.inherited, entropy, &mut refused).await {
        Err(error) if !error.is_blocked() => return Err(error),
        mac => mac,
    };
    // The signing keys rotate even if the other Secret cannot be written.
    let signing = ensure_signing(cluster, identity, asked, now, &mut refused).await?;
    Ok(IdentityKeys {
        signing,
        mac: mac?,
        refused,
    })
}

/// Removes the marks from the key Secrets of an Identity that exists but is not served. Returns why that was refused,
/// if so.
///
/// # Errors
/// Returns other errors of the API server.
pub async fn unmark_all<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
) -> Result<Option<ApiError>, ApiError> {
    let mut refused = None;
    for key in [signing_secret(identity), mac_secret(identity)] {
        match cluster.secret(&key).await {
            Ok(Some(found)) => drop(unmark(cluster, found, &mut refused).await?),
            Ok(None) => {}
            // What the operator may not read, it did not mark.
            Err(error) if error.is_refusal() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// Removes the mark of a deleted Identity, in a write that changes nothing else. If even that is refused, the mark
/// stays, and does not count: see [`sweep::keys`](super::sweep).
async fn unmark<C: Cluster>(
    cluster: &C,
    found: SecretObject,
    refused: &mut Option<ApiError>,
) -> Result<SecretObject, ApiError> {
    let is_marked = MARKS.iter().any(|mark| found.annotation(mark).is_some());
    let is_ours = found.is_managed() && !found.was_made_for_an_owner();
    if !is_marked || !is_ours || found.is_deleting() {
        return Ok(found);
    }
    match replace(cluster, [found.clone()], &found, unmarked, refused).await {
        Err(error) if error.is_blocked() => {
            refused.get_or_insert(error);
            Ok(found)
        }
        replaced => replaced,
    }
}

fn unmarked(mut secret: SecretObject) -> SecretObject {
    for mark in MARKS {
        secret.set_annotation(mark, None);
    }
    secret
}

/// Replaces a Secret by the first form that the API server does not refuse: the wanted ones, then `found` without what
/// it inherits, then without what others set. Each is changed by `change`. Records the first refusal; if all forms are
/// refused, returns it as an error.
async fn replace<C: Cluster>(
    cluster: &C,
    wanted: impl IntoIterator<Item = SecretObject>,
    found: &SecretObject,
    change: impl Fn(SecretObject) -> SecretObject,
    refused: &mut Option<ApiError>,
) -> Result<SecretObject, ApiError> {
    let lean = Keeps::ALL.map(|keeps| keeps.of_secret(found));
    let mut forms: Vec<_> = wanted.into_iter().chain(lean).collect();
    forms.dedup();
    write(cluster, false, forms, change, refused).await
}

/// Creates or replaces a Secret by the first form that the API server does not refuse.
async fn write<C: Cluster>(
    cluster: &C,
    is_new: bool,
    forms: Vec<SecretObject>,
    change: impl Fn(SecretObject) -> SecretObject,
    refused: &mut Option<ApiError>,
) -> Result<SecretObject, ApiError> {
    let (stored, first) = write_secret(cluster, forms.into_iter().map(change), is_new).await?;
    *refused = refused.take().or(first);
    Ok(stored)
}

/// Records in a key Secret since when its Identity is gone, and that it still is at `now`.
pub(super) async fn mark<C: Cluster>(
    cluster: &C,
    found: &SecretObject,
    since: Timestamp,
    now: Timestamp,
) -> Result<(), ApiError> {
    let marked = |mut secret: SecretObject| {
        for (mark, at) in MARKS.into_iter().zip([since, now]) {
            secret.set_annotation(mark, Some(&at.to_string()));
        }
        secret
    };
    let written = replace(cluster, [found.clone()], found, marked, &mut None).await;
    written.map(drop)
}

/// Sets what a Secret inherits, if its metadata differs.
async fn relabel<C: Cluster>(
    cluster: &C,
    found: &SecretObject,
    inherited: &InheritedMetadata,
    refused: &mut Option<ApiError>,
) -> Result<(), ApiError> {
    let relabelled = inherited::filled(found, inherited).filter(|_| found.is_managed());
    let Some(relabelled) = relabelled else {
        return Ok(());
    };
    match cluster.replace_secret(&relabelled).await {
        // Everything else is done.
        Err(error) if error.is_blocked() => drop(refused.get_or_insert(error)),
        replaced => drop(replaced?),
    }
    Ok(())
}

/// Returns the mac key, created if it is missing.
async fn ensure_mac<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    inherited: &InheritedMetadata,
    entropy: &mut (dyn Entropy + Send),
    refused: &mut Option<ApiError>,
) -> Result<Result<Arc<MacKey>, Problem>, ApiError> {
    let key = mac_secret(identity);
    let Some(found) = cluster.secret(&key).await? else {
        let bytes = MacKey::generate(entropy);
        let change = |secret| with_data(secret, MAC, &*bytes);
        let made = match create(cluster, &key, identity, inherited, change, refused).await {
            // Another process created it first: use that key.
            Err(ApiError::AlreadyExists) => {
                cluster.secret(&key).await?.ok_or(ApiError::Conflict)?
            }
            created => created?,
        };
        return Ok(mac_of(&key, &made));
    };
    let found = unmark(cluster, found, refused).await?;
    let mac = mac_of(&key, &found);
    if mac.is_ok() {
        relabel(cluster, &found, inherited, refused).await?;
    }
    Ok(mac)
}

/// An Identity's mac key, as its Secret has it.
#[derive(Debug)]
pub enum FoundMac {
    /// The key.
    Key(Arc<MacKey>),
    /// The Secret has no usable key.
    Unusable(Problem),
    /// The Secret does not exist.
    Missing,
}

/// Reads the mac key of an Identity.
///
/// # Errors
/// Returns errors of the API server.
pub async fn read_mac<C: Cluster>(cluster: &C, identity: &ObjectKey) -> Result<FoundMac, ApiError> {
    let key = mac_secret(identity);
    let Some(secret) = cluster.secret(&key).await? else {
        return Ok(FoundMac::Missing);
    };
    Ok(match mac_of(&key, &secret) {
        Ok(mac) => FoundMac::Key(mac),
        Err(problem) => FoundMac::Unusable(problem),
    })
}

fn mac_of(key: &ObjectKey, secret: &SecretObject) -> Result<Arc<MacKey>, Problem> {
    refuse_owned(key, secret)?;
    let bytes = secret.bytes(MAC).unwrap_or_default();
    let mac = MacKey::from_bytes(&bytes).map_err(|error| unusable(key, MAC, &error.to_string()))?;
    Ok(Arc::new(mac))
}

/// Creates a key Secret, without what it should inherit if the API server refuses that.
async fn create<C: Cluster>(
    cluster: &C,
    key: &ObjectKey,
    identity: &ObjectKey,
    inherited: &InheritedMetadata,
    change: impl Fn(SecretObject) -> SecretObject,
    refused: &mut Option<ApiError>,
) -> Result<SecretObject, ApiError> {
    let bare = manifest(key, identity, &InheritedMetadata::default());
    let mut forms = vec![manifest(key, identity, inherited), bare];
    forms.dedup();
    write(cluster, true, forms, change, refused).await
}

async fn ensure_signing<C: Cluster>(
    cluster: &C,
    identity: &ObjectKey,
    asked: &Asked,
    now: Timestamp,
    refused: &mut Option<ApiError>,
) -> Result<Result<SigningKeys, Problem>, ApiError> {
    let (settings, inherited) = (&asked.settings, &asked.inherited);
    let key = signing_secret(identity);
    let found = match cluster.secret(&key).await? {
        Some(found) => Some(unmark(cluster, found, refused).await?),
        None => None,
    };
    let set = match found.as_ref().map(|secret| keyset_of(&key, secret)) {
        None => KeySet::default(),
        Some(Ok(set)) => set,
        Some(Err(problem)) => return Ok(Err(problem)),
    };
    let plan = schedule::plan(
        &set,
        found.as_ref().and_then(memory_of).as_ref(),
        settings,
        now,
    );
    if let Some(secret) = found.as_ref().filter(|_| !plan.is_change) {
        relabel(cluster, secret, inherited, refused).await?;
        return Ok(Ok(signing(&set, settings, plan.next, now)));
    }
    if let Some(secret) = found.as_ref().filter(|secret| !is_ours_to_change(secret)) {
        return Ok(
            match refuse_change(&key, secret, &set, &plan, settings, now) {
                Some(problem) => Err(problem),
                // Who imported these keys also replaces them.
                None => Ok(signing(&set, settings, set.next_change(now), now)),
            },
        );
    }
    // An RSA key takes tens of milliseconds of CPU time, sometimes many more.
    let makes = plan.makes();
    let made = tokio::task::spawn_blocking(move || make_keys(&makes)).await;
    let made = made.map_err(|_| failed())?.ok_or_else(failed)?;
    let next = plan.apply(&set, made).map_err(|_| failed())?;
    let json = next.to_json().map_err(|_| failed())?;
    let memory = serde_json::to_string(&plan.memory).map_err(|_| failed())?;
    let changed = |secret: SecretObject| {
        let mut secret = with_data(unmarked(secret), KEYSET, &json);
        secret.set_annotation(ANNOTATION_SCHEDULE, Some(&memory));
        secret
    };
    let written = match &found {
        None => create(cluster, &key, identity, inherited, changed, refused).await,
        Some(found) => {
            let relabelled = inherited::filled(found, inherited);
            let wanted = relabelled.into_iter().chain([found.clone()]);
            replace(cluster, wanted, found, changed, refused).await
        }
    };
    match written {
        // The current keys stay in use, and the caller reports why.
        Err(error) if error.is_blocked() && found.is_some() => {
            refused.get_or_insert(error);
            Ok(Ok(signing(&set, settings, set.next_change(now), now)))
        }
        written => written.map(|_| Ok(signing(&next, settings, plan.next, now))),
    }
}

/// Returns what the schedule remembers; `None` if it cannot be decoded.
fn memory_of(secret: &SecretObject) -> Option<Memory> {
    serde_json::from_str(secret.annotation(ANNOTATION_SCHEDULE)?).ok()
}

fn make_keys(algorithms: &[Algorithm]) -> Option<Vec<SigningKey>> {
    algorithms
        .iter()
        .map(|algorithm| generate(*algorithm).ok())
        .collect()
}

fn failed() -> ApiError {
    ApiError::Unavailable("cannot create a signing key".to_owned())
}

fn keyset_of(key: &ObjectKey, secret: &SecretObject) -> Result<KeySet, Problem> {
    refuse_owned(key, secret)?;
    let bytes = secret.bytes(KEYSET).unwrap_or_default();
    KeySet::parse(&bytes).map_err(|error| unusable(key, KEYSET, &error.to_string()))
}

/// Refuses a Secret of a client or a token: the tenant chose its content, and would know such keys.
fn refuse_owned(key: &ObjectKey, secret: &SecretObject) -> Result<(), Problem> {
    if !secret.was_made_for_an_owner() {
        return Ok(());
    }
    let message = format!(
        "the Secret {key} was created for another object: give that object another secret name, so that the operator can create this Identity's keys"
    );
    Err(Problem::error(Reason::SecretConflict, "", message))
}

fn is_ours_to_change(secret: &SecretObject) -> bool {
    secret.is_managed() && !secret.is_immutable()
}

/// Returns why a Secret that the operator must not change is insufficient.
fn refuse_change(
    key: &ObjectKey,
    secret: &SecretObject,
    set: &KeySet,
    plan: &Plan,
    settings: &KeySettings,
    now: Timestamp,
) -> Option<Problem> {
    let trusted = set.without(&settings.distrusted, now);
    let mut wanted = settings.algorithms.iter();
    let lacks_key = wanted.any(|algorithm| trusted.active(*algorithm, now).is_none());
    let (path, fault) = if lacks_key {
        let fault = "lacks a key for an algorithm of spec.signing.algorithms";
        ("/spec/signing/algorithms", fault.to_owned())
    } else if plan.is_emergency {
        let fault = format!(
            "still has the keys that the annotation {ANNOTATION_ROTATE_KEYS} is to replace"
        );
        ("/metadata/annotations", fault)
    } else {
        return None;
    };
    let (reason, message) = if secret.is_immutable() {
        let message = format!(
            "the Secret {key} is immutable and {fault}: replace the Secret, or undo the request"
        );
        (Reason::SecretImmutable, message)
    } else {
        let message = format!(
            "the Secret {key} was not created by the operator and {fault}: change it, or set the label {LABEL_MANAGED}: \"true\" to let the operator change it"
        );
        (Reason::SecretConflict, message)
    };
    Some(Problem::error(reason, path, message))
}

fn unusable(key: &ObjectKey, field: &str, why: &str) -> Problem {
    let message = format!(
        "the {field} in the Secret {key} cannot be used ({why}): restore it, or delete the Secret to get a new one"
    );
    Problem::error(Reason::SecretConflict, "", message)
}

fn signing(
    set: &KeySet,
    settings: &KeySettings,
    next: Option<Timestamp>,
    now: Timestamp,
) -> SigningKeys {
    let trusted = set.without(&settings.distrusted, now);
    let phases = schedule::phases(&trusted, &settings.algorithms, now).into_iter();
    let keys = phases.map(|(record, phase)| KeyStatus {
        kid: record.key.kid().to_owned(),
        algorithm: record.key.algorithm().into(),
        phase: Some(match phase {
            Phase::Published => KeyPhase::Published,
            Phase::Active => KeyPhase::Active,
            Phase::Retiring => KeyPhase::Retiring,
        }),
        active_from: Some(Moment(record.active_from)),
        not_after: record.retired_at.map(Moment),
    });
    SigningKeys {
        keys: keys.take(MAX_TOLD).collect(),
        next,
        rotates_at: schedule::rotates_at(&trusted, settings, now),
    }
}

fn manifest(key: &ObjectKey, identity: &ObjectKey, inherited: &InheritedMetadata) -> SecretObject {
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
    let secret = match manifest {
        Value::Object(manifest) => SecretObject::new(manifest),
        _ => SecretObject::new(serde_json::Map::new()),
    };
    inherited::filled(&secret, inherited).unwrap_or(secret)
}

fn with_data(mut secret: SecretObject, field: &str, bytes: &[u8]) -> SecretObject {
    let encoded = Zeroizing::new(STANDARD.encode(bytes));
    secret.set_encoded(field, &encoded);
    secret
}

#[cfg(test)]
mod tests;
