//! Limits the number of requests that each caller has under way.
//!
//! The table has a fixed size and costs two atomic operations a request. Two callers whose hashes collide count as one:
//! each may get a 503 earlier. The hash is keyed, so that no caller can choose to collide with another.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::throttle::network;

const BUCKETS: usize = 8192;

/// The number of requests under way, by caller.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    buckets: Box<[AtomicU32]>,
    hasher: RandomState,
}

/// A request of a caller. It stops counting when this is dropped.
#[derive(Debug)]
pub(super) struct Share<'a>(Option<&'a AtomicU32>);

impl Shares {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Counts a request of a caller; returns `None` if the caller has used up its share. Without a caller there is no
    /// limit.
    pub fn take(&self, caller: Option<IpAddr>) -> Option<Share<'_>> {
        let Some(caller) = caller else {
            return Some(Share(None));
        };
        let hash = self.hasher.hash_one(network(caller));
        let bucket = usize::try_from(hash).unwrap_or(usize::MAX) % BUCKETS;
        let share = Share(self.buckets.get(bucket));
        let before = share.0.map_or(0, |it| it.fetch_add(1, Ordering::Relaxed));
        (usize::try_from(before).unwrap_or(usize::MAX) < self.most).then_some(share)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Some(bucket) = self.0 {
            bucket.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_share_of_its_own() {
        let shares = Shares::new(2);
        let one = Some(IpAddr::from([10, 0, 0, 1]));
        let held = [shares.take(one), shares.take(one)];
        assert!(held.iter().all(Option::is_some));
        assert!(shares.take(one).is_none());
        assert!(shares.take(Some([10, 0, 0, 2].into())).is_some());
        assert!(
            shares.take(None).is_some(),
            "without a caller there is no limit"
        );
        drop(held);
        assert!(shares.take(one).is_some(), "the share is returned");
    }
}
