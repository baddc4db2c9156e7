//! Telemetry: logs, metrics, traces, audit events.
//!
//! This module knows no resource and no protocol, blocks no request and prints no secret.

pub mod audit;
mod catalog;
mod kube_requests;
pub mod logs;
pub mod metrics;
mod operator;
mod rate;
#[cfg(test)]
pub(crate) mod testing;
pub mod traces;
mod unverified;

pub use catalog::{Described, MEDIA_TYPE, Type};
pub use kube_requests::KubeRequests;
pub use logs::{Audit, BadFilter, InitError, LogFilter, LogForm, LogGuard};
pub use metrics::{Endpoint, Metrics};
pub use operator::{OperatorMetrics, OperatorScrape};
pub use rate::Rate;
pub use unverified::Unverified;
