//! Statuses: read live, written whole, on condition of what was read.

use std::future::Future;

use serde_json::Value;

use super::cluster::ApiError;
use crate::directory::ObjectKey;
use crate::resources::Kind;

/// The reads and writes of reporting.
pub trait Reports: Send + Sync {
    /// Reads an object of one of our kinds, live.
    fn object(
        &self,
        kind: Kind,
        key: &ObjectKey,
    ) -> impl Future<Output = Result<Option<Value>, ApiError>> + Send;

    /// Replaces the status of the object with this uid and version by that of `object`.
    fn replace_status(
        &self,
        kind: Kind,
        object: &Value,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}
