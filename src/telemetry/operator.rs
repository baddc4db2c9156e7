//! Metrics of the operator. Labels are of closed sets: kinds and outcomes, never names.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds: a pass without a write takes about ten milliseconds, one that waits for a busy API server seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Passed {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    lane: &'static str,
}

/// What the operator counts.
#[derive(Debug)]
pub struct OperatorMetrics {
    registry: Registry,
    passes: Family<Passed, Counter>,
    took: Family<OfKind, Histogram>,
    queue: Family<Lane, Gauge>,
    leading: Gauge,
    watch_age: Gauge<f64, AtomicU64>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for OperatorMetrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("symbolon_operator");
        let passes = Family::default();
        let took = Family::new_with_constructor(histogram as fn() -> Histogram);
        let queue = Family::default();
        let leading = Gauge::default();
        let watch_age = Gauge::default();
        registry.register(
            "passes",
            "Looks at objects, by kind and outcome",
            passes.clone(),
        );
        registry.register(
            "pass_seconds",
            "How long looks at objects took",
            took.clone(),
        );
        registry.register(
            "queue_objects",
            "Objects to be looked at, by lane",
            queue.clone(),
        );
        registry.register("leading", "Whether this process writes", leading.clone());
        registry.register(
            "watch_age_seconds",
            "How long ago the quietest watch was last heard",
            watch_age.clone(),
        );
        Self {
            registry,
            passes,
            took,
            queue,
            leading,
            watch_age,
        }
    }
}

impl OperatorMetrics {
    /// A look at an object of a kind came to its end.
    pub fn passed(&self, kind: &'static str, is_good: bool, took: Duration) {
        let outcome = if is_good { "ok" } else { "error" };
        self.passes.get_or_create(&Passed { kind, outcome }).inc();
        self.took
            .get_or_create(&OfKind { kind })
            .observe(took.as_secs_f64());
    }

    /// Objects in one lane of the queue.
    pub fn queued(&self, lane: &'static str, count: usize) {
        self.queue
            .get_or_create(&Lane { lane })
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// How long ago the quietest watch was last heard.
    pub fn watch_age(&self, age: Duration) {
        self.watch_age.set(age.as_secs_f64());
    }

    /// All of it, as `OpenMetrics` text.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_told() {
        let metrics = OperatorMetrics::default();
        metrics.passed("Scope", true, Duration::from_millis(7));
        metrics.queued("ready", 3);
        metrics.leads(true);
        metrics.watch_age(Duration::from_secs(2));
        let text = metrics.encode().unwrap();
        for line in [
            "symbolon_operator_passes_total{kind=\"Scope\",outcome=\"ok\"} 1",
            "symbolon_operator_pass_seconds_count{kind=\"Scope\"} 1",
            "symbolon_operator_queue_objects{lane=\"ready\"} 3",
            "symbolon_operator_leading 1",
            "symbolon_operator_watch_age_seconds 2.0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
