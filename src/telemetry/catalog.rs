//! What a program measures: a registry that also knows, of every metric, what the documentation says of it.
//!
//! A metric is described where it is registered, so that the reference, the alerts and the dashboard can be compared
//! with what is exported.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

/// What samples of a metric mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Its samples end in `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Type {
    /// As Prometheus calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is said of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name, as it is asked for: a counter's with `_total`.
    pub name: String,
    /// What its samples mean.
    pub kind: Type,
    /// Names of its labels; the values of each are of a closed set.
    pub labels: &'static [&'static str],
    /// What it says.
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
    /// An empty one; every name begins with `prefix` and an underscore.
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            registry: Registry::with_prefix(prefix),
            prefix,
            described: Vec::new(),
        }
    }

    /// Adds a counter, named without `_total`.
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

    /// What there is, in the order of addition.
    pub(super) fn described(&self) -> &[Described] {
        &self.described
    }

    /// Every sample, as `OpenMetrics` text.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// The media type of what [`Catalog::encode`] makes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
