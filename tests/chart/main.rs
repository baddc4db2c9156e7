//! Tests of the Helm chart and the kustomize base on a real API server, with the real `helm` and `kubectl`.
//!
//! `tools` runs programs and `world` installs the chart. Each other module tests one subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod attacks;
mod confined;
mod documentation;
mod flow;
mod gitops;
#[path = "../cluster/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod harness;
mod kustomize;
mod lifecycle;
mod policies;
mod restore;
mod rights;
mod running;
mod templates;
mod tools;
mod world;
