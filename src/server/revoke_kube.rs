//! Records revocations through the Kubernetes API.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;

use super::credential_status::{CredentialStatusApi, Patched};
use super::{Recorded, RevokeError, Revoker};
use crate::directory::issued::usage::credential_of;
use crate::directory::{ObjectKey, Revocation, is_token_revoked, revocation};
use crate::kube_call::{Client, KubeFault};
use crate::tokens::TokenId;

/// The maximum number of attempts if writes conflict, including the first. The time limit of the request usually ends earlier.
const ATTEMPTS: usize = 16;

/// Revokes tokens in the status of Credentials.
#[derive(Clone)]
pub struct KubeRevoker(Client);

/// Why an attempt failed.
enum Failure {
    /// Another write came first.
    Conflict,
    /// The revocation cannot be recorded.
    Error(RevokeError),
}

impl From<KubeFault> for Failure {
    fn from(fault: KubeFault) -> Self {
        Self::Error(RevokeError(fault.to_string()))
    }
}

fn failed(why: &str) -> Failure {
    Failure::Error(RevokeError(why.to_owned()))
}

impl KubeRevoker {
    /// Returns a revoker that writes with the rights of `client`.
    pub fn new(client: impl Into<Client>) -> Self {
        Self(client.into())
    }

    async fn attempt(
        &self,
        key: &ObjectKey,
        uid: Option<&str>,
        token_id: &TokenId,
    ) -> Result<Recorded, Failure> {
        let api = CredentialStatusApi::new(&self.0, key);
        let Some(live) = api.read().await? else {
            return Ok(Recorded::Gone);
        };
        let metadata = live["metadata"].clone();
        let credential =
            credential_of(live).map_err(|_| failed("the Credential cannot be decoded"))?;
        let revoked = match revocation(&credential, token_id) {
            Revocation::NotRecorded => return Ok(Recorded::Gone),
            Revocation::Done => return Ok(Recorded::Stored),
            Revocation::Add(revoked) => revoked,
        };
        if uid.is_some_and(|uid| metadata["uid"] != *uid) {
            // For example after a restore. The watch will soon bring the new Credential, so that a retry finds it.
            return Err(failed(
                "another Credential of this name records the token now",
            ));
        }
        match api.patch(&metadata, json!({ "revoked": revoked })).await? {
            Patched::Gone => Ok(Recorded::Gone),
            Patched::Conflict => Err(Failure::Conflict),
            // The API server drops fields that are missing from its CustomResourceDefinition.
            Patched::Stored(stored) => {
                let is_kept = credential_of(stored)
                    .is_ok_and(|stored| is_token_revoked(&stored, token_id.as_str()));
                is_kept.then_some(Recorded::Stored).ok_or_else(|| {
                    failed("the API server drops status.revoked: apply the CustomResourceDefinitions of this release")
                })
            }
        }
    }
}

impl Revoker for KubeRevoker {
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        async move {
            for _ in 0..ATTEMPTS {
                match self.attempt(credential, uid, token_id).await {
                    Ok(recorded) => return Ok(recorded),
                    Err(Failure::Conflict) => {}
                    Err(Failure::Error(error)) => return Err(error),
                }
            }
            Err(RevokeError(
                "other writers changed the Credential at every attempt".to_owned(),
            ))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;
    use crate::kube_call::Body;

    const ONE: &str = "AAAAAAAAAAAAAAAA";
    const TWO: &str = "BBBBBBBBBBBBBBBB";
    const OTHER: &str = "CCCCCCCCCCCCCCCC";

    /// A Credential with two tokens behind an API server that keeps or drops `status.revoked`.
    struct Fake {
        stored: Value,
        version: u32,
        drops_field: bool,
        /// IDs that other replicas add between a read and its patch.
        others: Vec<&'static str>,
        code: Option<u16>,
        is_gone_after_read: bool,
    }

    impl Fake {
        fn new() -> Self {
            let token = |id: &str| {
                json!({
                    "epoch": 1, "tokenId": id, "hash": "", "client": {"name": "", "uid": ""}, "principal": "",
                    "scopes": [], "issuedAt": "2026-01-01T00:00:00Z", "cause": "Initial", "mac": "",
                })
            };
            let stored = json!({
                "apiVersion": "symbolon.dev/v1alpha1", "kind": "Credential",
                "metadata": {"name": "c", "namespace": "platform", "uid": "uid"},
                "spec": {
                    "identity": {"name": "main"}, "high": 2, "tokens": [token(ONE), token(TWO)],
                    "owner": {"kind": "ServiceAccessToken", "namespace": "", "name": "", "uid": "c"},
                },
                "status": {"uses": [{"epoch": 1, "firstUsed": "2026-01-01T00:00:00Z", "lastUsed": "2026-01-01T00:00:00Z"}]},
            });
            Self {
                stored,
                version: 1,
                drops_field: false,
                others: Vec::new(),
                code: None,
                is_gone_after_read: false,
            }
        }

        fn answer(&mut self, patch: Option<Value>) -> (u16, Value) {
            let code = self.code.unwrap_or(200);
            if code != 200 {
                return (code, failure(code));
            }
            if self.is_gone_after_read {
                self.code = Some(404);
            }
            if let Some(patch) = patch {
                assert_eq!(patch["metadata"]["uid"], "uid");
                let version = Value::from(self.version.to_string());
                if patch["metadata"]["resourceVersion"] != version {
                    return (409, failure(409));
                }
                assert!(
                    patch["status"].get("uses").is_none(),
                    "the patch does not contain uses"
                );
                if !self.drops_field {
                    self.stored["status"]["revoked"] = patch["status"]["revoked"].clone();
                }
                self.version += 1;
            }
            let mut answer = self.stored.clone();
            answer["metadata"]["resourceVersion"] = self.version.to_string().into();
            if let Some(id) = self.others.pop() {
                // Another replica writes after this answer.
                let revoked = &mut self.stored["status"]["revoked"];
                match revoked.as_array_mut() {
                    Some(revoked) => revoked.push(id.into()),
                    None => *revoked = json!([id]),
                }
                self.version += 1;
            }
            (200, answer)
        }
    }

    fn failure(code: u16) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": "x", "code": code})
    }

