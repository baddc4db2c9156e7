//! Traces over OTLP, off unless an endpoint is configured.
//!
//! Only the spans created here are exported, with only the fields set here: spans and events of libraries and of the
//! program's log have other targets and are left out. So no log line can bring a query, header, body or secret into a
//! trace. While traces are off, a span costs one check of a flag.
//!
//! W3C Trace Context: a span continues the `traceparent` of a request, and requests to the Kubernetes API carry it on.
//! `tracestate` and baggage, which may hold any text of a caller, are dropped. The usual variables of OpenTelemetry
//! apply (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_BSP_*`).
//!
//! <https://www.w3.org/TR/trace-context/> <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

mod export;
mod outgoing;

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

pub use outgoing::{Traced, TracedLayer};

/// The target of the spans that are exported.
pub(super) const TARGET: &str = "symbolon::trace";
/// The time limit of one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The path appended to an endpoint, as the OTLP specification defines.
const PATH: &str = "v1/traces";
/// The header with the caller's trace and span.
const TRACEPARENT: &str = "traceparent";
/// Methods that a span names; any other is a caller's text and is not repeated.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

static ON: AtomicBool = AtomicBool::new(false);

/// Why tracing could not start.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is not an HTTP URL. Its text is not repeated, since it may contain a password.
    #[error(
        "invalid endpoint for traces (--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT): write a URL such as http://collector:4318"
    )]
    Endpoint,
    /// The exporter could not be created. The library's error is dropped, since it may quote the endpoint or a header.
    #[error("cannot set up the trace exporter: check the variables OTEL_EXPORTER_OTLP_*")]
    Exporter,
    /// The thread could not be started.
    #[error("cannot start the thread that exports traces")]
    Runtime(#[source] std::io::Error),
    /// The system's certificates could not be read.
    #[error("cannot read the system's certificates")]
    Certificates(#[source] std::io::Error),
}

/// Exports the remaining spans when dropped. Keep it until the end of `main`.
#[derive(Debug)]
pub struct TraceGuard(SdkTracerProvider);

impl Drop for TraceGuard {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        // The exporter has already logged what it could not send.
        drop(self.0.shutdown_with_timeout(Duration::from_secs(3)));
    }
}

/// Starts exporting to an OTLP endpoint (HTTP with protobuf). `service` is the service name unless the environment sets
/// another. Add the returned layer to the program's subscriber.
///
/// # Errors
/// [`TraceError`].
pub fn start(
    endpoint: &str,
    service: &'static str,
) -> Result<(impl Layer<Registry> + Send + Sync + use<>, TraceGuard), TraceError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(export::Sender::new()?)
        .with_endpoint(url(endpoint)?)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|_| TraceError::Exporter)?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(service))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("symbolon"))
        // Source location, thread and idle time are not needed.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(filter_fn(|span| span.is_span() && span.target() == TARGET));
    ON.store(true, Ordering::Relaxed);
    Ok((layer, TraceGuard(provider)))
}

fn url(endpoint: &str) -> Result<String, TraceError> {
    let uri: http::Uri = endpoint.parse().map_err(|_| TraceError::Endpoint)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err(TraceError::Endpoint);
    }
    let base = endpoint.trim_end_matches('/');
    Ok(if base.ends_with(PATH) {
        base.to_owned()
    } else {
        format!("{base}/{PATH}")
    })
}

fn resource(service: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    // The environment's values win; the builder has already read them.
    let is_named = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| (name, value)))
        .any(|(name, value)| **name == *"OTEL_SERVICE_NAME" || value.contains("service.name="));
    if is_named {
        builder.build()
    } else {
        builder.with_service_name(service).build()
    }
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Creates the span of a request at an endpoint, which continues the caller's trace; end it with [`answered`].
/// `traceparent` is called only while traces are exported; it returns the caller's header if its trace ID may be shown.
pub fn request<'h>(
    endpoint: &'static str,
    method: &http::Method,
    traceparent: impl FnOnce() -> Option<&'h str>,
) -> Span {
    if !is_on() {
        return Span::none();
    }
    let method = METHODS.into_iter().find(|it| *it == method.as_str());
    let method = method.unwrap_or("_OTHER");
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = format!("{method} {endpoint}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = method,
        http.route = endpoint,
        http.response.status_code = tracing::field::Empty,
    );
    let caller = TraceContextPropagator::new().extract(&Parent(traceparent()));
    // Fails only for a span that is not exported.
    drop(span.set_parent(caller));
    span
}

/// The only header of a caller that a trace uses: it holds only numbers.
struct Parent<'a>(Option<&'a str>);

impl Extractor for Parent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.filter(|_| name == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// Records the status of the answer.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Creates the span of one reconcile; end it with [`passed`].
pub fn pass(kind: &'static str, what: &impl Display) -> Span {
    if !is_on() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET,
        parent: None,
        "pass",
        otel.name = format!("reconcile {kind}"),
        otel.kind = "internal",
        otel.status_code = tracing::field::Empty,
        symbolon.kind = kind,
        symbolon.object = %what,
    )
}

/// Records whether the reconcile succeeded.
pub fn passed(span: &Span, is_good: bool) {
    if !is_good {
        span.record("otel.status_code", "ERROR");
    }
}

/// Returns the headers that carry the current trace on; empty without a trace.
fn carried() -> HashMap<String, String> {
    let mut headers = HashMap::new();
    if is_on() {
        let context = Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut headers);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_or_a_full_url() {
        for (endpoint, right) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            (
                "https://otlp.example.com/x",
                "https://otlp.example.com/x/v1/traces",
            ),
            (
                "http://collector:4318/v1/traces",
                "http://collector:4318/v1/traces",
            ),
        ] {
            assert_eq!(url(endpoint).unwrap(), right);
        }
        for bad in ["collector:4318", "", "grpc://collector:4317", "/v1/traces"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let error = url("ftp://user:CANARY@collector:4318").unwrap_err();
        let words = format!("{error} {error:?}");
        assert!(!words.contains("CANARY"), "{words}");
    }

    #[test]
    fn without_an_endpoint_there_is_no_span() {
        let span = request("token", &http::Method::POST, || {
            panic!("not called while traces are off")
        });
        assert!(span.is_none());
        assert!(pass("Scope", &"shop/orders").is_none());
        assert!(carried().is_empty());
    }
}
