//! The reads and writes that issuing needs, and their implementation on an API server. `secret` and `inherited` change
//! an object in memory before it is written.
//!
//! Not here: retries. After a lost reply the outcome is unknown, and only a new pass over live objects can find it out.
//! An implementation that retries by itself would break the protocol of issuing. The implementation bounds the time of
//! every call, below the `request_timeout` of [`Rules`](super::issue::Rules).

pub mod api;
pub mod fence;
pub(super) mod forms;
pub(super) mod inherited;
pub mod kube_api;
pub mod reports;
pub(super) mod rest;
pub mod secret;

use std::future::Future;

use serde_json::Value;

use crate::directory::ObjectKey;
use crate::resources::{Credential, OwnerKind};
use api::{ApiError, Precondition};
use secret::SecretObject;

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
