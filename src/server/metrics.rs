//! The server's metrics, in Prometheus' text format. Every label is a type with a closed set of values: nothing that a
//! caller sends creates a series.
//!
//! Counters of each request are resolved once at the start, so that counting is one addition.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use strum::{IntoStaticStr, VariantArray};

use super::people::metrics::PeopleMetrics;
use crate::directory::Sizes;
use crate::directory::counts::census::{Census, TokenState, WITHIN};
use crate::oauth::access_token::Inactive;
use crate::oauth::client_auth::FailureReason;
use crate::oauth::enforcement::Denial;
use crate::oauth::grants::SupportedGrant;
use crate::oauth::{Endpoint, ErrorCode};
use crate::resources::Kind;
use crate::store::Fault;
use crate::telemetry::{By, Catalog, Described, KubeRequests, Label, Seconds, label};
use crate::tokens::Algorithm;

/// In seconds: from a look-up in memory to a write through the Kubernetes API.
const BUCKETS: [f64; 12] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
];

/// The class of a response status.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
enum Class {
    #[strum(serialize = "1xx")]
    Informational,
    #[strum(serialize = "2xx")]
    Successful,
    #[strum(serialize = "3xx")]
    Redirection,
    #[strum(serialize = "4xx")]
    ClientError,
    #[strum(serialize = "5xx")]
    ServerError,
}

/// Why a request or connection is shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the runbook SymbolonSheddingLoad explains the names"
)]
pub enum Shed {
    Requests,
    RequestsPerPeer,
    Bodies,
    BodiesPerPeer,
    Signatures,
    Revocations,
    Connections,
    ConnectionsPerPeer,
    Idle,
    Unread,
    Memory,
    Files,
    Handshakes,
    TlsHandshake,
}

/// Why a report of last use is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LeftOut {
    /// Too many reports wait in total.
    Full,
    /// Too many reports wait for one namespace.
    Namespace,
}

/// How a revocation request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RevocationOutcome {
    /// The token is revoked.
    Revoked,
    /// There is nothing to revoke.
    Nothing,
    /// The request is refused.
    Refused,
    /// The revocation could not be recorded.
    Unavailable,
}

/// The phase of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeyPhaseLabel {
    /// Published ahead.
    Waiting,
    /// Signs.
    Active,
    /// Verifies only.
    Retiring,
}

/// How an introspection ends.
#[derive(Clone, Copy, Debug)]
pub enum Introspected {
    /// The token is active for the caller.
    Active,
    /// It is not.
    Inactive(Inactive),
}

impl Introspected {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive(reason) => reason.as_str(),
        }
    }
}

/// How the check of a token for a gateway ends.
#[derive(Clone, Copy, Debug)]
pub enum Checked {
    /// The request may pass.
    Passed,
    /// It may not.
    Denied(Denial),
    /// The server cannot judge the token.
    Unavailable,
}

impl Checked {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Denied(denial) => denial.as_str(),
            Self::Unavailable => "unavailable",
        }
    }
}

/// The kind of an object.
#[derive(Clone, Copy)]
struct OfKind(Kind);

impl Label for OfKind {
    const NAME: &'static str = "kind";

    fn value(self) -> Cow<'static, str> {
        self.0.as_str().into()
    }
}

/// A period of [`WITHIN`].
#[derive(Clone, Copy)]
struct Within(&'static str);

impl Label for Within {
    const NAME: &'static str = "within";

    fn value(self) -> Cow<'static, str> {
        self.0.into()
    }
}

label! {
    "endpoint": Endpoint::name,
    "status": Class::into,
    "grant": SupportedGrant::as_str,
    "algorithm": Algorithm::as_str,
    "error": ErrorCode::as_str,
    "outcome": Introspected::as_str,
    "outcome": Checked::as_str,
    "outcome": RevocationOutcome::into,
    "reason": FailureReason::as_str,
    "cause": Shed::into,
    "cause": LeftOut::into,
    "cause": Fault::as_str,
    "state": TokenState::as_str,
    "phase": KeyPhaseLabel::into,
}

/// Values sampled when metrics are scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Objects in the directory by kind.
    pub objects: Sizes,
    /// Tokens and secrets of the Identity.
    pub tokens: Census,
    /// Signing keys by phase.
    pub keys: Vec<(KeyPhaseLabel, usize)>,
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
    requests: Requests,
    kube: KubeRequests,
    events: Events,
    state: SampledGauges,
    store: Store,
    people: PeopleMetrics,
    catalog: Catalog,
}

