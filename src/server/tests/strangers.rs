//! Strangers that hold connections, answers and bodies. The server still serves everyone else.

use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::tcp::{PATIENCE, busy, connect_from, fixture, read_all, start, talk};
use super::*;
use crate::server::ServerLimits;
use crate::server::connection::Watched;
use crate::server::port::Port;

const DISCOVERY: &str = "/id/.well-known/openid-configuration";
const TOKEN: &str = "/id/connect/token";
const GOOD: &str =
    "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Returns how many requests and connections were refused or ended for `cause`.
pub(super) async fn shed(fixture: &Fixture, cause: &str) -> u64 {
    let text = super::edge::health(fixture, "/metrics").await.body;
    let start = format!("symbolon_shed_total{{cause=\"{cause}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Waits until a connection was ended for `cause`.
pub(super) async fn until(fixture: &Fixture, cause: &str) {
    let shed = async {
        while shed(fixture, cause).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, shed).await;
    waited.unwrap_or_else(|_| panic!("no connection is ended: {cause}"));
}

async fn is_served(address: SocketAddr) {
    let answer = talk(address, GOOD).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// HTTP/2 frames written by hand (RFC 9113), for what client libraries do not do.
pub(super) mod h2 {
    use super::*;

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(text.len()).unwrap()];
        bytes.extend(text.as_bytes());
        bytes
    }

    /// Returns a header block. The `method` 0x82 is GET, 0x83 is POST (RFC 7541 appendix A).
    fn head(method: u8, path: &str) -> Vec<u8> {
        let mut block = vec![method, 0x86, 0x04];
        block.extend(text(path));
        block.push(0x01);
        block.extend(text("x"));
        block
    }

    pub fn get(stream: u32, path: &str) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(0x82, path))
    }

    /// Returns the head of a request; the form follows.
    pub fn post(stream: u32, path: &str) -> Vec<u8> {
        let mut block = head(0x83, path);
        block.extend([0x0f, 0x10]);
        block.extend(text("application/x-www-form-urlencoded"));
        frame(HEADERS, END_HEADERS, stream, &block)
    }

    /// Opens an HTTP/2 connection that allows the server to send `window` bytes on each stream.
    pub async fn open(mut stream: TcpStream, window: u32) -> TcpStream {
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &settings));
        bytes.extend(frame(SETTINGS, 1, 0, &[]));
        stream.write_all(&bytes).await.unwrap();
        stream
    }

    /// Reads a frame; returns its kind and payload, or `None` if the connection ended.
    pub async fn any(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], payload))
    }

    /// Reads frames up to one of this kind; returns its payload, or `None` if the connection ended.
    pub async fn next(stream: &mut TcpStream, kind: u8) -> Option<Vec<u8>> {
        loop {
            let (read, payload) = any(stream).await?;
            if read == kind {
                return Some(payload);
            }
        }
    }
}

/// Returns the IDs of streams that a client opens: odd numbers.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test]
async fn an_http_2_peer_that_opens_no_window_is_cut_off_whatever_else_it_sends() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    for window in [0, 1] {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let mut stream = h2::open(stream, window).await;
        for id in streams(8) {
            stream.write_all(&h2::get(id, DISCOVERY)).await.unwrap();
        }
        let ping = h2::frame(h2::PING, 0, 0, &[0; 8]);
        let pinging = async {
            while stream.write_all(&ping).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, pinging).await;
        ended.unwrap_or_else(|_| panic!("window {window}: the connection is not ended"));
    }
    assert_eq!(shed(&fixture, "unread").await, 2);
    is_served(running.address).await;
}

#[tokio::test]
async fn a_peer_that_leaves_one_answer_unread_is_cut_off_though_it_reads_others() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 0).await;
    stream.write_all(&h2::get(1, DISCOVERY)).await.unwrap();
    let asking = async {
        for id in streams(1_000_000).skip(1) {
            let mut request = h2::get(id, DISCOVERY);
            request.extend(h2::frame(8, 0, id, &65535_u32.to_be_bytes()));
            request.extend(h2::frame(8, 0, 0, &65535_u32.to_be_bytes()));
            if stream.write_all(&request).await.is_err()
                || h2::next(&mut stream, h2::DATA).await.is_none()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    ended.expect("the connection is ended");
    assert_eq!(shed(&fixture, "unread").await, 1);
}

#[tokio::test]
async fn an_http_1_peer_that_does_not_read_is_cut_off() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let request = format!("GET {DISCOVERY} HTTP/1.1\r\nHost: x\r\n\r\n");
    let asking = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    ended.expect("the connection is ended");
    assert_eq!(shed(&fixture, "unread").await, 1);
}

