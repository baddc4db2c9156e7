//! The body of an answer on its way to the socket. The bytes carry their memory charge ([`Unsent`]), so that the charge
//! ends when the socket has taken them, and not when they enter a queue.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};

use super::activity::Unsent;

/// A body and its memory charge.
pub(super) struct ResponseBody {
    body: Body,
    unsent: Option<Unsent>,
}

/// Bytes of a body, with the body's memory charge, which ends when they are dropped.
pub(super) struct Chunk {
    bytes: Bytes,
    unsent: Option<Unsent>,
}

impl ResponseBody {
    /// Wraps a body. Unless the body is empty, calls `account` with its length to charge it.
    pub fn new(body: Body, account: impl FnOnce(usize) -> Unsent) -> Self {
        let hint = hyper::body::Body::size_hint(&body);
        let is_empty = hyper::body::Body::is_end_stream(&body);
        let bytes = usize::try_from(hint.lower()).unwrap_or(usize::MAX / 2);
        Self {
            body,
            unsent: (!is_empty).then(|| account(bytes)),
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Chunk;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // Every body of this server is one frame.
        let chunk = |bytes| Chunk {
            bytes,
            unsent: self.unsent.take(),
        };
        frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if !self.bytes.has_remaining()
            && let Some(unsent) = &mut self.unsent
        {
            unsent.is_taken();
        }
    }
}