    async fn revoke(fake: &Arc<Mutex<Fake>>, uid: &str, id: &str) -> Result<Recorded, RevokeError> {
        let fake = Arc::clone(fake);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let fake = Arc::clone(&fake);
            async move {
                let is_patch = request.method() == http::Method::PATCH;
                assert_eq!(request.uri().path().ends_with("/status"), is_patch);
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let patch = is_patch.then(|| serde_json::from_slice(&body).unwrap());
                let (code, answer) = fake.lock().unwrap().answer(patch);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(http::Response::builder().status(code).body(answer).unwrap())
            }
        });
        let revoker = KubeRevoker::new(Client::new(service, "platform"));
        let key = ObjectKey::new("platform", "c");
        revoker.revoke(&key, Some(uid), &id.parse().unwrap()).await
    }

    fn fake(edit: impl FnOnce(&mut Fake)) -> Arc<Mutex<Fake>> {
        let mut fake = Fake::new();
        edit(&mut fake);
        Arc::new(Mutex::new(fake))
    }

    #[tokio::test]
    async fn a_revocation_succeeds_only_if_it_is_durable() {
        for code in [409, 403, 500] {
            let fake = fake(|fake| fake.code = Some(code));
            let revoked = revoke(&fake, "uid", ONE).await;
            assert!(revoked.is_err(), "{code}: {revoked:?}");
        }
        let kept = fake(|_| {});
        for _ in 0..2 {
            assert_eq!(revoke(&kept, "uid", ONE).await.unwrap(), Recorded::Stored);
        }
        assert_eq!(
            kept.lock().unwrap().stored["status"]["revoked"],
            json!([ONE])
        );
        assert_eq!(revoke(&kept, "uid", OTHER).await.unwrap(), Recorded::Gone);
        assert_eq!(kept.lock().unwrap().version, 2, "nothing is left to revoke");
        let error = revoke(&kept, "another", TWO).await.unwrap_err();
        assert!(error.to_string().contains("another Credential"), "{error}");
    }

    /// The token may be on its way to another Credential, so the server must still watch for it.
    #[tokio::test]
    async fn a_credential_that_is_gone_records_nothing() {
        for gone in [
            fake(|fake| fake.code = Some(404)),
            // It is deleted between the read and the patch.
            fake(|fake| fake.is_gone_after_read = true),
        ] {
            assert_eq!(revoke(&gone, "uid", ONE).await.unwrap(), Recorded::Gone);
        }
    }

    #[tokio::test]
    async fn an_api_server_that_drops_status_revoked_is_an_error() {
        let fake = fake(|fake| fake.drops_field = true);
        let error = revoke(&fake, "uid", ONE).await.unwrap_err();
        assert!(
            error.to_string().contains("CustomResourceDefinitions"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn two_replicas_that_revoke_at_once_lose_no_id() {
        let fake = fake(|fake| fake.others = vec![TWO]);
        revoke(&fake, "uid", ONE).await.unwrap();
        let stored = fake.lock().unwrap().stored.clone();
        assert_eq!(stored["status"]["revoked"], json!([TWO, ONE]));
        assert_eq!(stored["status"]["uses"][0]["epoch"], 1);
    }
}
