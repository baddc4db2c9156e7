//! Tests of people's edits of dev mode's files, and of issuing into them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CredentialEvent, CredentialListener, Files, OpenError};
use crate::directory::{Desired, ObjectKey, Standing};
use crate::reconcile::cluster::Cluster as _;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::reconcile::cluster::reports::Reports as _;
use crate::reconcile::cluster::secret::SecretObject;
use crate::reconcile::issue::tests::{desired, owner, target};
use crate::reconcile::issue::{MintBudget, PassOutcome, Rules, SecretIssuer, Settled, issue};
use crate::reconcile::key_secrets;
use crate::resources::{Credential, CredentialStatus, Kind};
use crate::state_file::Chosen;
use crate::tokens::{MacKey, SeededEntropy, SystemEntropy, TokenId};

/// A state folder and the owner that issues into it.
struct State {
    folder: TempDir,
    files: Files,
    seconds: i64,
}

impl State {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = open(folder.path());
        Self {
            folder,
            files,
            seconds: 1_800_000_000,
        }
    }

    /// Restarts the process.
    fn restarted(mut self) -> Self {
        let folder = self.folder;
        drop(self.files);
        self.files = open(folder.path());
        Self {
            folder,
            files: self.files,
            seconds: self.seconds,
        }
    }

    async fn issue(&mut self) -> PassOutcome {
        self.issue_to(&desired()).await
    }

    async fn issue_to(&mut self, desired: &Desired) -> PassOutcome {
        self.seconds += 60;
        let (mac, seconds) = (MacKey::from_bytes(&[1; 32]).unwrap(), self.seconds);
        let issuer = SecretIssuer {
            cluster: &self.files,
            rules: Rules::new(&mac),
            budget: &MintBudget::default(),
            now: &move || Timestamp::from_second(seconds).unwrap(),
            judge: &|_| Standing::Wanted(Box::new(desired.clone())),
        };
        issue(&issuer, &target(), &mut SystemEntropy).await
    }

    async fn issue_well(&mut self) {
        let outcome = self.issue().await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
    }

    fn secret_path(&self) -> PathBuf {
        self.folder.path().join("secrets/team/ci-token.yaml")
    }

    fn manifest(&self) -> Value {
        serde_yaml::from_slice(&fs::read(self.secret_path()).unwrap()).unwrap()
    }

    async fn token(&self) -> String {
        let secret = self
            .files
            .secret(&target().secret_key())
            .await
            .unwrap()
            .unwrap();
        secret.text("token").unwrap().expose().to_owned()
    }

    async fn epochs(&self) -> Vec<i64> {
        let credential = self
            .files
            .credential(&target().credential_key())
            .await
            .unwrap()
            .unwrap();
        credential
            .spec
            .tokens
            .iter()
            .map(|entry| entry.epoch)
            .collect()
    }
}

fn open(root: &Path) -> Files {
    let files = Files::open(root, Chosen::ByUser).unwrap();
    let manifest = json!({ "metadata": { "namespace": "team", "name": "ci", "uid": owner().uid } });
    files.put_object(Kind::ServiceAccessToken, target().owner_key(), manifest);
    files
}

#[tokio::test]
async fn a_token_is_written_for_its_owner_alone_and_kept_over_a_restart() {
    let mut state = State::new();
    state.issue_well().await;
    let token = state.token().await;
    let mut state = state.restarted();
    state.issue_well().await;
    assert_eq!(state.token().await, token);
    assert_eq!(state.epochs().await, [1]);
    for (path, mode) in [
        (state.secret_path(), 0o600),
        (
            state.folder.path().join("credentials/platform/owner.yaml"),
            0o600,
        ),
        (state.folder.path().join("secrets/team"), 0o700),
        (state.folder.path().join("secrets"), 0o700),
    ] {
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode,
            "{}",
            path.display()
        );
    }
    let ignore = fs::read_to_string(state.folder.path().join(".gitignore")).unwrap();
    assert!(ignore.lines().any(|line| line == "*"));
    let credential =
        fs::read_to_string(state.folder.path().join("credentials/platform/owner.yaml")).unwrap();
    assert!(!credential.contains(&token), "only hashes");
}

