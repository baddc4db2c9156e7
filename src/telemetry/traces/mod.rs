//! Traces over OTLP, off unless an endpoint is named.
//!
//! Only the spans that are made here leave the program, with the fields that they are given here: spans and events
//! of libraries, and of our own log, have other targets and are left out. So no query, header, body or secret can get
//! into a trace by somebody's log line. While traces are off a span costs one look at a flag.
//!
//! W3C Trace Context: a request's `traceparent` is continued, and requests to the Kubernetes API carry it on. Its
//! `tracestate`, which may hold any text of a caller, is left out, as is baggage. The usual variables of OpenTelemetry hold (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*`).
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
/// For one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is appended to an endpoint, as the OTLP specification has it.
const PATH: &str = "v1/traces";
/// The header of a caller that names its trace and span.
const TRACEPARENT: &str = "traceparent";
/// Methods whose names are repeated; others are a caller's text.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

static ON: AtomicBool = AtomicBool::new(false);

/// Why traces could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is no URL of HTTP.
    #[error("`{0}` is no endpoint for traces: write it as http://collector:4318")]
    Endpoint(String),
    /// The exporter could not be made.
    #[error("the exporter of traces could not be set up")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// No thread could be made.
    #[error("the thread that exports traces could not be started")]
    Runtime(#[source] std::io::Error),
    /// The certificates of the system cannot be read.
    #[error("the certificates of the system cannot be read")]
    Certificates(#[source] std::io::Error),
}

/// Sends what is left when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
pub struct TraceGuard(SdkTracerProvider);

impl Drop for TraceGuard {
    fn drop(&mut self) {
        ON.store(false, Ordering::Relaxed);
        // The exporter has told of what it could not send.
        drop(self.0.shutdown_with_timeout(Duration::from_secs(3)));
    }
}

/// Begins to export to an OTLP endpoint (HTTP with protobuf), for a service of this name unless the environment names
/// another. Spans get there through the layer, once it is part of the program's subscriber.
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
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(service))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("symbolon"))
        // Where in the source a span was made, on which thread, for how long it was idle: nobody's question.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(filter_fn(|span| span.is_span() && span.target() == TARGET));
    ON.store(true, Ordering::Relaxed);
    Ok((layer, TraceGuard(provider)))
}

fn url(endpoint: &str) -> Result<String, TraceError> {
    let bad = || TraceError::Endpoint(endpoint.to_owned());
    let uri: http::Uri = endpoint.parse().map_err(|_| bad())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err(bad());
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
    // What the environment says wins; the builder has read it.
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

/// A request at an endpoint, continuing its caller's trace; end it with [`answered`]. `traceparent` is asked for only while
/// traces are exported, and answers with the caller's header where its trace id may be shown.
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
    // It fails for a span that is not exported.
    drop(span.set_parent(caller));
    span
}

/// The one header of a caller that a trace continues: it holds numbers alone.
struct Parent<'a>(Option<&'a str>);

impl Extractor for Parent<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.filter(|_| name == TRACEPARENT)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// Says how a request was answered.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// A look of the operator at one thing; end it with [`passed`].
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

/// Says whether a look went well.
pub fn passed(span: &Span, is_good: bool) {
    if !is_good {
        span.record("otel.status_code", "ERROR");
    }
}

/// The headers that carry the current trace on; none where there is no trace.
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
    fn an_endpoint_is_a_base_or_the_whole() {
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
    }

    #[test]
    fn without_an_endpoint_there_is_no_span() {
        let span = request("token", &http::Method::POST, || {
            panic!("it is not asked for")
        });
        assert!(span.is_none());
        assert!(pass("Scope", &"shop/orders").is_none());
        assert!(carried().is_empty());
    }
}
