//! Runs the real operator and server with exactly the rights and the environment that the chart gives them, for a whole
//! cluster and for some namespaces. The cluster has no nodes, so they run as processes with tokens of their accounts.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use serde_json::Value;

use crate::harness::Cluster;
use crate::rights::{assert_sound, own_rights};
use crate::tools::{Kube, PATIENCE, eventually, run};
use crate::world::{HOME, installed};

/// A running `symbolon`. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// The log line with the addresses that it listens on.
    told: Value,
}

impl Process {
    /// Starts one and waits until it logs where it listens.
    pub(crate) fn start(
        arguments: &[String],
        environment: &BTreeMap<String, String>,
        kubeconfig: &Path,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .args(arguments)
            .envs(environment)
            .env("SYMBOLON_HEALTH_LISTEN", "127.0.0.1:0")
            .env("SYMBOLON_LISTEN", "127.0.0.1:0")
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let (sender, lines) = mpsc::channel();
        let reader = BufReader::new(child.stdout.take().unwrap()).lines();
        // Read until the end, because a full pipe would block the process.
        std::thread::spawn(move || {
            for line in reader.map_while(Result::ok) {
                if std::env::var_os("SYMBOLON_TEST_LOG").is_some() {
                    eprintln!("{line}");
                }
                drop(sender.send(line));
            }
        });
        let told = loop {
            let line = lines
                .recv_timeout(PATIENCE)
                .expect("the process logs where it listens");
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            if told["listen"].is_string() {
                break told;
            }
        };
        Self { child, told }
    }

    /// The status of a GET with a header; empty without a response.
    pub(crate) fn answer(&self, which: &str, path: &str, header: &str) -> String {
        let mut curl = Command::new("curl");
        let address = self.told[which].as_str().unwrap();
        curl.args(["-s", "-w", "%{http_code}", "-o", "/dev/null", "-H", header])
            .arg(format!("http://{address}{path}"));
        run(curl, "").unwrap_or_default()
    }
}

impl Process {
    /// Sends it SIGTERM and waits until it ends.
    pub(crate) fn end(mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The arguments and the environment of the operator's container, resolved as the kubelet does.
fn container(kube: Kube<'_>, release: &str, home: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let deployment = kube
        .get(&format!("deployment {release} -n {home}"))
        .unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let texts = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let variable = |variable: &Value| {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            None => variable["value"].as_str().unwrap().to_owned(),
            Some("metadata.namespace") => home.to_owned(),
            Some("metadata.name") => format!("{release}-0"),
            Some(other) => panic!("{other}"),
        };
        (variable["name"].as_str().unwrap().to_owned(), value)
    };
    let environment = container["env"].as_array().unwrap().iter().map(variable);
    (texts(&container["args"]), environment.collect())
}

/// Starts the operator of a release as its own service account.
pub(crate) fn operator(kube: Kube<'_>, release: &str, home: &str, folder: &Path) -> Process {
    let (arguments, environment) = container(kube, release, home);
    let kubeconfig = kube.kubeconfig_of(home, release, folder);
    Process::start(&arguments, &environment, &kubeconfig)
}

/// Waits until the operator has created the account of an Identity's pods with its rights, and returns the user name.
/// `reader` is the binding that lets the account read users' objects.
pub(crate) fn server_account(kube: Kube<'_>, home: &str, identity: &str, reader: &str) -> String {
    let account = format!("{identity}-identity");
    eventually("the account of the pods has its rights", || {
        kube.get(&format!("rolebinding {account} -n {home}"))?;
        kube.get(reader)?;
        kube.get(&format!("deployment {account} -n {home}"))
    });
    format!("system:serviceaccount:{home}:{account}")
}

/// Starts a server of an Identity as its own service account. The keys are in a folder, as if mounted.
pub(crate) fn server(
    kube: Kube<'_>,
    home: &str,
    identity: &str,
    namespaces: &[&str],
    folder: &Path,
) -> Process {
    for (secret, key) in [("signing", "keyset.json"), ("mac", "mac.key")] {
        let path = format!("{{index .data \"{key}\" | base64decode}}");
        let mut get = kube.0.kubectl();
        get.args(["get", "secret", "-n", home, &format!("{identity}-{secret}")])
            .arg(format!("-o=go-template={{{path}}}"));
        let output = get.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::write(folder.join(key), output.stdout).unwrap();
    }
    let kubeconfig = kube.kubeconfig_of(home, &format!("{identity}-identity"), folder);
    let arguments = format!(
        "serve --identity {home}/{identity} --keys-dir {}",
        folder.display()
    );
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let environment = BTreeMap::from([("SYMBOLON_NAMESPACES".to_owned(), namespaces.join(","))]);
    let environment = if namespaces.is_empty() {
        BTreeMap::new()
    } else {
        environment
    };
    let server = Process::start(&arguments, &environment, &kubeconfig);
    eventually("the server is ready", || {
        (server.answer("health", "/readyz", "") == "200").then_some(())
    });
    server
}

/// Applies an Identity that grants access to namespaces by a label, and a team's client and token.
pub(crate) fn apply_world(kube: Kube<'_>, home: &str, team: &str) {
    let manifests = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: HOME}
spec:
  issuer: https://HOME.example.com
  access: {clients: {from: Selector, selector: {matchLabels: {team: TEAM}}}}
  signing: {algorithms: [ES256]}
  gateways: [{name: api, audience: https://HOME.example.com, scopes: [orders.read]}]
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: HOME}
spec:
  identityRef: {name: main}
  allowedNamespaces: {from: Selector, selector: {matchLabels: {team: TEAM}}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: backend, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: HOME}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {name: backend}
  referenceTokens: AdministratorsOnly
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: TEAM}
spec: {clientRef: {name: backend}, scopes: [orders.read]}
";
    kube.must(&format!("label namespace {team} team={team} --overwrite"));
    let manifests = manifests.replace("HOME", home).replace("TEAM", team);
    // An API server with a MutatingAdmissionPolicy needs some seconds to learn new kinds.
    eventually("the manifests are applied", || {
        kube.with("apply --server-side -f -", &manifests)
            .inspect_err(|error| eprintln!("not yet: {error}"))
            .ok()
    });
}

