//! Telemetry: logs, metrics, traces, audit events.
//!
//! This module knows no resource and no protocol, blocks no request and prints no secret. Not here: which metrics
//! exist. The server and the operator have a file `metrics.rs` each.

pub mod audit;
mod catalog;
mod kube_requests;
mod labels;
pub mod logs;
mod rate;
#[cfg(test)]
pub(crate) mod testing;
pub mod traces;
mod unverified;

pub use catalog::{Catalog, Described, MEDIA_TYPE, Type};
pub use kube_requests::KubeRequests;
pub(crate) use labels::label;
pub use labels::{By, Label, LabelSet, Seconds};
pub use logs::{Audit, BadFilter, InitError, LogFilter, LogForm, LogGuard};
pub use rate::Rate;
pub use unverified::Unverified;
