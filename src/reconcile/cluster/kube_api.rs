//! The cluster, read and written through a Kubernetes API server.
//!
//! Reads are live. Writes are single, conditioned on the version that was read, bounded in time and fenced. Not here:
//! retries, lists, forced writes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::api::{DeleteParams, GetParams, PostParams, Preconditions};
use kube::core::Request;
use serde::Serialize;
use serde_json::Value;

use super::Cluster;
use super::api::{ApiError, Precondition};
use super::fence::Fence;
use super::reports::Reports;
use super::rest::{Built, Rest, of_a_read};
use super::secret::SecretObject;
use crate::directory::ObjectKey;
use crate::directory::issued::usage;
use crate::json_stream::Keep;
use crate::kube_call::Client;
use crate::lock::lock;
use crate::resources::{API_VERSION, Credential, Kind, OwnerKind};

/// The number of the operator's own versions that are remembered: some seconds of the most that an API server accepts.
const REMEMBERED: usize = 16_384;

/// A client for a Kubernetes API server.
#[derive(Clone)]
pub struct KubeApi {
    rest: Rest,
    fence: Fence,
    own: OwnWrites,
}

/// The versions that the operator wrote itself, so that watch events about them need no pass.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    known: HashSet<Box<str>>,
    order: VecDeque<Box<str>>,
}

impl OwnWrites {
    pub(in crate::reconcile) fn note(&self, version: &str) {
        let mut remembered = lock(&self.0);
        if remembered.known.insert(version.into()) {
            remembered.order.push_back(version.into());
        }
        if remembered.order.len() > REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.known.remove(&oldest);
        }
    }

    /// Whether the operator wrote this version.
    pub fn has(&self, version: &str) -> bool {
        let remembered = lock(&self.0);
        remembered.known.contains(version)
    }
}

impl KubeApi {
    /// Creates a client; `timeout` bounds each request. `client` must not retry by itself.
    pub fn new(client: impl Into<Client>, timeout: Duration, fence: Fence) -> Self {
        Self {
            rest: Rest {
                client: client.into(),
                timeout,
            },
            fence,
            own: OwnWrites::default(),
        }
    }

    /// Returns the versions written through this and its clones.
    pub fn own_writes(&self) -> &OwnWrites {
        &self.own
    }

    /// Reads an object. No object has an invalid name, and in a path such a name could change the request.
    async fn find(
        &self,
        kind: Kind,
        key: &ObjectKey,
        keep: Keep,
    ) -> Result<Option<Value>, ApiError> {
        if !key.is_possible() {
            return Ok(None);
        }
        let request = objects(kind, &key.namespace).get(&key.name, &GetParams::default());
        self.rest.find_for(request, keep).await
    }

    async fn write(&self, key: &ObjectKey, request: Built, keep: Keep) -> Result<Value, ApiError> {
        if !key.is_possible() {
            return Err(ApiError::Invalid(
                "the namespace or name of the object is invalid".to_owned(),
            ));
        }
        if !self.fence.is_open() {
            return Err(ApiError::Unavailable(
                "this process is no longer the leader".to_owned(),
            ));
        }
        let stored = self.rest.send_for(request, keep).await?;
        if let Some(version) = stored["metadata"]["resourceVersion"].as_str() {
            self.own.note(version);
        }
        Ok(stored)
    }
}

impl Cluster for KubeApi {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        let found = self.find(Kind::Credential, key, Keep::REWRITTEN).await?;
        found.map(credential_of).transpose()
    }

    async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        if !key.is_possible() {
            return Ok(None);
        }
        let request = secrets(&key.namespace).get(&key.name, &GetParams::default());
        let found = self.rest.find_for(request, Keep::REWRITTEN).await;
        // Tenants write Secrets, so the owner's status must say that this Secret is too large.
        let found = found.map_err(of_a_read)?;
        found.map(secret_of).transpose()
    }

    async fn owner(&self, kind: OwnerKind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.find(kind.kind(), key, Keep::LIVE).await
    }

    async fn create_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let key = ObjectKey::of(&credential.metadata);
        let request = objects(Kind::Credential, &key.namespace)
            .create(&PostParams::default(), body(credential)?);
        credential_of(self.write(&key, request, Keep::REWRITTEN).await?)
    }

    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let key = ObjectKey::of(&credential.metadata);
        let request = objects(Kind::Credential, &key.namespace).replace(
            &key.name,
            &PostParams::default(),
            body(credential)?,
        );
        credential_of(self.write(&key, request, Keep::REWRITTEN).await?)
    }

    async fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> Result<(), ApiError> {
        let request = objects(Kind::Credential, &key.namespace).delete(&key.name, &exactly(only));
        self.write(key, request, Keep::LIVE).await.map(drop)
    }

    async fn create_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        let key = secret.key();
        let request =
            secrets(&key.namespace).create(&PostParams::default(), body(secret.expose())?);
        secret_of(self.write(&key, request, Keep::REWRITTEN).await?)
    }

    async fn replace_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        let key = secret.key();
        let request = secrets(&key.namespace).replace(
            &key.name,
            &PostParams::default(),
            body(secret.expose())?,
        );
        secret_of(self.write(&key, request, Keep::REWRITTEN).await?)
    }

    async fn delete_secret(&self, key: &ObjectKey, only: &Precondition) -> Result<(), ApiError> {
        let request = secrets(&key.namespace).delete(&key.name, &exactly(only));
        self.write(key, request, Keep::LIVE).await.map(drop)
    }
}

