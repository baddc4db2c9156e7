//! Traces over OTLP: the parents of spans, the propagated context, and that no secret is exported.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod collector;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::process::Command;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use symbolon::server::Metrics;
use symbolon::telemetry::traces::{self, TracedLayer};
use tower::{Layer as _, Service};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use collector::{Collector, hex, text};
use support::{Client, Dev, Folder};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const STRANGERS: &str = "7777777777777777777777777777abcd";

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// Replies 200 with the request's `traceparent` as the body.
#[derive(Clone)]
struct Echo;

impl Service<Request<()>> for Echo {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let carried = request.headers().get("traceparent");
        let carried = carried.map(|it| it.to_str().unwrap().to_owned());
        ready(Ok(Response::new(carried.unwrap_or_default())))
    }
}

#[tokio::test]
async fn a_callers_trace_is_continued_and_propagated_to_the_api_server() {
    let (collector, endpoint) = Collector::start();
    let (layer, guard) = traces::start(&endpoint, "symbolon-test").unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    let _default = tracing::subscriber::set_default(subscriber);
    let metrics = Metrics::default();
    let mut client = TracedLayer(metrics.kube().clone()).layer(Echo);
    let ask = || Request::get("/api/v1/namespaces/shop/secrets/a?watch=canary").body(());

    // A request outside any span has no span of its own and sends no context.
    let outside = client.call(ask().unwrap()).await.unwrap().into_body();
    assert_eq!(outside, "");

    let parent = traceparent();
    let span = traces::request("token", &Method::POST, || Some(parent.as_str()));
    let asking = async { client.call(ask().unwrap()).await.unwrap().into_body() };
    let carried = asking.instrument(span.clone()).await;
    traces::answered(&span, 503);
    drop(span);
    drop(guard);

    let [request] = &collector.spans("POST token")[..] else {
        panic!("expected one request");
    };
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(
        request.status.as_ref().unwrap().code,
        2,
        "a 503 is an error"
    );
    let [asked] = &collector.spans("GET kubernetes")[..] else {
        panic!("expected one request to the API server");
    };
    assert_eq!(asked.parent_span_id, request.span_id);
    let expected = format!("00-{TRACE}-{}-01", hex(&asked.span_id));
    assert_eq!(carried, expected);
    let path = text(&asked.attributes, "url.path").unwrap();
    assert_eq!(path, "/api/v1/namespaces/shop/secrets/a");
    assert_eq!(collector.services(), ["symbolon-test"]);
    assert!(!holds(&collector.bytes(), "canary"), "no query is exported");
}

/// Sends a request from an address that is not a trusted proxy.
fn check_as_a_stranger(url: &str, traceparent: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asking = async {
        let client = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 2]));
        let request = client.build()?.get(url.replace("localhost", "127.0.0.1"));
        request.header("traceparent", traceparent).send().await
    };
    let reply = runtime.unwrap().block_on(asking).unwrap();
    assert_eq!(reply.status(), 401);
}

#[test]
fn dev_mode_exports_requests_and_passes_but_no_secret() {
    let (collector, endpoint) = Collector::start();
    let folder = Folder::copy_of("examples/quickstart");
    folder.replace(
        "1-platform.yaml",
        "  access:\n",
        "  network: {trustedProxies: [127.0.0.1/32]}\n  access:\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command
        .arg("dev")
        .arg(folder.path())
        .args(["--otlp-endpoint", &endpoint])
        // No log line must get into a trace, even at the most verbose level.
        .args(["--log", "trace"]);
    let dev = Dev::start_command(command);
    let client = Client::of(&folder.secret("shop", "backend-client", "client-secret"));
    let issued = client.token();
    let token = folder.secret("shop", "nightly-report-token", "token")["token"].clone();
    let bearer = format!("Bearer {token}");
    let parent = traceparent();
    let headers = [
        ("authorization", &*bearer),
        ("traceparent", &*parent),
        ("tracestate", "vendor=canary-state"),
        ("baggage", "user=canary-baggage"),
        ("x-request-id", "canary-id"),
        ("user-agent", "canary-agent"),
        ("x-note", "canary-header"),
    ];
    let (status, _) = dev.get(
        "/connect/checktoken/api?access_token=canary-query",
        &headers,
    );
    assert_eq!(status, 200);
    assert_eq!(dev.check("api", &format!("{token}x")), 401);
    let strangers = format!("00-{STRANGERS}-{CALLER}-01");
    check_as_a_stranger(&dev.url("/connect/checktoken/api"), &strangers);
    let (status, _) = dev.terminate();
    assert!(status.success());

    assert_eq!(collector.services().first().unwrap(), "symbolon-dev");
    let checks = collector.spans("GET checktoken");
    let ours = checks.iter().find(|span| hex(&span.trace_id) == TRACE);
    let ours = ours.expect("the proxy's trace is continued");
    assert!(!checks.iter().any(|span| hex(&span.trace_id) == STRANGERS));
    assert_eq!(hex(&ours.parent_span_id), CALLER);
    let status = text(&ours.attributes, "http.response.status_code");
    assert_eq!(status.as_deref(), Some("200"));
    assert!(
        checks.len() > 1,
        "a request without a parent starts a new trace"
    );
    assert_eq!(collector.spans("POST token").len(), 1);
    let passes = collector.spans("reconcile ServiceAccessToken");
    let object = text(&passes[0].attributes, "symbolon.object");
    assert_eq!(
        object.as_deref(),
        Some("ServiceAccessToken shop/nightly-report")
    );

    let bytes = collector.bytes();
    for secret in [&client.secret, &token, &issued] {
        assert!(!holds(&bytes, secret), "a secret is exported");
        assert!(
            !holds(&bytes, &secret[secret.len() - 40..]),
            "a secret is exported"
        );
    }
    for canary in [
        "canary-header",
        "canary-query",
        "canary-state",
        "canary-baggage",
        "canary-id",
        "canary-agent",
    ] {
        assert!(!holds(&bytes, canary), "{canary} is exported");
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}
