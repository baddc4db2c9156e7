//! How a revocation becomes durable.

use futures::future::BoxFuture;

use crate::directory::ObjectKey;
use crate::tokens::TokenId;

/// Records where Credentials are kept that a token was revoked. It can only take access away.
pub trait Revoker: Send + Sync + 'static {
    /// Adds the token's id to `status.revoked` of a Credential, on condition that the Credential still has this uid, and
    /// returns once that is durable. A token that is not recorded any more is revoked already.
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<(), RevokeError>>;
}

/// The revocation is not known to be durable: the caller is told to retry.
#[derive(Debug, thiserror::Error)]
#[error("the revocation could not be recorded: {0}")]
pub struct RevokeError(pub String);
