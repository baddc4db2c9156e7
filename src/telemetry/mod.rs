//! What the program tells of itself: logs, metrics, audit events.
//!
//! Nothing here knows a resource or a protocol, nothing blocks a request, and nothing prints a secret.

pub mod audit;
pub mod logs;
pub mod metrics;

pub use logs::{InitError, LogForm, LogGuard};
pub use metrics::{Endpoint, Metrics};
