//! What the commands that talk to a Kubernetes API server share.

use std::time::Duration;

use anyhow::Context as _;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

use crate::source::kubernetes::Reach;
use crate::telemetry::KubeRequests;
use crate::telemetry::traces::TracedLayer;

/// For the connection alone; requests have their own bounds.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer, where nothing is streamed.
const ANSWER: Duration = Duration::from_secs(10);

/// A client of the cluster that the environment names: KUBECONFIG, `~/.kube/config` or the pod's account.
pub(super) async fn client(
    context: Option<&str>,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    told(config(context).await?, requests)
}

/// The same, for requests that are not bounded otherwise; no watch may go through it.
pub(super) async fn answering_client(
    context: Option<&str>,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    let mut config = config(context).await?;
    config.read_timeout = Some(ANSWER);
    told(config, requests)
}

/// A client whose requests are counted, and carry traces on.
fn told(config: Config, requests: &KubeRequests) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from(config);
    let builder = builder.context("the Kubernetes client cannot be set up")?;
    Ok(builder.with_layer(&TracedLayer(requests.clone())).build())
}

/// The same, acting as another user where one is named: `kubectl --as`.
pub(super) async fn client_as(context: Option<&str>, user: Option<&str>) -> anyhow::Result<Client> {
    let mut config = config(context).await?;
    if let Some(user) = user {
        config.auth_info.impersonate = Some(user.to_owned());
    }
    Client::try_from(config).context("the Kubernetes client cannot be set up")
}

async fn config(context: Option<&str>) -> anyhow::Result<Config> {
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
    Ok(config)
}

/// Everywhere, or in the listed namespaces.
pub(super) fn reach(namespaces: &[String]) -> Reach {
    if namespaces.is_empty() {
        Reach::Cluster
    } else {
        Reach::Namespaces(namespaces.to_vec())
    }
}
