//! Limits how many failures a caller may have before it must wait, and how many failures are written one by one.
//!
//! Of callers that prove nothing, only *failures* are counted, and only failures are answered with 429. Right credentials
//! are always accepted, so that no one can lock out a client by failing in its name or from its address. Guessing 256
//! random bits is hopeless at any rate: the limit is against the noise of callers that fail in a loop. [`PerClient`] counts
//! what a client stores that has proved who it is, so it concerns no one else.
//!
//! A failure takes from four allowances: that of the address and name together, that of the address alone, that of the
//! lines of its site, and that of the lines of all callers. If only one of the last two is used up, the failure is
//! answered as usual and its line is left out.
//!
//! The tables have a fixed size. Two callers whose hashes collide share a bucket: each may get a 429 earlier, instead
//! of a 401. The hash is keyed, so that no caller can choose to collide with another.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::networks::{network, site};
use crate::shares::Keyed;
use crate::telemetry::Rate;

const BUCKETS: usize = 8192;
/// The allowance of an address and name together: 60 at once, then one a second.
const OF_A_CALLER: Rate = Rate {
    burst: 60,
    period: 1000,
};
/// The allowance of an address, which many clients may share: 240 at once, then four a second.
const OF_AN_ADDRESS: Rate = Rate {
    burst: 240,
    period: 250,
};
/// The allowance of the lines of a site, whose many addresses would otherwise use up that of all callers: 500 at once,
/// then 25 a second.
const OF_A_SITE: Rate = Rate {
    burst: 500,
    period: 40,
};
/// The allowance of the lines of all callers: 2,000 at once, then 100 a second.
const OF_ALL: Rate = Rate {
    burst: 2000,
    period: 10,
};

/// The allowance of a site for the requests that it pushes in the name of one public client: 240 at once, then two a
/// second. So in [`PeopleSite::PUSHED`](super::people::site::PeopleSite::PUSHED) a site fills less than half of the
/// client's room.
const PUSHED_OF_A_SITE: Rate = Rate {
    burst: 240,
    period: 500,
};

/// The allowance of a client that proves who it is: 1,000 at once, then 50 a second.
const OF_A_CLIENT: Rate = Rate {
    burst: 1000,
    period: 20,
};

/// A table of buckets, each for the keys with one hash.
#[derive(Debug)]
struct Buckets {
    buckets: Box<[AtomicU64]>,
    hasher: Keyed,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            hasher: Keyed::default(),
        }
    }
}

impl Buckets {
    /// Takes from the bucket of a key.
    fn take(&self, rate: &Rate, key: impl Hash, now: Duration) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash).unwrap_or(usize::MAX) % BUCKETS;
        // The bucket always exists.
        let bucket = self.buckets.get(index);
        bucket.map_or(Ok(()), |bucket| rate.take(bucket, now))
    }
}

/// The allowances of clients that prove who they are, from wherever they ask.
#[derive(Debug, Default)]
pub(super) struct PerClient(Buckets);

impl PerClient {
    /// Counts a request of a client. `now` is the time since any fixed moment.
    ///
    /// # Errors
    /// How long the client must wait, if it has sent too many.
    pub fn take(&self, client: &str, now: Duration) -> Result<(), Duration> {
        self.0.take(&OF_A_CLIENT, client, now)
    }
}

/// The allowances of callers that push requests in the name of public clients. Each request takes room in the store, so,
/// unlike a failure, one beyond the allowance of the site is refused too.
#[derive(Debug, Default)]
pub(super) struct PublicPushes {
    callers: Buckets,
    addresses: Buckets,
    sites: Buckets,
}

impl PublicPushes {
    /// Counts a request of a caller in the name of `client`. `now` is the time since any fixed moment.
    ///
    /// # Errors
    /// How long the caller must wait, if it or its site has sent too many.
    pub fn take(&self, peer: Option<IpAddr>, client: &str, now: Duration) -> Result<(), Duration> {
        let site = peer.map(site);
        let peer = peer.map(network);
        self.callers.take(&OF_A_CALLER, (peer, client), now)?;
        self.addresses.take(&OF_AN_ADDRESS, peer, now)?;
        self.sites.take(&PUSHED_OF_A_SITE, (site, client), now)
    }
}

/// The allowances of callers, of addresses, of the lines of sites, and of all lines.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    callers: Buckets,
    addresses: Buckets,
    sites: Buckets,
    lines: AtomicU64,
}

/// Whether the line about a failure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineDecision {
    /// The line is written.
    Written,
    /// The line is left out: the caller's site, or all callers together, have too many.
    LeftOut,
}

