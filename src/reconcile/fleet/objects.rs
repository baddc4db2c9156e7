//! Live reads and single writes of Identities' objects. Each has a time limit, and each write is fenced.

use std::time::Duration;

use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use serde_json::Value;

use super::Child;
use super::build::Apis;
use crate::directory::ObjectKey;
use crate::directory::schema::is_dns_label;
use crate::json_stream::Keep;
use crate::kube_call::Client;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::reconcile::cluster::fence::Fence;
use crate::reconcile::cluster::kube_api::secret_of;
use crate::reconcile::cluster::rest::{Built, Rest};
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{API_VERSION, FIELD_MANAGER, Kind, ManagedKind};

/// The maximum number of pods that are read for their errors.
const MAX_PODS: u32 = 20;

/// A client for the objects of Identities in a Kubernetes API server.
#[derive(Clone)]
pub struct Objects {
    rest: Rest,
    fence: Fence,
}

impl Objects {
    /// Creates a client; `timeout` bounds each request. The `client` of kube must not retry by itself.
    pub fn new(client: impl Into<Client>, timeout: Duration, fence: Fence) -> Self {
        Self {
            rest: Rest {
                client: client.into(),
                timeout,
            },
            fence,
        }
    }

    /// Reads an object.
    pub(super) async fn get(&self, child: &Child) -> Result<Option<Value>, ApiError> {
        // No object has an invalid name.
        let Ok(at) = at(child) else { return Ok(None) };
        let request = at.get(&child.name, &GetParams::default());
        self.rest.find(request).await
    }

    /// Applies an object on the server. A `resourceVersion` in it makes the write conditional.
    pub(super) async fn apply(&self, child: &Child, body: &Value) -> Result<Value, ApiError> {
        // If someone else set the operator's fields, the operator takes them back.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.write(at(child)?.patch(&child.name, &params, &Patch::Apply(body)))
            .await
    }

    /// Changes some fields of an object, on condition of the version in the patch.
    pub(super) async fn patch(&self, child: &Child, patch: &Value) -> Result<Value, ApiError> {
        let params = managed();
        self.write(at(child)?.patch(&child.name, &params, &Patch::Merge(patch)))
            .await
    }

    /// Deletes exactly the object that was read.
    pub(super) async fn delete(&self, child: &Child, only: &Precondition) -> Result<(), ApiError> {
        self.delete_by(child, only, DeleteParams::background())
            .await
    }

    /// Deletes exactly the object that was read, but keeps its dependents.
    pub(super) async fn release(&self, child: &Child, only: &Precondition) -> Result<(), ApiError> {
        self.delete_by(child, only, DeleteParams::orphan()).await
    }

    async fn delete_by(
        &self,
        child: &Child,
        only: &Precondition,
        params: DeleteParams,
    ) -> Result<(), ApiError> {
        let params = params.preconditions(Preconditions {
            uid: Some(only.uid.clone()),
            resource_version: Some(only.resource_version.clone()),
        });
        self.write(at(child)?.delete(&child.name, &params))
            .await
            .map(drop)
    }

    /// Returns the uid of an Identity; `None` if it does not exist.
    pub(super) async fn uid_of(&self, identity: &ObjectKey) -> Result<Option<String>, ApiError> {
        let (namespace, plural) = (&identity.namespace, Kind::Identity.plural());
        let path = format!("/apis/{API_VERSION}/namespaces/{namespace}/{plural}");
        let request = Request::new(path).get(&identity.name, &GetParams::default());
        let found = self.rest.find_for(request, Keep::LIVE).await?;
        Ok(found.and_then(|it| it["metadata"]["uid"].as_str().map(str::to_owned)))
    }

    /// Reads a volume claim.
    pub(super) async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        let request = claims(namespace).get(name, &GetParams::default());
        self.rest.find(request).await
    }

    /// Reads a Secret, to report what it lacks.
    pub(super) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretObject>, ApiError> {
        if !ObjectKey::new(namespace, name).is_possible() {
            return Ok(None);
        }
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let request = Request::new(path).get(name, &GetParams::default());
        let found = self.rest.find(request).await?;
        found.map(secret_of).transpose()
    }

    /// Changes a volume claim, on condition of the version in the patch.
    pub(super) async fn patch_claim(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<(), ApiError> {
        let params = managed();
        self.write(claims(namespace).patch(name, &params, &Patch::Merge(patch)))
            .await
            .map(drop)
    }

    /// Passes every Deployment or StatefulSet of an Identity to `each`, in one namespace or all, without labels and
    /// annotations of others. Skips an object that is too large to read, because the operator writes none as large.
    pub(super) async fn workloads(
        &self,
        kind: ManagedKind,
        namespace: Option<&str>,
        each: &mut (dyn FnMut(Value) + Send),
    ) -> Result<(), ApiError> {
        let labelled = ListParams::default().labels(&ManagedKind::label_selector());
        let mut whole = |object, is_cut: bool| {
            if !is_cut {
                each(object);
            }
        };
        self.rest
            .list(&kind.path(namespace), &labelled, Keep::OWNED, &mut whole)
            .await
    }

    /// Returns the first pods that a selector finds, without labels and annotations of others.
    pub(super) async fn pods(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let params = ListParams::default().labels(selector).limit(MAX_PODS);
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let mut found = Vec::new();
        let mut take = |pod, _| found.push(pod);
        self.rest
            .page(&path, &params, Keep::OWNED, &mut take)
            .await?;
        found.truncate(MAX_PODS as usize);
        Ok(found)
    }

    /// Returns which of the optional kinds this cluster has.
    pub(super) async fn apis(&self) -> Result<Apis, ApiError> {
        let request = http::Request::get("/apis")
            .body(Vec::new())
            .map_err(|error| ApiError::Invalid(error.to_string()))?;
        let answer = self.rest.send(Ok(request)).await?;
        let knows = |kind: ManagedKind| {
            let groups = answer["groups"].as_array().into_iter().flatten();
            let mut versions =
                groups.flat_map(|group| group["versions"].as_array().into_iter().flatten());
            versions.any(|version| version["groupVersion"] == kind.api_version())
        };
        Ok(Apis {
            http_route: knows(ManagedKind::HttpRoute),
            service_monitor: knows(ManagedKind::ServiceMonitor),
        })
    }

    async fn write(&self, request: Built) -> Result<Value, ApiError> {
        if !self.fence.is_open() {
            return Err(ApiError::Unavailable(
                "this process is no longer the leader".to_owned(),
            ));
        }
        self.rest.send(request).await
    }
}

fn managed() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn claims(namespace: &str) -> Request {
    Request::new(format!(
        "/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    ))
}

/// Returns a request for the URL of the object's kind. Fails if the namespace or name could change the URL path.
fn at(child: &Child) -> Result<Request, ApiError> {
    let namespace = child.namespace.as_deref();
    if namespace.is_none_or(is_dns_label) && ManagedKind::is_name(&child.name) {
        Ok(Request::new(child.kind.path(namespace)))
    } else {
        Err(ApiError::Invalid(
            "the namespace or name of the object is invalid".to_owned(),
        ))
    }
}
