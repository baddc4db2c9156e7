//! The floods on a server's two ports. Each opens as many connections as it can, holds them, and closes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::http2;
use crate::platform::Platform;

/// The time-out of one connect, and of one write to a server that may not read.
const PATIENCE: Duration = Duration::from_secs(2);
/// The number of connections that do not read.
const UNREAD: usize = 2_000;
/// The number of connections that request very large responses.
const WIDE: usize = 200;
/// The number of streams on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// The number of connections that request tokens without a pause, and of requests that each sends at once.
const SIGNING: (usize, u32) = (200, 8);
/// The time between two bursts of these requests.
const BURSTS: Duration = Duration::from_millis(100);
/// The number of random client ids.
const JUNK: usize = 20_000;
/// The smallest receive buffer of the kernel, so that unread responses stay in the server.
const SMALL_BUFFER: u32 = 2_304;

const JWKS: &str = "/id/.well-known/openid-configuration/jwks";
const DISCOVERY: &str = "/id/.well-known/openid-configuration";
const TOKEN: &str = "/id/connect/token";

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    UnreadHttp2,
    UnreadHttp1,
    WideTokens,
    Signing,
    AllPlaces,
    HealthPlaces,
    SilentBodies,
    SlowHeads,
    FewFiles,
    JunkClients,
}

/// The connections that a flood holds.
pub struct Held(Vec<TcpStream>);

impl Attack {
    pub const ALL: [Self; 10] = [
        Self::UnreadHttp2,
        Self::UnreadHttp1,
        Self::WideTokens,
        Self::Signing,
        Self::AllPlaces,
        Self::HealthPlaces,
        Self::SilentBodies,
        Self::SlowHeads,
        Self::FewFiles,
        Self::JunkClients,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UnreadHttp2 => "unread-http2",
            Self::UnreadHttp1 => "unread-http1",
            Self::WideTokens => "wide-tokens",
            Self::Signing => "signing",
            Self::AllPlaces => "all-places",
            Self::HealthPlaces => "health-places",
            Self::SilentBodies => "silent-bodies",
            Self::SlowHeads => "slow-heads",
            Self::FewFiles => "few-files",
            Self::JunkClients => "junk-clients",
        }
    }

    pub const fn what(self) -> &'static str {
        match self {
            Self::UnreadHttp2 => {
                "one address opens 2,000 HTTP/2 connections, each with 128 requests and a window of 0"
            }
            Self::UnreadHttp1 => {
                "one address opens 2,000 HTTP/1 connections, sends 400 requests on each, and reads nothing"
            }
            Self::WideTokens => {
                "200 connections request tokens with 128 scopes and 8 audiences of 500 bytes, and do not read"
            }
            Self::Signing => {
                "one client requests tokens with RSA signatures on 200 HTTP/2 connections without a pause"
            }
            Self::AllPlaces => {
                "two addresses hold 2,048 connections each, with one request on each"
            }
            Self::HealthPlaces => "64 addresses hold 8 connections each on the health port",
            Self::SilentBodies => {
                "nine HTTP/2 connections start 128 POSTs each, and send no bodies"
            }
            Self::SlowHeads => {
                "2,000 connections of one address send one byte of their head per second"
            }
            Self::FewFiles => {
                "1,100 connections of one address on each port, with a soft limit of 1,024 open files"
            }
            Self::JunkClients => "20,000 requests with random client ids from one address",
        }
    }

    /// The number of connections whose peers do not read.
    pub const fn unread_connections(self) -> Option<usize> {
        match self {
            Self::UnreadHttp2 | Self::UnreadHttp1 => Some(UNREAD),
            Self::WideTokens => Some(WIDE),
            _ => None,
        }
    }

    /// The algorithm of the server's signatures.
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Signing => "RS256",
            _ => "ES256",
        }
    }

    /// The server's soft limit of open files; `None` for the limit of this process.
    pub const fn soft_file_limit(self) -> Option<u64> {
        match self {
            Self::FewFiles => Some(1_024),
            _ => None,
        }
    }

    /// Opens as many connections as it can.
    pub async fn begin(self, platform: &Platform) -> anyhow::Result<Held> {
        let (at, health) = (platform.subject.at, platform.subject.health);
        let mut held = Vec::new();
        match self {
            Self::UnreadHttp2 => {
                let mut bytes = http2::preface(0);
                for stream in 0..STREAMS {
                    let path = if stream % 2 == 0 { JWKS } else { DISCOVERY };
                    bytes.extend(http2::get(2 * stream + 1, &at.to_string(), path));
                }
                hold(&mut held, 2, at, UNREAD, &bytes).await;
            }
            Self::UnreadHttp1 => {
                let one = format!("GET {DISCOVERY} HTTP/1.1\r\nHost: {at}\r\n\r\n");
                hold(&mut held, 2, at, UNREAD, one.repeat(400).as_bytes()).await;
            }
            Self::WideTokens => {
                let requests = platform.wide_request().repeat(20);
                hold(&mut held, 2, at, WIDE, requests.as_bytes()).await;
            }
            Self::Signing => {
                let mut bytes = http2::preface(65_535);
                bytes.extend(http2::large_window());
                hold(&mut held, 2, at, SIGNING.0, &bytes).await;
            }
            Self::AllPlaces => {
                let one = format!("GET {DISCOVERY} HTTP/1.1\r\nHost: {at}\r\n\r\n");
                for address in [2, 3] {
                    hold(&mut held, address, at, 2_048, one.as_bytes()).await;
                }
            }
            Self::HealthPlaces => {
                for address in 2..66 {
                    hold(&mut held, address, health, 8, b"").await;
                }
            }
            Self::SilentBodies => {
                let mut bytes = http2::preface(65_535);
                for stream in 0..STREAMS {
                    let stream = 2 * stream + 1;
                    bytes.extend(http2::silent_post(stream, &at.to_string(), TOKEN));
                }
                hold(&mut held, 2, at, 9, &bytes).await;
            }
            Self::SlowHeads => hold(&mut held, 2, at, 2_000, b"G").await,
            Self::FewFiles => {
                hold(&mut held, 2, at, 1_100, b"").await;
                hold(&mut held, 2, health, 1_100, b"").await;
            }
            Self::JunkClients => junk(at).await,
        }
        Ok(Held(held))
    }

    /// Holds the connections for a while, and sends what the flood sends.
    pub async fn keep(self, platform: &Platform, mut held: Held, time: Duration) -> Held {
        if self == Self::Signing {
            request_tokens(&mut held.0, platform, time).await;
            return held;
        }
        if self != Self::SlowHeads {
            tokio::time::sleep(time).await;
            return held;
        }
        let rest = b"ET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for byte in rest.iter().take(usize::try_from(time.as_secs()).unwrap()) {
            for stream in &mut held.0 {
                // The server may have closed it.
                let _ = stream.try_write(&[*byte]);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        held
    }
}

