//! A metrics registry that also knows the documentation of each metric.
//!
//! A metric is described where it is registered, so that tests can compare the reference, the alerts and the dashboard
//! with what is exported.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

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
    /// The label names; the values of each label are a closed set.
    pub labels: &'static [&'static str],
    /// The help text.
    pub help: &'static str,
}

/// A registry with descriptions.
#[derive(Debug)]
pub(super) struct Catalog {
    registry: Registry,
    prefix: &'static str,
    described: Vec<Described>,
}

impl Catalog {
    /// Creates an empty catalog; every metric name starts with `prefix` and an underscore.
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            registry: Registry::with_prefix(prefix),
            prefix,
            described: Vec::new(),
        }
    }

    /// Adds a counter. `name` has no `_total`.
    pub(super) fn counter(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: &(impl Metric + Clone),
    ) {
        self.add(Type::Counter, name, labels, help, metric.clone());
    }

    /// Adds a gauge.
    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: &(impl Metric + Clone),
    ) {
        self.add(Type::Gauge, name, labels, help, metric.clone());
    }

    /// Adds a histogram.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: &(impl Metric + Clone),
    ) {
        self.add(Type::Histogram, name, labels, help, metric.clone());
    }

    fn add(
        &mut self,
        kind: Type,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: impl Metric,
    ) {
        let suffix = if kind == Type::Counter { "_total" } else { "" };
        self.described.push(Described {
            name: format!("{}_{name}{suffix}", self.prefix),
            kind,
            labels,
            help,
        });
        self.registry.register(name, help, metric);
    }

    /// Returns the description of each metric, in the order of registration.
    pub(super) fn described(&self) -> &[Described] {
        &self.described
    }

    /// Encodes every sample as `OpenMetrics` text.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// The media type of the text that [`Catalog::encode`] returns.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