#[tokio::test]
async fn a_state_folder_belongs_to_one_process() {
    let state = State::new();
    assert!(matches!(
        Files::open(state.folder.path(), Chosen::ByUser),
        Err(OpenError::InUse(_))
    ));
}

#[tokio::test]
async fn a_deleted_file_is_recreated_with_another_token() {
    let mut state = State::new();
    state.issue_well().await;
    let token = state.token().await;
    fs::remove_file(state.secret_path()).unwrap();
    state.issue_well().await;
    assert_ne!(state.token().await, token);
    assert_eq!(state.epochs().await, [1, 2]);
}

#[tokio::test]
async fn an_old_copy_and_an_edit_are_replaced_and_notes_stay() {
    let mut state = State::new();
    state.issue_well().await;
    let copy = fs::read(state.secret_path()).unwrap();
    fs::remove_file(state.secret_path()).unwrap();
    state.issue_well().await;
    fs::write(state.secret_path(), copy).unwrap();
    state.issue_well().await;
    assert_eq!(state.epochs().await, [1, 2, 3]);
    let mut manifest = state.manifest();
    manifest["metadata"]["labels"]["mine"] = "yes".into();
    manifest["data"]["token"] = "eA==".into();
    fs::write(
        state.secret_path(),
        serde_yaml::to_string(&manifest).unwrap(),
    )
    .unwrap();
    state.issue_well().await;
    assert_eq!(state.epochs().await, [1, 2, 3, 4]);
    assert_eq!(state.manifest()["metadata"]["labels"]["mine"], "yes");
    assert!(state.token().await.starts_with("symsat_"));
}

#[rstest]
#[case::no_yaml("{{{")]
#[case::nothing("")]
#[case::a_list("- 1\n- 2\n")]
#[case::somebodys("kind: Secret\ndata: {token: eA==}\n")]
#[case::deep(&"[".repeat(200))]
#[case::odd_metadata("metadata: 7\n")]
#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone(#[case] content: &str) {
    let mut state = State::new();
    fs::create_dir_all(state.secret_path().parent().unwrap()).unwrap();
    fs::write(state.secret_path(), content).unwrap();
    let outcome = state.issue().await;
    let Ok(Settled::Refused { problem, .. }) = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(problem.reason, crate::directory::Reason::SecretConflict);
    assert_eq!(fs::read_to_string(state.secret_path()).unwrap(), content);
}

#[tokio::test]
async fn a_file_that_costs_too_much_to_read_is_left_alone_and_named() {
    let mut state = State::new();
    let content = "[".repeat(10_000);
    fs::create_dir_all(state.secret_path().parent().unwrap()).unwrap();
    fs::write(state.secret_path(), &content).unwrap();
    let error = format!("{:?}", state.issue().await.result.unwrap_err());
    assert!(error.contains("secrets/team/ci-token.yaml"), "{error}");
    assert_eq!(fs::read_to_string(state.secret_path()).unwrap(), content);
}

#[tokio::test]
async fn a_deleted_owners_secret_is_deleted() {
    let mut state = State::new();
    state.issue_well().await;
    let theirs = state.folder.path().join("secrets/team/theirs.yaml");
    fs::write(&theirs, "kind: Secret\n").unwrap();
    state
        .files
        .remove_object(Kind::ServiceAccessToken, &target().owner_key())
        .unwrap();
    assert!(!state.secret_path().exists());
    assert!(theirs.exists());
    let outcome = state.issue().await;
    assert_eq!(outcome.result, Ok(Settled::Gone));
}

#[tokio::test]
async fn no_empty_secret_is_left_where_no_token_may_be_issued() {
    let mut state = State::new();
    let mut desired = desired();
    desired.mints_per_hour = 0;
    let outcome = state.issue_to(&desired).await;
    let Ok(Settled::Refused { problem, .. }) = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(problem.reason, crate::directory::Reason::RateLimited);
    assert!(!state.secret_path().exists());
}

