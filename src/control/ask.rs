//! Asks a server over its socket.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::place::connect;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server uses the socket.
    #[error("no server answers")]
    NoServer,
    /// The socket belongs to a server of another user, or is not a socket in a folder.
    #[error("cannot connect to the server: {0}")]
    Connect(io::Error),
    /// The server ended, or something else answers.
    #[error("the server ended the connection: {0}")]
    Lost(#[from] hyper::Error),
}

/// Returns whether a server listens on the socket in a folder.
pub async fn is_answered(folder: &Path) -> bool {
    connect(folder).await.is_ok()
}

/// Sends a request without a body, and returns the answer. The body may end early if the server ends: its length is then
/// not the announced one, and reading it fails.
///
/// # Errors
/// No server answers.
pub async fn ask(folder: &Path, path: &'static str) -> Result<Response<Incoming>, AskError> {
    let stream = connect(folder).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoServer,
        _ => AskError::Connect(error),
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(header::HOST, host);
    Ok(sender.send_request(request).await?)
}
