//! TLS to the database, by rustls. Only the CAs that the URL or the settings name are trusted, never those of the web.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use zeroize::Zeroizing;

use super::super::StoreError;
use super::url::{Proof, Target};
use crate::state_file::read_regular;

/// The largest size of a file with certificates or a key, in bytes: that of a Secret.
const MOST: u64 = 1 << 20;

/// A file and its contents.
#[derive(PartialEq, Eq)]
pub(super) struct Read {
    path: PathBuf,
    contents: Zeroizing<Vec<u8>>,
}

impl Read {
    fn new(path: &Path) -> Result<Self, StoreError> {
        let contents = read_regular(path, MOST).map_err(|error| unreadable(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            contents: contents.into(),
        })
    }

    fn unreadable(&self, error: impl std::fmt::Display) -> StoreError {
        unreadable(&self.path, error)
    }

    /// Returns the certificates, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, StoreError> {
        let found = CertificateDer::pem_slice_iter(&self.contents).collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|error| self.unreadable(error))?;
        if found.is_empty() {
            return Err(self.unreadable("it contains no certificate in PEM"));
        }
        Ok(found)
    }
}

/// The files that a connection with TLS needs.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    /// The CAs that are trusted. Without them, the certificate of the server proves nothing.
    roots: Option<Read>,
    /// Our certificate and its key.
    client: Option<(Read, Read)>,
}

impl Files {
    /// Reads the files that a target names.
    pub(super) fn read(target: &Target) -> Result<Self, StoreError> {
        let roots = match &target.proof {
            Proof::Certificate(path) | Proof::Host(path) => Some(Read::new(path)?),
            Proof::Nothing => None,
        };
        let client = match &target.client {
            Some((certificate, key)) => Some((Read::new(certificate)?, Read::new(key)?)),
            None => None,
        };
        Ok(Self { roots, client })
    }
}

/// Connects with TLS as a URL says.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Sets up TLS with the files that the target names.
    pub(super) fn new(target: &Target, files: &Files) -> Result<Self, StoreError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(faulty)?;
        let verifier = Verifier::new(&target.proof, files, provider)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &files.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificate.certificates()?;
                let parsed = PrivateKeyDer::from_pem_slice(&key.contents);
                let key = parsed.map_err(|error| key.unreadable(error))?;
                builder.with_client_auth_cert(chain, key).map_err(faulty)?
            }
        };
        Ok(Self(Arc::new(config).into()))
    }
}

fn faulty(error: rustls::Error) -> StoreError {
    StoreError::Tls(error.to_string())
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Tls(format!("cannot read {}: {error}", path.display()))
}

/// Judges the server's certificate by what it must prove.
#[derive(Debug)]
struct Verifier {
    /// Judges the certificate. Without it, the certificate proves nothing, so the connection is only encrypted.
    certificate: Option<Arc<WebPkiServerVerifier>>,
    /// Whether the certificate must name the host.
    names_host: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(
        proof: &Proof,
        files: &Files,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, StoreError> {
        let algorithms = provider.signature_verification_algorithms;
        let certificate = match &files.roots {
            Some(roots) => Some(trusting(roots, provider)?),
            None => None,
        };
        Ok(Self {
            certificate,
            names_host: matches!(proof, Proof::Host(_)),
            algorithms,
        })
    }
}

/// Returns what trusts the CAs in a file.
fn trusting(
    file: &Read,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates()? {
        roots
            .add(certificate)
            .map_err(|error| file.unreadable(error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.build().map_err(|error| file.unreadable(error))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(certificate) = &self.certificate else {
            return Ok(ServerCertVerified::assertion());
        };
        let judged = certificate.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match judged {
            // The name is judged last, after the chain and the times.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names_host => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        // A Unix socket has no name, and never gets as far as TLS.
        let name = if domain.is_empty() {
            "localhost"
        } else {
            domain
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Connect {
            connector: self.0.clone(),
            name,
        })
    }
}

/// Connects to one host.
pub(super) struct Connect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let connected = self.connector.connect(self.name, stream).await?;
            Ok(Stream(connected))
        })
    }
}

/// A connection with TLS.
pub(super) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// The driver then uses passwords without channel binding.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
