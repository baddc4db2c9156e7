//! Serves the socket: bounded connections, one bounded request each.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::place::Place;

/// The largest number of connections at a time. One more is closed.
const CONNECTIONS: usize = 8;
/// How long a caller may take to send a request.
const HEAD: Duration = Duration::from_secs(5);
/// The largest head of a request, in bytes. Bodies are not read.
const MAX_HEAD: usize = 8 << 10;
/// The largest number of header fields.
const MAX_HEADERS: usize = 32;
/// How long a connection may last: a backup of a large store over a slow line.
const LIFE: Duration = Duration::from_hours(6);
/// The pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// The body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub type Answer = http::Response<AnswerBody>;

/// A request.
pub struct Request {
    /// The method and the path, such as `POST /v1/store/verify`.
    pub what: String,
    /// Ends the connection when it is cancelled, for an answer that its caller does not read.
    pub end: CancellationToken,
}

/// Answers requests until it is dropped, which also ends the connections.
pub async fn serve<H>(place: &Place, handler: H)
where
    H: Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = place.listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(turn) = Arc::clone(&free).try_acquire_owned() else {
            continue;
        };
        let handler = Arc::clone(&handler);
        open.spawn(async move {
            let _turn = turn;
            let end = CancellationToken::new();
            let ended = end.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let what = format!("{} {}", request.method(), request.uri().path());
                let answer = handler(Request {
                    what,
                    end: end.clone(),
                });
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A caller that leaves, or sends no HTTP, is not worth a word.
                _ = connection => {}
                () = ended.cancelled() => {}
                () = tokio::time::sleep(LIFE) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::place::connect;
    use super::*;

    fn echo(request: Request) -> BoxFuture<'static, Answer> {
        let body = Full::new(Bytes::from(request.what));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        Box::pin(async { http::Response::new(body) })
    }

    async fn reply(folder: &Path, sent: &[u8]) -> String {
        let mut stream = connect(folder).await.unwrap();
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(sent).await;
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        String::from_utf8_lossy(&got).into_owned()
    }

    #[tokio::test]
    async fn a_request_is_bounded_and_a_connection_serves_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a.db.control");
        let place = Place::bind(&folder).unwrap();
        let serving = tokio::spawn(async move { serve(&place, echo).await });
        let two = "POST /v1/a HTTP/1.1\r\nhost: x\r\n\r\nPOST /v1/b HTTP/1.1\r\nhost: x\r\n\r\n";
        let got = reply(&folder, two.as_bytes()).await;
        assert!(
            got.starts_with("HTTP/1.1 200") && got.ends_with("POST /v1/a"),
            "{got}"
        );
        let long = format!("POST / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let many = format!(
            "POST / HTTP/1.1\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_HEADERS + 1)
        );
        for refused in [long.as_bytes(), many.as_bytes(), b"no HTTP\r\n\r\n"] {
            let got = reply(&folder, refused).await;
            assert!(!got.contains(" 200 "), "{got}");
        }
        // Beyond the limit a connection is closed, and serves again when a place is free.
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(connect(&folder).await.unwrap());
        }
        assert_eq!(reply(&folder, two.as_bytes()).await, "");
        drop(held);
        while reply(&folder, two.as_bytes()).await.is_empty() {
            tokio::task::yield_now().await;
        }
        serving.abort();
    }
}
