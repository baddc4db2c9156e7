//! A layer over a Kubernetes client: counts requests, creates a span for each within the current trace, and passes the
//! trace on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};

use super::{TARGET, carried, is_on};
use crate::telemetry::KubeRequests;

/// Wraps clients as [`Traced`].
#[derive(Clone, Debug)]
pub struct TracedLayer(pub KubeRequests);

/// A client whose requests are counted and traced.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
    requests: KubeRequests,
}

impl<S> Layer<S> for TracedLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced {
            inner,
            requests: self.0.clone(),
        }
    }
}

impl<S, In, Out> Service<Request<In>> for Traced<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Out>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let span = span(&request);
        span.in_scope(|| carry(&mut request));
        let requests = self.requests.clone();
        let method = request.method().clone();
        let started = Instant::now();
        let answer = self.inner.call(request);
        let told = span.clone();
        let counted = async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            requests.answered(method.as_str(), status, started.elapsed());
            if let Some(status) = status {
                told.record("http.response.status_code", status);
            }
            if status.is_none_or(|status| status >= 500) {
                told.record("otel.status_code", "ERROR");
            }
            answer
        };
        Box::pin(counted.instrument(span))
    }
}

/// Creates a span within the current one; `Span::none` for requests outside of a span, such as watches. The path holds
/// names but no values; the query is left out.
fn span<In>(request: &Request<In>) -> Span {
    if !is_on() || Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET,
        "kubernetes",
        otel.name = format!("{} kubernetes", request.method()),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        http.request.method = request.method().as_str(),
        url.path = request.uri().path(),
        http.response.status_code = tracing::field::Empty,
    )
}

fn carry<In>(request: &mut Request<In>) {
    for (name, value) in carried() {
        let name = HeaderName::try_from(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            request.headers_mut().insert(name, value);
        }
    }
}
