//! Makes revocations durable.

use futures::future::BoxFuture;

use crate::directory::ObjectKey;
use crate::tokens::TokenId;

/// Records revocations of tokens in their Credentials. It can only take access away.
pub trait Revoker: Send + Sync + 'static {
    /// Adds the token's ID to `status.revoked` of the Credential if that still has this uid, and returns when the write
    /// is durable. A token that the Credential no longer records is already revoked.
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<(), RevokeError>>;
}

/// The revocation may not be durable. The server tells the caller to retry.
#[derive(Debug, thiserror::Error)]
#[error("the revocation could not be recorded: {0}")]
pub struct RevokeError(pub String);
