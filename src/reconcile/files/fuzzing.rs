//! Fuzz targets for the files of a state folder, which people edit.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::path::PathBuf;

use futures::FutureExt as _;

use super::Files;
use crate::directory::ObjectKey;
use crate::fuzzing::Input;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::reports::Reports as _;
use crate::reconcile::cluster::secret::{Ownership, SecretObject};
use crate::resources::{CredentialOwner, Kind, OwnerKind};
use crate::state_file::Chosen;

struct Folder {
    files: Files,
    root: PathBuf,
    _removed: tempfile::TempDir,
}

thread_local! {
    static FOLDER: Folder = Folder::new();
}

impl Folder {
    fn new() -> Self {
        let removed = tempfile::tempdir().unwrap();
        let root = removed.path().join("state");
        let files = Files::open(&root, Chosen::ByUser).unwrap();
        for folder in ["secrets/ns", "credentials/ns", "status/Scope/ns"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self {
            files,
            root,
            _removed: removed,
        }
    }
}

/// Any content of a file in the state folder is either read as the object of its place or refused. Both ways of reading
/// a Credential agree, and an unreadable object never counts as absent. The first byte selects the file.
pub fn state(data: &[u8]) {
    FOLDER.with(|folder| {
        let mut input = Input(data);
        match input.below(3) {
            0 => secret(folder, input.0),
            1 => credential(folder, input.0),
            _ => status(folder, input.0),
        }
    });
}

fn key() -> ObjectKey {
    ObjectKey::new("ns", "it")
}

/// Reading a file never waits.
fn at_once<T>(reading: impl Future<Output = T>) -> T {
    reading.now_or_never().unwrap()
}

fn secret(folder: &Folder, content: &[u8]) {
    std::fs::write(folder.root.join("secrets/ns/it.yaml"), content).unwrap();
    let Ok(secret) = at_once(folder.files.secret(&key())) else {
        return;
    };
    let secret: SecretObject = secret.unwrap();
    assert_eq!(secret.key(), key());
    let version = secret.version();
    assert!(!version.secret_version.is_empty());
    assert!(!version.secret_uid.is_empty() || content.windows(3).any(|it| it == b"uid"));
    let owner = CredentialOwner {
        kind: OwnerKind::OAuthClient,
        namespace: "ns".to_owned(),
        name: "it".to_owned(),
        uid: "uid".to_owned(),
    };
    let keys: Vec<String> = secret.data_keys().map(str::to_owned).collect();
    for key in &keys {
        let text = secret.text(key);
        let bytes = secret.bytes(key);
        assert_eq!(
            text.map(|text| text.expose().as_bytes().to_vec()),
            bytes
                .map(|bytes| bytes.to_vec())
                .filter(|bytes| std::str::from_utf8(bytes).is_ok()),
        );
    }
    let mut claimed = secret;
    let ownership = claimed.ownership(&owner);
    claimed.claim(&owner);
    if matches!(ownership, Ownership::Ours | Ownership::Adoptable) {
        assert!(claimed.is_made_for(&owner));
    }
    folder.files.collect_garbage().unwrap();
}

fn credential(folder: &Folder, content: &[u8]) {
    std::fs::write(folder.root.join("credentials/ns/it.yaml"), content).unwrap();
    let read = at_once(folder.files.credential(&key()));
    let all = folder.files.credentials().unwrap();
    match read {
        Ok(found) => {
            let found = found.unwrap();
            assert_eq!(found.metadata.name.as_deref(), Some("it"));
            assert_eq!(found.metadata.namespace.as_deref(), Some("ns"));
            let [other] = &all[..] else { panic!("{all:?}") };
            assert_eq!(
                serde_json::to_value(other).unwrap(),
                serde_json::to_value(&found).unwrap()
            );
            let again = at_once(folder.files.replace_credential(&found)).unwrap();
            assert_eq!(again.spec, found.spec);
        }
        Err(_) => assert!(all.is_empty()),
    }
}

fn status(folder: &Folder, content: &[u8]) {
    std::fs::write(folder.root.join("status/Scope/ns/it.yaml"), content).unwrap();
    let manifest = serde_json::json!({"metadata": {"namespace": "ns", "name": "it", "uid": "u"}});
    let key = key();
    folder.files.put_object(Kind::Scope, key.clone(), manifest);
    let object = at_once(folder.files.object(Kind::Scope, &key))
        .unwrap()
        .unwrap();
    assert_eq!(object["metadata"]["uid"], "u");
    folder.files.remove_object(Kind::Scope, &key).unwrap();
    assert!(!folder.root.join("status/Scope/ns/it.yaml").exists());
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_files_of_a_state_folder_are_read_or_refused() {
        replay("state", super::state);
    }
}