/// Waits for the team's token and returns it, encoded as in the Secret.
pub(crate) fn token(kube: Kube<'_>, team: &str) -> String {
    kube.must(&format!(
        "wait --for=condition=Ready --timeout=180s -n {team} oauthclient/backend sat/nightly"
    ));
    kube.must(&format!(
        "get secret nightly-token -n {team} -o jsonpath={{.data.token}}"
    ))
}

/// The status that a gateway gets for the token in a Secret.
pub(crate) fn check(server: &Process, encoded: &str) -> String {
    use base64::Engine as _;
    let token = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap();
    let token = String::from_utf8(token).unwrap();
    server.answer(
        "listen",
        "/connect/checktoken/api",
        &format!("Authorization: Bearer {token}"),
    )
}

/// Asserts that an operator and a server with a release's rights issue and accept a token, and that no request of
/// theirs is forbidden.
fn assert_works(kube: Kube<'_>, release: &str, home: &str, team: &str, scoped: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mark = kube.0.mark();
    let _operator = operator(kube, release, home, folder.path());
    apply_world(kube, home, team);
    let binding = format!("symbolon:{home}:main");
    let (reader, snapshots) = match scoped {
        [] => (format!("clusterrolebinding {binding}"), "of_the_cluster"),
        _ => (
            format!("rolebinding {binding} -n {team}"),
            "of_some_namespaces",
        ),
    };
    let account = server_account(kube, home, "main", &reader);
    for (place, namespace) in [
        ("at_home", home),
        ("where_teams_are", team),
        ("elsewhere", "default"),
    ] {
        let rights = own_rights(kube, &account, namespace);
        assert_sound(&rights);
        assert!(!rights.contains("secrets"), "{rights}");
        insta::assert_snapshot!(format!("servers_{snapshots}_{place}"), rights);
    }
    let accounts = [format!("system:serviceaccount:{home}:{release}"), account];
    let token = token(kube, team);
    let server = server(kube, home, "main", scoped, folder.path());
    assert_eq!(check(&server, &token), "200");
    kube.must(&format!("label namespace {team} team=other --overwrite"));
    eventually("the server refuses the token without the label", || {
        (check(&server, &token) != "200").then_some(())
    });
    kube.must(&format!("label namespace {team} team={team} --overwrite"));
    eventually("the server accepts the token with the label again", || {
        (check(&server, &token) == "200").then_some(())
    });
    let requests = kube.0.requests(mark).into_iter();
    let ours: Vec<_> = requests
        .filter(|request| accounts.contains(&request.user))
        .collect();
    let refused: Vec<_> = ours.iter().filter(|it| it.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    // The audit log tells which program sent a request, and which writes are ours.
    let version = env!("CARGO_PKG_VERSION");
    let programs = ["operator", "server"].map(|it| format!("symbolon-{it}/{version}"));
    for (account, program) in accounts.iter().zip(&programs) {
        assert!(ours.iter().any(|it| it.user == *account));
        for request in ours.iter().filter(|it| it.user == *account) {
            assert_eq!(request.user_agent, *program, "{request:?}");
            if ["create", "update", "patch"].contains(&&*request.verb) {
                let manager = request.field_manager.as_deref();
                assert_eq!(manager, Some("symbolon"), "{request:?}");
            }
        }
    }
    let lease = kube.get(&format!("lease {release} -n {home}")).unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(holder.starts_with(&format!("{release}-0_")), "{holder}");
}

#[test]
fn an_operator_of_the_whole_cluster_has_the_rights_that_it_needs() {
    let kube = installed();
    kube.must("create namespace running-team");
    assert_works(kube, "symbolon", HOME, "running-team", &[]);
}

#[test]
fn an_operator_of_some_namespaces_needs_no_right_in_others() {
    // A separate cluster, because the policies of an installation for the whole cluster accept only its own operator.
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    for namespace in ["scoped-home", "scoped-team"] {
        kube.must(&format!("create namespace {namespace}"));
    }
    kube.helm("install symbolon-scoped charts/symbolon -n scoped-home --set watchNamespaces={scoped-team}")
        .unwrap();
    assert_works(
        kube,
        "symbolon-scoped",
        "scoped-home",
        "scoped-team",
        &["scoped-home", "scoped-team"],
    );
    let binding = kube
        .get("validatingadmissionpolicybinding scoped-home-symbolon-scoped-status")
        .unwrap();
    let bound =
        &binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"];
    assert_eq!(*bound, serde_json::json!(["scoped-home", "scoped-team"]));
}
