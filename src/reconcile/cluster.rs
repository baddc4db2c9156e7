//! The reads and writes that issuing needs.
//!
//! Not here: retries. After a lost reply the outcome is unknown, and only a new pass over live objects can find it out.
//! An implementation that retries by itself would break the protocol of issuing. The implementation bounds the time of
//! every call, below the `request_timeout` of [`Rules`](super::issue::Rules).

use std::future::Future;

use serde_json::Value;

use super::api::{ApiError, Precondition};
use super::secret::SecretObject;
use crate::directory::ObjectKey;
use crate::resources::{Credential, OwnerKind};

/// Live reads and single writes.
///
/// Reads never come from a cache. A replacement succeeds only if the stored object still has the `metadata.uid` and
/// `metadata.resourceVersion` of the given one. A write returns the object as stored.
pub trait Cluster: Send + Sync {
    /// Reads a Credential.
    fn credential(
        &self,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Credential>, ApiError>> + Send;

    /// Reads a Secret.
    fn secret(
        &self,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<SecretObject>, ApiError>> + Send;

    /// Reads a live owner of Credentials.
    fn owner(
        &self,
        kind: OwnerKind,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Value>, ApiError>> + Send;

    /// Creates a Credential.
    fn create_credential(
        &self,
        credential: &Credential,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;

    /// Replaces a Credential.
    fn replace_credential(
        &self,
        credential: &Credential,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;

    /// Deletes a Credential.
    fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Creates a Secret.
    fn create_secret(
        &self,
        secret: &SecretObject,
    ) -> impl Future<Output = Result<SecretObject, ApiError>> + Send;

    /// Replaces a Secret.
    fn replace_secret(
        &self,
        secret: &SecretObject,
    ) -> impl Future<Output = Result<SecretObject, ApiError>> + Send;

    /// Deletes a Secret.
    fn delete_secret(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}
