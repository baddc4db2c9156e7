//! The store of people's data. It records what happened; resources say who may do what.
//!
//! There are three backends: SQLite in a file (one process), SQLite in memory, and PostgreSQL (many replicas). All
//! three execute the same statements ([`statement`]). [`Store`] is the handle; a closure works on a transaction
//! ([`Tx`]) and says whether to save or cancel it. The operations on each area are in `area/`; they ask `people` what a
//! row means and carry out its verdict.
//!
//! Not here: anything that machine clients and service tokens need, HTTP, metrics, rules, and repairs: a damaged file
//! stays as it is.

pub mod area;
mod backup;
mod cleanup;
mod connection;
#[cfg(test)]
mod contract;
mod error;
#[cfg(test)]
mod faults;
mod handle;
mod postgres;
mod row;
mod sqlite;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
mod tx;

pub use backup::{NewFile, Unused, verify_in_use};
pub use cleanup::{Cleaned, Deleted, Overdue};
pub use error::{Fault, StoreError};
pub use handle::{CLOCK_LEEWAY, Holder, Location, Store};
pub use postgres::{ConnectionLimits, Settings, check_url};
pub use sqlite::copy::{Report, TableReport};
pub use sqlite::snapshot::Snapshot;
pub use statement::texts;
pub use tx::{Outcome, Tx};

pub use crate::shares::Caller;
