//! Records last use through the Kubernetes API.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::credential_status::{CredentialStatusApi, Patched};
use super::uses::{RecordError, UseRecorder, UseReport};
use crate::directory::issued::usage::{credential_of, merged};
use crate::kube_call::{Client, KubeFault};

/// The most attempts after write conflicts.
const ATTEMPTS: usize = 3;

/// Records uses in the status of Credentials.
#[derive(Clone)]
pub struct KubeUses(Client);

/// How a write ended.
enum Written {
    /// The use is recorded, or need not be.
    Done,
    /// Another write came first.
    Conflict,
}

impl KubeUses {
    /// Returns a recorder that writes with the rights of `client`.
    pub fn new(client: impl Into<Client>) -> Self {
        Self(client.into())
    }

    /// Reads the Credential and patches exactly the version read, so that no replica's report is lost or repeated.
    async fn write(&self, report: &UseReport) -> Result<Written, KubeFault> {
        let api = CredentialStatusApi::new(&self.0, &report.credential);
        let Some(live) = api.read().await? else {
            return Ok(Written::Done);
        };
        let metadata = live["metadata"].clone();
        let Some(change) = change(live, report) else {
            return Ok(Written::Done);
        };
        Ok(match api.patch(&metadata, change).await? {
            Patched::Conflict => Written::Conflict,
            Patched::Stored(_) | Patched::Gone => Written::Done,
        })
    }
}

/// Returns the change to the status of the object that was read, or `None` if nothing changes. Other fields stay.
fn change(live: Value, report: &UseReport) -> Option<Value> {
    if report
        .uid
        .as_deref()
        .is_some_and(|uid| live["metadata"]["uid"] != *uid)
    {
        return None;
    }
    let credential = credential_of(live).ok()?;
    let uses = merged(&credential, report.token_id.as_str(), &report.seen)?;
    Some(json!({ "uses": uses }))
}

impl UseRecorder for KubeUses {
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>> {
        async move {
            for _ in 0..ATTEMPTS {
                match self.write(report).await {
                    Ok(Written::Done) => return Ok(()),
                    Ok(Written::Conflict) => {}
                    Err(fault) => return Err(RecordError(fault.to_string())),
                }
            }
            // The operator probably works on this Credential. A later use is reported instead.
            Ok(())
        }
        .boxed()
    }
}
