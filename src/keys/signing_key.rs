//! One key pair, parsed once and held, with its public half in every needed form.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use super::jwks::Jwk;
use super::{Algorithm, der};

pub use crate::tokens::jwt::MAX_SIGNATURE_LENGTH;

/// Length of the modulus in bytes: at least 2048 bits (RFC 7518 section 3.3), at most 4096, since larger keys sign too
/// slowly.
const RSA_MODULUS_LENGTHS: std::ops::RangeInclusive<usize> = 256..=MAX_SIGNATURE_LENGTH;

/// What is wrong with a key. Contains no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// AWS-LC failed to generate a key.
    #[error("cannot generate a key for {0}")]
    Generate(Algorithm),
    /// Not a PKCS#8 key for this algorithm, or its parts are inconsistent.
    #[error("not a PKCS#8 private key for {0}")]
    Rejected(Algorithm),
    /// An RSA key outside 2048 to 4096 bits.
    #[error("an RSA key must have 2048 to 4096 bits")]
    RsaSize,
    /// The key could not be encoded.
    #[error("cannot encode the key")]
    Encode,
    /// The key could not sign.
    #[error("cannot sign with the key")]
    Sign,
}

/// A private key for one algorithm, ready to sign, and its public half, ready to verify.
///
/// The pair lives in memory that AWS-LC wipes; outside of it there is only the public half.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
    public: ParsedPublicKey,
    jwk: Jwk,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Generates a key: RSA with 2048 bits, P-256 or Ed25519.
///
/// # Errors
/// [`KeyError::Generate`] if AWS-LC fails.
pub fn generate(algorithm: Algorithm) -> Result<SigningKey, KeyError> {
    let error = KeyError::Generate(algorithm);
    let pair = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => Pair::rsa(
            RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| error)?,
            algorithm,
        ),
        Algorithm::ES256 => Pair::Ecdsa(
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| error)?,
        ),
        Algorithm::EdDSA => Pair::Ed25519(Ed25519KeyPair::generate().map_err(|_| error)?),
    };
    SigningKey::of(algorithm, pair)
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 key (RFC 5208, RFC 5958).
    ///
    /// # Errors
    /// [`KeyError::Rejected`] if it is not a consistent key for `algorithm`, [`KeyError::RsaSize`] if its size is out
    /// of range.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = KeyError::Rejected(algorithm);
        let pair = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| rejected)?;
                check_rsa_size(pair.public_modulus_len())?;
                Pair::rsa(pair, algorithm)
            }
            Algorithm::ES256 => Pair::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| rejected)?,
            ),
            Algorithm::EdDSA => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| rejected)?)
            }
        };
        Self::of(algorithm, pair)
    }

    fn of(algorithm: Algorithm, pair: Pair) -> Result<Self, KeyError> {
        let public = ParsedPublicKey::new(verification(algorithm), pair.public_bytes())
            .map_err(|_| KeyError::Rejected(algorithm))?;
        let jwk = pair.jwk(algorithm).ok_or(KeyError::Encode)?;
        Ok(Self {
            algorithm,
            pair,
            public,
            jwk,
        })
    }

    /// Encodes the key as unencrypted PKCS#8 version 1, which other tools read too.
    ///
    /// # Errors
    /// [`KeyError::Encode`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.pair.to_pkcs8().map_err(|_| KeyError::Encode)
    }

    /// Returns the only algorithm that this key is used with (RFC 8725 section 3.1).
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key ID: the SHA-256 thumbprint of the public half (RFC 7638).
    pub fn kid(&self) -> &str {
        self.jwk.kid()
    }

    /// Returns the public half.
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Returns the length in bytes of every signature by this key.
    pub fn signature_length(&self) -> usize {
        match &self.pair {
            Pair::Rsa(pair, _) => pair.public_modulus_len(),
            Pair::Ecdsa(_) | Pair::Ed25519(_) => 64,
        }
    }

    /// Signs `message` into `buffer` and returns the slice that holds the signature in JWS form (RFC 7518, RFC 8037).
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn sign<'a>(
        &self,
        message: &[u8],
        buffer: &'a mut [u8; MAX_SIGNATURE_LENGTH],
    ) -> Result<&'a [u8], KeyError> {
        self.pair
            .sign(message, &mut buffer[..self.signature_length()])
            .map_err(|_| KeyError::Sign)?;
        Ok(&buffer[..self.signature_length()])
    }

    /// Whether `signature` is a signature of `message` by this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SigningKey({} {} [redacted])",
            self.algorithm,
            self.kid()
        )
    }
}

fn check_rsa_size(modulus_length: usize) -> Result<(), KeyError> {
    if RSA_MODULUS_LENGTHS.contains(&modulus_length) {
        Ok(())
    } else {
        Err(KeyError::RsaSize)
    }
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::EdDSA => &ED25519,
    }
}

