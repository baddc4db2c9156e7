//! Brings the cluster to what the directory says: gather, resolve, plan, apply, report.
//!
//! Plans are pure. `apply` and `report` are the only writers, behind the narrow traits [`Cluster`](cluster::Cluster)
//! and [`Reports`](cluster::reports::Reports). A real API server implements them, and a directory of files in dev mode.
//! Not here: anything that serves requests.

pub mod cluster;
pub mod controller;
pub mod enrolment;
pub mod files;
pub mod fleet;
pub mod issue;
pub mod key_secrets;
pub mod leader;
pub mod report;
pub mod restore;
pub mod sweep;
pub mod work;
