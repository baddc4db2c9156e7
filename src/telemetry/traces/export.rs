//! Exports traces with the HTTP client and TLS that the rest of the program uses.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use super::{TIMEOUT, TraceError};

/// The longest response read; a collector answers with a few bytes.
const LONGEST_ANSWER: usize = 64 << 10;
/// An unused connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// An HTTP client with its own runtime: the exporter calls it from a plain thread, until the program ends.
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Runtime,
    /// Whether the last export failed, so that a lasting failure is logged once.
    is_failing: AtomicBool,
}

impl Sender {
    pub(super) fn new() -> Result<Self, TraceError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(TraceError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .map_err(TraceError::Runtime)?;
        Ok(Self {
            client,
            runtime,
            is_failing: AtomicBool::new(false),
        })
    }

    fn tell(&self, fault: Option<&str>) {
        let failed_before = self.is_failing.swap(fault.is_some(), Ordering::Relaxed);
        match fault {
            Some(fault) if !failed_before => warn!(fault, "trace export failed, will retry"),
            None if failed_before => info!("trace export works again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new));
        let exchange = async {
            let (head, body) = answer.await?.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // A timer must be created within the runtime.
        let bounded = async { tokio::time::timeout(TIMEOUT, exchange).await };
        let exchange = self.runtime.spawn(bounded);
        let answer = match exchange.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(late)) => Err(late.into()),
            Err(ended) => Err(ended.into()),
        };
        match &answer {
            Ok(answer) if answer.status().is_success() => self.tell(None),
            Ok(answer) => self.tell(Some(answer.status().as_str())),
            Err(error) => self.tell(Some(&deepest(&**error))),
        }
        answer
    }
}

/// Returns the text of the innermost error, which states the cause.
fn deepest(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}
