//! A load of requests that differ: each connection sends the next one when it has the answer to the one before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const MOST: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line and the headers, in lower case except for the values.
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Returns the values of a header. hyper writes names in lower case.
    pub fn headers<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r str> {
        let lines = self
            .head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "));
        lines
            .filter(move |(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }
}

/// Sends all requests over this many connections, and returns the answers in any order.
pub async fn send(
    at: SocketAddr,
    requests: Vec<Vec<u8>>,
    connections: usize,
) -> anyhow::Result<Vec<Reply>> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..connections.min(requests.len()) {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            let (mut replies, mut buffer) = (Vec::new(), Vec::with_capacity(16 << 10));
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let reply = exchange(&mut stream, request, &mut buffer);
                let reply = tokio::time::timeout(MOST, reply).await;
                replies.push(reply.context("an answer took too long")??);
            }
            anyhow::Ok(replies)
        }));
    }
    let mut all = Vec::with_capacity(requests.len());
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> anyhow::Result<Reply> {
    stream.write_all(request).await?;
    buffer.clear();
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            break at;
        }
        ensure!(
            stream.read_buf(buffer).await? > 0,
            "the connection was closed"
        );
    };
    let head = String::from_utf8(buffer[..end].to_vec())?;
    let mut reply = Reply {
        status: head.get(9..12).context("a status")?.parse()?,
        head,
        body: String::new(),
    };
    let length: usize = reply.header("content-length").unwrap_or("0").parse()?;
    while buffer.len() < end + 4 + length {
        ensure!(
            stream.read_buf(buffer).await? > 0,
            "the connection was closed"
        );
    }
    reply.body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec())?;
    Ok(reply)
}
