//! The operator's metrics. Every label is a type with a closed set of values: kinds, outcomes and reasons, never names,
//! except names of Identities: administrators create those, and they are few.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use strum::{IntoStaticStr, VariantArray};

use super::events::EventReason;
use crate::directory::Reason;
use crate::reconcile::work::queue::Depth;
use crate::reconcile::work::{Work, WorkKind};
use crate::resources::Kind;
use crate::telemetry::{By, Catalog, Described, KubeRequests, Label, Seconds, label};

/// In seconds: a pass without a write takes about ten milliseconds, one that waits for a busy API server takes seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How a pass ends.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum Outcome {
    Ok,
    Error,
}

/// A lane of the queue.
#[derive(Clone, Copy, Debug, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum Lane {
    Ready,
    Slow,
    Running,
    Later,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug)]
struct OfKind(Kind);

/// The reason of an object's condition `Ready`, if it was reconciled.
#[derive(Clone, Copy, Debug)]
struct ReadyReason(Option<Reason>);

/// An Identity, `<namespace>/<name>`.
#[derive(Clone, Debug)]
struct OfIdentity(String);

impl Label for OfKind {
    const NAME: &'static str = "kind";

    fn value(self) -> Cow<'static, str> {
        self.0.as_str().into()
    }
}

impl Label for ReadyReason {
    const NAME: &'static str = "reason";

    fn value(self) -> Cow<'static, str> {
        self.0.map_or("Unseen", Reason::as_str).into()
    }
}

impl Label for OfIdentity {
    const NAME: &'static str = "identity";

    fn value(self) -> Cow<'static, str> {
        self.0.into()
    }
}

label! {
    "kind": WorkKind::as_str,
    "outcome": Outcome::into,
    "lane": Lane::into,
    "reason": EventReason::as_str,
}

/// Values sampled when metrics are scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorScrape {
    /// The size of the queue.
    pub queue: Depth,
    /// How long ago the quietest watch last received anything.
    pub watch_age: Duration,
    /// Configured namespaces that the API server denies access to.
    pub refused_namespaces: usize,
    /// Objects by kind and by the reason of `Ready` that was last written or found unchanged; `None` for objects that
    /// this process has not reconciled.
    pub objects: Vec<(Kind, Option<Reason>, usize)>,
    /// Pods of each Identity, `<namespace>/<name>`: ready, and wanted.
    pub pods: Vec<(String, i64, i64)>,
    /// The time until the next signing key of each Identity, `<namespace>/<name>`, becomes active.
    pub key_rotations: Vec<(String, SignedDuration)>,
    /// Log lines that were dropped since the start.
    pub dropped_log_lines: u64,
}

/// All metrics of an operator.
#[derive(Debug)]
pub struct OperatorMetrics {
    kube: KubeRequests,
    passes: By<(WorkKind, Outcome), Counter>,
    took: By<WorkKind, Histogram>,
    queue: By<Lane, Gauge>,
    waited: Seconds,
    objects: By<(OfKind, ReadyReason), Gauge>,
    events: By<EventReason, Counter>,
    leading: Gauge,
    watch_age: Seconds,
    refused_namespaces: Gauge,
    ready_pods: By<OfIdentity, Gauge>,
    wanted_pods: By<OfIdentity, Gauge>,
    key_rotations: By<OfIdentity, Seconds>,
    dropped_log_lines: Counter,
    catalog: Catalog,
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        let mut catalog = Catalog::new("symbolon_operator");
        let outcomes = |kind| {
            Outcome::VARIANTS
                .iter()
                .map(move |outcome| (kind, *outcome))
        };
        Self {
            kube: KubeRequests::register(&mut catalog),
            passes: catalog
                .counters(
                    "passes",
                    "Reconciles by outcome: ok, or error (retried with increasing back-off)",
                )
                .from_the_start(WorkKind::ALL.into_iter().flat_map(outcomes)),
            took: catalog
                .histograms("pass_seconds", "Duration of reconciles", || {
                    Histogram::new(BUCKETS)
                })
                .from_the_start(WorkKind::ALL),
            queue: catalog.gauges(
                "queue_objects",
                "Objects in the queue by lane: ready (due now), slow (low priority), running, later (due at a later time)",
            ),
            waited: catalog.gauge(
                "queue_oldest_seconds",
                "Waiting time of the oldest object in the lane `ready`",
            ),
            objects: catalog.gauges(
                "objects",
                "Objects by the reason of their condition Ready; Unseen: not reconciled since this process became leader",
            ),
            events: catalog
                .counters(
                    "events",
                    "Actions and refusals by the reason of the Kubernetes Event",
                )
                .from_the_start(EventReason::VARIANTS.iter().copied()),
            leading: catalog.gauge("leading", "1 if this process is the leader"),
            watch_age: catalog.gauge(
                "watch_age_seconds",
                "Time since the quietest watch last received anything",
            ),
            refused_namespaces: catalog.gauge(
                "refused_namespaces",
                "Configured namespaces that the API server denies access to, at least in part; their objects are not reconciled after three minutes",
            ),
            ready_pods: catalog.gauges(
                "identity_ready_pods",
                "Ready pods of an Identity (NAMESPACE/NAME); absent if the operator runs none. Exported by the leader",
            ),
            wanted_pods: catalog.gauges(
                "identity_wanted_pods",
                "Desired pods of an Identity (NAMESPACE/NAME). Exported by the leader",
            ),
            key_rotations: catalog.gauges(
                "key_rotation_seconds",
                "Time until the next signing key of an Identity (NAMESPACE/NAME) becomes active; negative if overdue. Exported by the leader",
            ),
            dropped_log_lines: catalog.counter(
                "log_lines_dropped",
                "Log lines dropped because the reader of the log was too slow or libraries wrote too many",
            ),
            catalog,
        }
    }
}