/// What every request counts, by the position in [`Endpoint::ALL`] and [`Class::VARIANTS`].
struct Requests {
    counts: [[Counter; Class::VARIANTS.len()]; Endpoint::ALL.len()],
    durations: [Histogram; Endpoint::ALL.len()],
}

/// What some requests and connections count.
struct Events {
    issued: By<(SupportedGrant, Algorithm), Counter>,
    refused: By<ErrorCode, Counter>,
    introspections: By<Introspected, Counter>,
    checks: By<Checked, Counter>,
    revocations: By<RevocationOutcome, Counter>,
    auth_failures: By<FailureReason, Counter>,
    shed: By<Shed, Counter>,
    audit_suppressed: Counter,
    uses_left_out: By<LeftOut, Counter>,
    dropped_log_lines: Counter,
}

/// Gauges, sampled at scrape time except `connections`.
struct SampledGauges {
    connections: Gauge,
    objects: By<OfKind, Gauge>,
    tokens: By<(OfKind, TokenState), Gauge>,
    ending: By<Within, Gauge>,
    soonest_ends: By<OfKind, Gauge>,
    keys: By<KeyPhaseLabel, Gauge>,
    key_age: Seconds,
    snapshot_age: Seconds,
    refused_namespaces: Gauge,
    ready: Gauge,
}

struct Store {
    bytes: Gauge,
    writable: Gauge,
    errors: By<Fault, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut catalog = Catalog::new("symbolon");
        Self {
            requests: Requests::register(&mut catalog),
            kube: KubeRequests::register(&mut catalog),
            events: Events::register(&mut catalog),
            state: SampledGauges::register(&mut catalog),
            store: Store::register(&mut catalog),
            people: PeopleMetrics::register(&mut catalog),
            catalog,
        }
    }
}

impl Requests {
    fn register(catalog: &mut Catalog) -> Self {
        let counts = catalog.counters::<(Endpoint, Class)>(
            "requests",
            "Requests by endpoint and class of the response status",
        );
        let durations = catalog.histograms::<Endpoint>(
            "request_duration_seconds",
            "Time from the head of a request to its response",
            || Histogram::new(BUCKETS),
        );
        Self {
            counts: std::array::from_fn(|position| {
                let endpoint = Endpoint::ALL[position];
                std::array::from_fn(|class| counts.of((endpoint, Class::VARIANTS[class])))
            }),
            durations: std::array::from_fn(|position| durations.of(Endpoint::ALL[position])),
        }
    }
}

impl Events {
    fn register(catalog: &mut Catalog) -> Self {
        Self {
            issued: catalog.counters("tokens_issued", "Access tokens issued"),
            refused: catalog.counters(
                "token_requests_refused",
                "Token requests of authenticated clients that were refused, by OAuth error code",
            ),
            introspections: catalog.counters(
                "introspections",
                "Token introspections by outcome: active, or the reason why not",
            ),
            checks: catalog.counters(
                "token_checks",
                "Token checks for gateways by outcome: passed, or the reason why not",
            ),
            revocations: catalog.counters("revocations", "Token revocations by outcome"),
            auth_failures: catalog.counters(
                "client_auth_failures",
                "Failed client authentications by reason",
            ),
            shed: catalog
                .counters(
                    "shed",
                    "Requests and connections refused because there were too many, and connections closed to make room (idle, memory, files) or because the peer did not read its responses (unread)",
                )
                .from_the_start(Shed::VARIANTS.iter().copied()),
            audit_suppressed: catalog.counter(
                "audit_suppressed",
                "Refusals not written to the audit log one by one because there were too many; refusals_suppressed events name their peers",
            ),
            uses_left_out: catalog
                .counters(
                    "use_reports_dropped",
                    "Reports of last use that were dropped until the next use: too many were waiting in total (full) or for one namespace (namespace)",
                )
                .from_the_start(LeftOut::VARIANTS.iter().copied()),
            dropped_log_lines: catalog.counter(
                "log_lines_dropped",
                "Log lines dropped because the reader of the log was too slow or libraries wrote too many",
            ),
        }
    }
}

