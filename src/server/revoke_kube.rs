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
                // Gone, or its name belongs to another object: either way ours is no more.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
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