impl Pair {
    fn rsa(pair: RsaKeyPair, algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::PS256 => Self::Rsa(pair, &RSA_PSS_SHA256),
            _ => Self::Rsa(pair, &RSA_PKCS1_SHA256),
        }
    }

    fn public_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn jwk(&self, algorithm: Algorithm) -> Option<Jwk> {
        let public = self.public_bytes();
        match self {
            Self::Rsa(..) => der::rsa_public_key(public).map(|(n, e)| Jwk::rsa(algorithm, n, e)),
            // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
            Self::Ecdsa(_) => match public {
                [4, point @ ..] if point.len() == 64 => {
                    Some(Jwk::p256(algorithm, &point[..32], &point[32..]))
                }
                _ => None,
            },
            Self::Ed25519(_) => Some(Jwk::ed25519(algorithm, public)),
        }
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, aws_lc_rs::error::Unspecified> {
        Ok(Zeroizing::new(match self {
            Self::Rsa(pair, _) => {
                let der: Pkcs8V1Der<'_> = pair.as_der()?;
                der.as_ref().to_vec()
            }
            Self::Ecdsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
        }))
    }

    /// `signature` is exactly as long as the signature.
    fn sign(
        &self,
        message: &[u8],
        signature: &mut [u8],
    ) -> Result<(), aws_lc_rs::error::Unspecified> {
        match self {
            Self::Rsa(pair, encoding) => {
                return pair.sign(*encoding, &SystemRandom::new(), message, signature);
            }
            Self::Ecdsa(pair) => {
                signature.copy_from_slice(pair.sign(&SystemRandom::new(), message)?.as_ref());
            }
            Self::Ed25519(pair) => signature.copy_from_slice(pair.try_sign(message)?.as_ref()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::keys::fixtures;

    const EVERY: [Algorithm; 4] = Algorithm::ALL;

    #[rstest]
    fn a_key_signs_and_verifies_after_a_round_through_pkcs8(
        #[values(Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA)] algorithm: Algorithm,
    ) {
        let key = fixtures::key(algorithm);
        let again = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.kid(), key.kid());
        let mut buffer = [0; MAX_SIGNATURE_LENGTH];
        let signature = key.sign(b"message", &mut buffer).unwrap();
        assert_eq!(signature.len(), key.signature_length());
        assert!(again.verifies(b"message", signature));
        assert!(!again.verifies(b"massage", signature));
        assert!(!again.verifies(b"message", &signature[1..]));
        assert!(!again.verifies(b"message", b""));
    }

    #[test]
    fn a_key_is_for_one_algorithm() {
        let mut buffer = [0; MAX_SIGNATURE_LENGTH];
        for algorithm in EVERY {
            let pkcs8 = fixtures::key(algorithm).to_pkcs8().unwrap();
            for other in EVERY.into_iter().filter(|other| *other != algorithm) {
                let rsa = |one| matches!(one, Algorithm::RS256 | Algorithm::PS256);
                match SigningKey::from_pkcs8(other, &pkcs8) {
                    // The bytes say only "RSA"; the padding still differs.
                    Ok(key) => {
                        assert!(rsa(algorithm) && rsa(other), "{algorithm} as {other}");
                        let signature = fixtures::key(algorithm).sign(b"m", &mut buffer).unwrap();
                        assert!(!key.verifies(b"m", signature), "{algorithm} as {other}");
                    }
                    Err(error) => assert_eq!(error, KeyError::Rejected(other)),
                }
            }
        }
    }

    #[test]
    fn junk_is_refused() {
        for algorithm in EVERY {
            for junk in [&b""[..], b"0", &[0x30, 0x82, 0xff, 0xff], &[0; 2000]] {
                assert_eq!(
                    SigningKey::from_pkcs8(algorithm, junk).unwrap_err(),
                    KeyError::Rejected(algorithm)
                );
            }
            let pkcs8 = fixtures::key(algorithm).to_pkcs8().unwrap();
            assert!(SigningKey::from_pkcs8(algorithm, &pkcs8[..pkcs8.len() - 1]).is_err());
        }
    }

    #[test]
    fn rsa_keys_have_2048_to_4096_bits() {
        for bits in [2048, 3072, 4096] {
            assert_eq!(check_rsa_size(bits / 8), Ok(()));
        }
        for bits in [0, 1024, 2040, 4104, 8192] {
            assert_eq!(check_rsa_size(bits / 8), Err(KeyError::RsaSize));
        }
    }

    #[test]
    fn a_signing_key_prints_only_its_name() {
        for algorithm in EVERY {
            let key = fixtures::key(algorithm);
            assert_eq!(
                format!("{key:?}"),
                format!("SigningKey({algorithm} {} [redacted])", key.kid())
            );
        }
    }
}
