//! Last use through the Kubernetes API.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::uses::{RecordError, UseRecorder, UseReport};
use crate::directory::usage::{credential_of, merged};
use crate::resources::{API_VERSION, Kind};

/// Attempts where another writes the same Credential.
const ATTEMPTS: usize = 3;

/// Writes uses into the status of Credentials.
#[derive(Clone)]
pub struct KubeUses(Client);

/// How a write ended.
enum Written {
    /// It is there, or is not to be.
    Done,
    /// Another was faster.
    Conflict,
}

impl KubeUses {
    /// Writes with the rights of `client`.
    pub const fn new(client: Client) -> Self {
        Self(client)
    }

    /// Reads the Credential, so that nobody's report is lost or repeated, and patches it in that version.
    async fn write(&self, report: &UseReport) -> Result<Written, kube::Error> {
        let (namespace, plural) = (&report.credential.namespace, Kind::Credential.plural());
        let place = format!("/apis/{API_VERSION}/namespaces/{namespace}/{plural}");
        let (place, name) = (Request::new(place), &*report.credential.name);
        let build = kube::Error::BuildRequest;
        let get = place.get(name, &GetParams::default()).map_err(build)?;
        let live: Value = match self.0.request(get).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Written::Done),
            live => live?,
        };
        let Some(patch) = patch(live, report) else {
            return Ok(Written::Done);
        };
        let params = PatchParams {
            field_manager: Some("symbolon".to_owned()),
            ..PatchParams::default()
        };
        let patch = place.patch_subresource("status", name, &params, &Patch::Merge(patch));
        match self.0.request::<Value>(patch.map_err(build)?).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Done),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Conflict),
            written => written.map(|_| Written::Done),
        }
    }
}

/// What is to be changed of the very object that was read; `None`: nothing.
fn patch(live: Value, report: &UseReport) -> Option<Value> {
    let metadata = &live["metadata"];
    if report
        .uid
        .as_deref()
        .is_some_and(|uid| metadata["uid"] != *uid)
    {
        return None;
    }
    let only = json!({ "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] });
    let credential = credential_of(live).ok()?;
    let uses = merged(&credential, report.token_id.as_str(), &report.seen)?;
    Some(json!({ "metadata": only, "status": { "uses": uses } }))
}

impl UseRecorder for KubeUses {
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>> {
        async move {
            for _ in 0..ATTEMPTS {
                match self.write(report).await {
                    Ok(Written::Done) => return Ok(()),
                    Ok(Written::Conflict) => {}
                    // Only the code: the API's texts can hold what is not ours to log.
                    Err(kube::Error::Api(status)) => {
                        return Err(RecordError(format!("the API answered {}", status.code)));
                    }
                    Err(_) => return Err(RecordError("the API could not be reached".to_owned())),
                }
            }
            // Whoever keeps changing it is an operator at work: the next use says it again.
            Ok(())
        }
        .boxed()
    }
}
