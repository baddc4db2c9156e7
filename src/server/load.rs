//! The memory that all peers of a port together make the server hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::ServerLimits;

/// The time after which a peer that is behind with its answers may lose its connection to another peer.
pub(super) const STALL: Duration = Duration::from_secs(1);

/// The memory that peers make a port hold.
#[derive(Debug)]
pub(super) struct Load {
    started: Instant,
    /// How long a request may take before the server holds its peer responsible, in milliseconds.
    pub(super) patience: u64,
    most: usize,
    /// The number of turns of each connection.
    pub(super) turns: usize,
    pub(super) charged: AtomicUsize,
    /// Notified when more than `most` is charged.
    pub(super) exceeded: Notify,
}

impl Load {
    pub fn new(limits: &ServerLimits) -> Self {
        Self {
            started: Instant::now(),
            patience: millis(limits.revocation + STALL),
            most: limits.held_bytes,
            turns: limits.turns,
            charged: AtomicUsize::new(0),
            exceeded: Notify::new(),
        }
    }

    /// Returns the milliseconds since the port opened.
    pub fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Returns the bytes beyond the limit.
    pub fn excess(&self) -> usize {
        self.charged
            .load(Ordering::Relaxed)
            .saturating_sub(self.most)
    }

    pub(super) fn charge(&self, bytes: usize) {
        let charged = self.charged.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if charged > self.most {
            self.exceeded.notify_one();
        }
    }

    pub(super) fn release(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Returns the milliseconds of a time.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
