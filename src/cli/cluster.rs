//! Kubernetes clients for the commands.

use std::time::Duration;

use anyhow::Context as _;
use http::header::{HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request};
use tokio::time::Instant;
use tower::util::MapRequestLayer;

use super::proxy::{Proxy, Variables};
use crate::kube_call::{self, Body, Builder, Client, Config};
use crate::resources::FIELD_MANAGER;
use crate::source::kubernetes::{Reach, Source};
use crate::telemetry::KubeRequests;
use crate::telemetry::traces::TracedLayer;

/// The time limit for a connection. Requests have limits of their own.
const CONNECT: Duration = Duration::from_secs(5);
/// The time limit for a response that is not streamed.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the first lists may take before a warning, and the interval of the warnings after it.
const SOON: Duration = Duration::from_secs(5);
const LISTS: Duration = Duration::from_mins(1);
/// The interval at which `first_lists` reports what is missing.
const LOOK: Duration = Duration::from_secs(1);

/// The program that sends requests, as the API server's audit log names it (`userAgent`).
#[derive(Clone, Copy)]
pub(super) enum Program {
    Operator,
    Server,
    Restore,
}

impl Program {
    fn user_agent(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Operator => concat!("symbolon-operator/", env!("CARGO_PKG_VERSION")),
            Self::Server => concat!("symbolon-server/", env!("CARGO_PKG_VERSION")),
            Self::Restore => concat!("symbolon-restore/", env!("CARGO_PKG_VERSION")),
        })
    }
}

/// Returns a client of the cluster that the environment names: `KUBECONFIG`, `~/.kube/config` or the pod's service
/// account.
pub(super) async fn client(
    context: Option<&str>,
    program: Program,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    counted(connection(context, program).await?, requests)
}

/// Returns a client that limits the time of each response. Watches must not use it: it would end them.
pub(super) async fn answering_client(
    context: Option<&str>,
    program: Program,
    requests: &KubeRequests,
) -> anyhow::Result<Client> {
    let mut connection = connection(context, program).await?;
    connection.config.read_timeout = Some(ANSWER);
    counted(connection, requests)
}

/// Returns a client that impersonates `user` if there is one, as `kubectl --as` does.
pub(super) async fn client_as(
    context: Option<&str>,
    program: Program,
    user: Option<&str>,
) -> anyhow::Result<Client> {
    let mut connection = connection(context, program).await?;
    if let Some(user) = user {
        connection.config.auth_info.impersonate = Some(user.to_owned());
    }
    let builder = connection.builder()?;
    let client = builder.with_layer(&MapRequestLayer::new(managed)).build();
    Ok(client.into())
}

/// Returns a client that counts its requests and propagates traces.
fn counted(connection: Connection, requests: &KubeRequests) -> anyhow::Result<Client> {
    let builder = connection.builder()?;
    let builder = builder.with_layer(&MapRequestLayer::new(managed));
    let client = builder.with_layer(&TracedLayer(requests.clone())).build();
    Ok(client.into())
}

