//! Tests of the two key Secrets, on a folder in place of a cluster.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::keys::KeyRecord;
use crate::reconcile::cluster::api::Precondition;
use crate::reconcile::files::Files;
use crate::resources::{ANNOTATION_OWNER, Credential, OwnerKind};
use crate::tokens::SystemEntropy;

struct State {
    _folder: TempDir,
    files: Files,
    settings: KeySettings,
    inherited: InheritedMetadata,
    now: Timestamp,
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

/// A cluster with a policy: no Secret may have the label `env: no`.
struct Strict<'a> {
    files: &'a Files,
    /// The answer to every write, if no Secret can be written at all.
    locked: Option<ApiError>,
}

impl<'a> Strict<'a> {
    const fn new(files: &'a Files) -> Self {
        Self {
            files,
            locked: None,
        }
    }

    fn refuse(&self, secret: &SecretObject) -> Result<(), ApiError> {
        let labels = &secret.expose()["metadata"]["labels"];
        if let Some(answer) = &self.locked {
            Err(answer.clone())
        } else if labels["env"] == "no" {
            Err(ApiError::Forbidden("env".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl Cluster for Strict<'_> {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        self.files.credential(key).await
    }
    async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        self.files.secret(key).await
    }
    async fn owner(&self, kind: OwnerKind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.files.owner(kind, key).await
    }
    async fn create_credential(&self, it: &Credential) -> Result<Credential, ApiError> {
        self.files.create_credential(it).await
    }
    async fn replace_credential(&self, it: &Credential) -> Result<Credential, ApiError> {
        self.files.replace_credential(it).await
    }
    async fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> Result<(), ApiError> {
        self.files.delete_credential(key, only).await
    }
    async fn create_secret(&self, it: &SecretObject) -> Result<SecretObject, ApiError> {
        self.refuse(it)?;
        self.files.create_secret(it).await
    }
    async fn replace_secret(&self, it: &SecretObject) -> Result<SecretObject, ApiError> {
        self.refuse(it)?;
        self.files.replace_secret(it).await
    }
    async fn delete_secret(&self, key: &ObjectKey, only: &Precondition) -> Result<(), ApiError> {
        self.files.delete_secret(key, only).await
    }
}

/// A label must not keep a compromised signing key in use.
#[tokio::test]
async fn a_refused_label_holds_up_no_rotation() {
    let mut state = State::new();
    state.ensure().await;
    let before = state.secret().await;
    state.inherited.labels = [("env".to_owned(), "no".to_owned())].into();
    state.settings.emergency = Some("leaked".to_owned());
    let ensured = state.ensure_on(&Strict::new(&state.files)).await;
    let refused = ensured.unwrap().refused;
    assert!(
        matches!(refused, Some(ApiError::Forbidden(_))),
        "it is told"
    );
    let after = state.secret().await;
    assert_ne!(after.bytes(KEYSET), before.bytes(KEYSET));
    assert!(after.expose()["metadata"]["labels"]["env"].is_null());
}

/// A policy may come to refuse a label that the Secrets already have, from the Identity or from others, and the
/// Identity may still want it, or no longer.
#[rstest]
#[tokio::test]
async fn a_stored_label_holds_up_no_rotation_and_no_removal_of_a_mark(
    #[values(true, false)] is_inherited: bool,
    #[values("no", "other", "")] wanted: &str,
) {
    let mut state = State::new();
    let labels = |value: &str| [("env".to_owned(), value.to_owned())].into();
    if is_inherited {
        state.inherited.labels = labels("no");
    }
    state.ensure().await;
    for key in [signing_secret(&identity()), mac_secret(&identity())] {
        let mut secret = state.files.secret(&key).await.unwrap().unwrap();
        secret.set_label("env", Some("no"));
        let stored = state.files.replace_secret(&secret).await.unwrap();
        mark(&state.files, &stored, state.now, state.now)
            .await
            .unwrap();
    }
    assert_eq!(state.marks().await, 4);
    let before = state.secret().await;
    state.inherited.labels = match wanted {
        "" => std::collections::BTreeMap::new(),
        value => labels(value),
    };
    state.settings.emergency = Some("leaked".to_owned());
    let strict = Strict::new(&state.files);
    let ensured = state.ensure_on(&strict).await.unwrap();
    assert!(ensured.refused.is_some(), "it is told");
    assert!(ensured.signing.is_ok() && ensured.mac.is_ok());
    let after = state.secret().await;
    assert_ne!(after.bytes(KEYSET), before.bytes(KEYSET));
    assert_ne!(after.label("env"), Some("no"));
    assert_eq!(after.label(LABEL_MANAGED), Some("true"));
    assert_eq!(state.marks().await, 0, "the Identity is not gone");
    let again = state.ensure_on(&strict).await.unwrap();
    assert_eq!(again.refused.is_some(), wanted == "no", "{again:?}");
    assert_eq!(
        state.secret().await.bytes(KEYSET),
        after.bytes(KEYSET),
        "once"
    );
}

/// The current keys stay in use, and the caller reports that they could not be replaced.
#[tokio::test]
async fn keys_that_cannot_be_replaced_stay_in_use_and_that_is_told() {
    for answer in [
        ApiError::Invalid("locked".to_owned()),
        ApiError::Forbidden("no".to_owned()),
        ApiError::WebhookDown("no answer".to_owned()),
    ] {
        let mut state = State::new();
        state.ensure().await;
        let before = state.told().await.unwrap();
        state.settings.emergency = Some("leaked".to_owned());
        let locked = Strict {
            locked: Some(answer.clone()),
            ..Strict::new(&state.files)
        };
        let keys = state.ensure_on(&locked).await.unwrap();
        assert_eq!(keys.refused, Some(answer));
        let kept = keys.signing.unwrap().keys;
        assert_eq!(kept.len(), before.len());
    }
}

#[tokio::test]
async fn a_refused_label_holds_up_no_first_keys() {
    let mut state = State::new();
    state.inherited.labels = [("env".to_owned(), "no".to_owned())].into();
    let keys = state.ensure_on(&Strict::new(&state.files)).await.unwrap();
    assert!(keys.signing.is_ok() && keys.mac.is_ok());
    assert!(keys.refused.is_some(), "it is told");
}

/// A mark that stays would shorten the time after the next deletion of the Identity.
#[tokio::test]
async fn the_marks_go_when_the_identity_is_back_served_or_not() {
    for is_served in [true, false] {
        let state = State::new();
        state.ensure().await;
        for key in [signing_secret(&identity()), mac_secret(&identity())] {
            let secret = state.files.secret(&key).await.unwrap().unwrap();
            let mut manifest = secret.expose().clone();
            manifest.insert("immutable".to_owned(), true.into());
            let immutable = SecretObject::new(manifest);
            let stored = state.files.replace_secret(&immutable).await.unwrap();
            mark(&state.files, &stored, state.now, state.now)
                .await
                .unwrap();
        }
        assert_eq!(state.marks().await, 4);
        if is_served {
            state.ensure().await;
        } else {
            let refused = unmark_all(&state.files, &identity()).await;
            assert_eq!(refused, Ok(None));
        }
        assert_eq!(state.marks().await, 0, "served: {is_served}");
    }
}

impl State {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path(), crate::state_file::Chosen::ByUser).unwrap();
        Self {
            _folder: folder,
            files,
            settings: KeySettings {
                algorithms: vec![Algorithm::EdDSA],
                rotate_every: SignedDuration::from_hours(100),
                publish_ahead: SignedDuration::from_hours(10),
                longest_token: SignedDuration::from_hours(1),
                staleness: SignedDuration::ZERO,
                distrusted: Vec::new(),
                emergency: None,
            },
            inherited: InheritedMetadata::default(),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            settings: self.settings.clone(),
            inherited: Arc::new(self.inherited.clone()),
        }
    }