impl SampledGauges {
    fn register(catalog: &mut Catalog) -> Self {
        Self {
            connections: catalog.gauge("connections", "Open connections"),
            objects: catalog.gauges(
                "directory_objects",
                "Objects in the server's directory by kind",
            ),
            tokens: catalog.gauges(
                "tokens",
                "ServiceAccessTokens and OAuthClients of this Identity by the state of their newest token or secret: live, \
                 expiring (less than a tenth of its lifetime or half of rotation.renewBefore is left), expired, revoked (or \
                 disabled), waiting (none yet); counted at most once a minute",
            ),
            ending: catalog.gauges(
                "tokens_ending",
                "Newest tokens and secrets that expire within a period",
            ),
            soonest_ends: catalog.gauges(
                "tokens_soonest_end_timestamp_seconds",
                "Earliest expiry of the newest tokens or secrets that have not expired, in seconds since 1970; absent if none expires",
            ),
            keys: catalog.gauges(
                "signing_keys",
                "Signing keys by phase: waiting (published ahead), active, retiring",
            ),
            key_age: catalog.gauge(
                "signing_key_active_seconds",
                "Time since the youngest active signing key became active",
            ),
            snapshot_age: catalog.gauge(
                "snapshot_age_seconds",
                "Time since the quietest watch last received anything",
            ),
            refused_namespaces: catalog.gauge(
                "refused_namespaces",
                "Configured namespaces that the API server denies access to, at least in part; their objects are not served after three minutes",
            ),
            ready: catalog.gauge("ready", "1 if the server is ready"),
        }
    }

    fn sample(&self, scrape: &Scrape) {
        for (kind, count) in of_kinds(&scrape.objects) {
            self.objects.set(OfKind(kind), number(count));
        }
        let census = &scrape.tokens;
        for (kind, counts, soonest) in [
            (
                Kind::ServiceAccessToken,
                census.service_tokens,
                census.soonest_token,
            ),
            (Kind::OAuthClient, census.clients, census.soonest_client),
        ] {
            for (state, count) in TokenState::ALL.into_iter().zip(counts) {
                self.tokens.set((OfKind(kind), state), number(count));
            }
            // A kind without an expiring token must have no series.
            match soonest {
                Some(end) => self.soonest_ends.set(OfKind(kind), end.as_second()),
                None => self.soonest_ends.remove(OfKind(kind)),
            }
        }
        for ((within, _), count) in WITHIN.into_iter().zip(census.ending) {
            self.ending.set(Within(within), number(count));
        }
        for &(phase, count) in &scrape.keys {
            self.keys.set(phase, number(count));
        }
        self.key_age.set(scrape.key_age);
        self.snapshot_age.set(scrape.snapshot_age);
        self.refused_namespaces
            .set(number(scrape.refused_namespaces));
        self.ready.set(scrape.ready.into());
    }
}

impl Store {
    fn register(catalog: &mut Catalog) -> Self {
        Self {
            bytes: catalog.gauge(
                "store_size_bytes",
                "Size of the store and its write-ahead log; 0 without a store",
            ),
            writable: catalog.gauge(
                "store_writable",
                "1 if the last write to the store succeeded; 0 without a store",
            ),
            errors: catalog
                .counters(
                    "store_errors",
                    "Failed operations of the store by cause: full, read_only, corrupt, io, other",
                )
                .from_the_start(Fault::ALL),
        }
    }
}

