//! Requests of an HTTP/2 connection that wait for their turn: until earlier ones are answered and, if the connection
//! holds much memory, until the peer has read those answers.
//!
//! While a request waits, the server reads its body and charges it to the connection. Unread, the body would fill the
//! connection's window and could block the bodies of requests that have their turn: a deadlock. The rest of a body that
//! is too long is read and forgotten: unread, each of its frames would take far more memory than its bytes.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Uri};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};

use super::activity::{Activity, Held, Turn};
use crate::lock::lock;

/// Bytes of a `HeaderMap` for each field, in addition to its text.
const PER_FIELD: usize = 112;

/// The turn of a request that is being answered. It is given back while the request waits for the rest of its body:
/// through a proxy one caller's slow bodies would otherwise take all turns of a connection that others share.
pub(super) struct Taken {
    activity: Arc<Activity>,
    turn: Mutex<Option<Turn>>,
}

impl Taken {
    pub fn new(activity: Arc<Activity>, turn: Turn) -> Self {
        Self {
            activity,
            turn: Mutex::new(Some(turn)),
        }
    }

    /// Gives the turn to another request.
    pub fn give_back(&self) {
        drop(self.end());
    }

    /// Waits for another turn, with a body of `bytes`.
    pub async fn take_again(&self, bytes: usize) {
        // A request that has one must not wait for a second one: if all did, none of the connection would go on.
        self.give_back();
        let _held = self.activity.hold(bytes);
        let turn = self.activity.turn().await;
        *lock(&self.turn) = turn;
    }

    /// Charges `bytes` that the request keeps.
    pub fn hold(&self, bytes: usize) -> Held {
        self.activity.hold(bytes)
    }

    /// Returns the turn, if the request has it.
    pub fn end(&self) -> Option<Turn> {
        lock(&self.turn).take()
    }
}

/// A body: the part that was read while the request waited, and the rest.
struct Kept {
    came: Bytes,
    rest: Rest,
}

enum Rest {
    Coming(Incoming),
    Failed(hyper::Error),
    Over,
}

/// Waits for the turn of a request, and reads its body meanwhile. Once more than `most` bytes came, which is enough to
/// refuse the body, it keeps no further frame. Dropping the returned [`Held`] ends the memory charge for the kept
/// frames.
pub(super) async fn wait(
    activity: Arc<Activity>,
    head: Box<Parts>,
    body: Incoming,
    most: usize,
) -> (Arc<Activity>, Option<Turn>, Request<Body>, Held) {
    let mut held = activity.hold(size(&head));
    let mut came = BytesMut::new();
    let mut rest = if body.is_end_stream() {
        Rest::Over
    } else {
        Rest::Coming(body)
    };
    let turn = {
        let mut turn = std::pin::pin!(activity.turn());
        loop {
            let Rest::Coming(body) = &mut rest else {
                break turn.await;
            };
            let frame = tokio::select! {
                biased;
                turn = turn.as_mut() => break turn,
                frame = body.frame() => frame,
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(_))) if came.len() > most => {}
                Some(Ok(Ok(data))) => {
                    held.grow(data.len());
                    came.extend_from_slice(&data);
                }
                // Trailers end the body.
                Some(Ok(Err(_))) | None => rest = Rest::Over,
                Some(Err(error)) => rest = Rest::Failed(error),
            }
        }
    };
    let came = came.freeze();
    let body = Body::new(Kept { came, rest });
    (activity, turn, Request::from_parts(*head, body), held)
}

/// Returns the memory of a head in bytes. A field needs more than its text, and a table has room for more fields.
fn size(head: &Parts) -> usize {
    length(&head.method, &head.uri, &head.headers) + head.headers.capacity() * PER_FIELD
}

/// Returns the length of a head in bytes.
pub(super) fn length(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let path = uri.path_and_query().map_or(0, |it| it.as_str().len());
    let authority = uri.authority().map_or(0, |it| it.as_str().len());
    let scheme = uri.scheme_str().map_or(0, str::len);
    method.as_str().len() + scheme + authority + path + fields(headers)
}

/// Returns the length of header fields in bytes.
pub(super) fn fields(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
    fields.sum()
}

impl hyper::body::Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !self.came.is_empty() {
            let came = std::mem::take(&mut self.came);
            return Poll::Ready(Some(Ok(Frame::data(came))));
        }
        if let Rest::Coming(rest) = &mut self.rest {
            return Pin::new(rest).poll_frame(context);
        }
        match std::mem::replace(&mut self.rest, Rest::Over) {
            Rest::Failed(error) => Poll::Ready(Some(Err(error))),
            Rest::Coming(_) | Rest::Over => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    /// A peer may make any part of a head long.
    #[test]
    fn every_part_of_a_head_counts() {
        let long = "a".repeat(1000);
        let head = || Request::get("/");
        let heads = [
            Request::builder().method(&*long).uri("/"),
            Request::get(format!("http://{long}/")),
            Request::get(format!("/{long}")),
            Request::get(format!("/?{long}")),
            head().header(&*long, "v"),
            head().header("n", &*long),
        ];
        for head in heads {
            let (head, ()) = head.body(()).unwrap().into_parts();
            assert!(size(&head) >= 1000, "{head:?}");
        }
        let (least, ()) = head().body(()).unwrap().into_parts();
        assert!(size(&least) < 100);
    }

    /// In HTTP/2 one byte can stand for a whole header field.
    #[test]
    fn a_waiting_head_is_charged_for_its_table_and_not_only_for_its_text() {
        let mut headers = HeaderMap::new();
        for number in 0..64 {
            let name = HeaderName::try_from(format!("a{number}")).unwrap();
            headers.insert(name, HeaderValue::from_static(""));
        }
        let table = headers.capacity() * size_of::<(u64, HeaderName, HeaderValue)>();
        let (mut head, ()) = Request::new(()).into_parts();
        head.headers = headers;
        let size = size(&head);
        assert!(size >= table, "{size} of {table} bytes");
    }
}
