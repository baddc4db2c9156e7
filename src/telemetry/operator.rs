//! The operator's metrics. Label values are closed sets: kinds, outcomes and reasons, never names, except names of
//! Identities: administrators create those, and they are few.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::KubeRequests;
use super::catalog::{Catalog, Described};

/// In seconds: a pass without a write takes about ten milliseconds, one that waits for a busy API server takes seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The kinds of passes.
const RECONCILED: [&str; 6] = [
    "Identity",
    "Scope",
    "OAuthClient",
    "ServiceAccessToken",
    "Orphan",
    "Sweep",
];

/// Event reasons that exist from the start: a series that first appears with its first event would show no increase.
const EVENTS: [&str; 15] = [
    "Issued",
    "Rotated",
    "SecretRecreated",
    "Retired",
    "Revoked",
    "Adopted",
    "Conflict",
    "Refused",
    "Waiting",
    "MintLimitReached",
    "SweepPaused",
    "KeyPublished",
    "KeyActivated",
    "KeyRetired",
    "RollingOut",
];

type Label = (&'static str, &'static str);
type Age = Gauge<f64, AtomicU64>;
/// A metric with one label whose values are Identities.
type ByIdentity<G> = Family<[(&'static str, String); 1], G>;

/// Values sampled when metrics are scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorScrape {
    /// Objects in each lane of the queue.
    pub lanes: Vec<(&'static str, usize)>,
    /// How long the oldest due object has waited.
    pub waited: Duration,
    /// How long ago the quietest watch last received anything.
    pub watch_age: Duration,
    /// Configured namespaces that the API server denies access to.
    pub refused_namespaces: usize,
    /// Objects by kind and by the reason of `Ready` that was last written or found unchanged.
    pub objects: Vec<(&'static str, &'static str, usize)>,
    /// Pods of each Identity, `<namespace>/<name>`: ready, and wanted.
    pub pods: Vec<(String, i64, i64)>,
    /// Seconds until the next signing key of each Identity, `<namespace>/<name>`, becomes active.
    pub key_rotations: Vec<(String, f64)>,
    /// Log lines that were dropped since the start.
    pub dropped_log_lines: u64,
}

/// All metrics of an operator.
#[derive(Debug)]
pub struct OperatorMetrics {
    catalog: Catalog,
    passes: Family<[Label; 2], Counter>,
    took: Family<[Label; 1], Histogram, fn() -> Histogram>,
    queue: Family<[Label; 1], Gauge>,
    waited: Age,
    objects: Family<[Label; 2], Gauge>,
    events: Family<[Label; 1], Counter>,
    leading: Gauge,
    watch_age: Age,
    refused_namespaces: Gauge,
    ready_pods: ByIdentity<Gauge>,
    wanted_pods: ByIdentity<Gauge>,
    key_rotations: ByIdentity<Age>,
    kube: KubeRequests,
    dropped_log_lines: Counter,
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        let mut catalog = Catalog::new("symbolon_operator");
        let kube = KubeRequests::register(&mut catalog);
        let constructor: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            passes: Family::default(),
            took: Family::new_with_constructor(constructor),
            queue: Family::default(),
            waited: Age::default(),
            objects: Family::default(),
            events: Family::default(),
            leading: Gauge::default(),
            watch_age: Age::default(),
            refused_namespaces: Gauge::default(),
            ready_pods: Family::default(),
            wanted_pods: Family::default(),
            key_rotations: Family::default(),
            kube,
            dropped_log_lines: Counter::default(),
            catalog,
        };
        metrics.register();
        for kind in RECONCILED {
            for outcome in ["ok", "error"] {
                drop(
                    metrics
                        .passes
                        .get_or_create(&[("kind", kind), ("outcome", outcome)]),
                );
            }
            drop(metrics.took.get_or_create(&[("kind", kind)]));
        }
        for reason in EVENTS {
            drop(metrics.events.get_or_create(&[("reason", reason)]));
        }
        metrics
    }
}

impl OperatorMetrics {
    fn register(&mut self) {
        let Self {
            catalog,
            passes,
            took,
            queue,
            waited,
            objects,
            events,
            leading,
            watch_age,
            refused_namespaces,
            ready_pods,
            wanted_pods,
            key_rotations,
            kube: _,
            dropped_log_lines,
        } = self;
        catalog.counter(
            "passes",
            &["kind", "outcome"],
            "Reconciles by outcome: ok, or error (retried with increasing back-off)",
            passes,
        );
        catalog.histogram("pass_seconds", &["kind"], "Duration of reconciles", took);
        catalog.gauge(
            "queue_objects",
            &["lane"],
            "Objects in the queue by lane: ready (due now), slow (low priority), running, later (due at a later time)",
            queue,
        );
        catalog.gauge(
            "queue_oldest_seconds",
            &[],
            "Waiting time of the oldest object in the lane `ready`",
            waited,
        );
        catalog.gauge(
            "objects",
            &["kind", "reason"],
            "Objects by the reason of their condition Ready; Unseen: not reconciled since this process became leader",
            objects,
        );
        catalog.counter(
            "events",
            &["reason"],
            "Actions and refusals by the reason of the Kubernetes Event",
            events,
        );
        catalog.gauge("leading", &[], "1 if this process is the leader", leading);
        catalog.gauge(
            "watch_age_seconds",
            &[],
            "Time since the quietest watch last received anything",
            watch_age,
        );
        catalog.gauge(
            "refused_namespaces",
            &[],
            "Configured namespaces that the API server denies access to, at least in part; their objects are not reconciled after three minutes",
            refused_namespaces,
        );
        catalog.gauge(
            "identity_ready_pods",
            &["identity"],
            "Ready pods of an Identity (NAMESPACE/NAME); absent if the operator runs none. Exported by the leader",
            ready_pods,
        );
        catalog.gauge(
            "identity_wanted_pods",
            &["identity"],
            "Desired pods of an Identity (NAMESPACE/NAME). Exported by the leader",
            wanted_pods,
        );
        catalog.gauge(
            "key_rotation_seconds",
            &["identity"],
            "Time until the next signing key of an Identity (NAMESPACE/NAME) becomes active; negative if overdue. Exported by the leader",
            key_rotations,
        );
        catalog.counter(
            "log_lines_dropped",
            &[],
            "Log lines dropped because the reader of the log was too slow or libraries wrote too many",
            dropped_log_lines,
        );
    }

