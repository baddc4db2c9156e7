//! What all requests of a server share: its settings, the published snapshot, counts and limits.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::Limits;
use super::metrics::{Metrics, Scrape, Shed};
use super::noise::Noise;
use super::places::{Caller, Full, Places, Rule};
use super::revoker::Revoker;
use super::shares::Shares;
use super::snapshot::Publisher;
use super::status::{NotReady, Status};
use super::uses::Uses;
use crate::directory::counts::census::Census;
use crate::directory::{ObjectKey, Settings};
use crate::telemetry::logs;

/// The least time between two counts of all tokens: a count visits every owner.
const CENSUS_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// The time in milliseconds after which a body that is still arriving may lose its place to a body of a caller that has
/// fewer. Sending a byte now and then does not prolong it.
const SLOW: u64 = 1000;

/// The settings of a server, fixed for its lifetime.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Identity that it serves.
    pub identity: ObjectKey,
    /// The settings of the installation.
    pub settings: Settings,
    /// The bounds on connections, requests and time.
    pub limits: Limits,
    /// The hosts, with ports, that requests may name; `None` allows all. Dev mode sets them: a server on a developer's
    /// machine must not answer a web page that rebinds its own DNS name to that machine.
    pub allowed_hosts: Option<Vec<String>>,
    /// The same for the health port, which shows metrics.
    pub allowed_health_hosts: Option<Vec<String>>,
    /// The metrics that it counts in.
    pub metrics: Arc<Metrics>,
}

impl Config {
    /// Returns the defaults for an Identity.
    pub fn new(identity: ObjectKey) -> Self {
        Self {
            identity,
            settings: Settings::default(),
            limits: Limits::default(),
            allowed_hosts: None,
            allowed_health_hosts: None,
            metrics: Arc::default(),
        }
    }
}

/// What all requests share. Cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    identity: ObjectKey,
    publisher: Arc<Publisher>,
    status: Status,
    metrics: Arc<Metrics>,
    revoker: Box<dyn Revoker>,
    uses: Uses,
    limits: Limits,
    allowed_hosts: Option<Vec<String>>,
    allowed_health_hosts: Option<Vec<String>>,
    in_flight: AtomicUsize,
    shares: Shares,
    slow_bodies: Mutex<Places<Arc<SlowBody>>>,
    noise: Noise,
    started: Instant,
    census: tokio::sync::Mutex<Option<(Timestamp, Census)>>,
}

impl State {
    /// Creates the state of a server with an empty directory and no keys.
    ///
    /// # Errors
    /// None in practice: it serializes an empty JWK Set.
    pub(super) fn new(
        config: Config,
        revoker: impl Revoker,
        uses: Uses,
    ) -> Result<Self, serde_json::Error> {
        let noise = Noise::new(config.metrics.clone());
        Ok(Self(Arc::new(Inner {
            identity: config.identity.clone(),
            publisher: Arc::new(Publisher::new(
                config.identity,
                config.settings,
                super::now(),
            )?),
            status: Status::default(),
            metrics: config.metrics,
            revoker: Box::new(revoker),
            uses,
            shares: Shares::new(config.limits.requests_per_peer),
            slow_bodies: Mutex::new(Places::new(
                config.limits.slow_bodies,
                config.limits.slow_bodies_per_peer,
                Rule::FairOnly,
            )),
            limits: config.limits,
            allowed_hosts: config.allowed_hosts,
            allowed_health_hosts: config.allowed_health_hosts,
            in_flight: AtomicUsize::new(0),
            noise,
            started: Instant::now(),
            census: tokio::sync::Mutex::default(),
        })))
    }

    /// Returns the Identity that it serves.
    pub fn identity(&self) -> &ObjectKey {
        &self.0.identity
    }

