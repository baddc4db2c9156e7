//! Statuses: read live, and replaced as a whole on condition of the version that was read.

use std::future::Future;

use serde_json::Value;

use super::api::ApiError;
use crate::directory::ObjectKey;
use crate::resources::Kind;

/// The reads and writes of statuses.
pub trait Reports: Send + Sync {
    /// Reads a live object of one of Symbolon's kinds.
    fn object(
        &self,
        kind: Kind,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Value>, ApiError>> + Send;

    /// Replaces the status of the object with this uid and version by the status of `object`.
    fn replace_status(
        &self,
        kind: Kind,
        object: &Value,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}
