//! The server without a socket: a request in, a response out.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use tower::Service as _;

use super::request::Arrival;
use super::throttle::Throttle;
use super::{Limits, NotReady, Publisher, Revoker, Site, Status, Uses, forwarded, reply};
use crate::directory::census::{Census, State, WITHIN};
use crate::directory::{ObjectKey, Settings};
use crate::resources::Kind;
use crate::telemetry::metrics::Scrape;
use crate::telemetry::{Metrics, logs};

/// Where proxies say whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Between counts of all tokens: they take a look at every owner.
const CENSUS_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What a server is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Identity that it is.
    pub identity: ObjectKey,
    /// What the installation decides.
    pub settings: Settings,
    /// How much it takes on.
    pub limits: Limits,
    /// Names by which it may be called, with their ports; `None`: any. Dev mode sets them, since a server on a
    /// developer's machine must not answer a web page that had its own name rebound to it.
    pub allowed_hosts: Option<Vec<String>>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

impl Config {
    /// The defaults for an Identity.
    pub fn new(identity: ObjectKey) -> Self {
        Self {
            identity,
            settings: Settings::default(),
            limits: Limits::default(),
            allowed_hosts: None,
            metrics: Arc::default(),
        }
    }
}

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    identity: ObjectKey,
    publisher: Publisher,
    status: Status,
    metrics: Arc<Metrics>,
    revoker: Box<dyn Revoker>,
    uses: Uses,
    limits: Limits,
    allowed_hosts: Option<Vec<String>>,
    in_flight: AtomicUsize,
    slow_bodies: AtomicUsize,
    failures: Throttle,
    noted_refusals: Throttle,
    started: Instant,
    census: tokio::sync::Mutex<Option<(Timestamp, Census)>>,
}

impl App {
    /// A server that knows nothing yet.
    ///
    /// # Errors
    /// None that is known: an empty JWK Set is written.
    pub fn new(config: Config, revoker: impl Revoker) -> Result<Self, serde_json::Error> {
        Self::with_uses(config, revoker, Uses::ignored())
    }