#[tokio::test]
async fn a_write_needs_the_state_that_was_read() {
    let mut state = State::new();
    state.issue_well().await;
    let (files, key) = (state.files.clone(), target().secret_key());
    let read = files.secret(&key).await.unwrap().unwrap();
    assert_eq!(
        files.create_secret(&read).await,
        Err(ApiError::AlreadyExists)
    );
    let content = fs::read(state.secret_path()).unwrap();
    fs::remove_file(state.secret_path()).unwrap();
    assert_eq!(files.replace_secret(&read).await, Err(ApiError::NotFound));
    fs::write(state.secret_path(), content).unwrap();
    assert_eq!(
        files.replace_secret(&read).await,
        Err(ApiError::Conflict),
        "a restored file has another version"
    );
    assert_eq!(
        files.delete_secret(&key, &read.precondition()).await,
        Err(ApiError::Conflict)
    );
    let credential_key = target().credential_key();
    let record = files.credential(&credential_key).await.unwrap().unwrap();
    let stale = Precondition {
        uid: record.metadata.uid.clone().unwrap(),
        resource_version: "0".into(),
    };
    assert_eq!(
        files.delete_credential(&credential_key, &stale).await,
        Err(ApiError::Conflict)
    );
    files.replace_credential(&record).await.unwrap();
    assert_eq!(
        files.create_credential(&record).await,
        Err(ApiError::AlreadyExists)
    );
}

#[rstest]
#[case("..", "x")]
#[case("team", "..")]
#[case("team", "../../etc/passwd")]
#[case("team", "a/b")]
#[case("team", "a\0b")]
#[case("", "x")]
#[case("/", "x")]
#[case("Team", "x")]
#[tokio::test]
async fn a_name_cannot_leave_the_folder(#[case] namespace: &str, #[case] name: &str) {
    let state = State::new();
    let key = ObjectKey::new(namespace, name);
    assert!(matches!(
        state.files.secret(&key).await,
        Err(ApiError::Invalid(_))
    ));
    assert!(matches!(
        state.files.credential(&key).await,
        Err(ApiError::Invalid(_))
    ));
    let secret = SecretObject::placeholder(&key, &owner(), "Opaque");
    assert!(matches!(
        state.files.create_secret(&secret).await,
        Err(ApiError::Invalid(_))
    ));
}

/// Remembers, for each change of a Credential, whether the token's Secret existed at that moment.
#[derive(Debug)]
struct Watchful {
    secret: PathBuf,
    changes: std::sync::Arc<std::sync::Mutex<Vec<bool>>>,
}

impl CredentialListener for Watchful {
    fn changed(&self, _: CredentialEvent) {
        let existed = fs::read_to_string(&self.secret).is_ok_and(|text| text.contains("token:"));
        self.changes.lock().unwrap().push(existed);
    }
}

#[tokio::test]
async fn the_listener_sees_a_token_before_its_secret_holds_it() {
    let mut state = State::new();
    let changes = std::sync::Arc::default();
    state.files.listen(Watchful {
        secret: state.secret_path(),
        changes: std::sync::Arc::clone(&changes),
    });
    state.issue_well().await;
    let seen = changes.lock().unwrap().clone();
    assert!(state.manifest()["data"]["token"].is_string());
    assert!(seen.contains(&false), "{seen:?}");
    state.files.tell_all().unwrap();
    assert_eq!(changes.lock().unwrap().len(), seen.len() + 1);
}

#[tokio::test]
async fn a_process_that_dies_between_record_and_reveal_heals() {
    let mut state = State::new();
    state.issue_well().await;
    // As after a kill: the Credential has a token that the Secret does not hold, and `base` is the present version.
    let key = target().credential_key();
    let mut credential = state.files.credential(&key).await.unwrap().unwrap();
    let secret = state
        .files
        .secret(&target().secret_key())
        .await
        .unwrap()
        .unwrap();
    credential.spec.base = Some(secret.version());
    state.files.replace_credential(&credential).await.unwrap();
    let mut state = state.restarted();
    state.issue_well().await;
    let after = state
        .files
        .secret(&target().secret_key())
        .await
        .unwrap()
        .unwrap();
    assert_ne!(after.version(), secret.version(), "fenced");
    assert_eq!(state.epochs().await, [1], "the present token stays");
}

