//! Programs that people start by hand: behind a proxy, in a cluster that lacks something, with a wrong name.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Cluster, eventually};

/// A host of the API server that only the proxy can resolve.
const HOST: &str = "api.symbolon.test";

/// A running `symbolon`. Dropping it kills it.
struct Symbolon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Symbolon {
    fn start(arguments: &[&str], kubeconfig: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let mut child = command
            .args(arguments)
            .args(["--health-listen", "localhost:0"])
            .args(["--log", "info", "--log-format", "json"])
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let log = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for pipe in pipes {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            });
        }
        Self { child, log }
    }

    fn serve(identity: &str, kubeconfig: &Path, environment: &[(&str, &str)]) -> Self {
        let arguments = ["serve", "--identity", identity, "--listen", "localhost:0"];
        Self::start(&arguments, kubeconfig, environment)
    }

    fn lines_with(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }

    /// Waits for a line with `part`.
    async fn tells(&self, part: &str) -> String {
        eventually(&format!("it logs {part:?}"), async || {
            let told = self.lines_with(part).into_iter().next();
            assert!(
                told.is_some() || self.is_running(),
                "it ended: {:#?}",
                self.log.lock().unwrap()
            );
            told
        })
        .await
    }

    fn is_running(&self) -> bool {
        Path::new(&format!("/proc/{}/fd", self.child.id())).exists()
    }

    /// Waits until its readiness contains `part`.
    async fn readiness_tells(&self, part: &str) {
        let line = self.tells("\"listen\"").await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = line["health"]
            .as_str()
            .or(line["listen"].as_str())
            .unwrap()
            .to_owned();
        eventually(&format!("/readyz says {part:?}"), async || {
            let response = reqwest::get(format!("http://{address}/readyz"))
                .await
                .ok()?;
            let text = response.text().await.ok()?;
            text.contains(part).then_some(())
        })
        .await;
    }
}

impl Drop for Symbolon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A proxy on loopback that connects every request to one API server, whatever host it asks for.
struct Proxy {
    port: u16,
    /// The first line of each request and the `Proxy-Authorization`; for SOCKS, the host and port.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    fn start(api: u16, open: fn(&mut TcpStream) -> std::io::Result<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let seen = seen.clone();
                std::thread::spawn(move || -> std::io::Result<()> {
                    let asked = open(&mut client)?;
                    seen.lock().unwrap().insert(asked);
                    let server = TcpStream::connect(("127.0.0.1", api))?;
                    let (from, to) = (client.try_clone()?, server.try_clone()?);
                    std::thread::spawn(move || pump(from, to));
                    pump(server, client);
                    Ok(())
                });
            }
        });
        Self { port, asked }
    }

    fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}

/// Answers a CONNECT request (RFC 9110 section 9.3.6).
fn connect(client: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let login = lines.find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    Ok(format!("{first} {}", login.unwrap_or_default()))
}

/// Answers a SOCKS request for a host name (RFC 1928), without authentication.
fn socks(client: &mut TcpStream) -> std::io::Result<String> {
    let mut hello = [0; 2];
    client.read_exact(&mut hello)?;
    client.read_exact(&mut vec![0; hello[1].into()])?;
    client.write_all(&[5, 0])?;
    let mut request = [0; 5];
    client.read_exact(&mut request)?;
    assert_eq!(request[3], 3, "the proxy resolves the name");
    let mut host = vec![0; request[4].into()];
    client.read_exact(&mut host)?;
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let port = u16::from_be_bytes(port);
    Ok(format!("{}:{port}", String::from_utf8_lossy(&host)))
}

/// A copy of a cluster's kubeconfig that names the API server by [`HOST`]. `more` are further fields of the cluster.
fn kubeconfig(cluster: &Cluster, folder: &Path, more: &str) -> (PathBuf, u16) {
    let text = std::fs::read_to_string(cluster.kubeconfig_path()).unwrap();
    let (before, rest) = text.split_once("server: \"https://127.0.0.1:").unwrap();
    let (port, after) = rest.split_once('"').unwrap();
    let text = format!(
        "{before}server: \"https://{HOST}:{port}\", tls-server-name: \"127.0.0.1\"{more}{after}"
    );
    let path = folder.join(format!("{}.kubeconfig", more.len()));
    std::fs::write(&path, text).unwrap();
    (path, port.parse().unwrap())
}