    /// Returns the publisher, which sources write to.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.0.publisher
    }

    /// Returns the status, which sources update.
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// Returns its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Checks whether it should get requests now.
    ///
    /// # Errors
    /// The reason why not.
    pub fn readiness(&self, now: Timestamp) -> Result<(), NotReady> {
        self.status().ready(&self.publisher().current(), now)
    }

    /// Returns the metrics as text, with the gauges sampled at `now`.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub async fn exposition(&self, now: Timestamp) -> Result<String, std::fmt::Error> {
        self.metrics().encode(&self.scrape(now).await)
    }

    pub(super) fn shares(&self) -> &Shares {
        &self.0.shares
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.0.uses
    }

    pub(super) fn revoker(&self) -> &dyn Revoker {
        &*self.0.revoker
    }

    /// Returns whether a peer is a proxy that the Identity trusts.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let snapshot = self.publisher().current();
        let site = snapshot.site();
        site.is_some_and(|site| site.trusts(peer))
    }

    /// Counts a request; `None` if too many are being answered.
    pub(super) fn admit(&self) -> Option<InFlight<'_>> {
        let count = &self.0.in_flight;
        let counted = InFlight(count);
        (count.fetch_add(1, Ordering::Relaxed) < self.0.limits.requests).then_some(counted)
    }

    /// Frees the place of a request for another request while its body arrives.
    ///
    /// # Errors
    /// The cause, if the server does not wait for the body.
    pub(super) fn wait_for_body(&self, caller: Option<Caller>) -> Result<Waiting<'_>, Shed> {
        // Only tests have no peer.
        let caller = caller.unwrap_or_else(|| Caller::new([0, 0, 0, 0].into(), true));
        let now = self.elapsed();
        let body = Arc::new(SlowBody {
            begun: now,
            ended: Notify::new(),
        });
        let slow =
            |body: &Arc<SlowBody>| (now.saturating_sub(body.begun) >= SLOW).then_some(body.begun);
        let entered = self.slow_bodies().enter(caller, Arc::clone(&body), slow);
        let entered = entered.map_err(|full| match full {
            Full::All => Shed::Bodies,
            Full::Share => Shed::BodiesPerPeer,
        })?;
        if let Some(slow) = entered.ended {
            slow.ended.notify_one();
        }
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        Ok(Waiting {
            app: self,
            caller,
            id: entered.id,
            body,
        })
    }

    fn slow_bodies(&self) -> MutexGuard<'_, Places<Arc<SlowBody>>> {
        let bodies = self.0.slow_bodies.lock();
        bodies.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the milliseconds since the server started.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns whether a request names an allowed host.
    pub(super) fn is_meant(&self, request: &Request<Body>) -> bool {
        is_named(self.0.allowed_hosts.as_deref(), request)
    }

    /// Returns whether a request to the health port names an allowed host.
    pub(super) fn is_meant_for_health(&self, request: &Request<Body>) -> bool {
        is_named(self.0.allowed_health_hosts.as_deref(), request)
    }

    /// Returns what decides which refusals are written to the audit log.
    pub(super) fn noise(&self) -> &Noise {
        &self.0.noise
    }

    /// Returns the number of tokens by state, counted at most a minute ago.
    async fn census(&self, now: Timestamp) -> Census {
        // Concurrent scrapes wait here for the same count.
        let mut latest = self.0.census.lock().await;
        if let Some((taken, census)) = *latest
            && now.duration_since(taken) < CENSUS_EVERY
        {
            return census;
        }
        let snapshot = self.publisher().current().clone();
        let (directory, identity) = (snapshot.directory().clone(), snapshot.identity().clone());
        let counting = move || Census::take(&directory, &identity, now);
        let census = tokio::task::spawn_blocking(counting).await;
        let census = census.unwrap_or_default();
        *latest = Some((now, census));
        census
    }

    /// Samples the gauges for a scrape.
    pub(super) async fn scrape(&self, now: Timestamp) -> Scrape {
        let tokens = self.census(now).await;
        let (keys, key_age) = self.publisher().key_phases(now);
        Scrape {
            objects: self.publisher().current().directory().sizes(),
            tokens,
            keys,
            key_age: key_age.as_secs_f64(),
            snapshot_age: self.status().age(now).as_secs_f64(),
            refused_namespaces: self.status().refused_namespaces(),
            ready: self.readiness(now).is_ok(),
            dropped_log_lines: logs::dropped_lines(),
        }
    }
}

/// A request that is being answered and counted.
pub(super) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
    app: &'a State,
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
        self.app.slow_bodies().leave(self.caller, self.id);
        self.app.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns whether a request names one of the `allowed` hosts; `None` allows all.
fn is_named(allowed: Option<&[String]>, request: &Request<Body>) -> bool {
    let Some(allowed) = allowed else {
        return true;
    };
    let authority = request.uri().authority().map(Authority::as_str);
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = authority.or(host);
    host.is_some_and(|host| allowed.iter().any(|it| it.eq_ignore_ascii_case(host)))
}