/// Sets our field manager in a write that names none, so that `managedFields` tells our writes from those of others.
///
/// One layer does it because libraries write too: kube's event recorder sets no field manager.
fn managed(mut request: Request<Body>) -> Request<Body> {
    let writes = [Method::POST, Method::PUT, Method::PATCH];
    let query = request.uri().query().unwrap_or_default();
    let is_named = query.split('&').any(|it| it.starts_with("fieldManager="));
    if writes.contains(request.method()) && !is_named {
        let separator = if query.is_empty() { "" } else { "&" };
        let path = request.uri().path();
        let target = format!("{path}?{query}{separator}fieldManager={FIELD_MANAGER}");
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(target).ok().or(parts.path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// How the API server is reached.
struct Connection {
    config: Config,
    proxy: Option<Proxy>,
}

impl Connection {
    fn builder(self) -> anyhow::Result<Builder> {
        let builder = match self.proxy {
            Some(proxy) => proxy.client(self.config),
            None => kube_call::builder(self.config).map_err(anyhow::Error::from),
        };
        builder.context("cannot set up the Kubernetes client")
    }
}

/// Replaces an absent `proxy-url` in kube's configuration, because kube would read the environment by other rules than
/// kubectl.
const BY_ENVIRONMENT: &str = "http://environment.invalid/";

async fn connection(context: Option<&str>, program: Program) -> anyhow::Result<Connection> {
    // A second installation fails, which is harmless: the first provider stays.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut config = config(context)
        .await
        .context("found no Kubernetes API server: set KUBECONFIG, or run in a pod")?;
    let configured = config.proxy_url.take().map(|url| url.to_string());
    let configured = configured.filter(|url| url != BY_ENVIRONMENT);
    let variables = Variables::read(|name| std::env::var(name).ok());
    let proxy = Proxy::choose(configured.as_deref(), &config.cluster_url, &variables)?;
    if let Some(proxy) = &proxy {
        // Without user and password, which the URL may contain.
        let server = config.cluster_url.host();
        tracing::info!(
            ?proxy,
            server,
            "connecting to the API server through a proxy"
        );
    }
    config.connect_timeout = Some(CONNECT);
    config.headers.push((USER_AGENT, program.user_agent()));
    // After a lost response the outcome is unknown. The caller decides whether to retry, never the client.
    config.default_retry = false;
    Ok(Connection { config, proxy })
}

/// Reads the kubeconfig; without a usable one and without a chosen context, the pod's service account.
async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    let variable = std::env::var_os("KUBECONFIG");
    let found = match kube_call::kubeconfig(variable.as_deref()) {
        Ok(mut file) => {
            let clusters = file.clusters.iter_mut();
            for cluster in clusters.filter_map(|cluster| cluster.cluster.as_mut()) {
                if cluster.proxy_url.as_deref().is_none_or(str::is_empty) {
                    cluster.proxy_url = Some(BY_ENVIRONMENT.to_owned());
                }
            }
            kube_call::config(file, context).await
        }
        Err(error) => Err(error),
    };
    let mut config = match (found, context) {
        (Ok(config), _) => config,
        (Err(error), Some(_)) => return Err(error.into()),
        (Err(error), None) => kube_call::in_cluster().map_err(|in_pod| {
            anyhow::anyhow!("the kubeconfig cannot be used ({error}), and neither can the service account of a pod ({in_pod})")
        })?,
    };
    if context.is_none() {
        config.apply_debug_overrides();
    }
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

/// Waits for the first lists and logs what is missing. Every second it passes what is missing to `report`, and at the
/// end `None`.
pub(super) async fn first_lists(source: &Source, report: impl Fn(Option<String>)) {
    let (mut told, mut patience) = (Instant::now(), SOON);
    while let Err(missing) = source.listed(LOOK).await {
        report(Some(missing.to_string()));
        if told.elapsed() >= patience {
            tracing::warn!("{missing}");
            (told, patience) = (Instant::now(), LISTS);
        }
    }
    report(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_names_one_field_manager_and_no_read_does() {
        let cases = [
            (
                "POST",
                "/api/v1/secrets",
                "/api/v1/secrets?fieldManager=symbolon",
            ),
            (
                "POST",
                "/api/v1/secrets?",
                "/api/v1/secrets?fieldManager=symbolon",
            ),
            (
                "PUT",
                "/a?dryRun=All",
                "/a?dryRun=All&fieldManager=symbolon",
            ),
            ("PATCH", "/a?&fieldManager=other", "/a?&fieldManager=other"),
            ("GET", "/a?&limit=5", "/a?&limit=5"),
            ("DELETE", "/a", "/a"),
        ];
        for (method, target, wanted) in cases {
            let request = Request::builder().method(method).uri(target);
            let request = managed(request.body(Body::empty()).unwrap());
            assert_eq!(request.uri(), wanted, "{method} {target}");
        }
    }
}
