//! `symbolon serve` on a real API server: it serves the applied objects, without the operator.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Patch, PatchParams};
use reqwest::StatusCode;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use symbolon::resources::{Credential, Kind};
use symbolon::tokens::reference;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::process::Process;
use super::world::{Running, World, now, rotate};
use crate::harness::{Cluster, Program, eventually, rule};

const TOKEN: Kind = Kind::ServiceAccessToken;

pub(super) struct Server {
    process: Process,
    pub(super) http: reqwest::Client,
}

impl Server {
    pub(super) async fn start(
        world: &World<'_>,
        kubeconfig: &std::path::Path,
        more: &[&str],
    ) -> Self {
        let server = Self::launch(world, kubeconfig, more);
        server.becomes_ready().await;
        server
    }

    fn launch(world: &World<'_>, kubeconfig: &std::path::Path, more: &[&str]) -> Self {
        let namespaces = world.namespaces().join(",");
        let identity = world.identity().to_string();
        let mut arguments = vec!["serve", "--identity", &identity, "--namespace", &namespaces];
        arguments.extend(["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]);
        arguments.extend(more);
        Self {
            process: Process::start(&arguments, kubeconfig),
            http: reqwest::Client::new(),
        }
    }

    async fn becomes_ready(&self) {
        eventually("the server is ready", async || {
            self.is_ready().await.then_some(())
        })
        .await;
    }

    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let url = format!("{}/metrics", self.process.address("health"));
        let text = self.http.get(url).send().await.ok()?.text().await.ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    pub(super) async fn is_ready(&self) -> bool {
        let answer = self
            .http
            .get(format!("{}/readyz", self.process.address("health")))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Its log since the last call.
    pub(super) fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Sends it SIGTERM, as Kubernetes does, and waits until it ends.
    pub(super) fn end(self) {
        self.process.end();
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/id/{path}", self.process.address("listen"))
    }

    /// Whether introspection by the client reports a token as active.
    pub(super) async fn introspects(&self, id: &str, secret: &str, token: &str) -> bool {
        let request = self.http.post(self.url("connect/introspect"));
        let request = request.basic_auth(id, Some(secret));
        let answer = request.form(&[("token", token)]).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["active"] == true
    }

    pub(super) async fn jwks(&self) -> Value {
        let url = self.url(".well-known/openid-configuration/jwks");
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(super) async fn check(&self, token: &str) -> StatusCode {
        self.http
            .get(self.url("connect/checktoken/api"))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .status()
    }

    pub(super) async fn accepts(&self, token: &str) -> bool {
        self.check(token).await == StatusCode::OK
    }

    pub(super) async fn soon(&self, what: &str, token: &str, accepted: bool) {
        eventually(what, async || {
            (self.accepts(token).await == accepted).then_some(())
        })
        .await;
    }

    pub(super) async fn access_token(&self, id: &str, secret: &str) -> Result<Value, StatusCode> {
        let request = self
            .http
            .post(self.url("connect/token"))
            .basic_auth(id, Some(secret));
        let answer = request
            .form(&[
                ("grant_type", "client_credentials"),
                ("scope", "orders.read"),
            ])
            .send()
            .await
            .unwrap();
        match answer.status() {
            StatusCode::OK => Ok(answer.json().await.unwrap()),
            refused => Err(refused),
        }
    }
}

/// The least rights of a server.
pub(super) fn rights() -> Vec<PolicyRule> {
    vec![
        rule(
            &["get", "list", "watch"],
            "symbolon.dev",
            &[
                "identities",
                "scopes",
                "oauthclients",
                "serviceaccesstokens",
                "users",
                "credentials",
            ],
        ),
        rule(&["get", "patch"], "symbolon.dev", &["credentials/status"]),
        rule(&["list", "watch"], "", &["namespaces"]),
        rule(&["get"], "", &["secrets"]),
    ]
}

pub(super) async fn client_secret(world: &World<'_>) -> (String, String) {
    let data = world.secret("backend-client").await.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    (text("client-id"), text("client-secret"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_follows_every_change_of_client_and_token() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let token = world.text("nightly-token").await.unwrap();
    // A server sees changes without an operator.
    drop(running);
    let account = world.team.cluster_account("server", rights()).await;
    let server = Server::start(&world, account.kubeconfig_path(), &[]).await;
    assert!(
        server.accepts(&token).await,
        "a ready server knows all tokens"
    );
    let (id, secret) = client_secret(&world).await;
    assert_eq!(
        server.access_token(&id, &secret).await.unwrap()["token_type"],
        "Bearer"
    );
    assert!(server.access_token(&id, &token).await.is_err());

    for (what, patch, back) in [
        (
            "disabled",
            json!({"spec": {"disabled": true}}),
            json!({"spec": {"disabled": false}}),
        ),
        (
            "without the scope",
            json!({"spec": {"scopes": ["orders.write"]}}),
            json!({"spec": {"scopes": ["orders.read"]}}),
        ),
        (
            "acting as another",
            json!({"spec": {"systemUser": {"name": "other"}}}),
            json!({"spec": {"systemUser": {"name": "backend"}}}),
        ),
    ] {
        world.patch(Kind::OAuthClient, "backend", patch).await;
        server.soon(what, &token, false).await;
        world.patch(Kind::OAuthClient, "backend", back).await;
        server
            .soon("the token is accepted again", &token, true)
            .await;
    }
    world.delete(TOKEN, "nightly").await;
    server
        .soon("the deleted token is refused", &token, false)
        .await;
    world.apply_token("nightly", "").await;
    // Time in which the server sees the object.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !server.accepts(&token).await,
        "a recreated object must not make the old token valid"
    );
    world.delete(Kind::OAuthClient, "backend").await;
    eventually("the deleted client is refused", async || {
        server
            .access_token(&id, &secret)
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_at_the_server_is_refused_at_once_and_replaced() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    let token = world.text("nightly-token").await.unwrap();
    let (id, secret) = client_secret(&world).await;
    assert!(server.accepts(&token).await);
    let request = server
        .http
        .post(server.url("connect/revocation"))
        .basic_auth(&id, Some(&secret));
    let answer = request.form(&[("token", &token)]).send().await.unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::OK,
        "{}",
        answer.text().await.unwrap()
    );
    server
        .soon("the revoked token is refused", &token, false)
        .await;
    let next = eventually("the Secret has another token", async || {
        world
            .text("nightly-token")
            .await
            .filter(|text| *text != token)
    })
    .await;
    server.soon("the next one is accepted", &next, true).await;
    assert!(!server.accepts(&token).await);
}

impl Server {
    /// Revokes a token as a client (RFC 7009) and returns the status.
    async fn revoke(&self, (id, secret): &(String, String), token: &str) -> StatusCode {
        let request = self.http.post(self.url("connect/revocation"));
        let request = request
            .basic_auth(id, Some(secret))
            .form(&[("token", token)]);
        request.send().await.unwrap().status()
    }
}

/// The Credential of a token.
async fn credential_of(world: &World<'_>, token: &str) -> Credential {
    let mut credentials = world.credentials().await.into_iter();
    credentials
        .find(|it| it.spec.owner.name == token)
        .expect("the token has a Credential")
}

/// "Rotate, then revoke the old one" causes no outage. The servers have only their least rights.
#[tokio::test(flavor = "multi_thread")]
async fn revoking_the_previous_token_keeps_the_current_one_and_survives_a_lost_status() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let previous = world.text("nightly-token").await.unwrap();
    world.patch(TOKEN, "nightly", rotate("1")).await;
    let current = eventually("the Secret has another token", async || {
        let text = world.text("nightly-token").await;
        text.filter(|text| *text != previous)
    })
    .await;
    let account = world.team.cluster_account("server", rights()).await;
    let kubeconfig = account.kubeconfig_path();
    let server = Server::start(&world, kubeconfig, &[]).await;
    let other = Server::start(&world, kubeconfig, &[]).await;
    for token in [&previous, &current] {
        server.soon("both are accepted", token, true).await;
        other.soon("both are accepted", token, true).await;
    }
    let client = client_secret(&world).await;
    assert_eq!(server.revoke(&client, &previous).await, StatusCode::OK);
    assert!(
        !server.accepts(&previous).await,
        "the server that revokes a token refuses it at once"
    );
    other
        .soon(
            "a token revoked at another server is refused",
            &previous,
            false,
        )
        .await;
    for server in [&server, &other] {
        assert!(server.accepts(&current).await);
    }
    let id = reference::parse(&previous).unwrap().id.to_string();
    let ended = eventually("the end of the revoked token is in the spec", async || {
        let credential = credential_of(&world, "nightly").await;
        let tokens = credential.spec.tokens.iter();
        let mut ended = tokens.filter(|entry| entry.token_id == id);
        let is_over = ended.all(|entry| entry.not_after.is_some_and(|end| end.0 <= now()));
        is_over.then_some(credential)
    })
    .await;
    assert_eq!(ended.status.unwrap().revoked, [id]);
    // After a restore without the status, a server that starts later knows only the spec.
    let credentials = world.platform.api::<Credential>();
    let name = ended.metadata.name.unwrap();
    let gone = Patch::Merge(json!({"status": null}));
    credentials
        .patch_status(&name, &PatchParams::default(), &gone)
        .await
        .unwrap();
    let later = Server::start(&world, kubeconfig, &[]).await;
    assert!(!later.accepts(&previous).await);
    assert!(later.accepts(&current).await);
    world.assert_sound("nightly").await;
    assert_eq!(world.text("nightly-token").await.unwrap(), current);
}

/// Each replica revokes another token of one Credential. No id is lost, and the Secret gets a new token.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_revoke_at_the_same_time_lose_no_revocation() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let previous = world.text("nightly-token").await.unwrap();
    world.patch(TOKEN, "nightly", rotate("1")).await;
    let current = eventually("the Secret has another token", async || {
        let text = world.text("nightly-token").await;
        text.filter(|text| *text != previous)
    })
    .await;
    world.token_ready("nightly").await;
    let client = client_secret(&world).await;
    // From here on only the servers write.
    drop(running);
    let account = world.team.cluster_account("server", rights()).await;
    let kubeconfig = account.kubeconfig_path();
    let one = Server::start(&world, kubeconfig, &[]).await;
    let two = Server::start(&world, kubeconfig, &[]).await;
    for token in [&previous, &current] {
        one.soon("both are accepted", token, true).await;
        two.soon("both are accepted", token, true).await;
    }
    let answers = tokio::join!(
        one.revoke(&client, &previous),
        two.revoke(&client, &current)
    );
    assert_eq!(answers, (StatusCode::OK, StatusCode::OK));
    assert!(!one.accepts(&previous).await && !two.accepts(&current).await);
    one.soon(
        "a token revoked at the other server is refused",
        &current,
        false,
    )
    .await;
    two.soon(
        "a token revoked at the other server is refused",
        &previous,
        false,
    )
    .await;
    let mut revoked = credential_of(&world, "nightly")
        .await
        .status
        .unwrap()
        .revoked;
    let mut ids =
        [&previous, &current].map(|token| reference::parse(token).unwrap().id.to_string());
    revoked.sort();
    ids.sort();
    assert_eq!(revoked, ids);
    let _running = Running::start(&world).await;
    let next = eventually("the Secret has another token", async || {
        let text = world.text("nightly-token").await;
        text.filter(|text| ![&previous, &current].contains(&text))
    })
    .await;
    one.soon("the next one is accepted", &next, true).await;
    world.token_ready("nightly").await;
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_serving_while_the_api_server_is_down() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    let (token, (id, secret)) = (
        world.text("nightly-token").await.unwrap(),
        client_secret(&world).await,
    );
    drop(running);
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    cluster.kill(Program::Apiserver);
    for _ in 0..20 {
        assert!(server.accepts(&token).await);
        assert!(server.access_token(&id, &secret).await.is_ok());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        server.is_ready().await,
        "a short outage does not make the server unready"
    );
    cluster.start(Program::Apiserver);
    world.delete(TOKEN, "nightly").await;
    server
        .soon("a deletion after the outage takes effect", &token, false)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_used_by_one_server_at_a_time() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("symbolon.db");
    let store = format!("sqlite:{}", file.display());
    let first = Server::start(&world, cluster.kubeconfig_path(), &["--store", &store]).await;
    assert!(file.exists());
    eventually("the metric reports a writable store", async || {
        (first.metric("symbolon_store_writable").await == Some(1.0)).then_some(())
    })
    .await;
    let second = Server::launch(&world, cluster.kubeconfig_path(), &["--store", &store]);
    // Time in which it could open the store.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        !second.is_ready().await,
        "two servers would write to the store"
    );
    first.process.end();
    second.becomes_ready().await;
    let token = world.text("nightly-token").await.unwrap();
    assert!(second.accepts(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_and_leaves_a_foreign_store_file_unchanged() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("symbolon.db");
    std::fs::write(&file, "the wrong volume").unwrap();
    let store = format!("sqlite:{}", file.display());
    let server = Server::launch(&world, cluster.kubeconfig_path(), &["--store", &store]);
    assert!(!server.process.wait().success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the wrong volume");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_keys_are_loaded_and_reloaded_when_they_change() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let folder = tempfile::tempdir().unwrap();
    let mount = async |secret: &str, key: &str| {
        let secret = world
            .platform
            .api::<k8s_openapi::api::core::v1::Secret>()
            .get(secret)
            .await
            .unwrap();
        std::fs::write(folder.path().join(key), &secret.data.unwrap()[key].0).unwrap();
    };
    mount("main-signing", "keyset.json").await;
    std::fs::write(folder.path().join("mac.key"), [7; 32]).unwrap();
    let server = Server::start(
        &world,
        cluster.kubeconfig_path(),
        &["--keys-dir", folder.path().to_str().unwrap()],
    )
    .await;
    let token = world.text("nightly-token").await.unwrap();
    assert!(
        !server.accepts(&token).await,
        "no entry is sealed with this key"
    );
    mount("main-mac", "mac.key").await;
    server
        .soon("the right key is loaded without a restart", &token, true)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_certificate_is_served_and_reloaded_when_it_changes() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let folder = tempfile::tempdir().unwrap();
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (first, second) = (made(), made());
    let mount = |certificate: &str, key: &str| {
        std::fs::write(folder.path().join("tls.crt"), certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), key).unwrap();
    };
    let key = first.signing_key.serialize_pem();
    mount(&first.cert.pem(), &key);
    let server = Server::start(
        &world,
        cluster.kubeconfig_path(),
        &["--tls-dir", folder.path().to_str().unwrap()],
    )
    .await;
    let address = server.process.address("listen");
    let address = address.strip_prefix("http://").unwrap().to_owned();
    let shows = async |certificate: &CertificateDer<'static>| {
        shown(&address, certificate).await.unwrap_or_default()
    };
    assert!(shows(first.cert.der()).await);
    mount(&second.cert.pem(), &key);
    // Time in which the server reads the files.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(
        shows(first.cert.der()).await,
        "a certificate with another key must not be served"
    );
    mount(&second.cert.pem(), &second.signing_key.serialize_pem());
    eventually("the next certificate is served", async || {
        shows(second.cert.der()).await.then_some(())
    })
    .await;
}

/// Whether a server answers over TLS with this certificate.
async fn shown(address: &str, trusted: &CertificateDer<'static>) -> std::io::Result<bool> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await?;
    let request = "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // A peer may close the connection without close_notify.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