impl OperatorMetrics {
    /// Returns the description of each metric.
    pub fn described(&self) -> &[Described] {
        self.catalog.described()
    }

    /// Returns the metrics of requests to the API server.
    pub const fn kube(&self) -> &KubeRequests {
        &self.kube
    }

    /// Counts one reconcile.
    pub fn passed(&self, work: &Work, is_good: bool, took: Duration) {
        let outcome = if is_good { Outcome::Ok } else { Outcome::Error };
        self.passes.inc((work.kind(), outcome));
        self.took.observe(work.kind(), took.as_secs_f64());
    }

    /// Counts an action for which the operator writes an Event with this reason.
    pub fn event(&self, reason: EventReason) {
        self.events.inc(reason);
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
        let queue = &scrape.queue;
        for (lane, count) in [
            (Lane::Ready, queue.ready),
            (Lane::Slow, queue.slow),
            (Lane::Running, queue.running),
            (Lane::Later, queue.later),
        ] {
            self.queue.set(lane, number(count));
        }
        self.waited.set(queue.waited.as_secs_f64());
        self.watch_age.set(scrape.watch_age.as_secs_f64());
        self.refused_namespaces
            .set(number(scrape.refused_namespaces));
        // A label value without objects must have no series.
        self.ready_pods.clear();
        self.wanted_pods.clear();
        for (identity, ready, wanted) in &scrape.pods {
            self.ready_pods.set(OfIdentity(identity.clone()), *ready);
            self.wanted_pods.set(OfIdentity(identity.clone()), *wanted);
        }
        self.key_rotations.clear();
        for (identity, wait) in &scrape.key_rotations {
            self.key_rotations
                .set(OfIdentity(identity.clone()), wait.as_secs_f64());
        }
        self.objects.clear();
        for &(kind, reason, count) in &scrape.objects {
            self.objects
                .set((OfKind(kind), ReadyReason(reason)), number(count));
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
    use crate::directory::ObjectKey;

    #[test]
    fn every_metric_of_the_operator_is_exported() {
        let metrics = OperatorMetrics::default();
        let scope = Work::Object(Kind::Scope, ObjectKey::new("shop", "orders"));
        metrics.passed(&scope, true, Duration::from_millis(7));
        metrics.event(EventReason::Issued);
        metrics.leads(true);
        let mut scrape = OperatorScrape {
            queue: Depth {
                ready: 3,
                waited: Duration::from_millis(1500),
                ..Depth::default()
            },
            watch_age: Duration::from_secs(2),
            refused_namespaces: 1,
            objects: vec![
                (Kind::Scope, Some(Reason::Ready), 4),
                (Kind::Scope, Some(Reason::Invalid), 1),
            ],
            pods: vec![("a/main".to_owned(), 1, 2), ("a/gone".to_owned(), 0, 0)],
            key_rotations: vec![
                ("a/main".to_owned(), SignedDuration::from_millis(-60_500)),
                ("a/gone".to_owned(), SignedDuration::from_secs(7)),
            ],
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

    /// A series that first appears with its first event shows no increase.
    #[test]
    fn every_kind_of_work_and_every_event_is_exported_from_the_start() {
        let text = OperatorMetrics::default();
        let text = text.encode(&OperatorScrape::default()).unwrap();
        for kind in WorkKind::ALL.map(WorkKind::as_str) {
            for outcome in ["ok", "error"] {
                let line = format!(
                    r#"symbolon_operator_passes_total{{kind="{kind}",outcome="{outcome}"}} 0"#
                );
                assert!(text.contains(&line), "{line} in {text}");
            }
        }
        for reason in EventReason::VARIANTS {
            let reason = reason.as_str();
            let line = format!(r#"symbolon_operator_events_total{{reason="{reason}"}} 0"#);
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
