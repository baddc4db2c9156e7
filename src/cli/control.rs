//! What a server answers on its control socket, and how commands ask for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::clock::now;
use crate::control::{self, Answer, Place, Request};
use crate::store::{self, Snapshot, Store, StoreError};

/// Copies the store.
pub(super) const BACKUP: &str = "/v1/store/backup";
/// Checks the store.
pub(super) const VERIFY: &str = "/v1/store/verify";
/// How long a command may take to read a piece of a copy. Meanwhile the write-ahead log grows.
const STALL: Duration = Duration::from_secs(60);
/// The pieces that wait for a command.
const AHEAD: usize = 2;

/// Why a server did not do what a command asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) error: String,
}

/// Serves the control socket of a store in a file, until it is dropped. Without the socket everything else is served.
pub(super) async fn serve(store: Store) {
    let Some(folder) = store.path().map(control::folder_of) else {
        return std::future::pending().await;
    };
    match Place::bind(&folder) {
        Ok(place) => {
            let busy = Arc::new(Semaphore::new(1));
            control::serve(&place, move |request| {
                answer(store.clone(), Arc::clone(&busy), request)
            })
            .await;
        }
        Err(error) => {
            warn!(folder = %folder.display(), %error, "cannot create the control socket: commands such as symbolon store backup cannot reach this server");
            std::future::pending().await
        }
    }
}

fn answer(store: Store, busy: Arc<Semaphore>, request: Request) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let is_backup = match &*request.what {
            "POST /v1/store/backup" => true,
            "POST /v1/store/verify" => false,
            _ => {
                let words = "this server knows no such request: use the command of its release";
                return refused(StatusCode::NOT_FOUND, words.to_owned());
            }
        };
        // Two at a time would take from people what one takes.
        let Ok(turn) = busy.try_acquire_owned() else {
            let words = "another backup or verification is running: try again when it has ended";
            return refused(StatusCode::CONFLICT, words.to_owned());
        };
        // The work goes on if the caller leaves, and keeps its turn until it ends.
        let work = tokio::spawn(async move {
            if is_backup {
                backup(&store, request.end, turn).await
            } else {
                verify(&store, turn).await
            }
        });
        work.await.unwrap_or_else(|_| {
            refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server failed: read its log".to_owned(),
            )
        })
    })
}

async fn verify(store: &Store, turn: OwnedSemaphorePermit) -> Answer {
    let report = store::verify_in_use(store, now()).await;
    drop(turn);
    match report {
        Ok(report) => json(StatusCode::OK, &report),
        Err(error) => failed(&error),
    }
}

async fn backup(store: &Store, end: CancellationToken, turn: OwnedSemaphorePermit) -> Answer {
    let snapshot = match store.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return failed(&error),
    };
    let bytes = snapshot.bytes();
    info!(bytes, "copying the store for a backup");
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = send(snapshot, sender).await {
            warn!(%error, "the backup of the store ended early");
            end.cancel();
        }
        drop(turn);
    });
    let pieces = futures::stream::unfold(receiver, |mut receiver| async {
        let piece: Vec<u8> = receiver.recv().await?;
        let frame = Frame::data(Bytes::from(piece));
        Some((Ok(frame), receiver))
    });
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, bytes.into());
    answer
}

/// Sends a snapshot piece by piece. A command that stops reading does not hold it.
async fn send(mut snapshot: Snapshot, sender: mpsc::Sender<Vec<u8>>) -> anyhow::Result<()> {
    while let Some(piece) = snapshot.next().await? {
        match tokio::time::timeout(STALL, sender.send(piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => anyhow::bail!("the command ended"),
            Err(_) => anyhow::bail!("the command did not read for {} s", STALL.as_secs()),
        }
    }
    Ok(snapshot.close().await?)
}

fn failed(error: &StoreError) -> Answer {
    warn!(%error, "cannot copy or verify the store");
    refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn refused(status: StatusCode, error: String) -> Answer {
    json(status, &Refused { error })
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer
}
