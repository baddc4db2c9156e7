//! Copies and checks a store, by its server or by its file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::super::clock::now;
use super::super::control::{BACKUP, Refused, VERIFY};
use super::super::terminal;
use super::find::Found;
use crate::control::{ask, folder_of};
use crate::store::{NewFile, Report, Snapshot};

/// The pause between two lines that tell the progress.
const EVERY: Duration = Duration::from_secs(2);
/// The largest answer other than a copy, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The server's words about a store that it cannot read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSound(String);

/// Where a copy comes from.
enum Origin {
    Server(Response<Incoming>),
    File(Snapshot),
}

impl Origin {
    async fn open(found: &Found) -> anyhow::Result<Self> {
        let opening = async {
            match found {
                Found::Served(path) => ask_server(path, BACKUP).await.map(Self::Server),
                Found::Unused(_, unused) => Ok(Self::File(unused.snapshot().await?)),
            }
        };
        told("checking the store before the copy", opening).await
    }

    fn bytes(&self) -> anyhow::Result<u64> {
        match self {
            Self::Server(answer) => {
                let length = answer.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                length.context(
                    "the server did not say how large the copy is: use the command of its release",
                )
            }
            Self::File(snapshot) => Ok(snapshot.bytes()),
        }
    }

    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Server(answer) => match answer.body_mut().frame().await {
                Some(frame) => {
                    let frame = frame
                        .context("the server ended the copy early: read its log, and try again")?;
                    Ok(Some(frame.into_data().unwrap_or_default()))
                }
                None => Ok(None),
            },
            Self::File(snapshot) => Ok(snapshot.next().await?.map(Bytes::from)),
        }
    }
}

/// Writes a copy into a new file and verifies it.
pub(super) async fn to_file(found: &Found, to: &Path) -> anyhow::Result<Report> {
    let mut file = NewFile::create(to)?;
    copy(found, |piece| Ok(file.write(piece)?)).await?;
    told("verifying the copy", async {
        Ok(file.finish(now()).await?)
    })
    .await
}

/// Writes a copy to the standard output, and returns its size.
pub(super) async fn to_stdout(found: &Found) -> anyhow::Result<u64> {
    copy(found, |piece| Ok(terminal::write_bytes(piece)?)).await
}

async fn copy(
    found: &Found,
    mut write: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut from = Origin::open(found).await?;
    let (all, mut done) = (from.bytes()?, 0);
    let mut last = Instant::now();
    while let Some(piece) = from.next().await? {
        write(&piece)?;
        done += piece.len() as u64;
        if last.elapsed() >= EVERY {
            last = Instant::now();
            terminal::note(&format!("copied {done} of {all} bytes"));
        }
    }
    ensure!(
        done == all,
        "the server ended the copy after {done} of {all} bytes: read its log, and try again"
    );
    if let Origin::File(snapshot) = from {
        snapshot.close().await?;
    }
    Ok(all)
}

/// Checks a store.
pub(super) async fn verify(found: &Found) -> anyhow::Result<Report> {
    let checking = async {
        match found {
            Found::Served(path) => {
                let answer = ask_server(path, VERIFY).await?;
                let body = whole(answer).await?;
                serde_json::from_slice(&body).context(
                    "the server's answer is of another release: use the command of its release",
                )
            }
            Found::Unused(_, unused) => Ok(unused.verify(now()).await?),
        }
    };
    told("verifying", checking).await
}

async fn ask_server(path: &Path, what: &'static str) -> anyhow::Result<Response<Incoming>> {
    let answer = ask(&folder_of(path), what).await?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let is_fault = answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
    let body = whole(answer).await?;
    match serde_json::from_slice::<Refused>(&body) {
        Ok(refused) if is_fault => Err(NotSound(refused.error).into()),
        Ok(refused) => bail!("{}", refused.error),
        Err(_) => {
            bail!("the server's answer is of another release: use the command of its release")
        }
    }
}

async fn whole(answer: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the server ended early: {error}"))?;
    Ok(body.to_bytes())
}

/// Tells at intervals what a long step does.
async fn told<T>(what: &str, step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    tokio::pin!(step);
    loop {
        tokio::select! {
            done = &mut step => return done,
            () = tokio::time::sleep(EVERY) => {
                terminal::note(&format!("{what}: {} s", began.elapsed().as_secs()));
            }
        }
    }
}
