//! The supported signature algorithms: a closed set of asymmetric ones (RFC 7518 section 3, RFC 8037).
//!
//! `none` and the HMAC family are absent on purpose (RFC 8725 sections 3.1 and 3.2): a header that names them has no
//! representation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A JWS signature algorithm, named as in the `alg` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3): the default, which every client understands.
    RS256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 section 3.5).
    PS256,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    ES256,
    /// Ed25519 (RFC 8037 section 3.1).
    EdDSA,
}

impl Algorithm {
    /// Every algorithm, in the order used wherever keys are listed.
    pub const ALL: [Self; 4] = [Self::RS256, Self::PS256, Self::ES256, Self::EdDSA];

    /// Returns whether signing takes far longer than the rest of a request, about a millisecond: RSA does.
    #[must_use]
    pub const fn signs_slowly(self) -> bool {
        matches!(self, Self::RS256 | Self::PS256)
    }

    /// Returns the name used in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not in [`Algorithm::ALL`], such as `none` or `HS256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a supported signature algorithm: use RS256, PS256, ES256 or EdDSA")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // Exact and case-sensitive (RFC 7515 section 4.1.1): "NONE" and "rs256" are not aliases.
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_serde_uses_the_same_name() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert_eq!(
                serde_json::to_string(&algorithm).unwrap(),
                format!("\"{algorithm}\"")
            );
        }
    }

    #[test]
    fn none_hmac_and_other_spellings_do_not_exist() {
        for name in [
            "none", "None", "NONE", "", "HS256", "HS512", "rs256", "RS256 ", "RS512", "ES384",
            "Ed25519",
        ] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name:?}");
        }
    }
}
