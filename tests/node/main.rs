//! Tests of a whole cluster with the project's own image in real pods. `tests/node/run.sh` starts it. It is not part of
//! `cargo test`, because it needs root and the programs of a node.
//!
//! All tests share one installation and run one at a time ([`platform::Platform::take`]), because rollouts and
//! measurements would disturb each other.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod getting_started;
mod keys;
mod kubectl;
mod platform;
mod pods;
mod rollout;
mod store;
mod traffic;
mod workload;