#[tokio::test]
async fn the_api_server_is_reached_through_the_proxy_that_kubectl_would_use() {
    let cluster = Cluster::own();
    cluster.install_crds().await;
    let folder = tempfile::tempdir().unwrap();
    let (plain, api) = kubeconfig(cluster, folder.path(), "");
    let target = format!("{HOST}:{api}");
    let no_identity = "there is no Identity platform/nope";
    // A list that kube cannot parse, and that does not name the API server.
    let other = "localhost, ,.other.test,10.0.0.0/8,/x,,";
    for (name, no_proxy) in [
        ("HTTPS_PROXY", other),
        ("https_proxy", "127.0.0.1"),
        ("HTTPS_PROXY", ""),
    ] {
        let proxy = Proxy::start(api, connect);
        let url = proxy.url("http", "us%40er:pass@");
        let server = Symbolon::serve(
            "platform/nope",
            &plain,
            &[(name, &url), ("NO_PROXY", no_proxy)],
        );
        server.tells(no_identity).await;
        let login = "Basic dXNAZXI6cGFzcw==";
        assert_eq!(
            proxy.asked(),
            [format!("CONNECT {target} HTTP/1.1 {login}")],
            "{name}"
        );
        assert!(server.lines_with("us@er").is_empty() && server.lines_with(":pass").is_empty());
    }

    let proxy = Proxy::start(api, socks);
    let url = proxy.url("socks5", "");
    let server = Symbolon::serve("platform/nope", &plain, &[("HTTPS_PROXY", &url)]);
    server.tells(no_identity).await;
    assert_eq!(proxy.asked(), std::slice::from_ref(&target));

    // The kubeconfig's own proxy is for this cluster, so the environment does not matter.
    let proxy = Proxy::start(api, connect);
    let more = format!(", proxy-url: \"{}\"", proxy.url("http", ""));
    let (own, _) = kubeconfig(cluster, folder.path(), &more);
    let server = Symbolon::serve(
        "platform/nope",
        &own,
        &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")],
    );
    server.tells(no_identity).await;
    assert_eq!(proxy.asked(), [format!("CONNECT {target} HTTP/1.1 ")]);

    // A scheme is optional in the environment only.
    let proxy = Proxy::start(api, connect);
    let bare = format!("127.0.0.1:{}", proxy.port);
    let server = Symbolon::serve("platform/nope", &plain, &[("HTTPS_PROXY", &bare)]);
    server.tells(no_identity).await;

    // The operator uses the same client.
    let proxy = Proxy::start(api, connect);
    let url = proxy.url("http", "");
    let operator = Symbolon::start(
        &["operator", "--leader-election", "false"],
        &plain,
        &[("HTTPS_PROXY", &url)],
    );
    operator.readiness_tells("ready\n").await;
    assert_eq!(proxy.asked(), [format!("CONNECT {target} HTTP/1.1 ")]);
}

#[tokio::test]
async fn no_proxy_of_the_environment_leads_to_an_excluded_or_local_api_server() {
    let cluster = Cluster::own();
    cluster.install_crds().await;
    let folder = tempfile::tempdir().unwrap();
    let (named, api) = kubeconfig(cluster, folder.path(), "");
    let proxy = Proxy::start(api, connect);
    let url = proxy.url("http", "");

    let local = Symbolon::serve(
        "platform/nope",
        cluster.kubeconfig_path(),
        &[("HTTPS_PROXY", &url)],
    );
    local.tells("there is no Identity platform/nope").await;

    // Without the proxy the name cannot be resolved.
    let excluded = [("HTTPS_PROXY", &*url), ("no_proxy", "a.test,symbolon.test")];
    let excluded = Symbolon::serve("platform/nope", &named, &excluded);
    excluded.tells("waiting for the Identity's keys").await;
    assert!(excluded.lines_with("there is no Identity").is_empty());
    assert_eq!(proxy.asked(), Vec::<String>::new());

    let wrong = Symbolon::serve(
        "platform/nope",
        &named,
        &[("HTTPS_PROXY", "ftp://user:hunter2@proxy")],
    );
    eventually("it ends", async || {
        let told = wrong.lines_with("HTTPS_PROXY");
        (!told.is_empty()).then_some(())
    })
    .await;
    assert!(wrong.lines_with("hunter2").is_empty());
}

const INSTALL: &str = "symbolon crds | kubectl apply --server-side -f -";

#[tokio::test]
async fn a_cluster_without_definitions_or_identity_is_told_with_the_command_that_mends_it() {
    let cluster = Cluster::private();
    let admin = cluster.kubeconfig_path();
    let operator = Symbolon::start(&["operator"], admin, &[]);
    let server = Symbolon::serve("platform/main", admin, &[]);
    for program in [&operator, &server] {
        program.tells(INSTALL).await;
        program.readiness_tells(INSTALL).await;
    }
    let told = operator.tells("no complete list yet").await;
    for kind in ["identities.symbolon.dev", "credentials.symbolon.dev"] {
        assert!(told.contains(kind), "{told}");
    }
    for program in [&operator, &server] {
        let many = program.lines_with("watch interrupted");
        assert!(many.is_empty(), "one line tells of all watches: {many:#?}");
    }

    cluster.install_crds().await;
    operator.readiness_tells("ready\n").await;
    let nope = Symbolon::serve("platform/nope", admin, &[]);
    nope.tells("there is no Identity platform/nope").await;
    nope.readiness_tells("there is no Identity platform/nope")
        .await;
    nope.tells("kubectl get identities --all-namespaces").await;

    // A definition that is deleted while they run.
    let deleted = cluster
        .kubectl()
        .args(["delete", "crd", "scopes.symbolon.dev"])
        .output()
        .unwrap();
    assert!(deleted.status.success(), "{deleted:?}");
    // Other watches may be interrupted too, for example while the API server prepares a new definition (429).
    eventually("the missing definition is named", async || {
        let told = operator.lines_with("watch interrupted");
        let names = |line: &String| line.contains("scopes.symbolon.dev") && line.contains(INSTALL);
        told.iter().any(names).then_some(())
    })
    .await;
}

#[tokio::test]
async fn missing_rights_are_told_with_user_verb_and_kind() {
    let cluster = Cluster::own();
    cluster.install_crds().await;
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(cluster.kubeconfig_path()).unwrap();
    let text = text.replace(
        "user: {client-certificate-data",
        "user: {as: jane, client-certificate-data",
    );
    let jane = folder.path().join("kubeconfig");
    std::fs::write(&jane, text).unwrap();
    let operator = Symbolon::start(&["operator"], &jane, &[]);
    let server = Symbolon::serve("platform/main", &jane, &[]);
    for program in [&operator, &server] {
        let told = program.tells("access denied").await;
        for part in [
            "jane",
            "cannot",
            "symbolon.dev",
            "helm upgrade",
            "kubectl auth can-i",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        program.readiness_tells("jane").await;
    }
    // Time in which they could log it again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for program in [&operator, &server] {
        let many = program.lines_with("access denied");
        assert!(many.len() <= 2, "{many:#?}");
    }
}
