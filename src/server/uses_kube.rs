//! Last use through the Kubernetes API.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use serde_json::{Value, json};

use super::credential_status::{CredentialStatusApi, Patched};
use super::uses::{RecordError, UseRecorder, UseReport};
use crate::directory::usage::{credential_of, merged};

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

/// What is to be changed of the status of the very object that was read; `None`: nothing. Other fields stay.
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
