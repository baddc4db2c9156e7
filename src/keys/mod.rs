//! Signing keys: generation, the key set, the rotation schedule, JWKS, and the key ring that signs tokens and verifies
//! access tokens; and the CAs that an administrator trusts.
//!
//! The ring holds parsed key pairs, since parsing an RSA key costs as much as a signature. Times are parameters. Not
//! here: where key sets are stored, and every private-key operation outside AWS-LC. AWS-LC's own generator makes the
//! key material, not an `Entropy`: a signing key from a seed must not be possible.

mod authorities;
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

pub use self::authorities::{AuthoritiesError, authorities};
pub use crate::tokens::Algorithm;
pub use jwks::Jwk;
pub use key_set::{KeyRecord, KeySet, KeySetError};
pub use ring::{JwtError, KeyRing, SignError, VerifiedToken};
pub use signing_key::{KeyError, SigningKey, generate};