    async fn ensure(&self) -> IdentityKeys {
        self.ensure_on(&self.files).await.unwrap()
    }

    async fn ensure_on<C: Cluster>(&self, cluster: &C) -> Result<IdentityKeys, ApiError> {
        let asked = self.asked();
        ensure(cluster, &identity(), &asked, self.now, &mut SystemEntropy).await
    }

    /// Returns the number of marks on both Secrets.
    async fn marks(&self) -> usize {
        let mut marks = 0;
        for key in [signing_secret(&identity()), mac_secret(&identity())] {
            let secret = self.files.secret(&key).await.unwrap().unwrap();
            marks += MARKS
                .iter()
                .filter(|mark| secret.annotation(mark).is_some())
                .count();
        }
        marks
    }

    /// Returns the algorithm and phase of each key, or the reason why there are none.
    async fn told(&self) -> Result<Vec<(Algorithm, KeyPhase)>, (Reason, String)> {
        let signing = self.ensure().await.signing;
        let signing = signing.map_err(|problem| (problem.reason, problem.message))?;
        let keys = signing.keys.into_iter();
        Ok(keys
            .map(|key| (key.algorithm.into(), key.phase.unwrap()))
            .collect())
    }

    async fn secret(&self) -> SecretObject {
        let secret = self.files.secret(&signing_secret(&identity())).await;
        secret.unwrap().unwrap()
    }

