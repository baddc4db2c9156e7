//! The store in PostgreSQL: what the operator builds and reports, and servers that run as in these pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use symbolon::resources::{ManagedKind, STORE_FAILS};

use super::fleet::{IMAGE, Kubelet, identity, installation, start};
use super::serving::Server;
use super::world::{Running, World, condition};
use crate::harness::{Cluster, eventually};
use crate::postgres::PostgresServer;

const WRITABLE: &str = "symbolon_store_writable";

async fn reports(server: &Server, writable: f64) {
    eventually(&format!("{WRITABLE} is {writable}"), async || {
        (server.metric(WRITABLE).await == Some(writable)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_a_database_that_comes_later_and_serve_machines_without_it() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let option = format!("--store-url-file={}", file.display());
    let start = async || Server::start(&world, cluster.kubeconfig_path(), &[&option]).await;
    let mut servers = vec![start().await, start().await];
    for server in &servers {
        assert!(server.accepts(&token).await);
        reports(server, 0.0).await;
    }

    let mut database = PostgresServer::start(&[]);
    let url = database.url.replace("symbolon@", "symbolon:hunter2@");
    std::fs::write(&file, url).unwrap();
    for server in &servers {
        reports(server, 1.0).await;
    }
    database.kill();
    // A new server starts in the same way.
    servers.push(start().await);
    for server in &servers {
        reports(server, 0.0).await;
        assert!(server.accepts(&token).await);
        assert!(server.is_ready().await);
    }
    database.restart();
    for server in &servers {
        reports(server, 1.0).await;
    }
    for server in servers {
        let log = server.log();
        assert!(log.contains("cannot use the database") || log.contains("cannot write"));
        assert!(!log.contains("hunter2"), "{log}");
        server.end();
    }
}

/// Answers probes of one address in place of a pod, until the value is dropped.
struct FakePod(tokio::task::JoinHandle<()>);

impl FakePod {
    async fn start(address: &str, fails: Arc<AtomicBool>) -> Self {
        let listener = tokio::net::TcpListener::bind((address, 8081)).await;
        let listener = listener.expect("the port 8081 of an address of this machine is free");
        let answer = move || {
            let fails = fails.load(Ordering::SeqCst);
            async move { if fails { STORE_FAILS } else { "ok" } }
        };
        let app = axum::Router::new().route("/readyz", axum::routing::get(answer));
        Self(tokio::spawn(async move {
            axum::serve(listener, app).await.unwrap();
        }))
    }
}

impl Drop for FakePod {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const DATABASE: &str = "replicas: 1
  storage: {type: PostgreSQL, postgresql: {urlSecretRef: {name: database, key: uri}}}";

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_says_why_its_pods_cannot_use_the_database() {
    const ADDRESS: &str = "127.83.79.83";
    let world = World::empty(Cluster::shared()).await;
    let _running = start(&world, installation(IMAGE), None).await;
    let _kubelet = Kubelet::start(&world);
    world.apply(&identity(DATABASE)).await;
    world.identity_is("main", "Ready").await;
    let deployment = world.made(ManagedKind::Deployment).await.unwrap();
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    let source = &volumes[1]["projected"]["sources"][0]["secret"];
    assert_eq!(source["name"], "database", "{volumes}");
    assert_eq!(source["optional"], true, "{volumes}");

    let fails = Arc::new(AtomicBool::new(true));
    let _pod = FakePod::start(ADDRESS, Arc::clone(&fails)).await;
    let pods: Api<Pod> = world.platform.api();
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let status = json!({"status": {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}});
        let name = pod.metadata.name.unwrap();
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
    }
    let told = async |reason: &str| {
        let object = world.identity_is("main", reason).await;
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let words = told("SecretNotFound").await;
    assert!(words.contains("the Secret database"), "{words}");
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "database"},
        "stringData": {"uri": "postgres://u:hunter2@h/d"},
    }))
    .unwrap();
    let secrets: Api<Secret> = world.platform.api();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let words = told("DatabaseUnavailable").await;
    assert!(words.contains("1 of 1 pods"), "{words}");
    assert!(!words.contains("hunter2"), "{words}");
    fails.store(false, Ordering::SeqCst);
    told("Ready").await;
}
