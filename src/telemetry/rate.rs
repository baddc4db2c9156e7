//! A rate limit: a burst, then one event each period (GCRA). Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rate. The state is one number that the caller stores: the time at which the whole burst is available again, in
/// milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// The largest number of events at once.
    pub burst: u64,
    /// The time until one more event is allowed, in milliseconds.
    pub period: u64,
}

impl Rate {
    /// Counts one event at `now`, the time since any fixed start.
    ///
    /// # Errors
    /// The time to wait if there were too many events; this event is not counted.
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