    /// Returns the description of each metric.
    pub fn described(&self) -> &[Described] {
        self.catalog.described()
    }

    /// Returns the metrics of requests to the API server.
    pub const fn kube(&self) -> &KubeRequests {
        &self.kube
    }

    /// Counts one reconcile of an object of `kind`.
    pub fn passed(&self, kind: &'static str, is_good: bool, took: Duration) {
        let outcome = if is_good { "ok" } else { "error" };
        self.passes
            .get_or_create(&[("kind", kind), ("outcome", outcome)])
            .inc();
        self.took
            .get_or_create(&[("kind", kind)])
            .observe(took.as_secs_f64());
    }

    /// Counts an action for which the operator writes an Event with this reason, from the documented list.
    pub fn event(&self, reason: &'static str) {
        self.events.get_or_create(&[("reason", reason)]).inc();
    }

    /// Records whether this process is the leader.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Encodes all metrics as `OpenMetrics` text.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn encode(&self, scrape: &OperatorScrape) -> Result<String, fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for &(lane, count) in &scrape.lanes {
            self.queue
                .get_or_create(&[("lane", lane)])
                .set(number(count));
        }
        self.waited.set(scrape.waited.as_secs_f64());
        self.watch_age.set(scrape.watch_age.as_secs_f64());
        self.refused_namespaces
            .set(number(scrape.refused_namespaces));
        // A label value without objects must have no series.
        self.ready_pods.clear();
        self.wanted_pods.clear();
        for (identity, ready, wanted) in &scrape.pods {
            let labels = [("identity", identity.clone())];
            self.ready_pods.get_or_create(&labels).set(*ready);
            self.wanted_pods.get_or_create(&labels).set(*wanted);
        }
        self.key_rotations.clear();
        for (identity, seconds) in &scrape.key_rotations {
            self.key_rotations
                .get_or_create(&[("identity", identity.clone())])
                .set(*seconds);
        }
        self.objects.clear();
        for &(kind, reason, count) in &scrape.objects {
            self.objects
                .get_or_create(&[("kind", kind), ("reason", reason)])
                .set(number(count));
        }
        let counted = self.dropped_log_lines.get();
        self.dropped_log_lines
            .inc_by(scrape.dropped_log_lines.saturating_sub(counted));
        self.catalog.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_operator_is_exported() {
        let metrics = OperatorMetrics::default();
        metrics.passed("Scope", true, Duration::from_millis(7));
        metrics.event("Issued");
        metrics.leads(true);
        let mut scrape = OperatorScrape {
            lanes: vec![("ready", 3)],
            waited: Duration::from_millis(1500),
            watch_age: Duration::from_secs(2),
            refused_namespaces: 1,
            objects: vec![("Scope", "Ready", 4), ("Scope", "Invalid", 1)],
            pods: vec![("a/main".to_owned(), 1, 2), ("a/gone".to_owned(), 0, 0)],
            key_rotations: vec![("a/main".to_owned(), -60.5), ("a/gone".to_owned(), 7.0)],
            dropped_log_lines: 5,
        };
        metrics.encode(&scrape).unwrap();
        scrape.objects.pop();
        scrape.key_rotations.pop();
        scrape.pods.pop();
        let text = metrics.encode(&scrape).unwrap();
        for line in [
            r#"symbolon_operator_passes_total{kind="Scope",outcome="ok"} 1"#,
            r#"symbolon_operator_passes_total{kind="Scope",outcome="error"} 0"#,
            r#"symbolon_operator_pass_seconds_bucket{le="0.01",kind="Scope"} 1"#,
            r#"symbolon_operator_queue_objects{lane="ready"} 3"#,
            "symbolon_operator_queue_oldest_seconds 1.5",
            r#"symbolon_operator_objects{kind="Scope",reason="Ready"} 4"#,
            r#"symbolon_operator_events_total{reason="Issued"} 1"#,
            "symbolon_operator_leading 1",
            "symbolon_operator_watch_age_seconds 2.0",
            "symbolon_operator_refused_namespaces 1",
            r#"symbolon_operator_identity_ready_pods{identity="a/main"} 1"#,
            r#"symbolon_operator_identity_wanted_pods{identity="a/main"} 2"#,
            r#"symbolon_operator_key_rotation_seconds{identity="a/main"} -60.5"#,
            "symbolon_operator_log_lines_dropped_total 5",
            r#"symbolon_operator_kube_requests_total{method="GET",outcome="ok"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(
            !text.contains("Invalid"),
            "no object has this reason: {text}"
        );
        assert!(!text.contains("a/gone"), "the Identity is gone: {text}");
    }
}
