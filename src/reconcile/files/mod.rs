//! A folder of files in place of a cluster, for dev mode.
//!
//! ```text
//! <state>/secrets/<namespace>/<name>.yaml        Secrets
//! <state>/keys/<namespace>/<name>.yaml           the two key Secrets of an Identity
//! <state>/credentials/<namespace>/<uid>.yaml     Credentials
//! <state>/status/<Kind>/<namespace>/<name>.yaml  the status that an object would have
//! ```
//!
//! People edit and delete these files as they would edit and delete Secrets with `kubectl`, so the version of a file is
//! derived from the file itself. One process uses the folder, and a write is complete when it returns. Only key Secrets
//! must not be edited, because their keys can issue any token: each carries a proof that this program wrote it. Not
//! here: the manifests of objects, which belong to their authors; the code that reads them passes the latest state to
//! this module.

mod as_cluster;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod layout;
mod text;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use self::layout::{is_safe, path, status_path};
use self::text::manifest_of;
use super::cluster::api::ApiError;
use super::cluster::kube_api::OwnWrites;
use super::cluster::secret::SecretObject;
use super::key_secrets;
use crate::directory::issued::usage;
use crate::directory::problem::suggest::shown;
use crate::directory::{ObjectKey, Revocation, revocation};
use crate::lock::lock;
use crate::resources::{Credential, CredentialStatus, Kind};
use crate::state_file::{Chosen, Content, Dir, EntryKind, FileMode, Seal, Unsuitable, open_state};
use crate::tokens::{TokenHash, TokenId};

type Manifest = Map<String, Value>;

/// The folder of key Secrets.
const KEYS: &str = "keys";
const GITIGNORE: &str = "*\n";
/// The maximum length of a file in bytes. etcd accepts no object of more than 1.5 MiB.
const LONGEST: u64 = 2 << 20;

/// The folder, and the objects as last read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// The folder at `root`. Everything below it is accessed through this, which follows no link.
    dir: Arc<Dir>,
    /// Proves that key Secrets were written here, and names the stores of people. Everything else that is trusted is sealed
    /// with the mac key in one of the key Secrets.
    seal: Seal,
    objects: Mutex<BTreeMap<(Kind, ObjectKey), Value>>,
    /// The counter for versions of objects. Versions of files are derived from the files.
    versions: AtomicU64,
    own: OwnWrites,
    listener: OnceLock<Box<dyn CredentialListener>>,
    /// Locked from the read of the current state to the write that depends on it.
    writing: Mutex<()>,
    /// Locked while this process uses the folder.
    _lock: File,
}

/// A Credential that was written or deleted, as a watch would report it.
#[derive(Clone, Debug)]
pub enum CredentialEvent {
    /// It was created or changed.
    Put(Box<Credential>),
    /// It was deleted.
    Gone(ObjectKey),
}

/// Whether a write may create a file.
#[derive(Clone, Copy, Debug)]
enum Put {
    /// It creates or replaces the file.
    Any,
    /// It replaces a file that must exist.
    Replaced,
}

/// Receives the changes of Credentials.
pub trait CredentialListener: std::fmt::Debug + Send + Sync {
    /// Applies a change. [`Files`] calls it before the write returns, for one change at a time. So a Secret, which is
    /// written later, never holds a token that the listener has not seen. It must not call [`Files`].
    fn changed(&self, event: CredentialEvent);
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error(
        "{0} is in use by another process: stop that process, or choose another folder with --state"
    )]
    InUse(PathBuf),
    /// It is unusable or unsafe.
    #[error("cannot use {0} as the state folder")]
    Refused(PathBuf, #[source] Unsuitable),
}