    /// The same, with uses of tokens noted.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn with_uses(
        config: Config,
        revoker: impl Revoker,
        uses: Uses,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self(Arc::new(Inner {
            identity: config.identity.clone(),
            publisher: Publisher::new(config.identity, config.settings, super::now())?,
            status: Status::default(),
            metrics: config.metrics,
            revoker: Box::new(revoker),
            uses,
            limits: config.limits,
            allowed_hosts: config.allowed_hosts,
            in_flight: AtomicUsize::new(0),
            slow_bodies: AtomicUsize::new(0),
            failures: Throttle::default(),
            noted_refusals: Throttle::default(),
            started: Instant::now(),
            census: tokio::sync::Mutex::default(),
        })))
    }

    /// The Identity that it is.
    pub fn identity(&self) -> &ObjectKey {
        &self.0.identity
    }

    /// Where sources put what is served.
    pub fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    /// Where sources tell of themselves.
    pub fn status(&self) -> &Status {
        &self.0.status
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether it should get requests now.
    ///
    /// # Errors
    /// Why not.
    pub fn readiness(&self, now: Timestamp) -> Result<(), NotReady> {
        self.status().ready(&self.publisher().current(), now)
    }

    /// What it counts, for a scrape at this moment.
    ///
    /// # Errors
    /// None that is known: text is written into memory.
    pub async fn exposition(&self, now: Timestamp) -> Result<String, std::fmt::Error> {
        self.metrics().encode(&self.scrape(now).await)
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

    /// Answers one request. `peer` is the other end of its connection.
    pub async fn answer(&self, peer: Option<IpAddr>, mut request: Request<Body>) -> Response {
        let Some(_counted) = self.admit() else {
            self.metrics().shed("requests");
            return reply::overloaded();
        };
        if !self.is_meant(&request) {
            return reply::misdirected();
        }
        let site = {
            let snapshot = self.publisher().current();
            let caller = |site: &Site| {
                let lists = request.headers().get_all(FORWARDED_FOR).iter();
                let lists = lists.map(HeaderValue::as_bytes);
                peer.map(|peer| forwarded::caller(peer, &site.trusted_proxies, lists))
            };
            snapshot
                .site()
                .map(|site| (site.router.clone(), caller(site)))
        };
        let Some((mut router, peer)) = site else {
            return reply::Refusal::Unavailable.response();
        };
        let app = self.clone();
        request.extensions_mut().insert(Arrival { app, peer });
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn admit(&self) -> Option<InFlight<'_>> {
        let count = &self.0.in_flight;
        let counted = InFlight(count);
        (count.fetch_add(1, Ordering::Relaxed) < self.0.limits.requests).then_some(counted)
    }

    /// Lends the place of a request to another while its body is on its way; `None`: too many bodies are.
    pub(super) fn wait_for_body(&self) -> Option<Waiting<'_>> {
        let Inner {
            in_flight,
            slow_bodies,
            limits,
            ..
        } = &*self.0;
        let before = slow_bodies.fetch_add(1, Ordering::Relaxed);
        in_flight.fetch_sub(1, Ordering::Relaxed);
        let waiting = Waiting {
            in_flight,
            slow_bodies,
        };
        (before < limits.slow_bodies).then_some(waiting)
    }

    fn is_meant(&self, request: &Request<Body>) -> bool {
        let Some(allowed) = &self.0.allowed_hosts else {
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

    /// Counts a failed authentication.
    pub(super) fn failed(&self, peer: Option<IpAddr>, client_id: &str) -> Result<(), Duration> {
        let failed = self
            .0
            .failures
            .failed(peer, client_id, self.0.started.elapsed());
        if failed.is_err() {
            self.metrics().audit_suppressed();
        }
        failed
    }

    /// Whether one more refusal of this caller goes into the audit log.
    pub(super) fn may_note_refusal(&self, peer: Option<IpAddr>, name: &str) -> bool {
        let elapsed = self.0.started.elapsed();
        let may = self.0.noted_refusals.failed(peer, name, elapsed).is_ok();
        if !may {
            self.metrics().audit_suppressed();
        }
        may
    }

    /// The tokens by state, as they were within the last minute.
    async fn census(&self, now: Timestamp) -> Census {
        // Whoever comes meanwhile waits for the same.
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

    /// What metrics cannot know by themselves.
    pub(super) async fn scrape(&self, now: Timestamp) -> Scrape {
        let census = self.census(now).await;
        let (keys, key_age) = self.publisher().key_phases(now);
        let sizes = self.publisher().current().directory().sizes();
        Scrape {
            objects: [
                ("Identity", sizes.identities),
                ("Scope", sizes.scopes),
                ("OAuthClient", sizes.clients),
                ("ServiceAccessToken", sizes.service_tokens),
                ("Credential", sizes.credentials),
            ],
            tokens: told(&census),
            ending: WITHIN
                .map(|(name, _)| name)
                .into_iter()
                .zip(census.ending)
                .collect(),
            soonest_ends: [
                (Kind::ServiceAccessToken, census.soonest_token),
                (Kind::OAuthClient, census.soonest_client),
            ]
            .into_iter()
            .filter_map(|(kind, end)| Some((kind.as_str(), end?.as_second())))
            .collect(),
            keys,
            key_age: key_age.as_secs_f64(),
            snapshot_age: self.status().age(now).as_secs_f64(),
            refused_namespaces: self.status().refused_namespaces(),
            ready: self.readiness(now).is_ok(),
            dropped_log_lines: logs::dropped_lines(),
        }
    }
}

/// Kind, state and number.
fn told(census: &Census) -> Vec<(&'static str, &'static str, usize)> {
    let of = |kind: Kind, counts: [usize; State::ALL.len()]| {
        let counts = State::ALL.into_iter().zip(counts);
        counts.map(move |(state, count)| (kind.as_str(), state.as_str(), count))
    };
    let tokens = of(Kind::ServiceAccessToken, census.service_tokens);
    tokens
        .chain(of(Kind::OAuthClient, census.clients))
        .collect()
}

/// One request being answered.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request whose body is on its way: it has given back its place among those that are answered.
pub(super) struct Waiting<'a> {
    in_flight: &'a AtomicUsize,
    slow_bodies: &'a AtomicUsize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.slow_bodies.fetch_sub(1, Ordering::Relaxed);
    }
}
