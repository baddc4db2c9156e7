//! Metrics in Prometheus' text form. Every label comes from a closed set: nothing that a caller sends makes a series.
//!
//! What is counted at every request is resolved once, so that counting is an addition.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds: from a look-up in memory to a write through the Kubernetes API.
const BUCKETS: [f64; 12] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
];

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Endpoint {
    /// Either discovery document.
    Discovery,
    /// The JWK Set.
    Jwks,
    /// RFC 6749 section 3.2.
    Token,
    /// RFC 7662.
    Introspection,
    /// RFC 7009.
    Revocation,
    /// Answers to gateways.
    CheckToken,
    /// Anything else.
    Other,
}

impl Endpoint {
    const ALL: [Self; 7] = [
        Self::Discovery,
        Self::Jwks,
        Self::Token,
        Self::Introspection,
        Self::Revocation,
        Self::CheckToken,
        Self::Other,
    ];

    /// The name in metrics and audit events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
            Self::CheckToken => "checktoken",
            Self::Other => "other",
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

type Label = (&'static str, &'static str);
/// One label whose name belongs to the metric.
type Labelled = Family<[Label; 1], Counter>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssueLabels {
    grant: &'static str,
    algorithm: &'static str,
}

/// What is only known when somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Objects in the directory by kind.
    pub objects: [(&'static str, usize); 5],
    /// How long ago the oldest watch was last heard of, in seconds.
    pub snapshot_age: f64,
    /// Whether the server is ready.
    pub ready: bool,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
}

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    requests: [[Counter; CLASSES.len()]; Endpoint::ALL.len()],
    durations: [Histogram; Endpoint::ALL.len()],
    issued: Family<IssueLabels, Counter>,
    introspections: Labelled,
    checks: Labelled,
    revocations: Labelled,
    auth_failures: Labelled,
    shed: Labelled,
    audit_suppressed: Counter,
    connections: Gauge,
    objects: Family<[Label; 1], Gauge>,
    snapshot_age: Gauge<f64, AtomicU64>,
    ready: Gauge,
    dropped_log_lines: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("symbolon");
        let (requests, durations) = request_metrics(&mut registry);
        let mut counter = |name, help| {
            let family = Labelled::default();
            registry.register(name, help, family.clone());
            family
        };
        let introspections = counter("introspections", "Introspections by outcome");
        let checks = counter("token_checks", "Answers to gateways by outcome");
        let revocations = counter("revocations", "Revocations by outcome");
        let auth_failures = counter(
            "client_auth_failures",
            "Failed client authentications by reason",
        );
        let shed = counter("shed", "Requests and connections turned away by cause");
        let mut metrics = Self {
            issued: Family::default(),
            audit_suppressed: Counter::default(),
            connections: Gauge::default(),
            objects: Family::default(),
            snapshot_age: Gauge::default(),
            ready: Gauge::default(),
            dropped_log_lines: Counter::default(),
            registry,
            requests,
            durations,
            introspections,
            checks,
            revocations,
            auth_failures,
            shed,
        };
        metrics.register();
        metrics
    }
}

fn request_metrics(
    registry: &mut Registry,
) -> (
    [[Counter; CLASSES.len()]; Endpoint::ALL.len()],
    [Histogram; Endpoint::ALL.len()],
) {
    let requests = Family::<RequestLabels, Counter>::default();
    registry.register(
        "requests",
        "Requests by endpoint and status class",
        requests.clone(),
    );
    let durations =
        Family::<[Label; 1], Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
    registry.register(
        "request_duration_seconds",
        "Time from the head of a request to its answer",
        durations.clone(),
    );
    let counters = |endpoint: Endpoint| {
        CLASSES.map(|status| {
            let endpoint = endpoint.as_str();
            requests.get_or_create_owned(&RequestLabels { endpoint, status })
        })
    };
    let histogram =
        |endpoint: Endpoint| durations.get_or_create_owned(&[("endpoint", endpoint.as_str())]);
    (Endpoint::ALL.map(counters), Endpoint::ALL.map(histogram))
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "tokens_issued",
            "Tokens issued by grant and algorithm",
            self.issued.clone(),
        );
        registry.register(
            "audit_suppressed",
            "Refusals that were counted and not written, since one caller had too many",
            self.audit_suppressed.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "directory_objects",
            "Objects known by kind",
            self.objects.clone(),
        );
        registry.register(
            "snapshot_age_seconds",
            "How long ago the oldest watch was last heard of",
            self.snapshot_age.clone(),
        );
        registry.register("ready", "1 if the server is ready", self.ready.clone());
        registry.register(
            "log_lines_dropped",
            "Log lines that found no room",
            self.dropped_log_lines.clone(),
        );
    }

    /// A request was answered.
    pub fn answered(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[endpoint as usize][class].inc();
        self.durations[endpoint as usize].observe(took.as_secs_f64());
    }

    /// A token was issued.
    pub fn issued(&self, grant: &'static str, algorithm: &'static str) {
        self.issued
            .get_or_create(&IssueLabels { grant, algorithm })
            .inc();
    }

    /// An introspection was answered: `active`, or why not.
    pub fn introspected(&self, outcome: &'static str) {
        self.introspections
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// A gateway was answered: `passed`, or why not.
    pub fn checked(&self, outcome: &'static str) {
        self.checks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A revocation was answered.
    pub fn revoked(&self, outcome: &'static str) {
        self.revocations
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// A client was not authenticated.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures
            .get_or_create(&[("reason", reason)])
            .inc();
    }

    /// A request or connection was turned away.
    pub fn shed(&self, cause: &'static str) {
        self.shed.get_or_create(&[("cause", cause)]).inc();
    }

    /// A refusal was not written to the audit log.
    pub fn audit_suppressed(&self) {
        self.audit_suppressed.inc();
    }

    /// Open connections.
    pub const fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Everything, in Prometheus' text form.
    ///
    /// # Errors
    /// None that is known: writing to memory.
    pub fn encode(&self, scrape: &Scrape) -> Result<String, fmt::Error> {
        for (kind, count) in scrape.objects {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.get_or_create(&[("kind", kind)]).set(count);
        }
        self.snapshot_age.set(scrape.snapshot_age);
        self.ready.set(i64::from(scrape.ready));
        let counted = self.dropped_log_lines.get();
        self.dropped_log_lines
            .inc_by(scrape.dropped_log_lines.saturating_sub(counted));
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &self.registry)?;
        Ok(out)
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
    fn metrics_say_what_happened() {
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
            snapshot_age: 1.5,
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
            "symbolon_snapshot_age_seconds 1.5",
            "symbolon_ready 1",
            "symbolon_log_lines_dropped_total 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
