//! Tests over real sockets: slow, large and broken requests, and the shutdown of the server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{ServerLimits, serve, serve_health};

/// A time limit for events that must happen, long enough for a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Running {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    server: JoinHandle<()>,
}

pub(super) async fn start(fixture: &Fixture) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, None, fixture.app.clone(), shutdown.clone()));
    Running {
        address,
        shutdown,
        server,
    }
}

/// Deadlines that tests can wait for, and that a busy machine keeps.
pub(super) fn quick(limits: &mut ServerLimits) {
    limits.head_deadline = Duration::from_secs(2);
    limits.body_deadline = Duration::from_secs(2);
    limits.idle = Duration::from_secs(4);
}

pub(super) fn fixture(configure: impl FnOnce(&mut ServerLimits)) -> Fixture {
    Fixture::of(QUICKSTART, |config| {
        quick(&mut config.limits);
        configure(&mut config.limits);
    })
}

/// Returns everything that comes until the server closes the connection, and how long that took.
pub(super) async fn read_all(stream: &mut TcpStream) -> (String, Duration) {
    let started = Instant::now();
    let mut bytes = Vec::new();
    // A reset also ends the connection. The wait is shorter than PATIENCE, so a deadline of PATIENCE does not end it.
    let _ = tokio::time::timeout(PATIENCE / 2, stream.read_to_end(&mut bytes))
        .await
        .expect("it closes");
    (
        String::from_utf8_lossy(&bytes).into_owned(),
        started.elapsed(),
    )
}

pub(super) async fn talk(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    read_all(&mut stream).await.0
}

#[tokio::test]
async fn a_connection_that_sends_no_complete_head_is_closed() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let mut streams = Vec::new();
    for start in ["", "P", "PRI * HT", "GET /id HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    for stream in &mut streams {
        let (answer, _) = read_all(stream).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_with_a_slow_head_is_closed_even_after_other_requests() {
    let fixture = fixture(|limits| limits.idle = PATIENCE);
    let running = start(&fixture).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream
        .write_all(b"GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = vec![0; 4096];
    assert!(stream.read(&mut first).await.unwrap() > 0);
    let dripping = async {
        while stream.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = tokio::time::timeout(PATIENCE / 2, dripping).await;
    closed.expect("the connection is closed");
}

#[tokio::test]
async fn slow_bodies_do_not_block_other_requests() {
    let fixture = fixture(|limits| {
        (limits.requests, limits.slow_bodies) = (4, 3);
        limits.body_deadline = PATIENCE;
    });
    let running = start(&fixture).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(busy(running.address).await);
    }
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    );
    for _ in 0..3 {
        let slow = format!("{head}Content-Length: 100\r\n\r\ngrant");
        let answer = talk(running.address, &slow).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    let whole = format!("{head}Content-Length: 3\r\n\r\na=b");
    let answer = talk(running.address, &whole).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408_and_closes_the_connection() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant"
    );
    let answer = talk(running.address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_with_a_length_or_chunked() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    );
    let announced = format!("{head}Content-Length: 10000000\r\n\r\n");
    assert!(
        talk(running.address, &announced)
            .await
            .starts_with("HTTP/1.1 413")
    );
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(5)
    );
    assert!(
        talk(running.address, &chunked)
            .await
            .starts_with("HTTP/1.1 413")
    );
}

#[tokio::test]
async fn a_chunked_form_is_read() {
    let mut fixture = fixture(|_| {});
    let shop = fixture.shop();
    let running = start(&fixture).await;
    let request = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {shop}\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\nb\r\ngrant_type=\r\n12\r\nclient_credentials\r\n0\r\n\r\n"
    );
    let answer = talk(running.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_or_broken_is_refused() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    for head in [
        format!(
            "GET /id HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "x".repeat(64 << 10)
        ),
        format!(
            "GET /id HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "X: y\r\n".repeat(200)
        ),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100 << 10)),
        "GET /id HTTP/9.9\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
        ),
    ] {
        let answer = talk(running.address, &head).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
}

/// Opens a connection with a request under way: the server has asked for the body, and it has not arrived.
pub(super) async fn busy(address: SocketAddr) -> TcpStream {
    asked_for_body(address, "Content-Length: 100\r\n").await
}

/// The same, with these header fields.
async fn asked_for_body(address: SocketAddr, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn connections_beyond_the_limit_get_503_until_a_place_is_free() {
    let fixture = fixture(|limits| {
        limits.connections = 2;
        limits.body_deadline = PATIENCE;
    });
    let running = start(&fixture).await;
    let held = [busy(running.address).await, busy(running.address).await];
    let request =
        "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let (answer, _) = read_all(&mut third).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After"),
        "{answer}"
    );
    drop(held);
    let given_back = async {
        while !talk(running.address, request)
            .await
            .starts_with("HTTP/1.1 200")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.unwrap();
}

