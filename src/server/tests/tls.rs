//! TLS that ends in the server, with a real client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{Tls, serve};

const JWKS: &str = "GET /id/.well-known/openid-configuration/jwks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Running {
    fixture: Fixture,
    address: SocketAddr,
    tls: Tls,
    certificate: CertifiedKey<KeyPair>,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
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
    async fn start(configure: impl FnOnce(&mut crate::server::Limits)) -> Self {
        let fixture = Fixture::of(QUICKSTART, |config| {
            config.limits.head_deadline = Duration::from_millis(400);
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

    /// Who trusts only this certificate.
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

    /// HTTP/1 over a connection that stands.
    async fn handshake(
        &self,
        trusted: &CertifiedKey<KeyPair>,
        stream: TcpStream,
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
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

async fn ask(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(JWKS.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn both_versions_and_both_protocols_are_spoken_and_h2_is_preferred() {
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
async fn another_certificate_is_served_from_the_next_handshake_on() {
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
        "a bad pair changes nothing"
    );
    running
        .tls
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    assert!(running.is_served_with(&next).await);
    assert!(!running.is_served_with(&running.certificate).await);
    assert!(
        ask(open).await.starts_with("HTTP/1.1 200 OK"),
        "a connection keeps its own"
    );
}

#[tokio::test]
async fn who_begins_no_tls_is_cut_off_at_the_deadline_of_the_first_byte() {
    let running = Running::start(|_| {}).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), silent.read_to_end(&mut bytes));
    let _ = ended.await.expect("it is cut off");
    assert_eq!(bytes, b"");
    assert!(running.turned_away().await);
}

#[tokio::test]
async fn who_speaks_plain_http_is_not_answered() {
    let running = Running::start(|_| {}).await;
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(JWKS.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    assert!(running.turned_away().await);
}

#[tokio::test]
async fn connections_are_counted_before_tls_stands() {
    let running = Running::start(|limits| {
        limits.connections = 1;
        limits.head_deadline = Duration::from_secs(30);
    })
    .await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        running.is_served_with(&running.certificate).await,
        "a newcomer gets the place"
    );
    let ended = tokio::time::timeout(Duration::from_secs(10), silent.read_u8());
    assert!(ended.await.expect("it has lost its place").is_err());
}

#[tokio::test]
async fn handshakes_have_places_of_their_own_and_the_oldest_is_given_up() {
    let running = Running::start(|limits| {
        limits.handshakes = 2;
        limits.handshakes_per_peer = 2;
        limits.head_deadline = Duration::from_secs(30);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    assert!(running.is_served_with(&running.certificate).await);
    let ended = tokio::time::timeout(Duration::from_secs(10), silent[0].read_u8());
    assert!(ended.await.expect("it has lost its place").is_err());
}

#[tokio::test]
async fn a_tls_peer_that_does_not_read_is_ended() {
    let running = Running::start(|_| {}).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(running.address).await.unwrap();
    let mut stream = running.handshake(&running.certificate, stream).await;
    let request = "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let asking = async {
        loop {
            if stream.write_all(request.as_bytes()).await.is_err() || stream.flush().await.is_err()
            {
                return;
            }
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), asking);
    asked.await.expect("the server ends the connection");
    let text = super::edge::health(&running.fixture, "/metrics").await.body;
    assert!(
        text.contains(r#"symbolon_shed_total{cause="unread"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_handshake_that_hangs_does_not_hold_up_the_end() {
    let running = Running::start(|limits| {
        limits.head_deadline = Duration::from_secs(30);
        limits.drain = Duration::from_millis(200);
    })
    .await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running.server);
    ended.await.expect("it ends").unwrap();
}
