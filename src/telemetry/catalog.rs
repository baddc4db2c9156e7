//! A metrics registry that also knows the documentation of each metric.
//!
//! A metric is described where it is registered, so that tests can compare the reference, the alerts and the dashboard
//! with what is exported.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::labels::{By, LabelSet};

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows; its sample ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Its samples end in `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Type {
    /// Returns the name that Prometheus uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The documentation of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The name used in queries: a counter's ends in `_total`.
    pub name: String,
    /// The type.
    pub kind: Type,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The help text.
    pub help: &'static str,
}

/// A registry with descriptions.
#[derive(Debug)]
pub struct Catalog {
    registry: Registry,
    prefix: &'static str,
    described: Vec<Described>,
}

impl Catalog {
    /// Creates an empty catalog; every metric name starts with `prefix` and an underscore.
    pub fn new(prefix: &'static str) -> Self {
        Self {
            registry: Registry::with_prefix(prefix),
            prefix,
            described: Vec::new(),
        }
    }

    /// Adds a counter. `name` has no `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.add(Type::Counter, name, &[], help, Counter::default())
    }

    /// Adds counters with labels. `name` has no `_total`.
    pub fn counters<S: LabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> By<S, Counter> {
        self.by(Type::Counter, name, help, Counter::default)
    }

    /// Adds a gauge: of integers, or of [`Seconds`](super::Seconds).
    pub fn gauge<N, A>(&mut self, name: &'static str, help: &'static str) -> Gauge<N, A>
    where
        Gauge<N, A>: Metric + Clone + Default,
    {
        self.add(Type::Gauge, name, &[], help, Gauge::default())
    }

    /// Adds gauges with labels.
    pub fn gauges<S: LabelSet, N, A>(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> By<S, Gauge<N, A>>
    where
        Gauge<N, A>: Metric + TypedMetric + Clone + Default,
    {
        self.by(Type::Gauge, name, help, Gauge::default)
    }

    /// Adds histograms with labels. `constructor` knows the buckets.
    pub fn histograms<S: LabelSet>(
        &mut self,
        name: &'static str,
        help: &'static str,
        constructor: fn() -> Histogram,
    ) -> By<S, Histogram> {
        self.by(Type::Histogram, name, help, constructor)
    }

    fn by<S: LabelSet, M: Metric + TypedMetric + Clone>(
        &mut self,
        kind: Type,
        name: &'static str,
        help: &'static str,
        constructor: fn() -> M,
    ) -> By<S, M> {
        let metrics = By::new(constructor);
        self.add(kind, name, S::NAMES, help, metrics.family());
        metrics
    }

    fn add<M: Metric + Clone>(
        &mut self,
        kind: Type,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        let suffix = if kind == Type::Counter { "_total" } else { "" };
        self.described.push(Described {
            name: format!("{}_{name}{suffix}", self.prefix),
            kind,
            labels,
            help,
        });
        self.registry.register(name, help, metric.clone());
        metric
    }

    /// Returns the description of each metric, in the order of registration.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Encodes every sample as `OpenMetrics` text.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// The media type of the text that [`Catalog::encode`] returns.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
