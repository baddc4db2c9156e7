//! Labels of metrics as types: only a value of the label's type can be counted. Most types are closed sets; names of
//! objects are not.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// A gauge of seconds.
pub type Seconds = Gauge<f64, AtomicU64>;

/// A label and one of its values.
pub type Pair = (&'static str, Cow<'static, str>);

/// A label of a metric: the type of its values.
pub trait Label {
    /// The name of the label.
    const NAME: &'static str;

    /// Returns the value as exported.
    fn value(self) -> Cow<'static, str>;
}

/// The labels of a metric: one label, or a pair of labels.
pub trait LabelSet {
    /// The names of the labels.
    const NAMES: &'static [&'static str];
    /// The names with values.
    type Pairs: EncodeLabelSet + Clone + Eq + Hash + Debug + Send + Sync + 'static;

    /// Returns the names with values.
    fn pairs(self) -> Self::Pairs;
}

impl<L: Label> LabelSet for L {
    const NAMES: &'static [&'static str] = &[L::NAME];
    type Pairs = [Pair; 1];

    fn pairs(self) -> [Pair; 1] {
        [(L::NAME, self.value())]
    }
}

impl<A: Label, B: Label> LabelSet for (A, B) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME];
    type Pairs = [Pair; 2];

    fn pairs(self) -> [Pair; 2] {
        let (a, b) = self;
        [(A::NAME, a.value()), (B::NAME, b.value())]
    }
}

/// Implements [`Label`] for types, each with the name of the label and the function that returns the value.
macro_rules! label {
    ($($name:literal: $of:ident :: $value:ident),* $(,)?) => {$(
        impl $crate::telemetry::Label for $of {
            const NAME: &'static str = $name;

            fn value(self) -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($of::$value(self))
            }
        }
    )*};
}
pub(crate) use label;

/// Metrics of one name, one for each value of its labels.
#[derive(Clone, Debug)]
pub struct By<S: LabelSet, M>(Family<S::Pairs, M, fn() -> M>);

impl<S: LabelSet, M> By<S, M> {
    pub(super) fn new(constructor: fn() -> M) -> Self {
        Self(Family::new_with_constructor(constructor))
    }

    pub(super) fn family(&self) -> Family<S::Pairs, M, fn() -> M> {
        self.0.clone()
    }
}

impl<S: LabelSet, M: Clone> By<S, M> {
    /// Returns the metric with these labels. It exists from then on.
    pub fn of(&self, labels: S) -> M {
        self.0.get_or_create_owned(&labels.pairs())
    }

    /// Creates the metrics with these labels, so that they exist before their first event: a counter that first appears
    /// with an event shows no increase.
    #[must_use]
    pub fn from_the_start(self, all: impl IntoIterator<Item = S>) -> Self {
        for labels in all {
            drop(self.of(labels));
        }
        self
    }

    /// Removes the metric with these labels.
    pub fn remove(&self, labels: S) {
        self.0.remove(&labels.pairs());
    }

    /// Removes all metrics.
    pub fn clear(&self) {
        self.0.clear();
    }
}

impl<S: LabelSet> By<S, Counter> {
    /// Counts one event.
    pub fn inc(&self, labels: S) {
        self.0.get_or_create(&labels.pairs()).inc();
    }
}

impl<S: LabelSet> By<S, Gauge> {
    /// Sets a number.
    pub fn set(&self, labels: S, value: i64) {
        self.0.get_or_create(&labels.pairs()).set(value);
    }
}

impl<S: LabelSet> By<S, Seconds> {
    /// Sets a time in seconds.
    pub fn set(&self, labels: S, value: f64) {
        self.0.get_or_create(&labels.pairs()).set(value);
    }
}

impl<S: LabelSet> By<S, Histogram> {
    /// Observes a time in seconds.
    pub fn observe(&self, labels: S, seconds: f64) {
        self.0.get_or_create(&labels.pairs()).observe(seconds);
    }
}
