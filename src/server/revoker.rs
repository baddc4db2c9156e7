//! How a revocation becomes durable.

use futures::future::BoxFuture;

use crate::directory::ObjectKey;

/// Deletes Credentials where they are kept. It can only take access away.
pub trait Revoker: Send + Sync + 'static {
    /// Deletes a Credential, on condition that it still has this uid, and returns once that is durable. A Credential
    /// that is gone already is deleted.
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RevokeError>>;
}

/// It is not known to be deleted: the caller is told to come back.
#[derive(Debug, thiserror::Error)]
#[error("the Credential could not be deleted: {0}")]
pub struct RevokeError(pub String);
