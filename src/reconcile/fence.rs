//! Whether this process may still write.
//!
//! It may while it holds the lease, by its own clock: whoever was stopped for a while finds the fence
//! closed at the very next write, before anybody could tell it. Asked right before each write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A shared answer to whether writes are allowed.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// Milliseconds after `start`.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// Closed.
    pub fn closed() -> Self {
        Self {
            start: Instant::now(),
            until: Arc::default(),
        }
    }

    /// Open for ever: where there is no other process.
    pub fn open() -> Self {
        let fence = Self::closed();
        fence.until.store(u64::MAX, Ordering::Release);
        fence
    }

    /// Opens it until a moment.
    pub(super) fn open_until(&self, moment: Instant) {
        self.until.store(self.millis(moment), Ordering::Release);
    }

    /// Closes it.
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
    fn it_closes_by_itself_when_its_time_is_over() {
        let fence = Fence::closed();
        assert!(!fence.is_open());
        fence.open_until(Instant::now() + Duration::from_mins(1));
        assert!(fence.clone().is_open());
        fence.open_until(Instant::now());
        assert!(!fence.is_open());
        assert!(Fence::open().is_open());
    }
}
