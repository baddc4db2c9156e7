//! How many failures one caller may have before it is told to wait, and how many of them are written one by one.
//!
//! Only *failures* are counted and only failures are answered 429: right credentials are always accepted, so that nobody
//! can lock out a client by failing in its name or from its address. Guessing 256 random bits is hopeless at any rate;
//! what this bounds is the noise of callers that fail in a loop. A failure takes from three allowances: that of the address
//! and the name together, that of the address whatever the name, and that of the lines of everybody. Where the last is
//! used up, the failure is answered as always and its line left out.
//!
//! The tables have a fixed size. Two callers whose hashes meet share a bucket, which costs either at most an earlier 429
//! in place of a 401; the hash is keyed, so that nobody can choose whom to meet.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::telemetry::Rate;

const BUCKETS: usize = 8192;
/// Of an address and a name: 60 at once, then one a second.
const OF_A_CALLER: Rate = Rate {
    burst: 60,
    period: 1000,
};
/// Of an address, where many may share one: 240 at once, then four a second.
const OF_AN_ADDRESS: Rate = Rate {
    burst: 240,
    period: 250,
};
/// Lines of everybody: 2,000 at once, then 100 a second.
const OF_ALL: Rate = Rate {
    burst: 2000,
    period: 10,
};

/// Failures by caller and by address, and the lines about them.
#[derive(Debug)]
pub(super) struct Throttle {
    callers: Box<[AtomicU64]>,
    addresses: Box<[AtomicU64]>,
    lines: AtomicU64,
    hasher: RandomState,
}

/// What becomes of the line about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written.
    Written,
    /// There are too many of everybody.
    LeftOut,
}

impl Default for Throttle {
    fn default() -> Self {
        let buckets = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self {
            callers: buckets(),
            addresses: buckets(),
            lines: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Throttle {
    /// Counts a failure of a caller; `now` counts from any fixed moment. `name` is whom it says it is, verified or not.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn failed(
        &self,
        peer: Option<IpAddr>,
        name: &str,
        now: Duration,
    ) -> Result<Line, Duration> {
        let peer = peer.map(network);
        // What its own allowance refuses takes nothing from those who share the address.
        OF_A_CALLER.take(self.bucket(&self.callers, (peer, name)), now)?;
        OF_AN_ADDRESS.take(self.bucket(&self.addresses, peer), now)?;
        Ok(match OF_ALL.take(&self.lines, now) {
            Ok(()) => Line::Written,
            Err(_) => Line::LeftOut,
        })
    }

    fn bucket<'a>(&'a self, buckets: &'a [AtomicU64], key: impl std::hash::Hash) -> &'a AtomicU64 {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash).unwrap_or(usize::MAX) % BUCKETS;
        // There are as many in each table.
        buckets.get(index).unwrap_or(&self.lines)
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

    const PERIOD: Duration = Duration::from_secs(1);

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
        assert_eq!(throttle.callers.len(), BUCKETS);
        assert_eq!(throttle.addresses.len(), BUCKETS);
    }

    #[test]
    fn other_names_are_no_way_past_the_allowance_of_the_address() {
        let throttle = Throttle::default();
        let now = Duration::from_secs(1);
        let allowed = |peer: IpAddr, now: Duration| {
            (0..20_000)
                .filter(|n| {
                    throttle
                        .failed(Some(peer), &format!("{now:?}{n}"), now)
                        .is_ok()
                })
                .count()
        };
        assert_eq!(allowed(peer(1), now), 240);
        assert_eq!(allowed(peer(1), now + PERIOD), 4, "four more a second");
        assert!(
            throttle.failed(Some(peer(2)), "a", now).is_ok(),
            "another address"
        );
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let of_a_network: usize = (0..100).map(|last| allowed(address(last), now)).sum();
        assert_eq!(of_a_network, 240);
    }

    #[test]
    fn a_client_that_fails_in_a_loop_leaves_the_allowance_of_the_address_to_others() {
        let throttle = Throttle::default();
        let now = Duration::from_secs(1);
        failures(&throttle, 1, "a", now);
        assert_eq!(failures(&throttle, 1, "b", now), 60);
    }

    #[test]
    fn lines_of_all_addresses_together_are_bounded_and_failures_are_not() {
        let throttle = Throttle::default();
        let mut lines = 0;
        for n in 0..100_000_u32 {
            let now = Duration::from_secs(1) + Duration::from_micros(10) * n;
            match throttle.failed(Some(IpAddr::from(n.to_be_bytes())), "a", now) {
                Ok(Line::Written) => lines += 1,
                Ok(Line::LeftOut) => {}
                // Some share a bucket.
                Err(_) => assert!(n > 60),
            }
        }
        assert_eq!(lines, 2099, "at once, and those of almost a second");
    }
}
