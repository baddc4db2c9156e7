//! Makes revocations durable.

use futures::future::BoxFuture;

use crate::directory::ObjectKey;
use crate::tokens::TokenId;

/// Where a revocation was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The Credential lists the token as revoked. The write is durable.
    Stored,
    /// Nothing was written: the Credential is gone, or does not record the token. Its tokens have ended, unless
    /// `symbolon restore rebind` moves them to another Credential.
    Gone,
}

/// Records revocations of tokens in their Credentials. It can only take access away.
pub trait Revoker: Send + Sync + 'static {
    /// Adds the token's ID to `status.revoked` of the Credential if that still has this uid, and returns when the write
    /// is durable, or when it is certain that the Credential does not record the token.
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>>;
}

/// The revocation may not be durable. The server tells the caller to retry.
#[derive(Debug, thiserror::Error)]
#[error("the revocation could not be recorded: {0}")]
pub struct RevokeError(pub String);
