//! Whether this process may still write.
//!
//! It may while it holds the lease by its own clock. After a pause, a process finds the fence closed at its next write,
//! without being told. Ask right before each write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A shared flag that allows writes until a point in time.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// In milliseconds after `start`.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// Returns a closed fence.
    pub fn closed() -> Self {
        Self {
            start: Instant::now(),
            until: Arc::default(),
        }
    }

    /// Returns a fence that never closes, for when there is no other process.
    pub fn open() -> Self {
        let fence = Self::closed();
        fence.until.store(u64::MAX, Ordering::Release);
        fence
    }

    /// Opens the fence until a point in time.
    pub(in crate::reconcile) fn open_until(&self, moment: Instant) {
        self.until.store(self.millis(moment), Ordering::Release);
    }

    /// Closes the fence.
    pub fn close(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Whether writes are allowed now.
    pub fn is_open(&self) -> bool {
        self.millis(Instant::now()) < self.until.load(Ordering::Acquire)
    }

    fn millis(&self, moment: Instant) -> u64 {
        let elapsed: Duration = moment.saturating_duration_since(self.start);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_closes_when_its_time_is_over() {
        let fence = Fence::closed();
        assert!(!fence.is_open());
        fence.open_until(Instant::now() + Duration::from_mins(1));
        assert!(fence.clone().is_open());
        fence.open_until(Instant::now());
        assert!(!fence.is_open());
        assert!(Fence::open().is_open());
    }
}
