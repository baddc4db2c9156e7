//! Whether the server knows enough, and lately enough, to answer.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::snapshot::Snapshot;
use crate::resources::WhenExceeded;

/// What the sources tell of themselves. Shared by reference; every change is seen by the next request.
#[derive(Debug)]
pub struct Status {
    lists_complete: AtomicBool,
    draining: AtomicBool,
    /// There is a store, and it is not open yet.
    store_awaited: AtomicBool,
    /// Milliseconds since 1970 when the oldest watch was last heard of; `i64::MAX` where nothing can go stale.
    heard: AtomicI64,
    refused_namespaces: AtomicUsize,
}

/// Why the server is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It was asked to stop.
    #[error("shutting down")]
    Draining,
    /// Not every kind was listed once.
    #[error("the first lists are not complete")]
    ListsIncomplete,
    /// The Identity is missing or has a problem of its own.
    #[error("the Identity is not there or not accepted: see its conditions")]
    IdentityNotServed,
    /// There was no key to sign with yet.
    #[error("a signing key is missing: the operator makes it")]
    KeysMissing,
    /// The store is being opened.
    #[error("the store is not open yet: see the log")]
    StoreNotOpen,
    /// The Kubernetes API has been away for longer than `staleness.maxAge`.
    #[error("what is known is older than the Identity's staleness.maxAge")]
    Stale,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            lists_complete: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            store_awaited: AtomicBool::new(false),
            heard: AtomicI64::new(i64::MAX),
            refused_namespaces: AtomicUsize::new(0),
        }
    }
}

impl Status {
    /// Every first list is complete.
    pub fn lists_complete(&self) {
        self.lists_complete.store(true, Ordering::Release);
    }

    /// There is a store: without it the server is not ready.
    pub fn store_awaited(&self) {
        self.store_awaited.store(true, Ordering::Release);
    }

    /// The store is open and this Identity's. What becomes of it later keeps nobody from being answered.
    pub fn store_open(&self) {
        self.store_awaited.store(false, Ordering::Release);
    }

    /// The oldest of the watches was last heard of then. A source that never says so never goes stale.
    pub fn heard_at(&self, time: Timestamp) {
        self.heard.store(time.as_millisecond(), Ordering::Relaxed);
    }

    /// So many namespaces the API server refuses to show.
    pub fn refused_namespaces_are(&self, count: usize) {
        self.refused_namespaces.store(count, Ordering::Relaxed);
    }

    pub(super) fn refused_namespaces(&self) -> usize {
        self.refused_namespaces.load(Ordering::Relaxed)
    }

    /// How old what is known may be.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        let heard = self.heard.load(Ordering::Relaxed);
        SignedDuration::from_millis(now.as_millisecond().saturating_sub(heard).max(0))
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether a request may be answered from `snapshot`.
    pub(super) fn serves(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), NotReady> {
        if !self.lists_complete.load(Ordering::Acquire) {
            return Err(NotReady::ListsIncomplete);
        }
        let site = snapshot.site().ok_or(NotReady::IdentityNotServed)?;
        if site.when_stale == WhenExceeded::Refuse && self.age(now) > site.max_staleness {
            return Err(NotReady::Stale);
        }
        Ok(())
    }

    /// Whether the server should get requests.
    pub(super) fn ready(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), NotReady> {
        if self.draining.load(Ordering::Acquire) {
            return Err(NotReady::Draining);
        }
        self.serves(snapshot, now)?;
        if !snapshot.had_keys() {
            return Err(NotReady::KeysMissing);
        }
        if self.store_awaited.load(Ordering::Acquire) {
            return Err(NotReady::StoreNotOpen);
        }
        Ok(())
    }
}
