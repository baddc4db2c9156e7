//! How often something may happen: a burst, and then one each period (GCRA). Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rate. What has happened is kept apart, in one number: the time at which everything would be allowed again, in
/// milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many at once.
    pub burst: u64,
    /// One more after this long, in milliseconds.
    pub period: u64,
}

impl Rate {
    /// Counts one at `now`, which counts from any fixed moment.
    ///
    /// # Errors
    /// How long to wait, if there were too many; that one is not counted.
    pub fn take(self, full_at: &AtomicU64, now: Duration) -> Result<(), Duration> {
        let Self { burst, period } = self;
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2);
        let count = |full_at: u64| {
            let next = full_at.max(now) + period;
            (next - now <= burst * period).then_some(next)
        };
        match full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(_) => Ok(()),
            Err(full_at) => {
                let wait = (full_at + period).saturating_sub(now + burst * period);
                Err(Duration::from_millis(wait))
            }
        }
    }
}
