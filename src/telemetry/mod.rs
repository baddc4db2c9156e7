//! What the program tells of itself: logs, metrics, audit events.
//!
//! Nothing here knows a resource or a protocol, nothing blocks a request, and nothing prints a secret.

mod operator;

pub use operator::OperatorMetrics;
