//! How many requests each caller has under way.
//!
//! The table has a fixed size, and takes two atomic operations a request. Two callers whose hashes meet count as one,
//! which costs either at most an earlier 503; the hash is keyed, so that no one can choose whom to meet.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::throttle::network;

const BUCKETS: usize = 8192;

/// Requests under way by caller.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    buckets: Box<[AtomicU32]>,
    hasher: RandomState,
}

/// One request of a caller; its end is when this is dropped.
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

    /// Counts a request of a caller; `None`: it has its share already. No caller: no share.
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
    fn a_caller_has_its_share_and_others_have_theirs() {
        let shares = Shares::new(2);
        let one = Some(IpAddr::from([10, 0, 0, 1]));
        let held = [shares.take(one), shares.take(one)];
        assert!(held.iter().all(Option::is_some));
        assert!(shares.take(one).is_none());
        assert!(shares.take(Some([10, 0, 0, 2].into())).is_some());
        assert!(shares.take(None).is_some(), "no one to count for");
        drop(held);
        assert!(shares.take(one).is_some(), "it was given back");
    }
}
