//! Brings the cluster to what the directory says: gather, resolve, plan, apply, report.
//!
//! Plans are pure. `apply` and `report` are the only writers, behind the narrow traits [`Cluster`](cluster::Cluster)
//! and [`Reports`](report::Reports). A real API server implements them, and a directory of files in dev mode. Not here:
//! anything that serves requests.

pub mod api;
pub mod cluster;
pub mod controller;
pub mod events;
mod fanout;
pub mod fence;
pub mod files;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inherited;
pub mod issue;
mod key_news;
pub mod key_secrets;
mod key_sweep;
pub mod kube_api;
pub mod leader;
mod lock;
pub mod queue;
pub mod report;
mod rest;
pub mod restore;
pub mod secret;
pub mod status;
pub mod sweep;
mod tally;
mod trail;
pub mod work;
