//! A proxy between programs and the API server. It records requests, and holds some, so that a test decides what is in
//! flight.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::world::World;

/// Holds requests and answers until it is opened. It cannot be closed again.
pub(super) type Gate = CancellationToken;

/// What the proxy does with a request.
pub(super) enum Pass {
    /// It passes on the request and the answer.
    AtOnce,
    /// It passes on the request, even if its sender has given up, when the gate is open.
    RequestAfter(Gate),
    /// It passes on the request at once, and the answer when the gate is open.
    AnswerAfter(Gate),
}

/// A request that the proxy has received as a whole.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) is_watch: bool,
    pub(super) traceparent: Option<String>,
    /// The plural, such as `secrets`.
    pub(super) resource: String,
    /// Empty for a list, a watch and a create.
    pub(super) name: String,
    pub(super) body: Value,
    /// The status of the answer, if there is one yet.
    pub(super) answered: Option<StatusCode>,
}

impl Asked {
    fn new(head: &http::request::Parts, body: &[u8]) -> Self {
        let path = head.uri.path();
        let traceparent = head.headers.get("traceparent");
        let rest = path.split_once("/namespaces/").map_or("", |(_, rest)| rest);
        let mut parts = rest.split('/').skip(1).map(str::to_owned);
        Self {
            method: head.method.clone(),
            path: path.to_owned(),
            is_watch: head.uri.query().is_some_and(|it| it.contains("watch=")),
            traceparent: traceparent.map(|it| it.to_str().unwrap().to_owned()),
            resource: parts.next().unwrap_or_default(),
            name: parts.next().unwrap_or_default(),
            body: serde_json::from_slice(body).unwrap_or_default(),
            answered: None,
        }
    }

    pub(super) fn is(&self, method: &Method, resource: &str) -> bool {
        self.method == method && self.resource == resource
    }

    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

type Rule = dyn Fn(&Asked) -> Pass + Send + Sync;

/// A running proxy. It acts as the cluster's administrator.
pub(super) struct Proxy {
    folder: tempfile::TempDir,
    passing: Arc<Passing>,
    _serving: AbortOnDropHandle<()>,
}

struct Passing {
    client: Client,
    rule: Box<Rule>,
    asked: Mutex<Vec<Asked>>,
}

impl Proxy {
    /// Starts a proxy that asks `rule` about each request.
    pub(super) async fn start(
        world: &World<'_>,
        rule: impl Fn(&Asked) -> Pass + Send + Sync + 'static,
    ) -> Self {
        let passing = Arc::new(Passing {
            client: world.client(),
            rule: Box::new(rule),
            asked: Mutex::default(),
        });
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", socket.local_addr().unwrap())}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": world.team.name()}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let shared = passing.clone();
        let pass = move |request: Request| {
            // A task, because a request that was received is passed on even if its sender has given up.
            let passed = tokio::spawn(pass(shared.clone(), request));
            async { passed.await.unwrap() }
        };
        let router = axum::Router::new().fallback(pass);
        let serving = tokio::spawn(async { axum::serve(socket, router).await.unwrap() });
        Self {
            folder,
            passing,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// The path of a kubeconfig with which a program uses the proxy.
    pub(super) fn kubeconfig_path(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "kubeconfig")
    }

    /// All requests, in the order in which they were received.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.passing.asked.lock().unwrap().clone()
    }
}

async fn pass(passing: Arc<Passing>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        // Half a request changes nothing.
        return refuse();
    };
    for name in [HOST, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let asked = Asked::new(&parts, &body);
    let rule = (passing.rule)(&asked);
    let index = {
        let mut all = passing.asked.lock().unwrap();
        all.push(asked);
        all.len() - 1
    };
    if let Pass::RequestAfter(gate) = &rule {
        gate.cancelled().await;
    }
    let request = http::Request::from_parts(parts, kube::client::Body::from(body));
    let Ok(answer) = passing.client.send(request).await else {
        return refuse();
    };
    passing.asked.lock().unwrap()[index].answered = Some(answer.status());
    if let Pass::AnswerAfter(gate) = &rule {
        gate.cancelled().await;
    }
    answer.map(Body::new)
}

fn refuse() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
