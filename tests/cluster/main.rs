//! Tests on a real API server. `harness` finds or starts it. Each other module tests one subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

#[path = "../support/browser.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod browser;
#[path = "../support/claims.rs"]
mod claims;
mod crds;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod harness;
mod itself;
mod laptops;
mod operator;
#[path = "../support/page.rs"]
#[allow(dead_code, reason = "another test program checks the list of recipes")]
mod page;
#[path = "../../src/store/testing/server.rs"]
mod postgres;
mod quickstart;
mod runbooks;
#[path = "../gitops/verdict.rs"]
mod verdict;
