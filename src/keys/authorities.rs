//! Certificates of CAs that an administrator trusts, in PEM.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why a text names no CAs. No message repeats the text, which may be another secret than was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is no certificate.
    #[error("it contains no certificate in PEM")]
    Absent,
    /// A certificate cannot be read. None is trusted then: the rest may be what an administrator meant to remove.
    #[error("one of its certificates is damaged")]
    Damaged,
}

/// Returns the CAs whose certificates a text in PEM contains, at least one.
///
/// # Errors
/// [`AuthoritiesError`].
pub fn authorities(pem: &[u8]) -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| AuthoritiesError::Damaged)?;
        let added = roots.add(certificate);
        added.map_err(|_| AuthoritiesError::Damaged)?;
    }
    if roots.is_empty() {
        return Err(AuthoritiesError::Absent);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_certificates_of_a_text_are_trusted_or_none() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (one, other) = (made("a"), made("b"));
        let key = one.signing_key.serialize_pem();
        let (one, other) = (one.cert.pem(), other.cert.pem());
        let found = |text: &str| authorities(text.as_bytes()).map(|roots| roots.len());
        assert_eq!(found(&one), Ok(1));
        assert_eq!(found(&format!("# ours\n{one}\n{other}")), Ok(2));
        assert_eq!(found(""), Err(AuthoritiesError::Absent));
        assert_eq!(found("hunter2"), Err(AuthoritiesError::Absent));
        assert_eq!(found(&key), Err(AuthoritiesError::Absent));
        let cut = &other[..other.len() / 2];
        assert_eq!(
            found(&format!("{one}{cut}")),
            Err(AuthoritiesError::Damaged)
        );
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(
            found(&format!("{one}{empty}")),
            Err(AuthoritiesError::Damaged)
        );
    }
}
