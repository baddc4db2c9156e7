//! The configurations of docs/gateways.md in the real nginx, Traefik, Caddy, Envoy and `HAProxy`, in front of an API
//! that records what it receives, with `symbolon dev` as the server. Honest and hostile callers send raw requests.
//!
//! `proxies` finds or downloads the programs. `documented` reads the configurations, `proxy` starts them, `backend` is
//! the API, `caller` sends requests, `world` holds all of them together. The other modules are rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod addresses;
mod backend;
mod caller;
mod documented;
mod examples;
mod headers;
mod outages;
mod paths;
mod proxy;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;
mod table;
mod tokens;
mod world;