#[tokio::test]
async fn a_revocation_is_not_undone_by_a_write_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let key = ObjectKey::new("platform", "u");
    let token = |id: &TokenId| {
        json!({
            "epoch": 1, "tokenId": id.as_str(), "hash": "", "client": {"name": "", "uid": ""}, "principal": "",
            "scopes": [], "issuedAt": "2026-01-01T00:00:00Z", "cause": "Initial", "mac": "",
        })
    };
    let [one, two] = [1, 2].map(|seed| TokenId::random(&mut SeededEntropy::new(seed)));
    let credential: Credential = serde_json::from_value(json!({
        "apiVersion": "symbolon.dev/v1alpha1",
        "kind": "Credential",
        "metadata": {"namespace": "platform", "name": "u"},
        "spec": {
            "identity": {"name": "main"},
            "owner": {"kind": "OAuthClient", "namespace": "shop", "name": "a", "uid": "u"},
            "high": 1,
            "tokens": [token(&one), token(&two)],
        },
    }))
    .unwrap();
    let mut stored = files.create_credential(&credential).await.unwrap();
    for _ in 0..100 {
        let uid = stored.metadata.uid.as_deref();
        let start = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                futures::FutureExt::now_or_never(files.replace_credential(&stored))
                    .unwrap()
                    .ok();
            });
            for id in [&one, &two] {
                let (files, key, start) = (&files, &key, &start);
                scope.spawn(move || {
                    start.wait();
                    files.revoke(key, uid, id).unwrap();
                });
            }
        });
        let after = files.credential(&key).await.unwrap().unwrap();
        let mut revoked = after.status.unwrap().revoked;
        revoked.sort();
        let mut both = vec![one.to_string(), two.to_string()];
        both.sort();
        assert_eq!(revoked, both);
        // The next round finds nothing revoked.
        files
            .report_use(&key, None, |_| Some(CredentialStatus::default()))
            .unwrap();
        stored = files.credential(&key).await.unwrap().unwrap();
    }
}

/// What a repository, or another program on the machine, may put in place of a file.
#[tokio::test]
async fn a_fifo_a_device_or_a_link_in_place_of_a_file_is_reported_and_blocks_nothing() {
    let mut state = State::new();
    state.issue_well().await;
    let theirs = state.folder.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    let credential = state.folder.path().join("credentials/platform/owner.yaml");
    let at = |path: &Path, put: &str| {
        let _ = fs::remove_file(path);
        match put {
            "fifo" => crate::state_file::testing::fifo(path),
            target => std::os::unix::fs::symlink(target, path).unwrap(),
        }
    };
    for path in [state.secret_path(), credential] {
        let good = fs::read(&path).unwrap();
        for put in ["fifo", "/dev/zero", "/dev/full", theirs.to_str().unwrap()] {
            at(&path, put);
            let outcome = state.issue().await;
            let told = format!("{:?}", outcome.result.unwrap_err());
            assert!(told.contains("remove it"), "{put}: {told}");
            state.files.collect_garbage().unwrap();
            state.files.credentials().unwrap();
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, good).unwrap();
    }
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    state.issue_well().await;
}

#[tokio::test]
async fn nothing_is_written_or_deleted_through_a_link_in_the_place_of_a_folder() {
    let (mut state, elsewhere) = (State::new(), tempfile::tempdir().unwrap());
    state.issue_well().await;
    for folder in [
        "status/ServiceAccessToken",
        "secrets/team",
        "credentials/platform",
        "keys",
    ] {
        let path = state.folder.path().join(folder);
        if path.exists() {
            fs::rename(&path, elsewhere.path().join(folder.replace('/', "-"))).unwrap();
        }
        let _ = fs::create_dir_all(path.parent().unwrap());
        let theirs = elsewhere
            .path()
            .join(format!("theirs-{}", folder.replace('/', "-")));
        fs::create_dir(&theirs).unwrap();
        for name in ["ci-token.yaml", "ci.yaml", "owner.yaml"] {
            fs::write(
                theirs.join(name),
                "kind: Secret\nmetadata: {ownerReferences: [{controller: true, uid: gone}]}\n",
            )
            .unwrap();
        }
        std::os::unix::fs::symlink(&theirs, &path).unwrap();
        assert!(
            state.issue().await.result.is_err() || folder.starts_with("status") || folder == "keys"
        );
        let object = state
            .files
            .object(Kind::ServiceAccessToken, &target().owner_key())
            .await
            .unwrap()
            .unwrap();
        let reported = state
            .files
            .replace_status(Kind::ServiceAccessToken, &object)
            .await;
        assert!(reported.is_err() || !folder.starts_with("status"));
        let _refused = state.files.collect_garbage();
        let found = fs::read_dir(&theirs).unwrap();
        assert_eq!(found.count(), 3, "{folder}");
        for name in ["ci-token.yaml", "ci.yaml", "owner.yaml"] {
            assert!(
                fs::read_to_string(theirs.join(name))
                    .unwrap()
                    .contains("gone"),
                "{folder}"
            );
        }
        fs::remove_file(&path).unwrap();
    }
}

