//! The count of lines that were not written.

use std::sync::atomic::{AtomicU64, Ordering};

/// Incremented by the code that drops a line.
pub(super) static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines dropped since the start, because the reader of the log was too slow or libraries wrote
/// too many.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}
