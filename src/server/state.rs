//! What all requests of a server share. Each part has a file of its own; here they are only put together.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use jiff::Timestamp;
use rustls::RootCertStore;
use tokio::sync::watch;

use super::ServerLimits;
use super::admission::Admission;
use super::latest_census::LatestCensus;
use super::metrics::{Metrics, Scrape};
use super::noise::Noise;
use super::people::People;
use super::people::outgoing::Trust;
use super::revocations::Revocations;
use super::revoker::{Recorded, RevokeError, Revoker};
use super::signing::Signing;
use super::snapshot::Publisher;
use super::status::{NotReady, Status};
use super::uses::Uses;
use crate::directory::{ObjectKey, Settings};
use crate::telemetry::logs;
use crate::tokens::{MacKey, TokenId};

/// The settings of a server, fixed for its lifetime.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Identity that it serves.
    pub identity: ObjectKey,
    /// The settings of the installation.
    pub settings: Settings,
    /// The bounds on connections, requests and time.
    pub limits: ServerLimits,
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
            limits: ServerLimits::default(),
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
    revocations: Arc<Revocations>,
    signing: Signing,
    uses: Uses,
    limits: ServerLimits,
    allowed_hosts: Option<Vec<String>>,
    allowed_health_hosts: Option<Vec<String>>,
    admission: Arc<Admission>,
    noise: Noise,
    census: LatestCensus,
    people: ArcSwapOption<People>,
    macs: watch::Sender<Option<Arc<MacKey>>>,
    callees: ArcSwap<Trust>,
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
            revocations: Arc::new(Revocations::new(&config.limits)),
            signing: Signing::new(
                std::thread::available_parallelism().map_or(1, usize::from),
                config.limits.requests,
            ),
            uses,
            admission: Arc::new(Admission::new(&config.limits)),
            limits: config.limits,
            allowed_hosts: config.allowed_hosts,
            allowed_health_hosts: config.allowed_health_hosts,
            noise,
            census: LatestCensus::default(),
            people: ArcSwapOption::empty(),
            macs: watch::Sender::new(None),
            callees: ArcSwap::default(),
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

    /// Serves people from now on, or no longer. Machine clients are served in any case.
    pub fn set_people(&self, people: Option<Arc<People>>) {
        self.0.people.store(people);
    }

    /// Records the mac key, from which the keys for people are derived.
    pub fn set_mac(&self, mac: Arc<MacKey>) {
        self.0.macs.send_replace(Some(mac));
    }

    /// Follows the mac key.
    pub(super) fn macs(&self) -> watch::Receiver<Option<Arc<MacKey>>> {
        self.0.macs.subscribe()
    }

    /// Trusts these CAs when clients are called, besides those of the system; `None` trusts only the latter.
    pub fn trust_callees(&self, also: Option<RootCertStore>) {
        self.0.callees.store(Arc::new(Trust::new(also)));
    }

    /// Returns which certificates of clients are trusted.
    pub(super) fn callees(&self) -> Arc<Trust> {
        self.0.callees.load_full()
    }

    /// Returns what people need; `None` until their store is open.
    pub fn people(&self) -> Option<Arc<People>> {
        self.0.people.load_full()
    }

    /// Returns its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the metrics, for what lives longer than a request and must not hold the state.
    pub(super) fn shared_metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.0.metrics)
    }

    /// Checks whether it should get requests now.
    ///
    /// # Errors
    /// The reason why not.
    pub fn readiness(&self, now: Timestamp) -> Result<(), NotReady> {
        self.status().ready(&self.publisher().current(), now)
    }

    /// Returns whether this server knows enough to answer requests now, also while it drains.
    pub(super) fn serves(&self, now: Timestamp) -> bool {
        self.status()
            .serves(&self.publisher().current(), now)
            .is_ok()
    }

    /// Returns the metrics as text, with the gauges sampled at `now`.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub async fn exposition(&self, now: Timestamp) -> Result<String, std::fmt::Error> {
        self.metrics().encode(&self.scrape(now).await)
    }

    /// Samples the gauges for a scrape.
    pub(super) async fn scrape(&self, now: Timestamp) -> Scrape {
        let tokens = self.0.census.at(self.publisher(), now).await;
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

    /// Returns what decides how many requests are answered at once.
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }

    pub(super) fn limits(&self) -> &ServerLimits {
        &self.0.limits
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.0.uses
    }

    /// Records a revocation within the time limit.
    ///
    /// # Errors
    /// [`RevokeError`]: it may not be durable.
    pub(super) async fn record_revocation(
        &self,
        credential: &ObjectKey,
        uid: Option<&str>,
        token_id: &TokenId,
    ) -> Result<Recorded, RevokeError> {
        let recorded = self.0.revoker.revoke(credential, uid, token_id);
        let recorded = tokio::time::timeout(self.0.limits.revocation, recorded).await;
        recorded.unwrap_or_else(|_| Err(RevokeError("timed out".to_owned())))
    }

    /// Returns the revocations under way.
    pub(super) fn revocations(&self) -> &Arc<Revocations> {
        &self.0.revocations
    }

    /// Returns what shares the processors between the clients that request signatures.
    pub(super) fn signing(&self) -> &Signing {
        &self.0.signing
    }

    /// Returns whether a peer is a proxy that the Identity trusts.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let snapshot = self.publisher().current();
        let site = snapshot.site();
        site.is_some_and(|site| site.trusts(peer))
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
