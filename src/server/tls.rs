//! TLS 1.2 and 1.3 that ends in this server, with a certificate that can be replaced while the server runs.
//!
//! An open connection keeps the certificate of its handshake; a new connection gets the newest. Not here: reading and
//! watching certificate files.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio_rustls::TlsAcceptor;

/// The ALPN protocols, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and its key cannot be served. No message holds any part of the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates are not PEM, or there are none.
    #[error("the PEM has no certificate, or one is damaged")]
    Certificates,
    /// The key is not PEM, or there is none.
    #[error("the PEM has no private key, or it is damaged")]
    Key,
    /// The certificate and the key do not belong together, or their kind is not supported.
    #[error("the certificate and its key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// The cryptography library lacks a required feature.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The TLS configuration and its certificate. Cheap to clone; all clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    served: Arc<Served>,
}

#[derive(Debug)]
struct Served(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Creates a configuration that serves a certificate chain, the server's own certificate first, with its key. Both
    /// are PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let served = Arc::new(Served(ArcSwap::from_pointee(pair(certificates, key)?)));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(served.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            config: Arc::new(config),
            served,
        })
    }

    /// Serves another certificate chain and key from the next handshake on.
    ///
    /// # Errors
    /// [`TlsError`]; the previous certificate stays.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.served.0.store(Arc::new(pair(certificates, key)?));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls([redacted])")
    }
}

fn pair(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|_| TlsError::Certificates)?;
    if chain.is_empty() {
        return Err(TlsError::Certificates);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a certificate for `name`; returns it and its key.
    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn an_unusable_pair_is_refused_and_the_previous_one_stays() {
        let ((certificate, key), (another, _)) = (made("a"), made("b"));
        let tls = Tls::new(certificate.as_bytes(), key.as_bytes()).unwrap();
        let before = tls.served.0.load_full();
        let cases = [
            (&*another, &*key, "used together"),
            ("", &key, "no certificate"),
            (&key, &key, "no certificate"),
            (&certificate, "", "no private key"),
            (&certificate, &certificate, "no private key"),
            (&certificate[..100], &key, "no certificate"),
        ];
        for (certificate, key, why) in cases {
            let error = tls
                .replace(certificate.as_bytes(), key.as_bytes())
                .unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(Arc::ptr_eq(&before, &tls.served.0.load_full()));
        tls.replace(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.served.0.load_full()));
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }
}
