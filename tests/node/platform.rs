//! The installation that all tests share: CRDs, the operator, an Identity with pods, and a client with its tokens.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::kubectl::{apply, eventually, json, kubectl, run, try_apply};

/// The host of the Identity's issuer.
pub(crate) const HOST: &str = "main-identity.platform.svc";
/// The Identity's issuer.
pub(crate) const ISSUER: &str = "http://main-identity.platform.svc/id";

/// kubectl arguments that select the Identity's pods.
pub(crate) const SERVERS: &str =
    "-n platform -l app.kubernetes.io/component=identity,app.kubernetes.io/instance=main";

/// The installation. One test at a time holds it.
pub(crate) struct Platform {
    _turn: MutexGuard<'static, Installed>,
}

#[derive(Clone, Copy, PartialEq)]
enum Installed {
    NotYet,
    /// The installation has started, or has failed.
    Partly,
    Yes,
}

impl Platform {
    /// Waits for the other tests. The first test installs.
    pub(crate) fn take() -> Self {
        static INSTALLED: Mutex<Installed> = Mutex::new(Installed::NotYet);
        // A failed test poisons the lock, but the installation is still usable.
        let mut turn = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            *turn != Installed::Partly,
            "the installation failed, see the test that failed first"
        );
        if *turn == Installed::NotYet {
            *turn = Installed::Partly;
            install();
            *turn = Installed::Yes;
        }
        Self { _turn: turn }
    }
}

/// The cluster IP and port of the Identity's Service.
pub(crate) fn service() -> SocketAddr {
    let service = json("get service -n platform main-identity");
    let port = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .find(|port| port["name"] == "http")
        .expect("the Service has a port http")["port"]
        .as_u64();
    SocketAddr::new(
        cluster_ip("platform", "main-identity"),
        u16::try_from(port.unwrap()).unwrap(),
    )
}

/// A value of a Secret, as text.
pub(crate) fn secret(namespace: &str, name: &str, key: &str) -> String {
    let secret = json(&format!("get secret -n {namespace} {name}"));
    let value = secret["data"][key]
        .as_str()
        .expect("the Secret has the key");
    String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
}

/// The cluster IP of a Service.
pub(crate) fn cluster_ip(namespace: &str, service: &str) -> IpAddr {
    json(&format!("get service -n {namespace} {service}"))["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

/// A file of `tests/node/manifests`.
pub(crate) fn manifest(name: &str) -> String {
    file(&format!("tests/node/manifests/{name}.yaml"))
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn install() {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let began = Instant::now();
    // Namespaces first, because they restrict what pods may do.
    apply(&manifest("namespaces"));
    helm(
        "install symbolon charts/symbolon --namespace symbolon-system --set identityNamespaces[0]=platform",
    );
    kubectl(
        "wait --for=condition=Established --timeout=60s crd -l app.kubernetes.io/name=symbolon",
    );
    // An established CRD may be served a moment later.
    for team in ["platform", "shop"] {
        eventually("the kinds are served", || try_apply(&manifest(team)));
    }
    kubectl("rollout status -n symbolon-system deployment/symbolon --timeout=120s");
    kubectl("wait --for=condition=Ready --timeout=120s -n platform identity/main");
    kubectl(
        "wait --for=condition=Ready --timeout=60s -n shop oauthclient/backend serviceaccesstoken/nightly-report serviceaccesstoken/steady",
    );
    eprintln!(
        "node: installed, served and issued after {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// Runs `helm` in the repository's folder.
pub(crate) fn helm(words: &str) {
    run(
        Command::new("helm")
            .args(words.split_whitespace())
            .current_dir(env!("CARGO_MANIFEST_DIR")),
        "",
    );
}
