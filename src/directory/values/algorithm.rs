//! One name for a signature algorithm in the resources, another in the formats: here they meet.

use crate::resources::SigningAlgorithm;
use crate::tokens::Algorithm;

impl From<SigningAlgorithm> for Algorithm {
    fn from(named: SigningAlgorithm) -> Self {
        match named {
            SigningAlgorithm::RS256 => Self::RS256,
            SigningAlgorithm::PS256 => Self::PS256,
            SigningAlgorithm::ES256 => Self::ES256,
            SigningAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

impl From<Algorithm> for SigningAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::PS256 => Self::PS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}
