//! Patches `credentials/status` through the Kubernetes API: reads the live object, then writes only if it still has the
//! version read, so that no replica undoes the write of another. Not here: what to write.

use kube::core::Request;
use kube::core::params::{GetParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::directory::ObjectKey;
use crate::kube_call::{Client, KubeFault};
use crate::resources::{API_VERSION, FIELD_MANAGER, Kind};

/// How a patch ended.
pub(super) enum Patched {
    /// The API server stored the patch and returned this object.
    Stored(Value),
    /// The Credential no longer exists.
    Gone,
    /// Another write came first: read again.
    Conflict,
}

/// Access to the status of one Credential.
pub(super) struct CredentialStatusApi<'a> {
    client: &'a Client,
    key: &'a ObjectKey,
}

impl<'a> CredentialStatusApi<'a> {
    pub(super) const fn new(client: &'a Client, key: &'a ObjectKey) -> Self {
        Self { client, key }
    }

    fn place(&self) -> Request {
        let (namespace, plural) = (&self.key.namespace, Kind::Credential.plural());
        Request::new(format!(
            "/apis/{API_VERSION}/namespaces/{namespace}/{plural}"
        ))
    }

    /// Reads the Credential; returns `None` if it no longer exists.
    pub(super) async fn read(&self) -> Result<Option<Value>, KubeFault> {
        let get = self.place().get(&self.key.name, &GetParams::default());
        match self.client.request(get?).await {
            Err(fault) if fault.code() == Some(404) => Ok(None),
            live => live.map(Some),
        }
    }

    /// Merges `change` into the status of the Credential if it still has the uid and version in `metadata`.
    pub(super) async fn patch(
        &self,
        metadata: &Value,
        change: Value,
    ) -> Result<Patched, KubeFault> {
        let only =
            json!({ "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
        let patch = Patch::Merge(json!({ "metadata": only, "status": change }));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let place = self.place();
        let patch = place.patch_subresource("status", &self.key.name, &params, &patch);
        match self.client.request(patch?).await {
            Err(fault) if fault.code() == Some(404) => Ok(Patched::Gone),
            Err(fault) if fault.code() == Some(409) => Ok(Patched::Conflict),
            stored => stored.map(Patched::Stored),
        }
    }
}
