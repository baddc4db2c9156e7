//! The folder in the place of an API server: writes on condition of a uid and a version, as a cluster would do them.

use serde_json::{Map, Value};

use super::layout::status_path;
use super::{CredentialEvent, Files, Put, new_uid, status_of, unavailable, unsafe_name};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{Credential, Kind, OwnerKind};

impl Cluster for Files {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        self.read_credential(key)
    }

    async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        self.read_secret(key)
    }

    async fn owner(&self, kind: OwnerKind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.object(kind.kind(), key).await
    }

    async fn create_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let _writing = self.writing();
        let key = ObjectKey::of(&credential.metadata);
        if self.read_credential(&key)?.is_some() {
            return Err(ApiError::AlreadyExists);
        }
        let mut credential = credential.clone();
        credential.metadata.uid = Some(new_uid());
        credential.metadata.generation = Some(1);
        self.put_credential(&key, &credential, Put::Any)
    }

    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let _writing = self.writing();
        let key = ObjectKey::of(&credential.metadata);
        let stored = self.read_credential(&key)?.ok_or(ApiError::NotFound)?;
        let is_same = stored.metadata.uid == credential.metadata.uid
            && stored.metadata.resource_version == credential.metadata.resource_version;
        if is_same {
            let generation = stored.metadata.generation.unwrap_or_default();
            let mut credential = credential.clone();
            credential.metadata.generation = Some(generation + 1);
            credential.status = stored.status;
            self.put_credential(&key, &credential, Put::Replaced)
        } else {
            Err(ApiError::Conflict)
        }
    }

    async fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> Result<(), ApiError> {
        let _writing = self.writing();
        let stored = self.read_credential(key)?.ok_or(ApiError::NotFound)?;
        let is_same = stored.metadata.uid.as_ref() == Some(&only.uid)
            && stored.metadata.resource_version.as_ref() == Some(&only.resource_version);
        if is_same {
            self.drop_credential(key)
        } else {
            Err(ApiError::Conflict)
        }
    }

    async fn create_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        let _writing = self.writing();
        let key = secret.key();
        if self.read_secret(&key)?.is_some() {
            return Err(ApiError::AlreadyExists);
        }
        let mut manifest = secret.expose().clone();
        if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".to_owned(), new_uid().into());
        }
        self.put_secret(&key, manifest, Put::Any)
    }

    async fn replace_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        let _writing = self.writing();
        let key = secret.key();
        let stored = self.read_secret(&key)?.ok_or(ApiError::NotFound)?;
        if stored.version() != secret.version() {
            return Err(ApiError::Conflict);
        }
        self.put_secret(&key, secret.expose().clone(), Put::Replaced)
    }

    async fn delete_secret(&self, key: &ObjectKey, only: &Precondition) -> Result<(), ApiError> {
        let _writing = self.writing();
        let stored = self.read_secret(key)?.ok_or(ApiError::NotFound)?;
        let path = self
            .secret_file(key)
            .filter(|_| stored.precondition() == *only)
            .ok_or(ApiError::Conflict)?;
        let removed = self.0.dir.remove(&path);
        removed.map_err(|error| unavailable(&path, &error))
    }
}

impl Reports for Files {
    async fn object(&self, kind: Kind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        Ok(self.objects().get(&(kind, key.clone())).cloned())
    }

    async fn replace_status(&self, kind: Kind, object: &Value) -> Result<(), ApiError> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let key = ObjectKey::new(text("namespace"), text("name"));
        let version = self.next_version();
        {
            let mut objects = self.objects();
            let stored = objects
                .get_mut(&(kind, key.clone()))
                .ok_or(ApiError::NotFound)?;
            if ["uid", "resourceVersion"]
                .iter()
                .any(|field| stored["metadata"][field] != metadata[field])
            {
                return Err(ApiError::Conflict);
            }
            stored["status"] = object["status"].clone();
            stored["metadata"]["resourceVersion"] = version.clone().into();
        }
        self.0.own.note(&version);
        let path = status_path(kind, &key).ok_or_else(|| unsafe_name(&key))?;
        match status_of(object) {
            Value::Object(status) => self.store(&path, status, Put::Any),
            _ => Ok(()),
        }
    }
}

impl Files {
    fn put_secret(
        &self,
        key: &ObjectKey,
        manifest: Map<String, Value>,
        put: Put,
    ) -> Result<SecretObject, ApiError> {
        let path = self.secret_file(key).ok_or_else(|| unsafe_name(key))?;
        self.store(&path, manifest, put)?;
        let stored = self.read_secret(key)?.ok_or(ApiError::NotFound)?;
        self.0.own.note(&stored.version().secret_version);
        Ok(stored)
    }

    fn put_credential(
        &self,
        key: &ObjectKey,
        credential: &Credential,
        put: Put,
    ) -> Result<Credential, ApiError> {
        let stored = self.store_credential(key, credential, put)?;
        let version = stored.metadata.resource_version.as_deref();
        self.0.own.note(version.unwrap_or_default());
        self.tell(CredentialEvent::Put(Box::new(stored.clone())));
        Ok(stored)
    }
}