impl Files {
    /// Opens a state folder, and creates it if it is missing.
    pub fn open(root: &Path, chosen: Chosen) -> Result<Self, OpenError> {
        let refused = |refusal| OpenError::Refused(root.to_owned(), refusal);
        let failed = |error: io::Error| refused(error.into());
        let (dir, seal) = open_state(root, chosen).map_err(refused)?;
        for folder in ["secrets", KEYS, "credentials", "status"] {
            dir.ensure(Path::new(folder)).map_err(failed)?;
        }
        dir.write(
            Path::new(".gitignore"),
            GITIGNORE.as_bytes(),
            FileMode::Private,
        )
        .map_err(failed)?;
        let lock = dir.open_lock(Path::new(".lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::InUse(root.to_owned()),
            TryLockError::Error(error) => failed(error),
        })?;
        let inner = Inner {
            root: root.to_owned(),
            dir: Arc::new(dir),
            seal,
            objects: Mutex::default(),
            versions: AtomicU64::default(),
            own: OwnWrites::default(),
            listener: OnceLock::new(),
            writing: Mutex::default(),
            _lock: lock,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Sets the listener. Without one, changes of Credentials are not reported.
    ///
    /// # Panics
    /// If there is a listener already.
    pub fn listen(&self, listener: impl CredentialListener + 'static) {
        let set = self.0.listener.set(Box::new(listener));
        assert!(set.is_ok(), "a state folder has one listener");
    }

    /// Returns the versions that were written through this.
    pub fn own_writes(&self) -> &OwnWrites {
        &self.0.own
    }

    /// Returns the state folder, for other files in it.
    pub fn dir(&self) -> Arc<Dir> {
        self.0.dir.clone()
    }

    /// Returns the folder in which people find Secrets.
    pub fn secrets_folder(&self) -> PathBuf {
        self.0.root.join("secrets")
    }

    /// Returns the folder of the key Secrets.
    pub fn keys_folder(&self) -> PathBuf {
        self.0.root.join(KEYS)
    }

    /// Returns the folder of the Credentials.
    pub fn credentials_folder(&self) -> PathBuf {
        self.0.root.join("credentials")
    }

    /// Returns a file name for `of` that no one can guess: a file that is trusted though no proof is in it, such as a
    /// database, cannot come from a repository.
    pub fn unguessable_name(&self, of: &str) -> String {
        self.0.seal.name(of)
    }

    /// Returns the state folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Reports a Credential as its file is now: if a user deleted it, its tokens end at once.
    pub fn credential_touched(&self, key: &ObjectKey) {
        let _writing = self.writing();
        match self.read_credential(key) {
            Ok(Some(credential)) => self.tell(CredentialEvent::Put(Box::new(credential))),
            Ok(None) => self.tell(CredentialEvent::Gone(key.clone())),
            // A damaged file: the previous content stays served.
            Err(_) => {}
        }
    }

    /// Returns the path at which users find a Secret; `None` if its name is not valid.
    pub fn secret_path(&self, key: &ObjectKey) -> Option<PathBuf> {
        Some(self.0.root.join(self.secret_file(key)?))
    }

    fn secret_file(&self, key: &ObjectKey) -> Option<PathBuf> {
        let holds_keys = key_secrets::identity_of(key)
            .is_some_and(|identity| self.objects().contains_key(&(Kind::Identity, identity)));
        path(if holds_keys { KEYS } else { "secrets" }, key)
    }

    /// Returns the Secret that a file below the state folder contains.
    pub fn secret_at(path: &Path) -> Option<ObjectKey> {
        let namespace = path.parent()?.file_name()?.to_str()?;
        let name = path.file_name()?.to_str()?.strip_suffix(".yaml")?;
        (is_safe(namespace) && is_safe(name)).then(|| ObjectKey::new(namespace, name))
    }

    /// Returns the present version of a Secret; empty if it does not exist.
    pub fn secret_version(&self, key: &ObjectKey) -> String {
        let secret = self.read_secret(key).ok().flatten();
        secret
            .map(|secret| secret.version().secret_version)
            .unwrap_or_default()
    }

    /// Adds or replaces an object. It keeps the status that was last written for its uid.
    pub fn put_object(&self, kind: Kind, key: ObjectKey, mut manifest: Value) {
        let known = self.objects().get(&(kind, key.clone())).map(status_of);
        let known = known.or_else(|| {
            let content = self.0.dir.read(&status_path(kind, &key)?, LONGEST);
            let manifest = manifest_of(&content.ok().flatten()?.bytes);
            manifest.ok().flatten().map(Value::Object)
        });
        if let Some(known) = known.filter(|known| known["uid"] == manifest["metadata"]["uid"]) {
            manifest["status"] = known["status"].clone();
        }
        manifest["metadata"]["resourceVersion"] = self.next_version().into();
        self.objects().insert((kind, key), manifest);
    }

    /// Removes an object, and the Secrets that it owned, as a cluster's garbage collector does.
    pub fn remove_object(&self, kind: Kind, key: &ObjectKey) -> io::Result<()> {
        let gone = self.objects().remove(&(kind, key.clone()));
        if let Some(path) = status_path(kind, key) {
            self.0.dir.remove(&path)?;
        }
        let uid = gone
            .as_ref()
            .and_then(|gone| gone["metadata"]["uid"].as_str());
        uid.map_or(Ok(()), |uid| {
            self.collect_secrets(&key.namespace, &|owner| owner == uid)
        })
    }

    /// Removes the Secrets of owners that no longer exist. All objects must be known.
    pub fn collect_garbage(&self) -> io::Result<()> {
        let uids: Vec<String> = {
            let objects = self.objects();
            let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
            objects.values().filter_map(uid).collect()
        };
        for namespace in self.namespaces("secrets")? {
            self.collect_secrets(&namespace, &|owner| !uids.iter().any(|uid| uid == owner))?;
        }
        Ok(())
    }

    fn collect_secrets(&self, namespace: &str, is_gone: &dyn Fn(&str) -> bool) -> io::Result<()> {
        for path in self.manifests("secrets", namespace)? {
            // An unreadable file does not belong to symbolon.
            let secret = self.0.dir.read(&path, LONGEST).ok().flatten();
            let secret =
                secret.and_then(|it| manifest_of(&Zeroizing::new(it.bytes)).ok().flatten());
            if secret.as_ref().and_then(controller).is_some_and(is_gone) {
                self.0.dir.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Reports all Credentials that can be read to the listener.
    pub fn tell_all(&self) -> io::Result<()> {
        let _writing = self.writing();
        for credential in self.credentials()? {
            self.tell(CredentialEvent::Put(Box::new(credential)));
        }
        Ok(())
    }

    /// Returns all Credentials that can be read.
    pub(super) fn credentials(&self) -> io::Result<Vec<Credential>> {
        let mut found = Vec::new();
        for namespace in self.namespaces("credentials")? {
            for path in self.manifests("credentials", &namespace)? {
                let key = Self::secret_at(&path);
                found.extend(key.and_then(|key| self.read_credential(&key).ok().flatten()));
            }
        }
        Ok(found)
    }

    /// Returns the namespaces that have a subfolder in `folder`.
    fn namespaces(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = self.0.dir.entries(Path::new(folder))?.into_iter();
        let folders = entries.filter(|entry| entry.kind == EntryKind::Folder);
        Ok(folders
            .filter_map(|entry| entry.name.into_string().ok())
            .collect())
    }

    /// Returns the manifest files in the subfolder of a namespace.
    fn manifests(&self, folder: &str, namespace: &str) -> io::Result<Vec<PathBuf>> {
        let folder = Path::new(folder).join(namespace);
        let entries = self.0.dir.entries(&folder)?.into_iter();
        let paths = entries.map(|entry| folder.join(entry.name));
        Ok(paths
            .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
            .collect())
    }

    /// Revokes a token of a Credential, on condition of the Credential's uid if one is given. Returns `false` if the
    /// Credential is gone or does not record the token.
    pub fn revoke(
        &self,
        key: &ObjectKey,
        uid: Option<&str>,
        token_id: &TokenId,
    ) -> Result<bool, ApiError> {
        let _writing = self.writing();
        let Some(stored) = self.read_credential(key)? else {
            return Ok(false);
        };
        match revocation(&stored, token_id) {
            Revocation::NotRecorded => Ok(false),
            Revocation::Done => Ok(true),
            Revocation::Add(_) if !has_uid(&stored, uid) => Err(ApiError::Conflict),
            Revocation::Add(revoked) => {
                let uses = stored.status.clone().unwrap_or_default().uses;
                let status = CredentialStatus { uses, revoked };
                self.put_status(key, stored, status).map(|()| true)
            }
        }
    }

    /// Changes the status of a Credential, on condition of its uid if one is given; does nothing if it is gone.
    /// `change` returns the new status, or `None` to keep it.
    pub fn report_use(
        &self,
        key: &ObjectKey,
        uid: Option<&str>,
        change: impl FnOnce(&Credential) -> Option<CredentialStatus>,
    ) -> Result<(), ApiError> {
        let _writing = self.writing();
        let Some(stored) = self.read_credential(key)? else {
            return Ok(());
        };
        match change(&stored).filter(|_| has_uid(&stored, uid)) {
            Some(status) => self.put_status(key, stored, status),
            None => Ok(()),
        }
    }

    /// Writes a status. It is not recorded as the controller's own write, because the controller must see it.
    fn put_status(
        &self,
        key: &ObjectKey,
        mut credential: Credential,
        status: CredentialStatus,
    ) -> Result<(), ApiError> {
        credential.status = Some(status);
        match self.store_credential(key, &credential, Put::Replaced) {
            Ok(stored) => self.tell(CredentialEvent::Put(Box::new(stored))),
            // It was deleted after it was read: all its tokens end.
            Err(ApiError::NotFound) => self.tell(CredentialEvent::Gone(key.clone())),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Serialises writes, so that none comes between a read and the write that depends on it.
    fn writing(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.writing)
    }

    fn drop_credential(&self, key: &ObjectKey) -> Result<(), ApiError> {
        let path = path("credentials", key).ok_or_else(|| unsafe_name(key))?;
        let removed = self.0.dir.remove(&path);
        removed.map_err(|error| unavailable(&path, &error))?;
        self.tell(CredentialEvent::Gone(key.clone()));
        Ok(())
    }

    fn tell(&self, event: CredentialEvent) {
        if let Some(listener) = self.0.listener.get() {
            listener.changed(event);
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<(Kind, ObjectKey), Value>> {
        lock(&self.0.objects)
    }

    fn next_version(&self) -> String {
        format!("object-{}", self.0.versions.fetch_add(1, Ordering::Relaxed))
    }

    fn read_secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        let path = self.secret_file(key).ok_or_else(|| unsafe_name(key))?;
        let Some((mut manifest, version)) = self.read(&path)? else {
            return Ok(None);
        };
        stamp(&mut manifest, key, version);
        let mut secret = SecretObject::new(manifest);
        secret.encode_texts();
        Ok(Some(secret))
    }

    fn read_credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        let path = path("credentials", key).ok_or_else(|| unsafe_name(key))?;
        let Some((mut manifest, version)) = self.read(&path)? else {
            return Ok(None);
        };
        stamp(&mut manifest, key, version);
        usage::credential_of(Value::Object(manifest))
            .map(Some)
            .map_err(|error| ApiError::Invalid(format!("{}: {error}", path.display())))
    }
}

impl Files {
    fn store_credential(
        &self,
        key: &ObjectKey,
        credential: &Credential,
        put: Put,
    ) -> Result<Credential, ApiError> {
        let path = path("credentials", key).ok_or_else(|| unsafe_name(key))?;
        let Ok(Value::Object(manifest)) = serde_json::to_value(credential) else {
            let message = "the Credential cannot be encoded as an object".to_owned();
            return Err(ApiError::Invalid(message));
        };
        self.store(&path, manifest, put)?;
        self.read_credential(key)?.ok_or(ApiError::NotFound)
    }

    /// Writes a manifest. Its version is that of the file.
    fn store(
        &self,
        path: &Path,
        mut manifest: Map<String, Value>,
        put: Put,
    ) -> Result<(), ApiError> {
        if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let yaml = serde_yaml::to_string(&manifest)
            .map(Zeroizing::new)
            .map_err(|error| ApiError::Invalid(error.to_string()))?;
        let sealed = holds_keys(path).then(|| self.0.seal.sealed(path, yaml.as_bytes()));
        let content = sealed.as_ref().map_or(yaml.as_bytes(), |file| file);
        let dir = &self.0.dir;
        let written = match put {
            Put::Any => dir.write(path, content, FileMode::Private).map(|()| true),
            Put::Replaced => dir.replace(path, content, FileMode::Private),
        };
        let is_written = written.map_err(|error| unavailable(path, &error))?;
        is_written.then_some(()).ok_or(ApiError::NotFound)
    }

    /// Reads a manifest and its version. A file that was restored, edited or replaced has another version, even with
    /// the same content.
    fn read(&self, path: &Path) -> Result<Option<(Manifest, String)>, ApiError> {
        let read = self.0.dir.read(path, LONGEST);
        let Some(Content { bytes, modified }) = read.map_err(|error| unavailable(path, &error))?
        else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        let content = if holds_keys(path) {
            let content = self.0.seal.opened(path, &bytes);
            content.ok_or_else(|| not_written_here(&self.0.root.join(path)))?
        } else {
            &bytes
        };
        // A file that is not a manifest must not be overwritten.
        let manifest = manifest_of(content)
            .map_err(|error| unavailable(path, &io::Error::other(error)))?
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let hash = TokenHash::of(&text).to_string();
        let (seconds, nanoseconds) = modified;
        let version = format!("{}-{seconds}.{nanoseconds}", &hash[..16]);
        Ok(Some((manifest, version)))
    }
}

fn controller(secret: &Map<String, Value>) -> Option<&str> {
    let references = secret.get("metadata")?.get("ownerReferences")?.as_array()?;
    references
        .iter()
        .find(|reference| reference["controller"] == true)?["uid"]
        .as_str()
}

/// Sets name and namespace from the file's place, and a uid if the file has none.
fn stamp(manifest: &mut Map<String, Value>, key: &ObjectKey, version: String) {
    let metadata = manifest.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata["namespace"] = (*key.namespace).into();
    metadata["name"] = (*key.name).into();
    metadata["resourceVersion"] = version.into();
    if !metadata["uid"].is_string() {
        metadata["uid"] = "of-a-file".into();
    }
}

/// Returns the content of an object's status file.
fn status_of(object: &Value) -> Value {
    json!({ "uid": object["metadata"]["uid"], "status": object["status"] })
}

/// Whether a Credential has this uid, if one is given.
fn has_uid(credential: &Credential, uid: Option<&str>) -> bool {
    uid.is_none_or(|uid| credential.metadata.uid.as_deref() == Some(uid))
}

fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Whether a file below the state folder holds keys. Such a file is trusted only with a proof that it was written here.
fn holds_keys(path: &Path) -> bool {
    path.starts_with(KEYS)
}

fn not_written_here(file: &Path) -> ApiError {
    ApiError::Invalid(format!(
        "{} is not as symbolon dev wrote it: it was edited or replaced, for example by `git pull`, and its author may know the keys in it; restore the file, or delete it to get new keys",
        file.display()
    ))
}

fn unsafe_name(key: &ObjectKey) -> ApiError {
    let key = shown(&key.to_string());
    ApiError::Invalid(format!("{key} cannot be used as a file name"))
}

fn unavailable(path: &Path, error: &io::Error) -> ApiError {
    ApiError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
