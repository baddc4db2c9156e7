//! The few reads and writes that issuing makes, and how each can fail.
//!
//! Absent: retries. A lost reply leaves the outcome unknown, and only a new pass over live objects
//! can tell; an implementation that tried again by itself would break the protocol of issuing.
//! Every call is bounded in time by the implementation, below the `request_timeout` of
//! [`Rules`](super::issue::Rules).

use std::future::Future;

use serde_json::Value;

use super::secret::SecretObject;
use crate::directory::ObjectKey;
use crate::resources::{Credential, OwnerKind};

/// Why a call had no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not done: the object has another uid or version than the one named.
    #[error("the object was changed by someone else")]
    Conflict,
    /// Not created: there is one already.
    #[error("the object exists already")]
    AlreadyExists,
    /// Not done: there is no such object.
    #[error("the object does not exist")]
    NotFound,
    /// Not done: a right is missing, a quota is full or an admission rule refused it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Not done: the API server finds the object wrong.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// Done, or not, or still to be done: no answer came in time.
    #[error("no answer: {0}")]
    Unknown(String),
    /// Not done: the API server has no time, or is away.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// The very object, in the very state, that a deletion is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub resource_version: String,
}

/// Live reads and single writes.
///
/// Reads are never answered from a cache. A replacement is done only if the stored object still has
/// the `metadata.uid` and `metadata.resourceVersion` of the one passed; writes answer with the object
/// as it is stored then.
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

    /// Reads an owner of Credentials, as it stands.
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