impl Throttle {
    /// Counts a failure of a caller. `name` is the client that it claims to be, verified or not. `now` is the time
    /// since any fixed moment.
    ///
    /// # Errors
    /// How long the caller must wait, if it has failed too often.
    pub fn failed(
        &self,
        peer: Option<IpAddr>,
        name: &str,
        now: Duration,
    ) -> Result<LineDecision, Duration> {
        let site = peer.map(site);
        let peer = peer.map(network);
        // A failure that the caller's own allowance refuses takes nothing from others at the same address.
        self.callers.take(&OF_A_CALLER, (peer, name), now)?;
        self.addresses.take(&OF_AN_ADDRESS, peer, now)?;
        let of_site = self.sites.take(&OF_A_SITE, site, now);
        Ok(match of_site.and_then(|()| OF_ALL.take(&self.lines, now)) {
            Ok(()) => LineDecision::Written,
            Err(_) => LineDecision::LeftOut,
        })
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
    fn a_caller_that_fails_in_a_loop_must_wait_and_may_then_go_on() {
        let throttle = Throttle::default();
        let start = Duration::from_secs(100);
        assert_eq!(failures(&throttle, 1, "a", start), 60);
        assert_eq!(throttle.failed(Some(peer(1)), "a", start), Err(PERIOD));
        assert_eq!(failures(&throttle, 1, "a", start + PERIOD), 1);
        assert_eq!(failures(&throttle, 1, "a", start + PERIOD * 1000), 60);
    }

    #[test]
    fn a_client_that_proves_who_it_is_may_send_many_requests_and_no_other_pays_for_them() {
        let clients = PerClient::default();
        let start = Duration::from_secs(100);
        let sent = |client: &str, now: Duration| {
            (0..5000)
                .take_while(|_| clients.take(client, now).is_ok())
                .count()
        };
        assert_eq!(sent("a", start), 1000);
        let wait = Duration::from_millis(20);
        assert_eq!(clients.take("a", start), Err(wait));
        assert_eq!(sent("b", start), 1000);
        assert_eq!(sent("a", start + PERIOD), 50);
    }

    #[test]
    fn failures_of_one_caller_do_not_count_for_another() {
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
        assert_eq!(throttle.callers.buckets.len(), BUCKETS);
        assert_eq!(throttle.addresses.buckets.len(), BUCKETS);
    }

    #[test]
    fn other_names_do_not_bypass_the_allowance_of_the_address() {
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
    fn the_networks_of_one_site_leave_the_lines_to_others() {
        let throttle = Throttle::default();
        let now = Duration::from_secs(1);
        let of_site = |n: u16| Some(IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]));
        let decided: Vec<_> = (0..5000)
            .map(|n| throttle.failed(of_site(n), "a", now).unwrap())
            .collect();
        let is_written = |decision: &&LineDecision| **decision == LineDecision::Written;
        assert_eq!(decided.iter().filter(is_written).count(), 500);
        assert_eq!(
            throttle.failed(Some(peer(1)), "a", now),
            Ok(LineDecision::Written)
        );
    }

    #[test]
    fn one_site_fills_less_than_half_of_what_a_public_client_may_have_pushed() {
        use crate::server::people::site::PeopleSite;
        let pushes = PublicPushes::default();
        let of_site = |n: u16| Some(IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]));
        let mut pushed = 0;
        for second in 0..PeopleSite::PUSHED.as_secs() {
            for network in 0..200 {
                let now = Duration::from_secs(100 + second);
                let taken = pushes.take(of_site(network), "a", now);
                pushed += u32::from(taken.is_ok());
            }
        }
        assert!(pushed >= 240, "{pushed}");
        assert!(pushed < PeopleSite::MAX_PUSHED / 2, "{pushed}");
        let now = Duration::from_secs(101);
        assert!(
            pushes.take(of_site(900), "b", now).is_ok(),
            "another client"
        );
        assert!(pushes.take(Some(peer(1)), "a", now).is_ok(), "another site");
    }

    #[test]
    fn lines_of_all_callers_together_are_bounded_and_failures_are_not() {
        let throttle = Throttle::default();
        let mut lines = 0;
        for n in 0..100_000_u32 {
            let now = Duration::from_secs(1) + Duration::from_micros(10) * n;
            match throttle.failed(Some(IpAddr::from(n.to_be_bytes())), "a", now) {
                Ok(LineDecision::Written) => lines += 1,
                Ok(LineDecision::LeftOut) => {}
                // Some addresses share a bucket.
                Err(_) => assert!(n > 60),
            }
        }
        assert_eq!(lines, 2099, "the burst, and the lines of almost a second");
    }
}