/// Returns the number of objects of each kind.
fn of_kinds(sizes: &Sizes) -> [(Kind, usize); Kind::ALL.len()] {
    Kind::ALL.map(|kind| {
        let count = match kind {
            Kind::Identity => sizes.identities,
            Kind::Scope => sizes.scopes,
            Kind::OAuthClient => sizes.clients,
            Kind::ServiceAccessToken => sizes.service_tokens,
            Kind::User => sizes.users,
            Kind::Credential => sizes.credentials,
        };
        (kind, count)
    })
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Records the size of the store and whether it is writable.
    pub fn store(&self, bytes: u64, is_writable: bool) {
        self.store.bytes.set(bytes.try_into().unwrap_or(i64::MAX));
        self.store.writable.set(is_writable.into());
    }

    /// Counts a failed operation of the store.
    pub fn store_failed(&self, fault: Fault) {
        self.store.errors.inc(fault);
    }

    /// Returns the metrics of people.
    pub const fn people(&self) -> &PeopleMetrics {
        &self.people
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
        let class = usize::from(status / 100).clamp(1, Class::VARIANTS.len()) - 1;
        self.requests.counts[endpoint as usize][class].inc();
        self.requests.durations[endpoint as usize].observe(took.as_secs_f64());
    }

    /// Counts an issued token.
    pub fn issued(&self, grant: SupportedGrant, algorithm: Algorithm) {
        self.events.issued.inc((grant, algorithm));
    }

    /// Counts a token refused to an authenticated client.
    pub fn refused(&self, error: ErrorCode) {
        self.events.refused.inc(error);
    }

    /// Counts an introspection.
    pub fn introspected(&self, outcome: Introspected) {
        self.events.introspections.inc(outcome);
    }

    /// Counts a token check.
    pub fn checked(&self, outcome: Checked) {
        self.events.checks.inc(outcome);
    }

    /// Counts a revocation request.
    pub fn revoked(&self, outcome: RevocationOutcome) {
        self.events.revocations.inc(outcome);
    }

    /// Counts a failed client authentication.
    pub fn auth_failed(&self, reason: FailureReason) {
        self.events.auth_failures.inc(reason);
    }

    /// Counts a shed request or connection.
    pub fn shed(&self, cause: Shed) {
        self.events.shed.inc(cause);
    }

    /// Counts a refusal that was not written to the audit log.
    pub fn audit_suppressed(&self) {
        self.events.audit_suppressed.inc();
    }

    /// Counts a report of last use that was dropped.
    pub fn use_left_out(&self, cause: LeftOut) {
        self.events.uses_left_out.inc(cause);
    }

    /// Returns the gauge of open connections.
    pub const fn connections(&self) -> &Gauge {
        &self.state.connections
    }

    /// Encodes all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn encode(&self, scrape: &Scrape) -> Result<String, fmt::Error> {
        self.state.sample(scrape);
        let counted = self.events.dropped_log_lines.get();
        self.events
            .dropped_log_lines
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
    use jiff::Timestamp;

    use super::*;
    use crate::directory::Invalid;
    use crate::oauth::bearer::Unusable;

    #[test]
    fn every_metric_of_the_server_is_exported() {
        let metrics = Metrics::default();
        metrics.answered(Endpoint::Token, 200, Duration::from_micros(300));
        metrics.answered(Endpoint::Token, 401, Duration::from_micros(30));
        metrics.issued(SupportedGrant::ClientCredentials, Algorithm::RS256);
        metrics.auth_failed(FailureReason::Invalid(Invalid::UnknownToken));
        let scrape = Scrape {
            objects: Sizes {
                identities: 1,
                scopes: 2,
                clients: 3,
                service_tokens: 4,
                users: 6,
                credentials: 5,
            },
            tokens: Census {
                service_tokens: TokenState::ALL
                    .map(|state| 3 * usize::from(state == TokenState::Expiring)),
                ending: [2; WITHIN.len()],
                soonest_token: Some(Timestamp::from_second(1_800_000_000).unwrap()),
                ..Census::default()
            },
            keys: vec![(KeyPhaseLabel::Active, 1)],
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

    /// A series that first appears with its first event shows no increase.
    #[test]
    fn every_value_of_these_labels_is_exported_from_the_start() {
        let text = Metrics::default().encode(&Scrape::default()).unwrap();
        let values = |metric: &str| {
            let of_metric = text.lines().filter(|line| line.starts_with(metric));
            of_metric.count()
        };
        // The documents of OpenID and RFC 8414 have one name.
        let endpoints = Endpoint::ALL.len() - 1;
        assert_eq!(values("symbolon_requests_total{"), endpoints * 5);
        assert_eq!(
            values("symbolon_request_duration_seconds_count{"),
            endpoints
        );
        assert_eq!(values("symbolon_shed_total{"), Shed::VARIANTS.len());
        assert_eq!(values("symbolon_store_errors_total{"), Fault::ALL.len());
        assert_eq!(values("symbolon_use_reports_dropped_total{"), 2);
    }

    #[test]
    fn a_kind_without_an_expiring_token_has_no_earliest_end() {
        let metrics = Metrics::default();
        let mut scrape = Scrape::default();
        scrape.tokens.soonest_client = Some(Timestamp::UNIX_EPOCH);
        let name = "symbolon_tokens_soonest_end_timestamp_seconds{";
        assert!(metrics.encode(&scrape).unwrap().contains(name));
        scrape.tokens.soonest_client = None;
        assert!(!metrics.encode(&scrape).unwrap().contains(name));
    }

    /// Two lines with the same labels make Prometheus refuse the whole scrape.
    #[test]
    fn outcomes_with_the_same_name_share_a_series() {
        let metrics = Metrics::default();
        for denial in [
            Denial::Unusable(Unusable::Malformed),
            Denial::Inactive(Inactive::Malformed),
        ] {
            metrics.checked(Checked::Denied(denial));
        }
        let text = metrics.encode(&Scrape::default()).unwrap();
        let line = r#"symbolon_token_checks_total{outcome="malformed"} 2"#;
        assert!(text.contains(line), "{text}");
    }
}
