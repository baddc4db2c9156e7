//! Formats: what tokens and their records look like as bytes.
//!
//! Reference tokens (opaque strings with a checksum), JWT access tokens (RFC 9068, RFC 7519), hashes, the seal that binds
//! a Credential entry to its owner, and the values that a browser carries for the server. Everything here is pure: no clock, no look-up, no key store; randomness is a
//! parameter, [`Entropy`]. Signing is in `keys`.

pub mod algorithm;
pub mod base62;
pub mod claims;
pub mod entropy;
pub mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hex;
pub mod imported;
pub mod jwt;
pub mod key_material;
pub mod mac;
pub mod person_claims;
pub mod reference;
pub mod sealed_value;
pub mod secret_string;
pub mod size;
pub mod subject;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::AccessTokenClaims;
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use hex::Hex;
pub use key_material::KeyMaterial;
pub use mac::{Mac, MacKey, Sealed};
pub use person_claims::{PersonAccessToken, PersonClaims, Released};
pub use reference::{Kind, Malformed, Minted, Prefix, Presented, TokenHash, TokenId};
pub use secret_string::SecretString;
