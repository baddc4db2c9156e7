//! What is written of refusals, and what is only counted: so many lines a second, whatever callers do.
//!
//! Refusals of three sorts have allowances of their own, so that strangers cannot hide what clients do: failed
//! authentications, denials of gateways, and refusals of clients that have authenticated. What is left out is told in
//! sums.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::suppressed::{Suppressed, Who};
use super::throttle::{Line, Throttle, network};
use crate::telemetry::{Metrics, audit};

/// Allowances, and what went beyond them.
#[derive(Debug)]
pub(super) struct Noise {
    failures: Throttle,
    denials: Throttle,
    refusals: Throttle,
    suppressed: Mutex<Suppressed>,
    started: Instant,
    metrics: Arc<Metrics>,
}

impl Noise {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            failures: Throttle::default(),
            denials: Throttle::default(),
            refusals: Throttle::default(),
            suppressed: Mutex::default(),
            started: Instant::now(),
            metrics,
        }
    }

    /// Counts a failed authentication of who says it is `claimed`; whether it is written.
    ///
    /// # Errors
    /// How long to wait, if there were too many.
    pub fn failure(&self, peer: Option<IpAddr>, claimed: &str) -> Result<bool, Duration> {
        let line = self.failures.failed(peer, claimed, self.started.elapsed());
        if line != Ok(Line::Written) {
            self.left_out(peer, None);
        }
        Ok(line? == Line::Written)
    }

    /// Whether the denial of a token at a gateway is written; `token_id` is that of a token that was issued.
    pub fn denial(&self, peer: Option<IpAddr>, token_id: Option<&str>) -> bool {
        self.may(&self.denials, peer, token_id.unwrap_or_default(), None)
    }

    /// Whether what was refused to a client, or failed for it, is written.
    pub fn refusal(&self, peer: Option<IpAddr>, client_id: &str) -> bool {
        self.may(&self.refusals, peer, client_id, Some(client_id))
    }

    fn may(
        &self,
        of: &Throttle,
        peer: Option<IpAddr>,
        name: &str,
        client_id: Option<&str>,
    ) -> bool {
        let is_written = of.failed(peer, name, self.started.elapsed()) == Ok(Line::Written);
        if !is_written {
            self.left_out(peer, client_id);
        }
        is_written
    }

    fn left_out(&self, peer: Option<IpAddr>, client_id: Option<&str>) {
        self.metrics.audit_suppressed();
        let (now, elapsed) = (super::now(), self.started.elapsed());
        self.suppressed()
            .note(peer.map(network), client_id, now, elapsed);
    }

    /// Tells what was left out, if it is time.
    pub fn tell_in_time(&self) {
        let elapsed = self.started.elapsed();
        if self.suppressed().is_due(elapsed) {
            self.tell();
        }
    }

    /// Tells what was left out.
    pub fn tell(&self) {
        let rows = self.suppressed().take();
        for row in rows {
            let peer = row
                .who
                .as_ref()
                .map_or(Some("others".to_owned()), Who::peer);
            let sum = audit::Suppressed {
                peer: peer.as_deref(),
                client_id: row.who.as_ref().and_then(|who| who.client_id.as_deref()),
                count: row.count,
            };
            audit::suppressed(&sum, row.since);
        }
    }

    fn suppressed(&self) -> MutexGuard<'_, Suppressed> {
        // Whoever panicked while holding it has counted one too few.
        self.suppressed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
