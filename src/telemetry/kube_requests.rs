//! Metrics of requests to the Kubernetes API: count, outcome, and time until the response head.
//!
//! Every request of a client counts, watches too; the measured time of a watch ends with its response head.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::catalog::Catalog;

/// In seconds: from a response out of a cache to one from a busy API server.
const BUCKETS: [f64; 10] = [0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The methods that the program uses; any other is `other`.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "other"];

/// What a response means to the caller.
const OUTCOMES: [&str; 6] = [
    "ok",
    "conflict",
    "throttled",
    "refused",
    "failed",
    "unreachable",
];

type Labels = [(&'static str, &'static str); 2];
type Durations = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// Counts requests. Clones count into the same metrics.
#[derive(Clone, Debug)]
pub struct KubeRequests {
    requests: Family<Labels, Counter>,
    took: Durations,
}

impl KubeRequests {
    pub(super) fn register(catalog: &mut Catalog) -> Self {
        let requests = Family::<Labels, Counter>::default();
        let constructor: fn() -> Histogram = || Histogram::new(BUCKETS);
        let took = Family::new_with_constructor(constructor);
        for method in METHODS {
            for outcome in OUTCOMES {
                drop(requests.get_or_create(&[("method", method), ("outcome", outcome)]));
            }
            drop(took.get_or_create(&[("method", method)]));
        }
        catalog.counter(
            "kube_requests",
            &["method", "outcome"],
            "Requests to the Kubernetes API by outcome: ok (2xx, 3xx and 404), conflict (409), throttled (429), refused (other 4xx), failed (5xx), unreachable",
            &requests,
        );
        catalog.histogram(
            "kube_request_duration_seconds",
            &["method"],
            "Time from a request to the Kubernetes API to the head of its response",
            &took,
        );
        Self { requests, took }
    }

    /// Counts a request that was answered with `status`, or not at all.
    pub fn answered(&self, method: &str, status: Option<u16>, took: Duration) {
        let method = METHODS.into_iter().find(|it| *it == method);
        let method = method.unwrap_or("other");
        let outcome = outcome(status);
        self.requests
            .get_or_create(&[("method", method), ("outcome", outcome)])
            .inc();
        self.took
            .get_or_create(&[("method", method)])
            .observe(took.as_secs_f64());
    }
}

const fn outcome(status: Option<u16>) -> &'static str {
    match status {
        None => "unreachable",
        // 101: the connection was upgraded. 404: the absence of an object is a valid answer.
        Some(100..=399 | 404) => "ok",
        Some(409) => "conflict",
        Some(429) => "throttled",
        Some(400..=499) => "refused",
        Some(_) => "failed",
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
            assert_eq!(outcome(status), right, "{status:?}");
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
