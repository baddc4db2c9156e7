//! Decides which refusals the audit log shows one by one and which it only counts, so that the number of lines a second
//! is bounded, whatever callers do.
//!
//! Failed authentications, failed sign-ins, denials at gateways, and refusals of authenticated clients have separate
//! allowances, so that strangers cannot hide what clients do. Refusals that are left out are reported as sums.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::metrics::Metrics;
use super::networks::network;
use super::suppressed::{Suppressed, Who};
use super::throttle::{LineDecision, PerClient, PublicPushes, Throttle};
use crate::lock::lock;
use crate::telemetry::audit;

/// The allowances, and the refusals beyond them.
#[derive(Debug)]
pub(super) struct Noise {
    failures: Throttle,
    denials: Throttle,
    refusals: Throttle,
    sign_ins: Throttle,
    pushed: PublicPushes,
    pushed_by: PerClient,
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
            sign_ins: Throttle::default(),
            pushed: PublicPushes::default(),
            pushed_by: PerClient::default(),
            suppressed: Mutex::default(),
            started: Instant::now(),
            metrics,
        }
    }

    /// Counts a failed authentication of a caller that claims to be `claimed`. Returns whether to write it.
    ///
    /// # Errors
    /// How long the caller must wait, if it has failed too often.
    pub fn failure(&self, peer: Option<IpAddr>, claimed: &str) -> Result<bool, Duration> {
        let line = self.failures.failed(peer, claimed, self.started.elapsed());
        if line != Ok(LineDecision::Written) {
            self.left_out(peer, None);
        }
        Ok(line? == LineDecision::Written)
    }

    /// Counts an authorization request that a caller pushed in the name of a public client.
    ///
    /// # Errors
    /// How long the caller must wait, if it or its site has pushed too many.
    pub fn pushed(&self, peer: Option<IpAddr>, client: &str) -> Result<(), Duration> {
        self.pushed.take(peer, client, self.started.elapsed())
    }

    /// Counts an authorization request that a confidential client pushed.
    ///
    /// # Errors
    /// How long the client must wait, if it has pushed too many.
    pub fn pushed_by(&self, client: &str) -> Result<(), Duration> {
        self.pushed_by.take(client, self.started.elapsed())
    }

    /// Counts the denial of a token at a gateway. Returns whether to write it. `token_id` is its ID if the
    /// token was issued.
    pub fn denial(&self, peer: Option<IpAddr>, token_id: Option<&str>) -> bool {
        self.may(&self.denials, peer, token_id.unwrap_or_default(), None)
    }

    /// Counts a refused or failed request of an authenticated client. Returns whether to write it.
    pub fn refusal(&self, peer: Option<IpAddr>, client_id: &str) -> bool {
        self.may(&self.refusals, peer, client_id, Some(client_id))
    }

    /// Counts a failed sign-in by this name. Returns whether to write it.
    pub fn sign_in(&self, peer: Option<IpAddr>, name: &str) -> bool {
        self.may(&self.sign_ins, peer, name, None)
    }

    fn may(
        &self,
        of: &Throttle,
        peer: Option<IpAddr>,
        name: &str,
        client_id: Option<&str>,
    ) -> bool {
        let is_written = of.failed(peer, name, self.started.elapsed()) == Ok(LineDecision::Written);
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

    /// Reports the refusals that were left out, if a report is due.
    pub fn tell_in_time(&self) {
        let elapsed = self.started.elapsed();
        if self.suppressed().is_due(elapsed) {
            self.tell();
        }
    }

    /// Reports the refusals that were left out.
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
        // After a panic of another holder, at most one refusal is not counted.
        lock(&self.suppressed)
    }
}
