//! Decides whether the server knows enough, and recent enough, to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

use super::snapshot::Snapshot;
use crate::resources::WhenExceeded;

/// The longest silence that is normal for a watch. The API server sends a bookmark on a quiet watch every 60 to
/// 75 s: once a minute, delayed at random by up to a quarter. The source reports the age once a second, and ends a watch
/// after 100 s of silence.
const QUIET: SignedDuration = SignedDuration::from_secs(90);

/// The state of the sources, as they report it. The next request sees every change.
#[derive(Debug)]
pub struct Status {
    lists_complete: AtomicBool,
    draining: AtomicBool,
    /// Whether the Identity has a store that is not open yet.
    store_awaited: AtomicBool,
    /// Whether the Identity has a store that cannot be used now.
    store_fails: AtomicBool,
    /// When the quietest watch last received anything, in milliseconds since 1970; `i64::MAX` if nothing can become
    /// stale.
    heard: AtomicI64,
    refused_namespaces: AtomicUsize,
    /// What the sources lack.
    lacking: ArcSwapOption<String>,
}

/// Why the server is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The server was asked to stop.
    #[error("shutting down")]
    Draining,
    /// Not every kind has been listed completely.
    #[error("the first lists are not complete")]
    ListsIncomplete,
    /// The Identity does not exist.
    #[error("the Identity does not exist: apply it, or name another one with --identity")]
    IdentityMissing,
    /// The Identity is not accepted.
    #[error("the Identity is not accepted: see its conditions")]
    IdentityNotServed,
    /// No key has been able to sign since the server started.
    #[error("there is no signing key yet: the operator creates it")]
    KeysMissing,
    /// The store is not open yet.
    #[error("the store is not open yet: see the log")]
    StoreNotOpen,
    /// The Kubernetes API has been silent for longer than `staleness.maxAge`.
    #[error(
        "the objects are stale: the Kubernetes API has been silent for longer than the Identity's spec.staleness.maxAge"
    )]
    Stale,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            lists_complete: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            store_awaited: AtomicBool::new(false),
            store_fails: AtomicBool::new(false),
            heard: AtomicI64::new(i64::MAX),
            refused_namespaces: AtomicUsize::new(0),
            lacking: ArcSwapOption::empty(),
        }
    }
}

impl Status {
    /// Records that the first list of every kind is complete.
    pub fn lists_complete(&self) {
        self.lists_complete.store(true, Ordering::Release);
    }

    /// Records what the sources lack, which the readiness endpoint shows.
    pub fn lacks(&self, what: Option<String>) {
        self.lacking.store(what.map(Arc::new));
    }

    /// Returns what the sources lack, if that may be why the server is not ready.
    pub(super) fn lacking(&self, why: NotReady) -> Option<Arc<String>> {
        let is_why = matches!(
            why,
            NotReady::ListsIncomplete | NotReady::IdentityMissing | NotReady::KeysMissing
        );
        self.lacking.load_full().filter(|_| is_why)
    }

    /// Records that the Identity has a store: the server is not ready before it is open.
    pub fn store_awaited(&self) {
        self.store_awaited.store(true, Ordering::Release);
    }

    /// Records that the store is open and belongs to this Identity. Later faults of the store do not make the server
    /// unready.
    pub fn store_open(&self) {
        self.store_awaited.store(false, Ordering::Release);
    }

    /// Records whether the store works. The server is ready in any case: machine clients do not need the store.
    pub fn store_works(&self, works: bool) {
        self.store_fails.store(!works, Ordering::Relaxed);
    }

    /// Returns whether the Identity has a store that cannot be used now.
    pub fn store_fails(&self) -> bool {
        self.store_fails.load(Ordering::Relaxed)
    }

    /// Records when the quietest watch last received anything. A source that never calls this never becomes stale.
    pub fn heard_at(&self, time: Timestamp) {
        self.heard.store(time.as_millisecond(), Ordering::Relaxed);
    }

    /// Records the number of configured namespaces that the API server denies access to.
    pub fn refused_namespaces_are(&self, count: usize) {
        self.refused_namespaces.store(count, Ordering::Relaxed);
    }

    pub(super) fn refused_namespaces(&self) -> usize {
        self.refused_namespaces.load(Ordering::Relaxed)
    }

    /// Returns the time since the quietest watch last received anything.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        let heard = self.heard.load(Ordering::Relaxed);
        SignedDuration::from_millis(now.as_millisecond().saturating_sub(heard).max(0))
    }

    /// Returns the time up to which the quietest watch was heard.
    pub(super) fn heard(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.age(now)).unwrap_or(Timestamp::MIN)
    }

    /// Returns whether every watch was heard from as recently as bookmarks allow. Otherwise objects may exist that the
    /// server has not seen, however old they are.
    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        self.age(now) <= QUIET
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Checks whether a request may be answered from `snapshot`.
    pub(super) fn serves(&self, snapshot: &Snapshot, now: Timestamp) -> Result<(), NotReady> {
        if !self.lists_complete.load(Ordering::Acquire) {
            return Err(NotReady::ListsIncomplete);
        }
        let Some(site) = snapshot.site() else {
            let known = snapshot.directory().identity(snapshot.identity());
            return Err(match known {
                Some(_) => NotReady::IdentityNotServed,
                None => NotReady::IdentityMissing,
            });
        };
        if site.when_stale == WhenExceeded::Refuse && self.age(now) > site.max_staleness {
            return Err(NotReady::Stale);
        }
        Ok(())
    }

    /// Checks whether the server should get requests.
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
