//! Symbolon: a Kubernetes operator that manages identities by custom resources, with an embedded token server.

pub mod characters;
pub mod cli;
pub mod control;
pub mod directory;
#[cfg(any(test, fuzzing))]
mod fuzzing;
pub mod json_stream;
pub mod keys;
pub mod kube_call;
mod lock;
pub mod oauth;
pub mod pages;
pub mod people;
pub mod reconcile;
pub mod resources;
pub mod server;
mod shares;
pub mod source;
pub mod state_file;
pub mod store;
pub mod telemetry;
pub mod tokens;
