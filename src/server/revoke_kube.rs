//! Revocation through the Kubernetes API.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use super::{RevokeError, Revoker};
use crate::directory::ObjectKey;
use crate::resources::Credential;

/// Deletes Credentials of a cluster.
#[derive(Clone)]
pub struct KubeRevoker(Client);

impl KubeRevoker {
    /// Deletes with the rights of `client`.
    pub const fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Revoker for KubeRevoker {
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RevokeError>> {
        let api: Api<Credential> = Api::namespaced(self.0.clone(), &credential.namespace);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: uid.map(str::to_owned),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        async move {
            match api.delete(&credential.name, &parameters).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                // 409, another object has its name: it may hold the same token, as after a restore, and the watch is
                // about to bring it. Who comes back then finds out.
                // Only the code: the API's texts can hold what is not ours to log.
                Err(kube::Error::Api(status)) => {
                    Err(RevokeError(format!("the API answered {}", status.code)))
                }
                Err(_) => Err(RevokeError("the API could not be reached".to_owned())),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn a_revocation_is_done_only_when_the_credential_is_known_to_be_gone() {
        for (code, done) in [
            (200, true),
            (404, true),
            (409, false),
            (403, false),
            (500, false),
        ] {
            let status = format!(
                r#"{{"kind":"Status","apiVersion":"v1","status":"{}","message":"","reason":"x","code":{code}}}"#,
                if code == 200 { "Success" } else { "Failure" }
            );
            let service = tower::service_fn(move |_: http::Request<Body>| {
                let answer = http::Response::builder().status(code);
                let answer = answer.body(Body::from(status.clone().into_bytes()));
                async move { Ok::<_, Infallible>(answer.unwrap()) }
            });
            let revoker = KubeRevoker::new(Client::new(service, "platform"));
            let key = ObjectKey::new("platform", "some-uid");
            let revoked = revoker.revoke(&key, Some("uid")).await;
            assert_eq!(revoked.is_ok(), done, "{code}: {revoked:?}");
        }
    }
}
