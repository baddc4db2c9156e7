//! Limits log lines of libraries: a caller can cause some of them at will, such as h2's warning about a PING frame.
//! Lines below the level `info` are not limited: they are off by default, and an operator who enables them wants to see
//! them all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::{Level, Metadata};

use super::dropped::DROPPED;
use super::panics;
use crate::telemetry::{Rate, audit};

/// The limit for all libraries together.
const RATE: Rate = Rate {
    burst: 100,
    period: 200,
};

/// Drops lines over the limit.
#[derive(Debug)]
pub(super) struct Libraries {
    written: AtomicU64,
    started: Instant,
}

impl Default for Libraries {
    fn default() -> Self {
        Self {
            written: AtomicU64::new(0),
            started: Instant::now(),
        }
    }
}

impl Libraries {
    /// Whether one more line may be written.
    pub(super) fn is_written(&self, about: &Metadata<'_>) -> bool {
        if *about.level() > Level::INFO || is_ours(about.target()) {
            return true;
        }
        let is_written = RATE.take(&self.written, self.started.elapsed()).is_ok();
        if !is_written {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        is_written
    }
}

fn is_ours(target: &str) -> bool {
    target.starts_with("symbolon") || target == audit::TARGET || target == panics::TARGET
}

#[cfg(test)]
mod tests {
    use crate::telemetry::testing::Log;

    #[test]
    fn library_lines_that_callers_cause_are_limited_and_counted() {
        let before = super::super::dropped_lines();
        let log = Log::default();
        let guard = log.start();
        for _ in 0..1000 {
            tracing::warn!(target: "h2::proto::ping_pong", "recv PING ack that we never sent");
            tracing::warn!(target: "symbolon::a", "ours");
            tracing::debug!(target: "h2::codec", "asked for");
        }
        drop(guard);
        let text = log.text();
        let of = |words: &str| text.matches(words).count();
        assert!((100..500).contains(&of("PING")), "{}", of("PING"));
        assert_eq!((of("ours"), of("asked for")), (1000, 1000));
        assert!(super::super::dropped_lines() >= before + 500);
    }
}
