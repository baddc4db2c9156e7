//! Shares of callers: how much of what is scarce each caller has, so that no one takes what others need.
//!
//! [`Shares`] counts requests under way, [`Line`] bounds what waits for something, and no caller holds all of its places.
//! The tables have a fixed size and cost a few atomic operations a request. Two callers whose hashes collide count as
//! one: each may get a 503 earlier. The hash is keyed, so that no caller can choose to collide with another.

mod keyed;
mod line;

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use self::keyed::Keyed;
pub(crate) use self::line::{Line, Place};

const BUCKETS: usize = 8192;

/// Who asks, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The network that counts as one caller.
    pub network: IpAddr,
    /// The site that the network belongs to.
    pub site: IpAddr,
}

/// The number of requests under way, by network and by site.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    when_scarce: WhenScarce,
    networks: Box<[AtomicU32]>,
    sites: Box<[AtomicU32]>,
    hasher: Keyed,
}

/// The shares while the places of all callers are scarce. Those who hold more get no further place, so that others do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WhenScarce {
    pub of_network: usize,
    pub of_site: usize,
}

/// A request of a caller. It counts until [`Shares::give_back`].
#[derive(Debug)]
pub(crate) struct Share {
    network: usize,
    site: usize,
}

impl Shares {
    pub fn new(most: usize, when_scarce: WhenScarce) -> Self {
        let buckets = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self {
            most,
            when_scarce,
            networks: buckets(),
            sites: buckets(),
            hasher: Keyed::default(),
        }
    }

    /// Counts a request of a caller; returns `None` if the caller has used up its share.
    pub fn take(&self, caller: Caller, is_scarce: bool) -> Option<Share> {
        let share = Share {
            network: self.bucket(caller.network),
            site: self.bucket(caller.site),
        };
        let count = |buckets: &[AtomicU32], at: usize| {
            let bucket = buckets.get(at);
            let before = bucket.map_or(0, |it| it.fetch_add(1, Ordering::Relaxed));
            usize::try_from(before).unwrap_or(usize::MAX)
        };
        let of_network = count(&self.networks, share.network);
        let of_site = count(&self.sites, share.site);
        let scarce = self.when_scarce;
        let is_within = of_network < self.most
            && (!is_scarce || (of_network < scarce.of_network && of_site < scarce.of_site));
        if is_within {
            return Some(share);
        }
        self.give_back(&share);
        None
    }

    /// Ends the count of a request.
    pub fn give_back(&self, share: &Share) {
        let of_network = self.networks.get(share.network);
        let of_site = self.sites.get(share.site);
        for bucket in of_network.into_iter().chain(of_site) {
            bucket.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn bucket(&self, key: impl Hash) -> usize {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash).unwrap_or(usize::MAX) % BUCKETS
    }
}

/// Returns a network of a site, for tests.
#[cfg(test)]
pub(crate) fn caller(site: u8, network: u8) -> Caller {
    Caller {
        network: IpAddr::from([10, 0, site, network]),
        site: IpAddr::from([10, 0, site, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCARCE: WhenScarce = WhenScarce {
        of_network: 1,
        of_site: 3,
    };

    /// Takes a share for the first or another network of a site.
    fn take(shares: &Shares, (site, network): (u8, u8), is_scarce: bool) -> Option<Share> {
        shares.take(caller(site, network), is_scarce)
    }

    #[test]
    fn each_caller_has_a_share_of_its_own() {
        let shares = Shares::new(2, SCARCE);
        let take = |caller| take(&shares, caller, false);
        let held = [take((1, 1)), take((1, 1))];
        assert!(held.iter().all(Option::is_some));
        assert!(take((1, 1)).is_none());
        assert!(take((1, 2)).is_some());
        for share in held.into_iter().flatten() {
            shares.give_back(&share);
        }
        assert!(take((1, 1)).is_some(), "the share is returned");
    }

    #[test]
    fn while_requests_are_scarce_callers_and_sites_with_many_get_no_more() {
        let shares = Shares::new(4, SCARCE);
        let (free, scarce) = (
            |caller| take(&shares, caller, false),
            |caller| take(&shares, caller, true),
        );
        assert!(scarce((1, 0)).is_some());
        assert!(scarce((1, 0)).is_none(), "of one network");
        assert!(free((1, 0)).is_some());
        assert!(scarce((1, 1)).is_some());
        assert!(scarce((1, 2)).is_none(), "the fourth of a site");
        assert!(free((1, 2)).is_some());
        assert!(scarce((2, 0)).is_some(), "another site");
    }
}