/// Returns a state folder with an Identity's mac key, and the key's path.
async fn with_keys() -> (State, ObjectKey, PathBuf) {
    let state = State::new();
    let identity = ObjectKey::new("platform", "main");
    let manifest = json!({ "metadata": { "namespace": "platform", "name": "main", "uid": "u" } });
    state
        .files
        .put_object(Kind::Identity, identity.clone(), manifest);
    let key = key_secrets::mac_secret(&identity);
    let secret = json!({"metadata": {"namespace": "platform", "name": *key.name}, "data": {"mac.key": "eA=="}});
    let Value::Object(secret) = secret else {
        unreachable!()
    };
    state
        .files
        .create_secret(&SecretObject::new(secret))
        .await
        .unwrap();
    let path = state.folder.path().join("keys/platform/main-mac.yaml");
    (state, key, path)
}

#[tokio::test]
async fn a_key_that_was_not_written_here_is_neither_believed_nor_overwritten() {
    let (ours, key, path) = with_keys().await;
    let (theirs, _, other) = with_keys().await;
    assert!(theirs.files.secret(&key).await.is_ok());
    let good = fs::read_to_string(&path).unwrap();
    let read = ours.files.secret(&key).await.unwrap().unwrap();
    let unproven: String = good.lines().filter(|line| !line.starts_with('#')).collect();
    for foreign in [
        fs::read_to_string(other).unwrap(),
        good.replace("eA==", "eQ=="),
        unproven,
        format!("{good}labels: {{}}\n"),
        String::new(),
    ] {
        fs::write(&path, &foreign).unwrap();
        let told = ours.files.secret(&key).await.unwrap_err().to_string();
        assert!(told.contains(path.to_str().unwrap()), "{told}");
        assert!(told.contains("not as symbolon dev wrote it"), "{told}");
        assert!(told.contains("or delete it to get new keys"), "{told}");
        assert!(ours.files.create_secret(&read).await.is_err());
        assert!(ours.files.replace_secret(&read).await.is_err());
        assert!(
            ours.files
                .delete_secret(&key, &read.precondition())
                .await
                .is_err()
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
    }
    fs::write(&path, &good).unwrap();
    let restored = ours.files.secret(&key).await.unwrap().unwrap();
    assert_eq!(restored.text("mac.key").unwrap().expose(), "x");
    // The other key of the same Identity is another file.
    fs::copy(&path, path.with_file_name("main-signing.yaml")).unwrap();
    let signing = key_secrets::signing_secret(&ObjectKey::new("platform", "main"));
    assert!(ours.files.secret(&signing).await.is_err());
    fs::remove_file(&path).unwrap();
    assert!(ours.files.secret(&key).await.unwrap().is_none());
    ours.files.create_secret(&read).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_written_here_is_believed_after_a_restart() {
    let (state, key, _) = with_keys().await;
    let state = state.restarted();
    let manifest = json!({ "metadata": { "namespace": "platform", "name": "main", "uid": "u" } });
    state
        .files
        .put_object(Kind::Identity, ObjectKey::new("platform", "main"), manifest);
    let found = state.files.secret(&key).await.unwrap().unwrap();
    assert_eq!(found.text("mac.key").unwrap().expose(), "x");
}
