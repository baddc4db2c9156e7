//! Calls the Kubernetes client, with errors whose texts are safe to log, to show in a status and to send in an event.
//!
//! The text of kube's errors may contain secrets: the environment, the arguments and the output of a kubeconfig's exec
//! plugin, lines of a kubeconfig, and what an admission webhook says about a Secret. So every function of kube that
//! returns such an error is called here and returns a [`KubeFault`], whose texts are made from an allow list.
//! `tests/architecture` refuses other modules that name kube's client, configuration or errors.
//!
//! Not here: time limits, retries, and what an object means.

mod client;
mod credentials;
mod fault;
mod scrub;
mod setup;
#[cfg(test)]
mod tests;

pub use client::{Client, EventRecorder, ResponseBody};
pub use fault::{KubeFault, Refusal};
pub use kube::Config;
pub use kube::client::Body;
pub use scrub::scrub;
pub use setup::{Builder, builder, config, in_cluster, kubeconfig, stack, with_tls};
