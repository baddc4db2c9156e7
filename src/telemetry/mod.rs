//! What the program tells of itself: logs, metrics, traces, audit events.
//!
//! Nothing here knows a resource or a protocol, nothing blocks a request, and nothing prints a secret.

pub mod audit;
mod catalog;
mod kube_requests;
pub mod logs;
pub mod metrics;
mod operator;
#[cfg(test)]
pub(crate) mod testing;
pub mod traces;

pub use catalog::{Described, MEDIA_TYPE, Type};
pub use kube_requests::KubeRequests;
pub use logs::{InitError, LogForm, LogGuard};
pub use metrics::{Endpoint, Metrics};
pub use operator::{OperatorMetrics, OperatorScrape};
