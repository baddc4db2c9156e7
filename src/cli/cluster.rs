//! What the commands that talk to a Kubernetes API server share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

use crate::source::kubernetes::{Reach, Source};

/// For the connection alone; requests have their own bounds.
const CONNECT: Duration = Duration::from_secs(5);
/// Between looks at how old the watches are.
const LOOK: Duration = Duration::from_secs(1);

/// A client of the cluster that the environment names: KUBECONFIG, `~/.kube/config` or the pod's account.
pub(super) async fn client(context: Option<&str>) -> anyhow::Result<Client> {
    // Twice is no fault: the first one counts.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = match context {
        Some(_) => Config::from_kubeconfig(&options)
            .await
            .map_err(anyhow::Error::from),
        None => Config::infer().await.map_err(anyhow::Error::from),
    };
    let mut config =
        config.context("no Kubernetes API server to talk to: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(CONNECT);
    // A lost reply leaves the outcome unknown: whoever asked decides what comes next, never the client.
    config.default_retry = false;
    Client::try_from(config).context("the Kubernetes client cannot be set up")
}

/// Everywhere, or in the listed namespaces.
pub(super) fn reach(namespaces: &[String]) -> Reach {
    if namespaces.is_empty() {
        Reach::Cluster
    } else {
        Reach::Namespaces(namespaces.to_vec())
    }
}

/// Tells again and again how long ago the quietest watch was last heard.
pub(super) async fn watch_ages(source: Arc<Source>, tell: impl Fn(Duration)) {
    loop {
        tell(source.oldest().0);
        tokio::time::sleep(LOOK).await;
    }
}
