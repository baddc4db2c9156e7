//! Brings the cluster to what the directory says: gather, resolve, plan, apply, report.
//!
//! Plans are pure. `apply` and `report` are the only writers, behind the narrow trait
//! [`Cluster`](cluster::Cluster): a real API server, or a directory of files in dev mode. Absent:
//! anything that serves requests.

pub mod cluster;
pub mod issue;
pub mod secret;