impl Reports for KubeApi {
    async fn object(&self, kind: Kind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.find(kind, key, Keep::LIVE).await
    }

    async fn replace_status(&self, kind: Kind, object: &Value) -> Result<(), ApiError> {
        let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
        let key = ObjectKey::new(field("namespace"), field("name"));
        // The cheapest way to write a status. The API server merges and compares nothing, and takes everything except
        // the status from the stored object, so metadata that was not read stays.
        let request = objects(kind, &key.namespace).replace_subresource(
            "status",
            &key.name,
            &PostParams::default(),
            body(object)?,
        );
        self.write(&key, request, Keep::LIVE).await.map(drop)
    }
}

fn objects(kind: Kind, namespace: &str) -> Request {
    let plural = kind.plural();
    Request::new(format!(
        "/apis/{API_VERSION}/namespaces/{namespace}/{plural}"
    ))
}

fn secrets(namespace: &str) -> Request {
    Request::new(format!("/api/v1/namespaces/{namespace}/secrets"))
}

fn body(object: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(object)
        .map_err(|_| ApiError::Invalid("the object cannot be encoded as JSON".to_owned()))
}

fn exactly(only: &Precondition) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: Some(only.uid.clone()),
        resource_version: Some(only.resource_version.clone()),
    })
}

/// Decodes a Credential. Errors do not repeat its values.
fn credential_of(object: Value) -> Result<Credential, ApiError> {
    usage::credential_of(object).map_err(|_| {
        ApiError::Unavailable(
            "the Credential cannot be decoded: another release may have written it".to_owned(),
        )
    })
}

/// Turns an object into a Secret, which is wiped when dropped.
pub(in crate::reconcile) fn secret_of(object: Value) -> Result<SecretObject, ApiError> {
    match object {
        Value::Object(manifest) => Ok(SecretObject::new(manifest)),
        _ => Err(ApiError::Unknown(
            "the response is not an object".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube_call::Body;

    /// An invalid name must not become part of a request: it could mean another object, a subresource or a query.
    #[tokio::test]
    async fn no_request_contains_an_invalid_name() {
        // The answer makes no sense, so each request would return an error.
        let answer = tower::service_fn(async |_: http::Request<Body>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let client = Client::new(answer, "default");
        let api = KubeApi::new(client, Duration::from_secs(1), Fence::open());
        for (namespace, name) in [
            ("blue", "a/status"),
            ("blue", "?watch=1&n=1"),
            ("blue", "a b"),
            ("blue", ".."),
            ("blue", ""),
            ("blue/../red", "a"),
            ("", "a"),
        ] {
            let key = ObjectKey::new(namespace, name);
            assert_eq!(api.object(Kind::OAuthClient, &key).await, Ok(None), "{key}");
            assert_eq!(api.secret(&key).await, Ok(None), "{key}");
            let object = json!({"metadata": {"namespace": namespace, "name": name}});
            let written = api.replace_status(Kind::OAuthClient, &object).await;
            assert!(matches!(written, Err(ApiError::Invalid(_))), "{key}");
        }
    }

    #[test]
    fn own_writes_are_known_and_forgotten_in_time() {
        let own = OwnWrites::default();
        for version in 0..=REMEMBERED {
            own.note(&version.to_string());
            own.note(&version.to_string());
        }
        assert!(own.has("1") && own.has(&REMEMBERED.to_string()));
        assert!(!own.has("0"));
    }
}
