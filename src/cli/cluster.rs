//! Kubernetes clients for the commands.

use std::time::Duration;

use anyhow::Context as _;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

use crate::source::kubernetes::Reach;
use crate::telemetry::KubeRequests;
use crate::telemetry::traces::TracedLayer;

/// The time limit for a connection. Requests have limits of their own.
const CONNECT: Duration = Duration::from_secs(5);
/// The time limit for a response that is not streamed.
const ANSWER: Duration = Duration::from_secs(10);

/// Returns a client of the cluster that the environment names: `KUBECONFIG`, `~/.kube/config` or the pod's service
/// account.
pub(super) async fn client(
    context: Option<&str>,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    told(config(context).await?, requests)
}

/// Returns a client that limits the time of each response. Watches must not use it: it would end them.
pub(super) async fn answering_client(
    context: Option<&str>,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    let mut config = config(context).await?;
    config.read_timeout = Some(ANSWER);
    told(config, requests)
}

/// Returns a client that counts its requests and propagates traces.
fn told(config: Config, requests: &KubeRequests) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from(config);
    let builder = builder.context("cannot set up the Kubernetes client")?;
    Ok(builder.with_layer(&TracedLayer(requests.clone())).build())
}

/// Returns a client that impersonates `user` if there is one, as `kubectl --as` does.
pub(super) async fn client_as(context: Option<&str>, user: Option<&str>) -> anyhow::Result<Client> {
    let mut config = config(context).await?;
    if let Some(user) = user {
        config.auth_info.impersonate = Some(user.to_owned());
    }
    Client::try_from(config).context("cannot set up the Kubernetes client")
}

async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    // A second installation fails, which is harmless: the first provider stays.
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
        config.context("found no Kubernetes API server: set KUBECONFIG, or run in a pod")?;
    config.connect_timeout = Some(CONNECT);
    // After a lost response the outcome is unknown. The caller decides whether to retry, never the client.
    config.default_retry = false;
    Ok(config)
}

/// Returns the whole cluster if `namespaces` is empty, else these namespaces.
pub(super) fn reach(namespaces: &[String]) -> Reach {
    if namespaces.is_empty() {
        Reach::Cluster
    } else {
        Reach::Namespaces(namespaces.to_vec())
    }
}
