//! Decides whether the server answers one more request: the requests under way, each caller's share of them, and the
//! requests whose bodies are still arriving. A request is under way from when the server has read its head, so that the
//! requests that wait for a processor count too.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

use super::ServerLimits;
use super::load::millis;
use super::metrics::Shed;
use super::networks;
use super::places::{Caller, Full, Places, Rule};
use crate::lock::lock;
use crate::shares::{Share, Shares, WhenScarce};

/// The time in milliseconds after which a body that is still arriving may lose its place to a body of a caller that has
/// no more. Sending a byte now and then does not prolong it. To a caller that has at least two fewer it may lose the
/// place at any time.
const SLOW: u64 = 1000;

/// The divisors of all requests that give the shares of a network and of a site once half of the requests are taken.
const SCARCE: (usize, usize) = (32, 8);

/// The requests that the server answers or waits for.
pub(super) struct Admission {
    in_flight: AtomicUsize,
    most: usize,
    shares: Shares,
    slow_bodies: Mutex<Places<Arc<SlowBody>>>,
    started: Instant,
}

impl Admission {
    pub fn new(limits: &ServerLimits) -> Self {
        let most = limits.requests;
        let when_scarce = WhenScarce {
            of_network: (most / SCARCE.0).max(1),
            of_site: (most / SCARCE.1).max(1),
        };
        Self {
            in_flight: AtomicUsize::new(0),
            most,
            shares: Shares::new(limits.requests_per_peer, when_scarce),
            slow_bodies: Mutex::new(Places::new(
                limits.slow_bodies,
                limits.slow_bodies_per_peer,
                Rule::FairOnly,
            )),
            started: Instant::now(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The cause if too many are under way.
    pub fn admit(self: &Arc<Self>) -> Result<Admitted, Shed> {
        let admitted = Admitted {
            admission: Arc::clone(self),
            share: None,
        };
        let is_within = self.in_flight.fetch_add(1, Ordering::Relaxed) < self.most;
        is_within.then_some(admitted).ok_or(Shed::Requests)
    }

    /// Frees the place of a request for another request while its body arrives.
    ///
    /// # Errors
    /// The cause, if the server does not wait for the body.
    pub fn wait_for_body(&self, caller: Option<Caller>) -> Result<Waiting<'_>, Shed> {
        // Only tests have no peer.
        let caller = caller.unwrap_or_else(|| Caller::new([0, 0, 0, 0].into(), true));
        let now = self.elapsed();
        let body = Arc::new(SlowBody {
            begun: now,
            ended: Notify::new(),
        });
        let slow =
            |body: &Arc<SlowBody>| (now.saturating_sub(body.begun) >= SLOW).then_some(body.begun);
        let any = |body: &Arc<SlowBody>| Some(body.begun);
        let holder = Arc::clone(&body);
        let entered = self.slow_bodies().enter_or(caller, holder, slow, any);
        let entered = entered.map_err(|full| match full {
            Full::All => Shed::Bodies,
            Full::Share => Shed::BodiesPerPeer,
        })?;
        if let Some(slow) = entered.ended {
            slow.ended.notify_one();
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        Ok(Waiting {
            admission: self,
            caller,
            id: entered.id,
            body,
        })
    }

    fn slow_bodies(&self) -> MutexGuard<'_, Places<Arc<SlowBody>>> {
        lock(&self.slow_bodies)
    }

    /// Returns the milliseconds since the server started.
    fn elapsed(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

/// A request that is counted until this is dropped. What goes on for the request after its caller has left holds it too.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    share: Option<Share>,
}

impl Admitted {
    /// Counts the request for its caller too; without a caller there is no limit.
    ///
    /// # Errors
    /// The cause if too many of the caller's requests are under way.
    pub fn count_for(&mut self, caller: Option<IpAddr>) -> Result<(), Shed> {
        let Some(caller) = caller else {
            return Ok(());
        };
        let Admission {
            in_flight,
            most,
            shares,
            ..
        } = &*self.admission;
        let is_scarce = in_flight.load(Ordering::Relaxed) > most.div_ceil(2);
        let share = shares.take(networks::caller(caller), is_scarce);
        self.share = Some(share.ok_or(Shed::RequestsPerPeer)?);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            self.admission.shares.give_back(share);
        }
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that has not arrived completely.
struct SlowBody {
    /// When the server began to wait for it, in milliseconds since the server started.
    begun: u64,
    /// Notified when another body takes its place.
    ended: Notify,
}

/// A request whose body is still arriving. It does not count among the requests that are being answered.
pub(super) struct Waiting<'a> {
    admission: &'a Admission,
    caller: Caller,
    id: u64,
    body: Arc<SlowBody>,
}

impl Waiting<'_> {
    /// Waits until another body takes the place.
    pub async fn ended(&self) {
        self.body.ended.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.admission.slow_bodies().leave(self.caller, self.id);
        self.admission.in_flight.fetch_add(1, Ordering::Relaxed);
    }
}
