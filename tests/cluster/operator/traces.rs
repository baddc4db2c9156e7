//! Traces of the real operator and server: their spans and parents, and the context that they send to the API server. A
//! proxy in between records the requests.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kube::Client;
use tokio_util::task::AbortOnDropHandle;

use self::collector::{Collector, hex, text};
use super::process::Operator;
use super::serving::Server;
use super::world::World;
use crate::harness::{Cluster, eventually};

#[path = "../../traces/collector.rs"]
#[allow(dead_code, reason = "the tests of traces use the rest")]
mod collector;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A recorded request to the API server.
struct Asked {
    method: String,
    path: String,
    is_watch: bool,
    traceparent: Option<String>,
}

/// A proxy that forwards requests to the API server as the administrator and records them.
#[derive(Clone)]
struct Gateway {
    client: Client,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Gateway {
    /// Starts to listen, and writes a kubeconfig for the proxy into a folder.
    async fn start(client: Client, folder: &Path) -> (Self, PathBuf, AbortOnDropHandle<()>) {
        let gateway = Self {
            client,
            asked: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gateway",
            "clusters": [{
                "name": "gateway",
                "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())},
            }],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "nobody"}}],
        });
        let path = folder.join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let routes = Router::new()
            .fallback(Self::hand_on)
            .with_state(gateway.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (gateway, path, AbortOnDropHandle::new(serving))
    }

    async fn hand_on(State(gateway): State<Self>, request: Request) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let traceparent = head.headers.get("traceparent");
        gateway.asked.lock().unwrap().push(Asked {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            is_watch: head.uri.query().is_some_and(|it| it.contains("watch=")),
            traceparent: traceparent.map(|it| it.to_str().unwrap().to_owned()),
        });
        let below = head.uri.path_and_query().unwrap().as_str();
        head.uri = below.parse::<Uri>().unwrap();
        head.headers.remove("host");
        let body = body.collect().await.unwrap().to_bytes();
        let request = Request::from_parts(head, body.to_vec().into());
        match gateway.client.send(request).await {
            Ok(answer) => answer.map(Body::new),
            Err(_) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }

    /// Whether a request with this method, path and context was recorded.
    fn was_asked(&self, method: &str, path: &str, traceparent: &str) -> bool {
        let asked = self.asked.lock().unwrap();
        asked.iter().any(|it| {
            it.method == method && it.path == path && it.traceparent.as_deref() == Some(traceparent)
        })
    }
}

/// Asserts that a span has child spans for requests to the API server, and that each request carries its span's
/// context.
fn assert_context_is_sent(collector: &Collector, gateway: &Gateway, method: &str, within: &[u8]) {
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
        let carried = gateway.was_asked(method, &path, &format!("00-{trace}-{id}-01"));
        assert!(carried, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_and_server_export_spans_and_send_their_context_to_the_api_server() {
    let world = World::new(Cluster::shared()).await;
    let folder = tempfile::tempdir().unwrap();
    let (gateway, kubeconfig, _serving) = Gateway::start(world.client(), folder.path()).await;
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
    operator.end();
    server.end();

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
        assert_context_is_sent(&collector, &gateway, method, &issuing.span_id);
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
    assert_context_is_sent(&collector, &gateway, "PATCH", &revocation.span_id);

    let asked = gateway.asked.lock().unwrap();
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
