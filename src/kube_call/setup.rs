//! Reads how the API server is reached, and builds clients.

use std::ffi::OsStr;
use std::path::PathBuf;

use http::{Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt as _, DynBody};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::util::BoxService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

use super::credentials;
use super::fault::KubeFault;

/// A client's stack of services, in the form in which kube builds it.
type Stack = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// A client to which layers can be added.
pub type Builder = ClientBuilder<Stack>;

/// Reads the files that `variable`, the value of `KUBECONFIG`, names; if it names none, `~/.kube/config`.
///
/// # Errors
/// [`KubeFault`] with the path, and with the place in the file, but nothing of its text.
pub fn kubeconfig(variable: Option<&OsStr>) -> Result<Kubeconfig, KubeFault> {
    let paths = variable.into_iter().flat_map(std::env::split_paths);
    let paths: Vec<PathBuf> = paths.filter(|path| !path.as_os_str().is_empty()).collect();
    if paths.is_empty() {
        let found = Kubeconfig::read();
        return found.map_err(|error| KubeFault::of_kubeconfig(&error, "~/.kube/config"));
    }
    let mut merged = Kubeconfig::default();
    for path in paths {
        let place = path.display().to_string();
        let read = Kubeconfig::read_from(&path).and_then(|next| merged.merge(next));
        merged = read.map_err(|error| KubeFault::of_kubeconfig(&error, &place))?;
    }
    Ok(merged)
}

/// Returns how the cluster of a context is reached; without a context, that of `current-context`.
///
/// # Errors
/// [`KubeFault`] for a part that is missing or cannot be used.
pub async fn config(file: Kubeconfig, context: Option<&str>) -> Result<Config, KubeFault> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    config.map_err(|error| KubeFault::of_kubeconfig(&error, "the kubeconfig"))
}

/// Returns how a pod reaches its cluster, with its service account.
///
/// # Errors
/// [`KubeFault`] outside of a pod.
pub fn in_cluster() -> Result<Config, KubeFault> {
    Ok(Config::incluster()?)
}

/// Returns a client whose connections lead directly to the API server.
///
/// # Errors
/// [`KubeFault`] for credentials or certificates that cannot be used.
pub fn builder(config: Config) -> Result<Builder, KubeFault> {
    credentials::check(&config.auth_info)?;
    credentials::caught(|| Ok(ClientBuilder::try_from(config)?))
}

/// Adds TLS with the certificates of `config` to a connector.
///
/// # Errors
/// [`KubeFault`] for certificates that cannot be used.
pub fn with_tls<C>(config: &Config, connector: C) -> Result<HttpsConnector<C>, KubeFault> {
    Ok(config.rustls_https_connector_with_connector(connector)?)
}

/// Returns kube's usual stack over another connector.
///
/// # Errors
/// [`KubeFault`] for credentials or certificates that cannot be used.
pub fn stack<C>(connector: C, config: Config) -> Result<Builder, KubeFault>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    credentials::check(&config.auth_info)?;
    let connector = with_tls(&config, connector)?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client = hyper_util::client::legacy::Builder::new(TokioExecutor::new());
    let client = client.build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(credentials::caught(|| Ok(config.auth_layer()?))?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    let service = service.map_response(|response: Response<hyper::body::Incoming>| {
        response.map(|body| {
            let body = http_body_util::BodyExt::map_err(body, BoxError::from);
            Box::new(body) as Box<DynBody>
        })
    });
    Ok(ClientBuilder::new(
        service.boxed(),
        config.default_namespace,
    ))
}
