//! The server's metrics, in Prometheus' text format. Every label value comes from a closed set: nothing that a caller
//! sends creates a series.
//!
//! Counters of each request are resolved once at the start, so that counting is one addition.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::KubeRequests;
use super::catalog::{Catalog, Described};

/// In seconds: from a look-up in memory to a write through the Kubernetes API.
const BUCKETS: [f64; 12] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
];

/// The endpoint of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Endpoint {
    /// Either discovery document.
    Discovery,
    /// The JWK Set.
    Jwks,
    /// The token endpoint (RFC 6749 section 3.2).
    Token,
    /// Token introspection (RFC 7662).
    Introspection,
    /// Token revocation (RFC 7009).
    Revocation,
    /// The token check for gateways.
    CheckToken,
    /// The health check of load balancers.
    Health,
    /// Anything else.
    Other,
}

impl Endpoint {
    const ALL: [Self; 8] = [
        Self::Discovery,
        Self::Jwks,
        Self::Token,
        Self::Introspection,
        Self::Revocation,
        Self::CheckToken,
        Self::Health,
        Self::Other,
    ];

    /// Returns the name used in metrics and audit events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
            Self::CheckToken => "checktoken",
            Self::Health => "health",
            Self::Other => "other",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why a request or connection is shed.
const SHED: [&str; 12] = [
    "requests",
    "requests_per_peer",
    "bodies",
    "bodies_per_peer",
    "connections",
    "connections_per_peer",
    "idle",
    "unread",
    "memory",
    "files",
    "handshakes",
    "tls_handshake",
];

/// Why an operation of the store failed.
const STORE: [&str; 5] = ["full", "read_only", "corrupt", "io", "other"];

type Label = (&'static str, &'static str);
/// A counter with one label, whose name belongs to the metric.
type Labelled = Family<[Label; 1], Counter>;
type Seconds = Gauge<f64, AtomicU64>;

/// Values sampled when metrics are scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Objects in the directory by kind.
    pub objects: [(&'static str, usize); 5],
    /// Owners of tokens and secrets by kind and state.
    pub tokens: Vec<(&'static str, &'static str, usize)>,
    /// Tokens and secrets that expire within a period, by the period's name.
    pub ending: Vec<(&'static str, usize)>,
    /// When the first token or secret of a kind expires, in seconds since 1970.
    pub soonest_ends: Vec<(&'static str, i64)>,
    /// Signing keys by phase.
    pub keys: Vec<(&'static str, usize)>,
    /// How long the youngest active signing key has been active, in seconds.
    pub key_age: f64,
    /// How long ago the quietest watch last received anything, in seconds.
    pub snapshot_age: f64,
    /// Configured namespaces that the API server denies access to.
    pub refused_namespaces: usize,
    /// Whether the server is ready.
    pub ready: bool,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
}

/// All metrics of a server.
pub struct Metrics {
    catalog: Catalog,
    requests: [[Counter; CLASSES.len()]; Endpoint::ALL.len()],
    durations: [Histogram; Endpoint::ALL.len()],
    issued: Family<[Label; 2], Counter>,
    refused: Labelled,
    introspections: Labelled,
    checks: Labelled,
    revocations: Labelled,
    auth_failures: Labelled,
    shed: Labelled,
    audit_suppressed: Counter,
    uses_left_out: Labelled,
    connections: Gauge,
    objects: Family<[Label; 1], Gauge>,
    tokens: Family<[Label; 2], Gauge>,
    ending: Family<[Label; 1], Gauge>,
    soonest_ends: Family<[Label; 1], Gauge>,
    keys: Family<[Label; 1], Gauge>,
    key_age: Seconds,
    snapshot_age: Seconds,
    refused_namespaces: Gauge,
    ready: Gauge,
    dropped_log_lines: Counter,
    store_bytes: Gauge,
    store_writable: Gauge,
    store_errors: Labelled,
    kube: KubeRequests,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut catalog = Catalog::new("symbolon");
        let (requests, durations) = request_metrics(&mut catalog);
        let kube = KubeRequests::register(&mut catalog);
        let mut metrics = Self {
            catalog,
            requests,
            durations,
            issued: Family::default(),
            refused: Family::default(),
            introspections: Family::default(),
            checks: Family::default(),
            revocations: Family::default(),
            auth_failures: Family::default(),
            shed: Family::default(),
            audit_suppressed: Counter::default(),
            uses_left_out: Family::default(),
            connections: Gauge::default(),
            objects: Family::default(),
            tokens: Family::default(),
            ending: Family::default(),
            soonest_ends: Family::default(),
            keys: Family::default(),
            key_age: Gauge::default(),
            snapshot_age: Gauge::default(),
            refused_namespaces: Gauge::default(),
            ready: Gauge::default(),
            dropped_log_lines: Counter::default(),
            store_bytes: Gauge::default(),
            store_writable: Gauge::default(),
            store_errors: Family::default(),
            kube,
        };
        metrics.register_events();
        metrics.register_state();
        for cause in SHED {
            drop(metrics.shed.get_or_create(&[("cause", cause)]));
        }
        for cause in STORE {
            drop(metrics.store_errors.get_or_create(&[("cause", cause)]));
        }
        for cause in ["full", "namespace"] {
            drop(metrics.uses_left_out.get_or_create(&[("cause", cause)]));
        }
        metrics
    }
}

fn request_metrics(
    catalog: &mut Catalog,
) -> (
    [[Counter; CLASSES.len()]; Endpoint::ALL.len()],
    [Histogram; Endpoint::ALL.len()],
) {
    let requests = Family::<[Label; 2], Counter>::default();
    catalog.counter(
        "requests",
        &["endpoint", "status"],
        "Requests by endpoint and class of the response status",
        &requests,
    );
    let constructor: fn() -> Histogram = || Histogram::new(BUCKETS);
    let durations = Family::<[Label; 1], Histogram, _>::new_with_constructor(constructor);
    catalog.histogram(
        "request_duration_seconds",
        &["endpoint"],
        "Time from the head of a request to its response",
        &durations,
    );
    let counters = |endpoint: Endpoint| {
        CLASSES.map(|status| {
            let labels = [("endpoint", endpoint.as_str()), ("status", status)];
            requests.get_or_create_owned(&labels)
        })
    };
    let histogram =
        |endpoint: Endpoint| durations.get_or_create_owned(&[("endpoint", endpoint.as_str())]);
    (Endpoint::ALL.map(counters), Endpoint::ALL.map(histogram))
}

impl Metrics {
    /// Registers what requests count.
    fn register_events(&mut self) {
        let catalog = &mut self.catalog;
        catalog.counter(
            "tokens_issued",
            &["grant", "algorithm"],
            "Access tokens issued",
            &self.issued,
        );
        catalog.counter(
            "token_requests_refused",
            &["error"],
            "Token requests of authenticated clients that were refused, by OAuth error code",
            &self.refused,
        );
        catalog.counter(
            "introspections",
            &["outcome"],
            "Token introspections by outcome: active, or the reason why not",
            &self.introspections,
        );
        catalog.counter(
            "token_checks",
            &["outcome"],
            "Token checks for gateways by outcome: passed, or the reason why not",
            &self.checks,
        );
        catalog.counter(
            "revocations",
            &["outcome"],
            "Token revocations by outcome",
            &self.revocations,
        );
        catalog.counter(
            "client_auth_failures",
            &["reason"],
            "Failed client authentications by reason",
            &self.auth_failures,
        );
        catalog.counter(
            "shed",
            &["cause"],
            "Requests and connections refused because there were too many, and connections closed to make room (idle, memory, files) or because the peer did not read its responses (unread)",
            &self.shed,
        );
        catalog.counter(
            "audit_suppressed",
            &[],
            "Refusals not written to the audit log one by one because there were too many; refusals_suppressed events name their peers",
            &self.audit_suppressed,
        );
        catalog.counter(
            "use_reports_dropped",
            &["cause"],
            "Reports of last use that were dropped until the next use: too many were waiting in total (full) or for one namespace (namespace)",
            &self.uses_left_out,
        );
        catalog.counter(
            "log_lines_dropped",
            &[],
            "Log lines dropped because the reader of the log was too slow or libraries wrote too many",
            &self.dropped_log_lines,
        );
    }

    /// Registers gauges sampled at scrape time.
    fn register_state(&mut self) {
        let catalog = &mut self.catalog;
        catalog.gauge("connections", &[], "Open connections", &self.connections);
        catalog.gauge(
            "directory_objects",
            &["kind"],
            "Objects in the server's directory by kind",
            &self.objects,
        );
        catalog.gauge(
            "tokens",
            &["kind", "state"],
            "ServiceAccessTokens and OAuthClients of this Identity by the state of their newest token or secret: live, \
             expiring (less than a tenth of its lifetime or half of rotation.renewBefore is left), expired, revoked (or \
             disabled), waiting (none yet); counted at most once a minute",
            &self.tokens,
        );
        catalog.gauge(
            "tokens_ending",
            &["within"],
            "Newest tokens and secrets that expire within a period",
            &self.ending,
        );
        catalog.gauge(
            "tokens_soonest_end_timestamp_seconds",
            &["kind"],
            "Earliest expiry of the newest tokens or secrets that have not expired, in seconds since 1970; absent if none expires",
            &self.soonest_ends,
        );
        catalog.gauge(
            "signing_keys",
            &["phase"],
            "Signing keys by phase: waiting (published ahead), active, retiring",
            &self.keys,
        );
        catalog.gauge(
            "signing_key_active_seconds",
            &[],
            "Time since the youngest active signing key became active",
            &self.key_age,
        );
        catalog.gauge(
            "snapshot_age_seconds",
            &[],
            "Time since the quietest watch last received anything",
            &self.snapshot_age,
        );
        catalog.gauge(
            "refused_namespaces",
            &[],
            "Configured namespaces that the API server denies access to, at least in part; their objects are not served after three minutes",
            &self.refused_namespaces,
        );
        catalog.gauge("ready", &[], "1 if the server is ready", &self.ready);
        catalog.gauge(
            "store_size_bytes",
            &[],
            "Size of the store and its write-ahead log; 0 without a store",
            &self.store_bytes,
        );
        catalog.gauge(
            "store_writable",
            &[],
            "1 if the last write to the store succeeded; 0 without a store",
            &self.store_writable,
        );
        catalog.counter(
            "store_errors",
            &["cause"],
            "Failed operations of the store by cause: full, read_only, corrupt, io, other",
            &self.store_errors,
        );
    }

    /// Records the size of the store and whether it is writable.
    pub fn store(&self, bytes: u64, is_writable: bool) {
        self.store_bytes.set(bytes.try_into().unwrap_or(i64::MAX));
        self.store_writable.set(is_writable.into());
    }

    /// Counts a failed operation of the store.
    pub fn store_failed(&self, cause: &'static str) {
        self.store_errors.get_or_create(&[("cause", cause)]).inc();
    }

    /// Returns the description of each metric.
    pub fn described(&self) -> &[Described] {
        self.catalog.described()
    }

    /// Returns the metrics of requests to the API server.
    pub const fn kube(&self) -> &KubeRequests {
        &self.kube
    }

    /// Counts an answered request.
    pub fn answered(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[endpoint as usize][class].inc();
        self.durations[endpoint as usize].observe(took.as_secs_f64());
    }

    /// Counts an issued token.
    pub fn issued(&self, grant: &'static str, algorithm: &'static str) {
        self.issued
            .get_or_create(&[("grant", grant), ("algorithm", algorithm)])
            .inc();
    }

    /// Counts a token refused to an authenticated client.
    pub fn refused(&self, error: &'static str) {
        self.refused.get_or_create(&[("error", error)]).inc();
    }

    /// Counts an introspection by outcome: `active`, or the reason why not.
    pub fn introspected(&self, outcome: &'static str) {
        self.introspections
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// Counts a token check by outcome: `passed`, or the reason why not.
    pub fn checked(&self, outcome: &'static str) {
        self.checks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a revocation by outcome.
    pub fn revoked(&self, outcome: &'static str) {
        self.revocations
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// Counts a failed client authentication.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures
            .get_or_create(&[("reason", reason)])
            .inc();
    }

    /// Counts a shed request or connection.
    pub fn shed(&self, cause: &'static str) {
        self.shed.get_or_create(&[("cause", cause)]).inc();
    }

    /// Counts a refusal that was not written to the audit log.
    pub fn audit_suppressed(&self) {
        self.audit_suppressed.inc();
    }

    /// Counts a report of last use that was dropped.
    pub fn use_left_out(&self, cause: &'static str) {
        self.uses_left_out.get_or_create(&[("cause", cause)]).inc();
    }

    /// Returns the gauge of open connections.
    pub const fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Encodes all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn encode(&self, scrape: &Scrape) -> Result<String, fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (kind, count) in scrape.objects {
            self.objects
                .get_or_create(&[("kind", kind)])
                .set(number(count));
        }
        for &(kind, state, count) in &scrape.tokens {
            let labels = [("kind", kind), ("state", state)];
            self.tokens.get_or_create(&labels).set(number(count));
        }
        for &(within, count) in &scrape.ending {
            let labels = [("within", within)];
            self.ending.get_or_create(&labels).set(number(count));
        }
        // A kind without an expiring token must have no series.
        self.soonest_ends.clear();
        for &(kind, end) in &scrape.soonest_ends {
            self.soonest_ends.get_or_create(&[("kind", kind)]).set(end);
        }
        for &(phase, count) in &scrape.keys {
            let labels = [("phase", phase)];
            self.keys.get_or_create(&labels).set(number(count));
        }
        self.key_age.set(scrape.key_age);
        self.snapshot_age.set(scrape.snapshot_age);
        self.refused_namespaces
            .set(number(scrape.refused_namespaces));
        self.ready.set(i64::from(scrape.ready));
        let counted = self.dropped_log_lines.get();
        self.dropped_log_lines
            .inc_by(scrape.dropped_log_lines.saturating_sub(counted));
        self.catalog.encode()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_server_is_exported() {
        let metrics = Metrics::default();
        metrics.answered(Endpoint::Token, 200, Duration::from_micros(300));
        metrics.answered(Endpoint::Token, 401, Duration::from_micros(30));
        metrics.issued("client_credentials", "RS256");
        metrics.auth_failed("unknown_token");
        let scrape = Scrape {
            objects: [
                ("Identity", 1),
                ("Scope", 2),
                ("OAuthClient", 3),
                ("ServiceAccessToken", 4),
                ("Credential", 5),
            ],
            tokens: vec![("ServiceAccessToken", "expiring", 3)],
            ending: vec![("1h", 2)],
            soonest_ends: vec![("ServiceAccessToken", 1_800_000_000)],
            keys: vec![("active", 1)],
            key_age: 90.0,
            snapshot_age: 1.5,
            refused_namespaces: 1,
            ready: true,
            dropped_log_lines: 2,
        };
        metrics.encode(&scrape).unwrap();
        let text = metrics.encode(&scrape).unwrap();
        for line in [
            r#"symbolon_requests_total{endpoint="token",status="2xx"} 1"#,
            r#"symbolon_requests_total{endpoint="token",status="4xx"} 1"#,
            r#"symbolon_request_duration_seconds_count{endpoint="token"} 2"#,
            r#"symbolon_tokens_issued_total{grant="client_credentials",algorithm="RS256"} 1"#,
            r#"symbolon_client_auth_failures_total{reason="unknown_token"} 1"#,
            r#"symbolon_directory_objects{kind="OAuthClient"} 3"#,
            r#"symbolon_tokens{kind="ServiceAccessToken",state="expiring"} 3"#,
            r#"symbolon_tokens_ending{within="1h"} 2"#,
            r#"symbolon_tokens_soonest_end_timestamp_seconds{kind="ServiceAccessToken"} 1800000000"#,
            r#"symbolon_signing_keys{phase="active"} 1"#,
            "symbolon_signing_key_active_seconds 90.0",
            r#"symbolon_shed_total{cause="requests"} 0"#,
            "symbolon_snapshot_age_seconds 1.5",
            "symbolon_refused_namespaces 1",
            "symbolon_ready 1",
            "symbolon_log_lines_dropped_total 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
