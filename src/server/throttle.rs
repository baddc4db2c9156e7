//! How many failures one caller may have before it is told to wait.
//!
//! Only *failures* are counted and only failures are answered 429: right credentials are always accepted, so that nobody
//! can lock out a client by failing in its name. Guessing 256 random bits is hopeless at any rate; what this bounds is
//! the noise of a caller that fails in a loop. A bucket belongs to the address and the client id together.
//!
//! The table has a fixed size. Two callers whose hashes meet share a bucket, which costs either at most an earlier 429
//! in place of a 401; the hash is keyed, so that nobody can choose whom to meet.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BUCKETS: usize = 8192;
/// Failures at once.
const BURST: u64 = 60;
/// One more each.
const PERIOD: Duration = Duration::from_secs(1);

/// Failures by caller: for each bucket the time at which it would be empty again (GCRA), in milliseconds.
#[derive(Debug)]
pub(super) struct Throttle {
    buckets: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Throttle {
    /// Counts a failure of a caller; `now` counts from any fixed moment.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn failed(&self, peer: Option<IpAddr>, name: &str, now: Duration) -> Result<(), Duration> {
        let hash = self.hasher.hash_one((peer.map(network), name));
        let bucket = usize::try_from(hash).unwrap_or(usize::MAX) % BUCKETS;
        let Some(bucket) = self.buckets.get(bucket) else {
            return Ok(());
        };
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2);
        let period = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX / 2);
        let count = |empty_at: u64| {
            let next = empty_at.max(now) + period;
            (next - now <= BURST * period).then_some(next)
        };
        match bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count) {
            Ok(_) => Ok(()),
            Err(empty_at) => {
                let wait = (empty_at + period).saturating_sub(now + BURST * period);
                Err(Duration::from_millis(wait))
            }
        }
    }
}

/// One caller has all of an IPv6 /64.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn failures(throttle: &Throttle, last: u8, name: &str, now: Duration) -> usize {
        (0..1000)
            .take_while(|_| throttle.failed(Some(peer(last)), name, now).is_ok())
            .count()
    }

    #[test]
    fn a_caller_that_fails_in_a_loop_is_told_to_wait_and_then_may_go_on() {
        let throttle = Throttle::default();
        let start = Duration::from_secs(100);
        assert_eq!(failures(&throttle, 1, "a", start), 60);
        assert_eq!(throttle.failed(Some(peer(1)), "a", start), Err(PERIOD));
        assert_eq!(failures(&throttle, 1, "a", start + PERIOD), 1);
        assert_eq!(failures(&throttle, 1, "a", start + PERIOD * 1000), 60);
    }

    #[test]
    fn anothers_failures_are_not_mine() {
        let throttle = Throttle::default();
        let now = Duration::from_secs(1);
        failures(&throttle, 1, "a", now);
        assert!(
            throttle.failed(Some(peer(2)), "a", now).is_ok(),
            "another address"
        );
        assert!(
            throttle.failed(Some(peer(1)), "b", now).is_ok(),
            "another client"
        );
    }

    #[test]
    fn addresses_of_one_network_are_one_caller_and_memory_is_bounded() {
        let throttle = Throttle::default();
        let now = Duration::from_secs(1);
        let address = |last: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]));
        let allowed = (0..1000).filter(|n| throttle.failed(address(*n), "a", now).is_ok());
        assert_eq!(allowed.count(), 60);
        assert_eq!(throttle.buckets.len(), BUCKETS);
    }
}
