//! Signing keys: made, kept in a key set, planned ahead, chosen by time, and used to sign and verify access tokens.
//!
//! Key pairs are parsed once and held, since parsing an RSA key costs as much as a signature. Times are parameters.
//! Absent: where key sets come from and go to, and every private operation outside AWS-LC. Key material comes from
//! AWS-LC's own generator and not from an `Entropy`: a seeded signing key must not be possible.

mod der;
#[cfg(any(test, fuzzing))]
pub(crate) mod fixtures;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod jwks;
pub mod key_set;
pub mod ring;
pub mod schedule;
pub mod signing_key;

pub use crate::tokens::Algorithm;
pub use jwks::Jwk;
pub use key_set::{KeyRecord, KeySet, KeySetError};
pub use ring::{JwtError, KeyRing, SignError, VerifiedToken};
pub use signing_key::{KeyError, SigningKey, generate};
