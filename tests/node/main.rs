//! A whole cluster: the project's own image in real pods, as `tests/node/run.sh` brings it up. It is no part of
//! `cargo test`: it needs root and a node's programs.
//!
//! One installation serves all tests, which take turns ([`platform::Platform::take`]): rollouts and measurements would disturb
//! each other.
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
