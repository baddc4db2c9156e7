//! Tests that drive the server in process and over raw sockets. The name of a test is the rule that it guards.

mod batches;
mod check_token;
mod discovery;
mod edge;
mod endpoints;
mod hostile;
mod introspection;
mod keys;
mod kinds;
mod noise;
mod people;
mod proxies;
mod revocation;
mod strangers;
mod tcp;
mod tls;
mod token;
mod uses;

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{App, Config, Recorded, RevokeError, Revoker, now};
use crate::directory::ObjectKey;
use crate::directory::testing::{QUICKSTART, World};
use crate::keys::{KeySet, fixtures};
use crate::resources::{Kind, OwnerKind};
use crate::tokens::{SecretString, TokenId};

/// Objects in addition to the quickstart: the API itself, clients of other teams, and a team that publishes its own
/// scope.
const MORE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.admin, namespace: platform}
spec: {identityRef: {name: main}, audiences: [https://api.example.com], allowedNamespaces: {from: All}, requestPolicy: OnRequest, resourceServers: [red.auditor]}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: items, namespace: green}
spec: {identityRef: {name: main, namespace: platform}, allowedNamespaces: {from: All}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: api, namespace: platform}
spec: {identityRef: {name: main}, grantTypes: [], resourceServer: {audiences: [https://api.example.com]}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: store, namespace: green}
spec: {identityRef: {name: main, namespace: platform}, grantTypes: [], resourceServer: {audiences: [https://id.example.com/id/green]}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: auditor, namespace: red}
spec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials]}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: wide, namespace: blue}
spec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials], scopes: [orders.read, orders.admin, green:items]}
";

/// A server and the objects that it serves.
struct Fixture {
    app: App,
    world: World,
    revoker: FakeRevoker,
}

/// How the fake revoker behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outage {
    #[default]
    None,
    Fails,
    Hangs,
    /// The Credential does not exist any more.
    Gone,
    /// Answers after another task has run.
    Late,
}

#[derive(Clone, Default)]
struct FakeRevoker(Arc<Mutex<(Outage, Vec<String>)>>);

impl Revoker for FakeRevoker {
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        _: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        let mut state = self.0.lock().unwrap();
        state.1.push(format!("{credential} {token_id}"));
        match state.0 {
            Outage::None => futures::future::ready(Ok(Recorded::Stored)).boxed(),
            Outage::Gone => futures::future::ready(Ok(Recorded::Gone)).boxed(),
            Outage::Fails => futures::future::ready(Err(RevokeError("down".into()))).boxed(),
            Outage::Hangs => futures::future::pending().boxed(),
            Outage::Late => tokio::task::yield_now()
                .map(|()| Ok(Recorded::Stored))
                .boxed(),
        }
    }
}

impl Fixture {
    fn new() -> Self {
        Self::of(&format!("{QUICKSTART}---\n{MORE}"), |_| {})
    }

    fn of(yaml: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(ObjectKey::new("platform", "main"));
        config.limits.revocation = std::time::Duration::from_millis(50);
        configure(&mut config);
        let revoker = FakeRevoker::default();
        let app = App::new(config, revoker.clone()).unwrap();
        app.publisher()
            .set_keys(fixtures::key_set(), now())
            .unwrap();
        app.status().lists_complete();
        let fixture = Self {
            app,
            world: World::new(yaml),
            revoker,
        };
        fixture.publish();
        fixture
    }

    fn publish(&self) {
        let directory = self.world.directory.clone();
        self.app
            .publisher()
            .update(|published| *published = directory);
    }

    fn apply(&mut self, yaml: &str) {
        self.world.apply(yaml);
        self.publish();
    }

    fn secret(&mut self, namespace: &str, name: &str) -> SecretString {
        let secret = self
            .world
            .issue(OwnerKind::OAuthClient, namespace, name, now());
        self.publish();
        secret
    }

    /// Issues a secret for the quickstart's client; returns the value of `Authorization: Basic`.
    fn shop(&mut self) -> String {
        self.client("blue", "shop")
    }

    fn client(&mut self, namespace: &str, name: &str) -> String {
        let id = match namespace {
            "platform" => format!("platform.{name}"),
            _ => format!("{namespace}.{name}"),
        };
        let secret = self.secret(namespace, name);
        basic(&id, secret.expose())
    }

    /// Issues the quickstart's service access token.
    fn nightly(&mut self) -> String {
        let token = self
            .world
            .issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
        self.publish();
        token.expose().to_owned()
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        Reply::of(self.app.answer(Some([127, 0, 0, 1].into()), request).await).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&self, path: &str, authorization: &str, body: &str) -> Reply {
        self.send(form(path, authorization, body)).await
    }

    async fn token(&self, authorization: &str, more: &str) -> Reply {
        let body = format!("grant_type=client_credentials{more}");
        self.post(TOKEN, authorization, &body).await
    }

    async fn introspect(&self, authorization: &str, token: &str) -> Value {
        let reply = self
            .post(INTROSPECT, authorization, &format!("token={token}"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
        reply.json()
    }

    /// Requests a JWT access token.
    async fn access_token(&self, authorization: &str, more: &str) -> String {
        let reply = self.token(authorization, more).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn claims(&self, token: &str) -> Value {
        let ring = self.app.publisher().current();
        let verified = ring.ring().verify(token).unwrap();
        serde_json::to_value(&verified.claims).unwrap()
    }
}

const TOKEN: &str = "/id/connect/token";
const INTROSPECT: &str = "/id/connect/introspect";
const REVOKE: &str = "/id/connect/revocation";

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// Returns a form request, with the header `Authorization` unless `authorization` is empty.
fn form(path: &str, authorization: &str, body: &str) -> Request<Body> {
    let mut request =
        Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

fn no_keys() -> KeySet {
    KeySet::default()
}

/// A complete answer.
#[derive(Debug, PartialEq)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    async fn of(response: axum::response::Response) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("(none)", |value| value.to_str().unwrap())
    }

    fn error(&self) -> (u16, String) {
        let error = self.json()["error"].as_str().unwrap_or("(none)").to_owned();
        (self.status.as_u16(), error)
    }
}

impl Display for Reply {
    /// Writes the answer as on the wire, with the headers sorted by name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            writeln!(f, "{name}: {}", value.to_str().unwrap().trim_end())?;
        }
        write!(f, "\n{}", self.body)
    }
}
