//! The last step of a pass: what people and metrics learn of it, as conditions, events, lines of the audit log and
//! numbers. Nothing that is decided depends on these. The trait that reads and writes statuses is
//! [`Reports`](super::cluster::reports::Reports).

pub mod events;
pub(super) mod key_news;
pub mod metrics;
pub mod status;
pub(super) mod tally;
pub(super) mod trail;
