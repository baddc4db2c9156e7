//! The installation that all tests share: definitions, operator, an Identity served by pods, a client with its token.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::kubectl::{apply, json, kubectl};

/// Where the Identity is, as its issuer says.
pub(crate) const HOST: &str = "main-identity.platform.svc";
/// Its path.
pub(crate) const ISSUER: &str = "http://main-identity.platform.svc/id";

/// What is installed; held by one test at a time.
pub(crate) struct Platform {
    _turn: MutexGuard<'static, bool>,
}

impl Platform {
    /// Waits for the other tests; the first one installs.
    pub(crate) fn take() -> Self {
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        // A test that failed has let go of it in the middle; the next one sees what is left.
        let mut turn = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*turn {
            install();
            *turn = true;
        }
        Self { _turn: turn }
    }

    /// Where connections to the Identity's Service go: its ClusterIP.
    pub(crate) fn service(&self) -> SocketAddr {
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

    /// The text of a key of a Secret.
    pub(crate) fn secret(&self, namespace: &str, name: &str, key: &str) -> String {
        kubectl(&format!(
            "get secret -n {namespace} {name} -o go-template={{{{index(.data)\"{key}\"|base64decode}}}}"
        ))
    }
}

/// The address of a Service.
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
    // An error says that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let began = Instant::now();
    kubectl(&format!(
        "apply --server-side -f {}/crds",
        env!("CARGO_MANIFEST_DIR")
    ));
    kubectl("wait --for=condition=Established --timeout=60s crd -l app.kubernetes.io/name=symbolon");
    apply(&manifest("operator"));
    apply(&manifest("platform"));
    apply(&manifest("server"));
    apply(&manifest("shop"));
    kubectl("rollout status -n symbolon-system deployment/symbolon --timeout=120s");
    kubectl("rollout status -n platform deployment/main-identity --timeout=120s");
    kubectl(
        "wait --for=condition=Ready --timeout=60s -n shop oauthclient/backend serviceaccesstoken/nightly-report",
    );
    eprintln!(
        "node: installed, served and issued after {:.1} s",
        began.elapsed().as_secs_f64()
    );
}