#[tokio::test]
async fn when_peers_hold_too_much_memory_the_heaviest_are_cut_off() {
    let fixture = fixture(|limits| {
        limits.held_bytes = 64 << 10;
        limits.head_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    let mut unread = Vec::new();
    for window in [0, 1, 0, 1] {
        let stream = connect_from(2, running.address).await;
        let mut stream = h2::open(stream, window).await;
        for id in streams(16) {
            stream.write_all(&h2::get(id, DISCOVERY)).await.unwrap();
        }
        unread.push(stream);
    }
    until(&fixture, "memory").await;
    kept.write_all(GOOD.as_bytes()).await.unwrap();
    let (answer, _) = read_all(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    is_served(running.address).await;
}

/// `h2` keeps trailers until the answer was sent, and a peer decides when that is.
#[tokio::test]
async fn memory_of_trailers_counts_too() {
    let fixture = fixture(|limits| {
        limits.held_bytes = 256 << 10;
        limits.head_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    let stream = connect_from(2, running.address).await;
    let mut stream = h2::open(stream, 0).await;
    for id in streams(16) {
        let mut head = h2::get(id, DISCOVERY);
        head[4] = h2::END_HEADERS;
        stream.write_all(&head).await.unwrap();
        h2::next(&mut stream, h2::HEADERS).await.unwrap();
    }
    for id in streams(16) {
        // A stored field (RFC 7541 section 6.2.1), and its index again and again.
        let block = [&b"\x40\x01a\x01b"[..], &[0xbe; 1000]].concat();
        let frame = h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, id, &block);
        if stream.write_all(&frame).await.is_err() {
            break;
        }
    }
    until(&fixture, "memory").await;
    is_served(running.address).await;
}

/// Clients that obey store no header fields, so that nothing is charged to them.
#[tokio::test]
async fn http_2_clients_are_asked_to_store_no_header_fields() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 65535).await;
    let (kind, payload) = h2::any(&mut stream).await.unwrap();
    assert_eq!(kind, h2::SETTINGS);
    let table = payload.chunks(6).find(|setting| setting[..2] == [0, 1]);
    assert_eq!(table, Some(&[0, 1, 0, 0, 0, 0][..]), "{payload:?}");
}

/// An entry in the table of header fields keeps alive the buffer that it was read into: a few bytes can pin 8 KiB.
#[tokio::test]
async fn memory_that_header_tables_may_pin_counts_too() {
    let fixture = fixture(|limits| {
        limits.held_bytes = 128 << 10;
        limits.head_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    let stream = connect_from(2, running.address).await;
    let mut stream = h2::open(stream, 65535).await;
    let unknown = h2::frame(0xfa, 0, 0, &[0; 8000]);
    for id in streams(64) {
        // A field that enters the table (RFC 7541 section 6.2.1), then bytes that move the next field to another
        // buffer.
        let mut block = vec![0x82, 0x86, 0x84, 0x40, 1, b'a', 1];
        block.push(b'0' + u8::try_from(id % 10).unwrap());
        let head = h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, id, &block);
        if stream.write_all(&head).await.is_err() || stream.write_all(&unknown).await.is_err() {
            break;
        }
    }
    until(&fixture, "memory").await;
    is_served(running.address).await;
}

#[tokio::test]
async fn a_full_port_ends_the_idlest_connection_of_the_peer_that_has_most() {
    let fixture = fixture(|limits| {
        limits.connections = 5;
        limits.head_deadline = PATIENCE;
        limits.idle = PATIENCE;
        limits.body_deadline = PATIENCE;
    });
    let running = start(&fixture).await;
    let mut few = connect_from(3, running.address).await;
    let _busy = busy(running.address).await;
    let mut many = Vec::new();
    for _ in 0..3 {
        let mut stream = connect_from(2, running.address).await;
        // One after the other, so that each has been idle since its own answer.
        stream
            .write_all(GOOD.replace("Connection: close\r\n", "").as_bytes())
            .await
            .unwrap();
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        many.push(stream);
    }
    for ended in 0..2 {
        let mut newcomer = connect_from(4, running.address).await;
        newcomer.write_all(GOOD.as_bytes()).await.unwrap();
        let (answer, _) = read_all(&mut newcomer).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        if ended == 0 {
            let (answer, _) = read_all(&mut many[0]).await;
            assert!(answer.len() < 4096, "the idlest is closed");
        }
    }
    few.write_all(GOOD.as_bytes()).await.unwrap();
    let (answer, _) = read_all(&mut few).await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "the connection of a peer that has few stays"
    );
    assert!(shed(&fixture, "idle").await >= 1);
    assert_eq!(shed(&fixture, "connections").await, 0);
}

#[tokio::test]
async fn slow_bodies_of_one_peer_leave_room_for_those_of_others() {
    let fixture = fixture(|limits| {
        (limits.slow_bodies, limits.slow_bodies_per_peer) = (4, 2);
        limits.body_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    let mut silent = Vec::new();
    for last in [2, 3] {
        let stream = connect_from(last, running.address).await;
        let mut stream = h2::open(stream, 65535).await;
        for id in streams(8) {
            stream.write_all(&h2::post(id, TOKEN)).await.unwrap();
        }
        let refused = h2::next(&mut stream, h2::DATA).await.unwrap();
        assert!(String::from_utf8_lossy(&refused).contains("temporarily_unavailable"));
        silent.push(stream);
    }
    assert!(shed(&fixture, "bodies_per_peer").await > 0);
    // All places are taken, and their holders send a byte now and then.
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\n"
    );
    let served = async {
        loop {
            for stream in &mut silent {
                for id in streams(8) {
                    // The server may have ended the connection.
                    let _ = stream.write_all(&h2::frame(h2::DATA, 0, id, b"a")).await;
                }
            }
            let mut slow = TcpStream::connect(running.address).await.unwrap();
            slow.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if slow.write_all(b"a=b").await.is_err() {
                continue;
            }
            let (answer, _) = read_all(&mut slow).await;
            if answer.starts_with("HTTP/1.1 401") {
                return;
            }
            assert!(
                answer.starts_with("HTTP/1.1 503") || answer.is_empty(),
                "{answer}"
            );
        }
    };
    let waited = tokio::time::timeout(PATIENCE, served).await;
    waited.expect("a slow body loses its place to one of a caller that has none");
}

/// Some of them come in one read. Each becomes a task, and all are there before the first one runs.
#[tokio::test]
async fn requests_of_one_peer_that_wait_for_a_processor_count_in_its_share() {
    let fixture = fixture(|limits| limits.requests_per_peer = 1);
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 65535).await;
    let requests: Vec<u8> = streams(30).flat_map(|id| h2::get(id, DISCOVERY)).collect();
    stream.write_all(&requests).await.unwrap();
    until(&fixture, "requests_per_peer").await;
}

/// Clients do this before they know how many streams they may open (RFC 9113 section 6.5.2).
#[tokio::test]
async fn a_hundred_requests_at_once_on_a_new_connection_are_all_answered() {
    let fixture = fixture(|limits| {
        limits.head_deadline = PATIENCE;
        limits.body_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    // First bodies that together fit into the connection's window, then bodies that do not.
    for length in [3, 3000] {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let mut stream = h2::open(stream, 65535).await;
        let heads: Vec<u8> = streams(100).flat_map(|id| h2::post(id, TOKEN)).collect();
        stream.write_all(&heads).await.unwrap();
        let body = [b"a=".as_slice(), &vec![b'b'; length - 2]].concat();
        let mut window = 65535;
        // Requests that wait for their turn send their bodies first.
        let mut without_body: Vec<u32> = streams(100).collect();
        let mut answered = 0;
        while answered < 100 {
            while window >= length
                && let Some(id) = without_body.pop()
            {
                let data = h2::frame(h2::DATA, h2::END_STREAM, id, &body);
                stream.write_all(&data).await.unwrap();
                window -= length;
            }
            let frame = tokio::time::timeout(PATIENCE, h2::any(&mut stream)).await;
            let (kind, payload) = frame.expect("in time").expect("the connection lives");
            match kind {
                h2::HEADERS => {
                    // `:status` 503 would appear as its digits.
                    assert!(!payload.windows(3).any(|it| it == b"503"), "{payload:x?}");
                    answered += 1;
                }
                h2::WINDOW_UPDATE => {
                    let more = u32::from_be_bytes(payload.try_into().unwrap());
                    window += usize::try_from(more).unwrap();
                }
                h2::RESET => panic!("one request is refused after {answered} answers"),
                _ => {}
            }
        }
        stream.write_all(&h2::get(201, DISCOVERY)).await.unwrap();
        assert!(h2::next(&mut stream, h2::HEADERS).await.is_some());
    }
    for cause in ["bodies", "bodies_per_peer", "memory", "unread"] {
        assert_eq!(shed(&fixture, cause).await, 0, "{cause}");
    }
}

/// The peer resets each answer and sends a new request before the answer is old.
#[tokio::test]
async fn a_peer_that_resets_its_requests_does_not_keep_its_place() {
    let fixture = fixture(|limits| {
        limits.connections = 4;
        limits.head_deadline = PATIENCE;
        limits.idle = PATIENCE;
    });
    let running = start(&fixture).await;
    let mut kept = connect_from(3, running.address).await;
    let mut resetting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let stream = connect_from(2, running.address).await;
        let mut stream = h2::open(stream, 0).await;
        for id in streams(2) {
            stream.write_all(&h2::get(id, DISCOVERY)).await.unwrap();
        }
        h2::next(&mut stream, h2::HEADERS).await.unwrap();
        resetting.spawn(async move {
            for id in streams(1_000_000).skip(2) {
                let mut bytes = h2::frame(h2::RESET, 0, id - 4, &8_u32.to_be_bytes());
                bytes.extend(h2::get(id, DISCOVERY));
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    is_served(running.address).await;
    kept.write_all(GOOD.as_bytes()).await.unwrap();
    let (answer, _) = read_all(&mut kept).await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "a peer with one place keeps it"
    );
    assert_eq!(shed(&fixture, "connections").await, 0);
    assert_eq!(shed(&fixture, "idle").await, 1);
}

/// The server tells answers that are taken from answers that are given up, in either protocol.
#[tokio::test]
async fn a_peer_that_reads_its_answers_is_not_cut_off() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let mut http_1 = TcpStream::connect(running.address).await.unwrap();
    // Answers without a body, also those that no route makes.
    let mut heads = TcpStream::connect(running.address).await.unwrap();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut http_2 = h2::open(stream, 65535).await;
    let request = format!("GET {DISCOVERY} HTTP/1.1\r\nHost: x\r\n\r\n");
    let started = std::time::Instant::now();
    // Several times as long as an answer may wait.
    let mut ids = (0..).map(|number| 2 * number + 1);
    while started.elapsed() < Duration::from_secs(6) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        http_1.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = http_1.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "the HTTP/1 connection is ended");
        }
        for (host, status) in [("a,b", "400"), ("x", "200")] {
            let request = format!("HEAD {DISCOVERY} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            heads.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let read = heads.read_buf(&mut answer).await.unwrap();
                assert!(read > 0, "the connection with HEAD requests is ended");
            }
            let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
            assert!(
                answer.starts_with(&format!("http/1.1 {status}")),
                "{answer}"
            );
            assert!(answer.contains("\r\ncontent-length: "), "{answer}");
            assert!(!answer.contains("content-length: 0\r\n"), "{answer}");
        }
        // A long body and a short one.
        for path in [DISCOVERY, TOKEN] {
            let id = ids.next().unwrap();
            let mut bytes = h2::get(id, path);
            bytes.extend(h2::frame(h2::WINDOW_UPDATE, 0, 0, &8192_u32.to_be_bytes()));
            http_2.write_all(&bytes).await.unwrap();
            let head = h2::next(&mut http_2, h2::HEADERS).await;
            head.expect("the HTTP/2 connection is not ended");
        }
    }
    assert_eq!(shed(&fixture, "unread").await, 0);
}

/// Only the resets show that the peer does not read: no answer is old, and the socket takes all bytes.
#[tokio::test]
async fn a_peer_that_resets_all_its_requests_is_cut_off() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 0).await;
    let asking = async {
        for id in streams(1_000_000) {
            stream.write_all(&h2::get(id, DISCOVERY)).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let reset = h2::frame(h2::RESET, 0, id, &8_u32.to_be_bytes());
            stream.write_all(&reset).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let ended = tokio::time::timeout(PATIENCE, asking).await;
    assert!(ended.expect("the connection is ended").is_err());
    assert_eq!(shed(&fixture, "unread").await, 1);
}

/// The bytes that a flood sends, by number.
type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

/// Frames that are cheap to send and expensive to handle must end the connection.
#[tokio::test]
async fn floods_of_frames_end_the_connection() {
    use h2::{CONTINUATION, DATA, END_HEADERS, HEADERS, PING, RESET, SETTINGS, frame};
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let floods: [(&str, Flood); 6] = [
        (
            "a head without an end",
            Box::new(|n| match n {
                0 => frame(HEADERS, 0, 1, &[0x82]),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
        (
            "requests that are reset",
            Box::new(|n| {
                let id = 2 * n + 1;
                let mut request = h2::post(id, TOKEN);
                request.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
                request
            }),
        ),
        (
            "a body without bytes",
            Box::new(|n| match n {
                0 => h2::post(1, TOKEN),
                _ => frame(DATA, 0, 1, &[]),
            }),
        ),
        (
            "requests that are broken",
            Box::new(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &[0x82, 0x82])),
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        (
            "settings",
            Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])),
        ),
    ];
    for (flood, of) in floods {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(running.address).await.unwrap();
        let mut stream = h2::open(stream, 65535).await;
        let flooding = async {
            for n in 0.. {
                // Sends many at once.
                let bytes: Vec<u8> = (0..64).flat_map(|of_them| of(64 * n + of_them)).collect();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let ended = tokio::time::timeout(PATIENCE, flooding).await;
        ended.unwrap_or_else(|_| panic!("{flood}: the connection is not ended"));
        is_served(running.address).await;
    }
}

#[tokio::test]
async fn a_request_with_too_many_header_fields_is_refused_in_either_protocol() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 65535).await;
    let mut block = vec![0x82, 0x86, 0x84];
    for number in 0..65 {
        block.extend([0, 2, b'a' + number / 26, b'a' + number % 26, 1, b'v']);
    }
    let flags = h2::END_STREAM | h2::END_HEADERS;
    let request = h2::frame(h2::HEADERS, flags, 1, &block);
    stream.write_all(&request).await.unwrap();
    let head = h2::next(&mut stream, h2::HEADERS).await.unwrap();
    // `:status` 431 is not in the static table, so it appears as a literal, with or without Huffman coding.
    assert!(head[0] == 0x48 || head[0] == 0x08, "{head:x?}");
    let http_1 = format!(
        "GET {DISCOVERY} HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: y\r\n".repeat(65)
    );
    let answer = talk(running.address, &http_1).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

/// Behind a proxy, several callers share an HTTP/2 connection.
#[tokio::test]
async fn requests_whose_bodies_do_not_arrive_keep_no_turn_from_others() {
    let fixture = fixture(|limits| {
        limits.turns = 2;
        limits.body_deadline = PATIENCE * 10;
    });
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 65535).await;
    let mut bytes: Vec<u8> = Vec::new();
    for id in streams(4) {
        bytes.extend(h2::post(id, TOKEN));
    }
    bytes.extend(h2::get(9, DISCOVERY));
    stream.write_all(&bytes).await.unwrap();
    let head = tokio::time::timeout(PATIENCE, h2::next(&mut stream, h2::HEADERS)).await;
    let head = head.expect("no body is waited for").unwrap();
    assert_eq!(head[0], 0x88, ":status 200: {head:x?}");
    // The first body arrives, and its request gets another turn.
    let body = h2::frame(
        h2::DATA,
        h2::END_STREAM,
        1,
        b"grant_type=client_credentials",
    );
    stream.write_all(&body).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, h2::next(&mut stream, h2::HEADERS)).await;
    assert!(answer.expect("it has its turn").is_some());
}

/// Behind a proxy the connection's end would be the end of other callers' requests.
#[tokio::test]
async fn a_head_that_is_too_long_is_refused_alone() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = h2::open(stream, 65535).await;
    for (id, length, is_refused) in [(1, 15_000, false), (3, 17_000, true), (5, 60_000, true)] {
        // An indexed GET of a path, and one long field: its length less 127, in seven bits a byte.
        let mut block = vec![0x82, 0x86, 0x04];
        block.push(u8::try_from(DISCOVERY.len()).unwrap());
        block.extend(DISCOVERY.as_bytes());
        block.extend([0x01, 1, b'x', 0x00, 1, b'a', 0x7f]);
        let mut rest = length - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
        block.extend(vec![b'v'; length]);
        let mut parts = block.chunks(16_000).peekable();
        let mut kind = h2::HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() {
                h2::END_HEADERS
            } else {
                0
            };
            let flags = if kind == h2::HEADERS {
                h2::END_STREAM | end
            } else {
                end
            };
            let frame = h2::frame(kind, flags, id, part);
            stream.write_all(&frame).await.unwrap();
            kind = h2::CONTINUATION;
        }
        let head = h2::next(&mut stream, h2::HEADERS).await;
        let head = head.unwrap_or_else(|| panic!("the connection ended at {length}"));
        assert_eq!(head[0] != 0x88, is_refused, "{length}: {head:x?}");
    }
}

