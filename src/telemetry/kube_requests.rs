//! Metrics of requests to the Kubernetes API: count, outcome, and time until the response head.
//!
//! Every request of a client counts, watches too; the measured time of a watch ends with its response head.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use strum::{IntoStaticStr, VariantArray};

use super::catalog::Catalog;
use super::labels::{By, label};

/// In seconds: from a response out of a cache to one from a busy API server.
const BUCKETS: [f64; 10] = [0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The methods that the program uses.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    /// Any other.
    #[strum(serialize = "other")]
    Other,
}

impl Method {
    fn of(name: &str) -> Self {
        let mut known = Self::VARIANTS.iter().copied();
        known
            .find(|method| <&str>::from(method) == name)
            .unwrap_or(Self::Other)
    }
}

/// What a response means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum Outcome {
    Ok,
    Conflict,
    Throttled,
    Refused,
    Failed,
    Unreachable,
}

label! {
    "method": Method::into,
    "outcome": Outcome::into,
}

/// Counts requests. Clones count into the same metrics.
#[derive(Clone, Debug)]
pub struct KubeRequests {
    requests: By<(Method, Outcome), Counter>,
    took: By<Method, Histogram>,
}

impl KubeRequests {
    /// Adds the metrics to a catalog.
    pub fn register(catalog: &mut Catalog) -> Self {
        let methods = || Method::VARIANTS.iter().copied();
        let with_outcomes = |method| {
            Outcome::VARIANTS
                .iter()
                .map(move |outcome| (method, *outcome))
        };
        Self {
            requests: catalog
                .counters(
                    "kube_requests",
                    "Requests to the Kubernetes API by outcome: ok (2xx, 3xx and 404), conflict (409), throttled (429), refused (other 4xx), failed (5xx), unreachable",
                )
                .from_the_start(methods().flat_map(with_outcomes)),
            took: catalog
                .histograms(
                    "kube_request_duration_seconds",
                    "Time from a request to the Kubernetes API to the head of its response",
                    || Histogram::new(BUCKETS),
                )
                .from_the_start(methods()),
        }
    }

    /// Counts a request that was answered with `status`, or not at all.
    pub fn answered(&self, method: &str, status: Option<u16>, took: Duration) {
        let method = Method::of(method);
        self.requests.inc((method, Outcome::of(status)));
        self.took.observe(method, took.as_secs_f64());
    }
}

impl Outcome {
    const fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::Unreachable,
            // 101: the connection was upgraded. 404: the absence of an object is a valid answer.
            Some(100..=399 | 404) => Self::Ok,
            Some(409) => Self::Conflict,
            Some(429) => Self::Throttled,
            Some(400..=499) => Self::Refused,
            Some(_) => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_counted_by_its_meaning() {
        for (status, right) in [
            (Some(200), "ok"),
            (Some(404), "ok"),
            (Some(409), "conflict"),
            (Some(429), "throttled"),
            (Some(403), "refused"),
            (Some(422), "refused"),
            (Some(503), "failed"),
            (None, "unreachable"),
        ] {
            assert_eq!(<&str>::from(Outcome::of(status)), right, "{status:?}");
        }
    }

    #[test]
    fn an_unknown_method_creates_no_series() {
        let mut catalog = Catalog::new("it");
        let requests = KubeRequests::register(&mut catalog);
        requests.answered("BREW", Some(418), Duration::ZERO);
        let text = catalog.encode().unwrap();
        let line = r#"it_kube_requests_total{method="other",outcome="refused"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("BREW"));
    }
}