/// Opens connections from `127.0.0.<address>` and sends the same bytes on each, while the server accepts them.
async fn hold(held: &mut Vec<TcpStream>, address: u8, at: SocketAddr, count: usize, bytes: &[u8]) {
    let mut refused = 0;
    for _ in 0..count {
        let opening = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
            socket.bind((Ipv4Addr::new(127, 0, 0, address), 0).into())?;
            let mut stream = socket.connect(at).await?;
            // Stop if the server does not read.
            let _ = tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await;
            Ok::<_, std::io::Error>(stream)
        };
        match tokio::time::timeout(2 * PATIENCE, opening).await {
            Ok(Ok(stream)) => held.push(stream),
            Ok(Err(_)) | Err(_) => refused += 1,
        }
        // The server accepts no more connections, so these are all that the attacker gets.
        if refused > 20 {
            break;
        }
    }
}

/// Sends bursts of the tenant's token requests on each connection, and discards the responses.
async fn request_tokens(streams: &mut [TcpStream], platform: &Platform, time: Duration) {
    let (authority, form) = (platform.subject.at.to_string(), platform.narrow_form());
    let until = tokio::time::Instant::now() + time;
    let mut buffer = vec![0; 64 << 10];
    let mut stream = 1;
    while tokio::time::Instant::now() < until {
        let mut bytes = Vec::new();
        for _ in 0..SIGNING.1 {
            bytes.extend(http2::post(stream, &authority, TOKEN, form.as_bytes()));
            stream += 2;
        }
        for stream in &mut *streams {
            while stream.try_read(&mut buffer).is_ok_and(|read| read > 0) {}
            // A connection whose socket takes only a part of the burst is of no further use.
            let _ = stream.try_write(&bytes);
        }
        tokio::time::sleep(BURSTS).await;
    }
}

/// Sends requests of clients that do not exist, a few at once, some hundred on each connection.
async fn junk(at: SocketAddr) {
    let body = "grant_type=client_credentials&client_secret=x&client_id=";
    let senders = (0..8).map(|sender| async move {
        let Ok(mut stream) = TcpStream::connect(at).await else {
            return;
        };
        for number in 0..JUNK / 8 {
            let id = format!("junk-{sender}-{number}");
            let request = format!(
                "POST {TOKEN} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}{id}",
                body.len() + id.len()
            );
            if stream.write_all(request.as_bytes()).await.is_err() || skip(&mut stream).await.is_err() {
                return;
            }
        }
    });
    futures::future::join_all(senders).await;
}

/// Reads one response, whose head and body arrive together.
async fn skip(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4_096];
    let mut length = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[length..]) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if buffer[..length].ends_with(b"}") {
            return Ok(());
        }
    }
}