/// One request in fourteen stores a field, so that each entry keeps a buffer of its own.
#[tokio::test]
async fn what_the_table_of_header_fields_keeps_is_charged() {
    let port = Arc::new(Port::new(ServerLimits::default()));
    let (place, _) = port.enter([10, 0, 0, 1].into(), false).unwrap();
    let (mut peer, stream) = tokio::io::duplex(1 << 20);
    let mut watched = Watched::new(stream, Arc::clone(&place.activity));
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let plain = [
        b"\x82\x86\x04\x04/abc\x00\x01a\x7f\xd9\x03".to_vec(),
        vec![b'v'; 600],
    ]
    .concat();
    let mut sent = 0;
    for number in 0..2_000_u32 {
        let mut block = plain.clone();
        if number % 14 == 0 {
            // Literal with incremental indexing instead of without.
            block[2] = 0x44;
        }
        let frame = h2::frame(
            h2::HEADERS,
            h2::END_STREAM | h2::END_HEADERS,
            2 * number + 1,
            &block,
        );
        peer.write_all(&frame).await.unwrap();
        let mut part = vec![0; frame.len()];
        sent += frame.len();
        while !part.is_empty() {
            place.activity.go_on();
            let count = watched.read(&mut part).await.unwrap();
            part.drain(..count);
        }
    }
    let charged = place.activity.weight();
    assert!(charged > 800 << 10, "{charged} of {sent} bytes");
    assert!(charged < 1200 << 10, "{charged} of {sent} bytes");
}

