//! Terminates TLS in front of dev mode, as a proxy does.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::support::Dev;

pub(super) struct Front {
    /// The issuer as clients of the proxy see it.
    pub(super) issuer: String,
    /// The proxy's certificate (PEM), which clients must trust.
    pub(super) certificate: String,
    runtime: Option<Runtime>,
}

impl Front {
    pub(super) fn start(dev: &Dev) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = dev.address().to_owned();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(acceptor.clone(), stream, server.clone()));
            }
        });
        let path = dev.issuer.split_once(dev.address()).unwrap().1;
        Self {
            issuer: format!("https://{address}{path}"),
            certificate: made.cert.pem(),
            runtime: Some(runtime),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Forwards one request, with the host that dev mode expects. Ends silently if either side goes away.
async fn forward(acceptor: TlsAcceptor, stream: TcpStream, server: String) -> Option<()> {
    let mut client = acceptor.accept(stream).await.ok()?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let kept = head.split("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("host:") && !line.starts_with("connection:")
    });
    let own = [format!("Host: {server}"), "Connection: close".to_owned()];
    let lines: Vec<&str> = kept.chain(own.iter().map(String::as_str)).collect();
    let head = format!("{}\r\n\r\n", lines.join("\r\n"));
    let mut upstream = TcpStream::connect(&server).await.ok()?;
    upstream.write_all(head.as_bytes()).await.ok()?;
    upstream.write_all(&bytes[end + 4..]).await.ok()?;
    copy_bidirectional(&mut client, &mut upstream).await.ok()?;
    Some(())
}