#[tokio::test]
async fn one_address_gets_only_its_share_of_connections() {
    let fixture = fixture(|limits| {
        limits.connections_per_peer = 1;
        limits.body_deadline = PATIENCE;
    });
    let running = start(&fixture).await;
    let _held = busy(running.address).await;
    let (answer, _) = read_all(&mut TcpStream::connect(running.address).await.unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream
        .write_all(b"GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let (answer, took) = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(
        took > Duration::from_secs(3),
        "it stays open for a while: {took:?}"
    );
}

#[tokio::test]
async fn the_identity_says_how_long_a_connection_may_be_idle_also_while_it_is_open() {
    let with = |idle: &str| {
        let network = format!("  network: {{idleTimeout: {idle}}}\n  gateways:");
        QUICKSTART.replace("  gateways:", &network)
    };
    let mut fixture = Fixture::of(&with("2h"), |config| {
        quick(&mut config.limits);
        config.limits.idle = Duration::from_millis(800);
    });
    let running = start(&fixture).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    for pause in [0, 2000] {
        // Longer than the limit of the port allows. A busy machine may make it even longer.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let request = b"GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    fixture.apply(&with("5s"));
    let closed = async {
        let mut rest = Vec::new();
        // A reset also ends the connection.
        let _ = stream.read_to_end(&mut rest).await;
        rest
    };
    let rest = tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("it closes");
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn http_2_is_served_in_clear_text() {
    let fixture = fixture(|_| {});
    let running = start(&fixture).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let url = format!(
        "http://{}/id/.well-known/openid-configuration",
        running.address
    );
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_2)
    );
    running.shutdown.cancel();
    tokio::time::timeout(PATIENCE, running.server)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_shutdown_drops_no_request_under_load() {
    let mut fixture = Fixture::of(QUICKSTART, |config| {
        // Longer than any client takes to notice the shutdown, also on a busy machine.
        config.limits.lame_duck = Duration::from_secs(10);
    });
    let shop = fixture.shop();
    let running = start(&fixture).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(load(
                running.address,
                shop.clone(),
                running.shutdown.clone(),
                Arc::clone(&answered),
            ))
        })
        .collect();
    // Waits until the load is on. A busy machine may need long.
    while answered.load(Ordering::Relaxed) < 50 && !clients.iter().any(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.shutdown.cancel();
    for client in clients {
        client.await.unwrap();
    }
    tokio::time::timeout(PATIENCE, running.server)
        .await
        .expect("it ends")
        .unwrap();
    assert!(
        TcpStream::connect(running.address).await.is_err(),
        "no socket listens any more"
    );
}

/// Sends requests on connections that it keeps as long as the server does, until the server is told to stop and this
/// client, like a load balancer, has noticed. Checks that every request is answered.
async fn load(
    address: SocketAddr,
    authorization: String,
    shutdown: CancellationToken,
    answered: Arc<AtomicUsize>,
) {
    let body = "grant_type=client_credentials";
    let request = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut after_the_end = 0;
    loop {
        if shutdown.is_cancelled() {
            after_the_end += 1;
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.to_ascii_lowercase().contains("connection: close") {
            if after_the_end > 3 {
                return;
            }
            stream = TcpStream::connect(address).await.unwrap();
        }
    }
}

/// Reads one answer, up to its `Content-Length`.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if count == 0 {
            return text;
        }
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_during_the_shutdown() {
    let mut fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.drain = PATIENCE;
    });
    let shop = fixture.shop();
    let running = start(&fixture).await;
    let fields = format!("Authorization: {shop}\r\nContent-Length: 29\r\n");
    let mut stream = asked_for_body(running.address, &fields).await;
    stream.write_all(b"grant_type=").await.unwrap();
    running.shutdown.cancel();
    while fixture.app.readiness(now()).is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Time in which a server that does not wait would end the connection.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(b"client_credentials").await.unwrap();
    let (answer, _) = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(PATIENCE, running.server)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_never_finishes_is_cut_off_at_the_end_of_the_drain() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.drain = Duration::from_millis(500);
        config.limits.body_deadline = 2 * PATIENCE;
    });
    let running = start(&fixture).await;
    let _held = busy(running.address).await;
    running.shutdown.cancel();
    tokio::time::timeout(PATIENCE, running.server)
        .await
        .expect("it ends")
        .unwrap();
}

/// Also for the operator: strangers that hold connections open, a few from each of many addresses or many from one, do
/// not keep probes out.
#[tokio::test]
async fn a_health_port_answers_and_closes_and_cannot_be_filled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = axum::Router::new().route("/livez", axum::routing::get(|| async { "ok" }));
    let limits = ServerLimits {
        health_connections: 8,
        head_deadline: PATIENCE,
        ..ServerLimits::default()
    };
    let serving = tokio::spawn(async move { serve_health(listener, routes, &limits).await });
    let mut held = Vec::new();
    for last in 1..=30 {
        held.push(connect_from(last, address).await);
        held.push(connect_from(1, address).await);
        // The request itself does not ask to close the connection.
        let answer = talk(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    serving.abort();
}

/// Opens a connection from another address of this machine.
pub(super) async fn connect_from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from(([127, 0, 0, last], 0)))
        .unwrap();
    socket.connect(address).await.unwrap()
}