/// The heavy peer takes each answer just before it would count as one that does not read.
#[tokio::test]
async fn the_peer_that_holds_most_memory_loses_it_first_even_if_it_just_keeps_up() {
    let port = Arc::new(Port::new(ServerLimits {
        held_bytes: 100 << 10,
        ..ServerLimits::default()
    }));
    let (light, _) = port.enter([10, 0, 0, 1].into(), false).unwrap();
    let (heavy, _) = port.enter([10, 0, 0, 2].into(), false).unwrap();
    for (place, bytes) in [(&light, 1000), (&heavy, 200_000)] {
        place.activity.came(true);
        place.activity.pins(bytes);
    }
    let _taken_soon = heavy.activity.made(100);
    assert_eq!(port.relieve(), 1);
    let ended = tokio::time::timeout(PATIENCE, heavy.activity.ended());
    ended.await.expect("the connection is told to end");
    assert!(light.activity.ended().now_or_never().is_none());
}

#[tokio::test]
async fn without_file_descriptors_the_idlest_connection_is_ended() {
    let port = Arc::new(Port::new(ServerLimits::default()));
    assert!(!port.make_room(), "there is no connection");
    let (idle, _) = port.enter([10, 0, 0, 1].into(), false).unwrap();
    let (busy, _) = port.enter([10, 0, 0, 1].into(), false).unwrap();
    let _answering = busy.activity.begin();
    assert!(port.make_room());
    let ended = tokio::time::timeout(PATIENCE, idle.activity.ended());
    ended.await.expect("the connection is told to end");
    assert!(
        !port.make_room(),
        "the other connection has a request under way"
    );
}
