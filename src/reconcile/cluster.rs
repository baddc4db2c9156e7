//! The reads and writes that issuing needs, and how each can fail.
//!
//! Absent: retries. After a lost reply the outcome is unknown, and only a new pass over live objects can tell it. An
//! implementation that retries by itself would break the protocol of issuing. The implementation bounds the time of
//! every call, below the `request_timeout` of [`Rules`](super::issue::Rules).

use std::future::Future;

use serde_json::Value;

use super::secret::SecretObject;
use crate::directory::ObjectKey;
use crate::resources::{Credential, OwnerKind};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not done: the object has another uid or version than the given one.
    #[error("the object was changed by another client")]
    Conflict,
    /// Not created: the object exists.
    #[error("the object already exists")]
    AlreadyExists,
    /// Not done: the object does not exist.
    #[error("the object does not exist")]
    NotFound,
    /// Not done: a right is missing, a quota is exhausted, or an admission rule refuses it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Not done: the API server considers the object invalid.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// The outcome is unknown: no usable answer came in time.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Not done: the API server is overloaded or unavailable.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// The object, in exactly the state, that a deletion is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub resource_version: String,
}

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
