//! TLS that ends in the server, with a real client.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::strangers::{shed, until};
use super::tcp::{PATIENCE, connect_from};
use super::*;
use crate::server::{Tls, serve};

const JWKS: &str = "GET /id/.well-known/openid-configuration/jwks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Running {
    fixture: Fixture,
    address: SocketAddr,
    tls: Tls,
    certificate: CertifiedKey<KeyPair>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

fn made() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn pem(certificate: &CertifiedKey<KeyPair>) -> (String, String) {
    (
        certificate.cert.pem(),
        certificate.signing_key.serialize_pem(),
    )
}

impl Running {
    async fn start(configure: impl FnOnce(&mut crate::server::ServerLimits)) -> Self {
        let fixture = Fixture::of(QUICKSTART, |config| {
            // A deadline that tests can wait for, and that a busy machine keeps.
            config.limits.head_deadline = Duration::from_secs(2);
            configure(&mut config.limits);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = made();
        let (chain, key) = pem(&certificate);
        let tls = Tls::new(chain.as_bytes(), key.as_bytes()).unwrap();
        let shutdown = CancellationToken::new();
        let serving = serve(
            listener,
            Some(tls.clone()),
            fixture.app.clone(),
            shutdown.clone(),
        );
        let server = tokio::spawn(serving);
        Self {
            fixture,
            address,
            tls,
            certificate,
            shutdown,
            server,
        }
    }

    /// Connects as a client that trusts only this certificate.
    async fn connect(
        &self,
        trusted: &CertifiedKey<KeyPair>,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// Returns a connector of an HTTP/1 client.
    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Performs the TLS handshake on an open connection.
    async fn handshake(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        self.connector().connect(name, stream).await.unwrap()
    }

    /// Starts a handshake that stops after the server's part. Returns the sender that lets it go on, and the later
    /// answer.
    async fn hesitate(&self, last: u8) -> (oneshot::Sender<()>, JoinHandle<String>) {
        let mut stream = connect_from(last, self.address).await;
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let (go_on, told) = oneshot::channel();
        let connector = self.connector();
        let answered = tokio::spawn(async move {
            let name = ServerName::try_from("localhost").unwrap();
            match connector.connect(name, near).await {
                Ok(stream) => ask(stream).await,
                Err(error) => error.to_string(),
            }
        });
        let mut hello = [0; 16 << 10];
        let length = far.read(&mut hello).await.unwrap();
        stream.write_all(&hello[..length]).await.unwrap();
        stream.readable().await.unwrap();
        tokio::spawn(async move {
            told.await.unwrap();
            // The client sees how it ends.
            let _ = tokio::io::copy_bidirectional(&mut far, &mut stream).await;
        });
        (go_on, answered)
    }

    async fn is_served_with(&self, trusted: &CertifiedKey<KeyPair>) -> bool {
        match self
            .connect(trusted, &[&version::TLS13], &[b"http/1.1"])
            .await
        {
            Ok(stream) => ask(stream).await.starts_with("HTTP/1.1 200 OK"),
            Err(_) => false,
        }
    }

    async fn turned_away(&self) -> bool {
        let text = super::edge::health(&self.fixture, "/metrics").await.body;
        text.contains(r#"symbolon_shed_total{cause="tls_handshake"} 1"#)
    }
}

async fn ask(mut stream: TlsStream<impl AsyncRead + AsyncWrite + Unpin>) -> String {
    stream.write_all(JWKS.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn both_tls_versions_and_both_protocols_work_and_h2_is_preferred() {
    let running = Running::start(|_| {}).await;
    for (version, protocols, expected) in [
        (&version::TLS13, &[&b"http/1.1"[..], b"h2"][..], &b"h2"[..]),
        (&version::TLS12, &[b"http/1.1", b"h2"], b"h2"),
        (&version::TLS12, &[b"http/1.1"], b"http/1.1"),
    ] {
        let versions = [version];
        let connected = running.connect(&running.certificate, &versions, protocols);
        let stream = connected.await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(expected));
        if expected == b"http/1.1" {
            assert!(ask(stream).await.starts_with("HTTP/1.1 200 OK"));
        }
    }
    let none = running
        .connect(&running.certificate, &[&version::TLS13], &[])
        .await;
    assert!(
        ask(none.unwrap()).await.starts_with("HTTP/1.1 200 OK"),
        "without ALPN"
    );
}

#[tokio::test]
async fn a_new_certificate_is_served_from_the_next_handshake_on() {
    let running = Running::start(|_| {}).await;
    let versions = [&version::TLS13];
    let open = running.connect(&running.certificate, &versions, &[b"http/1.1"]);
    let open = open.await.unwrap();
    let (next, (stray, _)) = (made(), pem(&made()));
    assert!(!running.is_served_with(&next).await);
    let (chain, key) = pem(&next);
    assert!(
        running
            .tls
            .replace(stray.as_bytes(), key.as_bytes())
            .is_err()
    );
    assert!(
        running.is_served_with(&running.certificate).await,
        "an unusable pair changes nothing"
    );
    running
        .tls
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    assert!(running.is_served_with(&next).await);
    assert!(!running.is_served_with(&running.certificate).await);
    assert!(
        ask(open).await.starts_with("HTTP/1.1 200 OK"),
        "an open connection keeps its certificate"
    );
}

#[tokio::test]
async fn a_peer_that_starts_no_handshake_is_cut_off_at_the_deadline() {
    let running = Running::start(|_| {}).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut bytes));
    let _ = ended.await.expect("the connection is cut off");
    assert_eq!(bytes, b"");
    assert!(running.turned_away().await);
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let running = Running::start(|_| {}).await;
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(JWKS.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    assert!(running.turned_away().await);
}

#[tokio::test]
async fn connections_count_during_the_handshake() {
    let running = Running::start(|limits| {
        limits.connections = 1;
        limits.head_deadline = 2 * PATIENCE;
    })
    .await;
    // The listener accepts connections in their order.
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    assert!(
        running.is_served_with(&running.certificate).await,
        "a newcomer gets the place"
    );
    let ended = tokio::time::timeout(PATIENCE, silent.read_u8());
    assert!(
        ended
            .await
            .expect("the connection has lost its place")
            .is_err()
    );
}

#[tokio::test]
async fn handshakes_have_places_of_their_own_and_the_oldest_ends_first() {
    let running = Running::start(|limits| {
        limits.handshakes = 2;
        limits.handshakes_per_peer = 2;
        limits.head_deadline = 2 * PATIENCE;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    assert!(running.is_served_with(&running.certificate).await);
    let ended = tokio::time::timeout(PATIENCE, silent[0].read_u8());
    assert!(
        ended
            .await
            .expect("the connection has lost its place")
            .is_err()
    );
}

#[tokio::test]
async fn a_flood_of_silent_handshakes_ends_only_its_own() {
    let running = Running::start(|limits| {
        limits.handshakes = 4;
        limits.handshakes_per_peer = 4;
        limits.head_deadline = 2 * PATIENCE;
    })
    .await;
    // One from another address, and one from the address of the flood. Both lack only the last message.
    let hesitating = [
        Box::pin(running.hesitate(3)).await,
        Box::pin(running.hesitate(2)).await,
    ];
    let mut storm = Vec::new();
    for _ in 0..16 {
        storm.push(connect_from(2, running.address).await);
    }
    for silent in &mut storm[..14] {
        let ended = tokio::time::timeout(PATIENCE, silent.read_u8());
        assert!(
            ended
                .await
                .expect("the connection has lost its place")
                .is_err()
        );
    }
    for (go_on, answered) in hesitating {
        go_on.send(()).unwrap();
        let answer = answered.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

/// Sends requests and reads no answer, until the server ends the connection.
async fn asks_and_never_reads(running: &Running) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(running.address).await.unwrap();
    let mut stream = running.handshake(stream).await;
    let request = "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\n\r\n";
    while stream.write_all(request.as_bytes()).await.is_ok() && stream.flush().await.is_ok() {}
}

#[tokio::test]
async fn a_tls_peer_that_does_not_read_is_cut_off() {
    let running = Running::start(|_| {}).await;
    let cut_off = async {
        // On a busy machine this peer may send a request too slowly, and be cut off for that.
        while shed(&running.fixture, "unread").await == 0 {
            asks_and_never_reads(&running).await;
        }
    };
    let cut_off = tokio::time::timeout(PATIENCE, cut_off);
    cut_off.await.expect("the server ends the connection");
}

/// Returns a record of TLS, unencrypted, with a part of a handshake message.
fn record(part: &[u8]) -> Vec<u8> {
    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
    [&[22, 3, 3], &length[..], part].concat()
}

/// Writes until the peer ends the connection.
async fn is_cut_off(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
    let _ = ended.await.expect("the connection is cut off");
}

/// TLS would keep 64 KiB of it, and no client needs half of that.
#[tokio::test]
async fn a_message_of_a_handshake_that_is_too_long_ends_the_connection() {
    let running = Running::start(|limits| limits.head_deadline = 2 * PATIENCE).await;
    let mut hello = vec![1, 0, 0xff, 0xf0];
    hello.resize(40 << 10, 0);
    let bytes = hello.chunks(16 << 10).flat_map(record).collect::<Vec<_>>();
    is_cut_off(TcpStream::connect(running.address).await.unwrap(), &bytes).await;
    assert!(running.is_served_with(&running.certificate).await);
}

/// Opens a connection, uses it, and sends a part of a further record: together with the request, or after the answer.
async fn leaves_a_record_open(
    running: &Running,
    version: &'static SupportedProtocolVersion,
    is_at_once: bool,
) -> TcpStream {
    let versions = [version];
    let connected = running.connect(&running.certificate, &versions, &[b"http/1.1"]);
    let mut stream = connected.await.unwrap();
    let request = JWKS.replace("Connection: close\r\n", "");
    let mut bytes = Vec::new();
    if !is_at_once {
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap();
    }
    let (mut socket, mut session) = stream.into_inner();
    if is_at_once {
        session.writer().write_all(request.as_bytes()).unwrap();
        session.write_tls(&mut bytes).unwrap();
    }
    let complete = bytes.len();
    bytes.extend([23, 3, 3, 0x40, 0]);
    bytes.resize(complete + (12 << 10), 0);
    socket.write_all(&bytes).await.unwrap();
    socket
}

#[tokio::test]
async fn a_record_that_is_not_completed_ends_the_connection_at_the_deadline_of_heads() {
    let running = Running::start(|limits| limits.idle = 2 * PATIENCE).await;
    for version in [&version::TLS13, &version::TLS12] {
        for is_at_once in [false, true] {
            is_cut_off(
                leaves_a_record_open(&running, version, is_at_once).await,
                &[],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn memory_of_records_that_are_not_completed_counts_too() {
    let running = Running::start(|limits| {
        limits.held_bytes = 16 << 10;
        limits.head_deadline = 2 * PATIENCE;
        limits.idle = 2 * PATIENCE;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(leaves_a_record_open(&running, &version::TLS13, true).await);
    }
    until(&running.fixture, "memory").await;
    assert!(running.is_served_with(&running.certificate).await);
}

#[tokio::test]
async fn a_handshake_that_hangs_does_not_delay_the_shutdown() {
    let running = Running::start(|limits| {
        limits.head_deadline = 2 * PATIENCE;
        limits.drain = Duration::from_millis(200);
    })
    .await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    // The listener accepts connections in their order, so it has accepted the silent one, too.
    assert!(running.is_served_with(&running.certificate).await);
    running.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, running.server);
    ended.await.expect("it ends").unwrap();
}