    /// Imports a key set in a Secret without the operator's label.
    async fn bring(&self, edit: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        let key = Arc::new(generate(Algorithm::EdDSA).unwrap());
        let set = KeySet::from_records([KeyRecord::active_at_once(key, self.now)]).unwrap();
        let key = signing_secret(&identity());
        let secret = with_data(
            manifest(&key, &identity(), &InheritedMetadata::default()),
            KEYSET,
            &set.to_json().unwrap(),
        );
        let mut manifest = secret.expose().clone();
        manifest["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("labels");
        edit(&mut manifest);
        self.files
            .create_secret(&SecretObject::new(manifest))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn keys_in_another_owners_secret_are_refused() {
    let state = State::new();
    state
        .bring(|manifest| {
            manifest["metadata"]["annotations"] = json!({ANNOTATION_OWNER: "OAuthClient/mine"});
        })
        .await;
    let (reason, message) = state.told().await.unwrap_err();
    assert_eq!(reason, Reason::SecretConflict);
    assert!(
        message.contains("was created for another object"),
        "{message}"
    );
}

#[tokio::test]
async fn the_schedule_is_kept_in_the_secret_and_a_steady_state_writes_nothing() {
    let mut state = State::new();
    assert_eq!(
        state.told().await.unwrap(),
        [(Algorithm::EdDSA, KeyPhase::Active)]
    );
    let before = state.secret().await;
    state.now += SignedDuration::from_hours(89);
    state.ensure().await;
    assert_eq!(state.secret().await.version(), before.version());
    state.now += SignedDuration::from_hours(1);
    let keys = state.told().await.unwrap();
    assert_eq!(
        keys,
        [
            (Algorithm::EdDSA, KeyPhase::Active),
            (Algorithm::EdDSA, KeyPhase::Published)
        ]
    );
    state.settings.emergency = Some("leak".to_owned());
    assert_eq!(
        state.told().await.unwrap(),
        [(Algorithm::EdDSA, KeyPhase::Active)]
    );
    let after = state.secret().await;
    state.ensure().await;
    assert_eq!(state.secret().await.version(), after.version(), "once");
    let memory = after.annotation(ANNOTATION_SCHEDULE).unwrap();
    assert!(memory.contains("leak"), "{memory}");
}

#[tokio::test]
async fn private_keys_are_only_in_the_data_of_that_secret() {
    let state = State::new();
    let keys = state.ensure().await;
    let secret = state.secret().await;
    let mut rest = secret.expose().clone();
    let data = rest.remove("data").unwrap();
    let names: BTreeSet<&String> = data.as_object().unwrap().keys().collect();
    assert_eq!(names, BTreeSet::from([&KEYSET.to_owned()]));
    let set = keyset_of(&signing_secret(&identity()), &secret).unwrap();
    let pkcs8 = STANDARD.encode(&*set.records()[0].key.to_pkcs8().unwrap());
    let told = format!("{:?} {} {secret:?}", keys.signing, Value::Object(rest));
    assert!(!told.contains(&pkcs8[20..40]));
}

#[tokio::test]
async fn imported_keys_are_used_and_never_changed() {
    let mut state = State::new();
    state.bring(|_| {}).await;
    let before = state.secret().await;
    state.now += SignedDuration::from_hours(5000);
    assert_eq!(
        state.told().await.unwrap(),
        [(Algorithm::EdDSA, KeyPhase::Active)]
    );
    state.settings.algorithms.push(Algorithm::ES256);
    let (reason, message) = state.told().await.unwrap_err();
    assert_eq!(reason, Reason::SecretConflict);
    assert!(message.contains("lacks a key"), "{message}");
    state.settings.algorithms.pop();
    state.settings.emergency = Some("leak".to_owned());
    let (reason, message) = state.told().await.unwrap_err();
    assert_eq!(reason, Reason::SecretConflict);
    assert!(message.contains("symbolon.dev/rotate-keys"), "{message}");
    assert_eq!(state.secret().await.version(), before.version());
}

#[tokio::test]
async fn an_immutable_secret_is_used_and_never_changed() {
    let mut state = State::new();
    let managed = |manifest: &mut serde_json::Map<String, Value>| {
        manifest["metadata"]["labels"] = json!({LABEL_MANAGED: "true"});
        manifest.insert("immutable".to_owned(), true.into());
    };
    state.bring(managed).await;
    state.now += SignedDuration::from_hours(5000);
    assert_eq!(
        state.told().await.unwrap(),
        [(Algorithm::EdDSA, KeyPhase::Active)]
    );
    let kid = state.ensure().await.signing.unwrap().keys[0].kid.clone();
    state.settings.distrusted = vec![kid];
    assert_eq!(state.told().await.unwrap_err().0, Reason::SecretImmutable);
}

#[tokio::test]
async fn invalid_keys_are_reported_and_not_replaced() {
    let state = State::new();
    state
        .bring(|manifest| manifest["data"][KEYSET] = "e30=".into())
        .await;
    let (reason, message) = state.told().await.unwrap_err();
    assert_eq!(reason, Reason::SecretConflict);
    assert!(message.contains("cannot be used"), "{message}");
}

#[tokio::test]
async fn both_secrets_inherit_the_metadata_of_the_identity_from_the_first_write_on() {
    let mut state = State::new();
    let labels = |value: &str| [("team".to_owned(), value.to_owned())].into();
    let team_of = async |state: &State| {
        let mut told = Vec::new();
        for key in [signing_secret(&identity()), mac_secret(&identity())] {
            let secret = state.files.secret(&key).await.unwrap().unwrap();
            assert!(secret.is_managed());
            told.push((
                secret.label("team").map(str::to_owned),
                secret.version().secret_version,
            ));
        }
        told
    };
    state.inherited.labels = labels("a");
    state.ensure().await;
    let first = team_of(&state).await;
    state.ensure().await;
    assert_eq!(team_of(&state).await, first, "nothing is written again");
    assert!(first.iter().all(|(team, _)| team.as_deref() == Some("a")));
    let keys = state.told().await;
    state.inherited.labels = labels("b");
    state.ensure().await;
    assert!(
        team_of(&state)
            .await
            .iter()
            .all(|(team, _)| team.as_deref() == Some("b"))
    );
    state.inherited = InheritedMetadata::default();
    state.ensure().await;
    assert!(team_of(&state).await.iter().all(|(team, _)| team.is_none()));
    assert_eq!(state.told().await, keys, "the keys are the same");
}
