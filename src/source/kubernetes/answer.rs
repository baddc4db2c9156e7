//! Reads responses of the API server while they arrive. No response is held as a whole, however large its list is.

use std::time::Duration;

use futures::FutureExt as _;
use http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::WatchError;
use super::raw::Raw;
use crate::json_stream::{Framing, Keep, Piece, Scanner, read};
use crate::kube_call::{Client, KubeFault, ResponseBody, scrub};

/// The time limit for the beginning of a response, and for each further part of a list.
pub(super) const ANSWER: Duration = Duration::from_mins(1);
/// The maximum number of objects in a batch.
const BATCH: usize = 512;
/// The maximum number of bytes in a batch.
const BATCH_BYTES: usize = 256 << 10;

/// A response that is being read.
pub(super) struct ObjectResponse {
    body: ResponseBody,
    scanner: Scanner,
    /// The metadata of a list, once it was read.
    pub(super) list: ListMetadata,
    /// The number of objects so far.
    pub(super) objects: usize,
    /// The number of bytes so far.
    pub(super) bytes: usize,
    /// A fault that is returned after the objects before it.
    fault: Option<WatchError>,
    is_over: bool,
}

/// A decoded part of a response.
#[derive(Debug)]
pub(super) enum Part<T> {
    /// A complete object.
    Whole(T),
    /// Namespace, name and version of an object that is too large to read, and its length in bytes.
    Cut(T, usize),
    /// Invalid JSON, or JSON of another shape.
    Bad,
}

/// The metadata of a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    /// The version that a watch continues from.
    #[serde(default)]
    pub(super) resource_version: String,
    /// The token that requests the next page; empty on the last page.
    #[serde(default, rename = "continue")]
    pub(super) next: String,
}

/// An event of a watch, or the `Status` that an API server sends instead.
#[derive(Debug, Deserialize)]
pub(super) struct WatchLine {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) object: Option<Raw>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
}

impl WatchLine {
    /// Returns the `Status` that ends a watch, if the line is one.
    pub(super) fn end(&self) -> Option<WatchError> {
        if let Some(code) = self.code.filter(|_| self.object.is_none()) {
            let reason = scrub(self.reason.as_deref().unwrap_or_default());
            return Some(WatchError::Ended { code, reason });
        }
        let Raw(status) = self.object.as_ref().filter(|_| self.kind == "ERROR")?;
        let code = status["code"].as_u64();
        Some(WatchError::Ended {
            code: code.and_then(|code| code.try_into().ok()).unwrap_or(0),
            reason: scrub(status["reason"].as_str().unwrap_or_default()),
        })
    }
}

impl ObjectResponse {
    /// Sends a request and waits for the beginning of its response.
    pub(super) async fn open(
        client: &Client,
        request: Request<Vec<u8>>,
        framing: Framing,
        keep: Keep,
    ) -> Result<Self, WatchError> {
        let sent = timeout(ANSWER, client.send(request)).await;
        let response = sent.map_err(|_| WatchError::Timeout)??;
        let code = response.status();
        let mut body = response.into_body();
        if !code.is_success() {
            let said = timeout(ANSWER, read::refusal(&mut body)).await;
            let said = said.map_err(|_| WatchError::Timeout)??;
            return Err(KubeFault::refused(code.as_u16(), &said).into());
        }
        Ok(Self {
            body,
            scanner: Scanner::new(framing, keep),
            list: ListMetadata::default(),
            objects: 0,
            bytes: 0,
            fault: None,
            is_over: false,
        })
    }

    /// Waits for the next part and returns it with everything that has arrived already; `None` at the end. Objects that
    /// came before a fault are returned before it.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<Vec<Part<T>>>, WatchError> {
        let mut batch = Batch::default();
        while !self.is_over && self.fault.is_none() && !batch.is_full() {
            let chunk = read::chunk(&mut self.body);
            let chunk = if batch.parts.is_empty() {
                chunk.await
            } else {
                match chunk.now_or_never() {
                    Some(chunk) => chunk,
                    None => break,
                }
            };
            self.fault = self.take(chunk, &mut batch).err();
        }
        self.objects += batch.parts.len();
        match self.fault.take() {
            Some(fault) if batch.parts.is_empty() => Err(fault),
            fault => {
                self.fault = fault;
                Ok(Some(batch.parts).filter(|parts| !parts.is_empty()))
            }
        }
    }

    fn take<T: DeserializeOwned>(
        &mut self,
        chunk: Option<Result<bytes::Bytes, KubeFault>>,
        batch: &mut Batch<T>,
    ) -> Result<(), WatchError> {
        let chunk = match chunk {
            Some(Ok(chunk)) => chunk,
            // A watch usually ends like this.
            Some(Err(fault)) if fault.is_end_of_body() => return self.end(),
            Some(Err(fault)) => return Err(fault.into()),
            None => return self.end(),
        };
        self.bytes += chunk.len();
        let list = &mut self.list;
        self.scanner.push(&chunk, &mut |piece| match piece {
            Piece::ListMetadata(json) => *list = serde_json::from_slice(json).unwrap_or_default(),
            Piece::Item {
                json,
                bytes,
                is_cut,
            } => batch.add(json, bytes, is_cut),
            Piece::BadLine => batch.parts.push(Part::Bad),
        })?;
        Ok(())
    }

    fn end(&mut self) -> Result<(), WatchError> {
        self.is_over = true;
        Ok(self.scanner.finish()?)
    }
}

struct Batch<T> {
    parts: Vec<Part<T>>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T: DeserializeOwned> Batch<T> {
    fn is_full(&self) -> bool {
        self.parts.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, json: &[u8], bytes: usize, is_cut: bool) {
        self.bytes += json.len();
        self.parts.push(match serde_json::from_slice(json) {
            Ok(decoded) if is_cut => Part::Cut(decoded, bytes),
            Ok(decoded) => Part::Whole(decoded),
            Err(_) => Part::Bad,
        });
    }
}
