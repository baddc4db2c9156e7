//! Traces of the real operator and server: their spans and parents, and the context that they send to the API server. A
//! proxy in between records the requests.

use http::StatusCode;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use symbolon::resources::Identity;

use self::collector::{Collector, hex, text};
use super::process::Operator;
use super::proxy::{Asked, Pass, Proxy};
use super::serving::Server;
use super::world::World;
use crate::harness::{Cluster, eventually};

#[path = "../../traces/collector.rs"]
#[allow(dead_code, reason = "the tests of traces use the rest")]
mod collector;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Whether a request with this method, path and context was passed on.
fn was_asked(asked: &[Asked], method: &str, path: &str, traceparent: &str) -> bool {
    asked.iter().any(|it| {
        it.method == method && it.path == path && it.traceparent.as_deref() == Some(traceparent)
    })
}

/// Asserts that a span has child spans for requests to the API server, and that each request carries its span's
/// context.
fn assert_context_is_sent(collector: &Collector, asked: &[Asked], method: &str, within: &[u8]) {
    let spans = collector.spans(&format!("{method} kubernetes"));
    let below: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == within)
        .collect();
    assert!(
        !below.is_empty(),
        "no {method} request in the span: {spans:#?}"
    );
    for span in below {
        let (trace, id) = (hex(&span.trace_id), hex(&span.span_id));
        let path = text(&span.attributes, "url.path").unwrap();
        let carried = was_asked(asked, method, &path, &format!("00-{trace}-{id}-01"));
        assert!(carried, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_and_server_export_spans_and_send_their_context_to_the_api_server() {
    let world = World::new(Cluster::shared()).await;
    // The test is a proxy, whose trace the server continues.
    let network = json!({"spec": {"network": {"trustedProxies": ["127.0.0.0/8", "::1/128"]}}});
    let identities = world.platform.api::<Identity>();
    identities
        .patch("main", &PatchParams::default(), &Patch::Merge(network))
        .await
        .unwrap();
    let proxy = Proxy::start(&world, |_| Pass::AtOnce).await;
    let kubeconfig = proxy.kubeconfig_path();
    let (collector, endpoint) = Collector::start();
    let traced = ["--otlp-endpoint", &endpoint];
    let mut operator = Operator::start_with(&world, &kubeconfig, &traced);
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    let server = Server::start(&world, &kubeconfig, &traced).await;
    server.soon("the token is accepted", &token, true).await;
    let credentials = eventually("the client has a secret", async || {
        world.secret("backend-client").await?.data
    })
    .await;
    let value = |key: &str| String::from_utf8(credentials[key].0.clone()).unwrap();
    let (id, secret) = (value("client-id"), value("client-secret"));
    let forms = [
        ("connect/token", [("grant_type", "client_credentials")]),
        ("connect/revocation", [("token", &*token)]),
    ];
    for (path, form) in forms {
        let request = server.http.post(server.url(path));
        let request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
        let request = request.basic_auth(&id, Some(&secret)).form(&form);
        let status = request.send().await.unwrap().status();
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    // Both export the remaining spans when they end.
    operator.end().await;
    server.end();

    let asked = proxy.asked();
    let mut services = collector.services();
    services.sort();
    services.dedup();
    assert_eq!(services, ["symbolon-operator", "symbolon-server"]);

    let about = format!("ServiceAccessToken {}/nightly", world.team.name());
    let looks = collector.spans("reconcile ServiceAccessToken");
    let looks: Vec<_> = looks
        .iter()
        .filter(|span| text(&span.attributes, "symbolon.object").as_ref() == Some(&about))
        .collect();
    let writes = collector.spans("PUT kubernetes");
    let issuing = looks
        .iter()
        .find(|look| writes.iter().any(|it| it.parent_span_id == look.span_id));
    let issuing = issuing.expect("a pass over the token made a write");
    for method in ["GET", "PUT"] {
        assert_context_is_sent(&collector, &asked, method, &issuing.span_id);
    }

    let requests = collector.spans("POST token");
    let [request] = &requests[..] else {
        panic!("expected one token request: {requests:#?}");
    };
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    let revocations = collector.spans("POST revocation");
    let [revocation] = &revocations[..] else {
        panic!("expected one revocation: {revocations:#?}");
    };
    assert_eq!(hex(&revocation.trace_id), TRACE);
    assert_context_is_sent(&collector, &asked, "PATCH", &revocation.span_id);

    let watches: Vec<_> = asked.iter().filter(|it| it.is_watch).collect();
    assert!(!watches.is_empty());
    let carried = watches.iter().find(|it| it.traceparent.is_some());
    assert!(carried.is_none(), "a watch belongs to no trace");
    let bytes = collector.bytes();
    for secret in [&token, &secret] {
        let held = bytes
            .windows(secret.len())
            .any(|it| it == secret.as_bytes());
        assert!(!held, "a secret is exported");
    }
}
