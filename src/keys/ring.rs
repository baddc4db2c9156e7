//! The keys at work: signs tokens of each declared type, and verifies access tokens, with the key set as it is at one
//! time.
//!
//! A ring prepares all that does not depend on the token: parsed keys, encoded headers, the JWK Set. The server builds
//! a new ring when the key set changes and at [`KeyRing::next_change`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::key_set::default_algorithm;
use super::signing_key::{KeyError, MAX_SIGNATURE_LENGTH, SigningKey};
use super::{Algorithm, KeySet, jwks};
use crate::tokens::claims::AccessTokenClaims;
use crate::tokens::jwt::{self, MalformedJwt, TokenType, UnverifiedJwt};

/// Why a token could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key of the set signs with this algorithm.
    #[error("the key set has no key for {0}")]
    NoKey(Algorithm),
    /// AWS-LC failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Why a text is not an access token of this issuer. For the log only: the caller learns only that the token is
/// invalid.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// Not a well-formed access token.
    #[error(transparent)]
    Malformed(#[from] MalformedJwt),
    /// The header names a key that is unknown or retired.
    #[error("unknown key")]
    UnknownKey,
    /// The header names another algorithm than the key's.
    #[error("the header's algorithm does not match the key")]
    AlgorithmMismatch,
    /// The signature does not match the key and the content.
    #[error("the signature does not match")]
    BadSignature,
    /// This issuer signed it, but it never writes such claims.
    #[error("the claims are malformed")]
    Claims(#[source] serde_json::Error),
}

/// An access token signed by one of this issuer's keys. The caller still checks its times, issuer and audience.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// The verified claims.
    pub claims: AccessTokenClaims,
    /// The whole payload: a person's token has more claims.
    pub payload: Vec<u8>,
    /// The `kid` of the key that signed it.
    pub kid: String,
    /// The algorithm of that key.
    pub algorithm: Algorithm,
}

/// The keys of one Identity at one time.
pub struct KeyRing {
    /// The keys that verify, ordered as in the set.
    keys: Vec<RingKey>,
    /// For each of [`Algorithm::ALL`], the index in `keys` of the key that signs.
    active: [Option<usize>; Algorithm::ALL.len()],
    /// The algorithms that have an active key.
    settled: Vec<Algorithm>,
    jwks: Bytes,
    next_change: Option<Timestamp>,
}

struct RingKey {
    key: Arc<SigningKey>,
    /// The encoded JWS header of each of [`TokenType::ALL`].
    headers: [String; TokenType::ALL.len()],
}

impl KeyRing {
    /// Builds the ring of `set` at `now`.
    ///
    /// # Errors
    /// None in practice: every part of a JWK Set serializes.
    pub fn new(set: &KeySet, now: Timestamp) -> Result<Self, serde_json::Error> {
        let published: Vec<&Arc<SigningKey>> =
            set.published(now).map(|record| &record.key).collect();
        let place = |algorithm| {
            let active = set.active(algorithm, now)?;
            published
                .iter()
                .position(|key| key.kid() == active.key.kid())
        };
        Ok(Self {
            active: Algorithm::ALL.map(place),
            settled: {
                let all = Algorithm::ALL.into_iter();
                all.filter(|algorithm| set.signs_since(*algorithm, now).is_some())
                    .collect()
            },
            jwks: jwks::render(published.iter().map(|key| key.jwk()))?.into(),
            next_change: set.next_change(now),
            keys: published.into_iter().map(RingKey::of).collect(),
        })
    }

    /// Returns when this ring becomes outdated if the set does not change.
    pub const fn next_change(&self) -> Option<Timestamp> {
        self.next_change
    }

    /// Returns the JWK Set: public keys only (RFC 7517). Cheap to clone; the same keys give the same bytes.
    pub fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    /// Returns the algorithms that this ring can sign with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.signer(*algorithm).is_some())
    }

    /// Chooses among `wanted` the algorithm for callers that ask for none: the first with an active key, else the
    /// algorithm that signed before.
    pub fn default_algorithm(&self, wanted: &[Algorithm]) -> Option<Algorithm> {
        default_algorithm(
            wanted,
            |algorithm| self.settled.contains(&algorithm),
            |algorithm| self.signer(algorithm).is_some(),
        )
    }

    fn signer(&self, algorithm: Algorithm) -> Option<&RingKey> {
        let (_, place) = Algorithm::ALL
            .into_iter()
            .zip(self.active)
            .find(|(known, _)| *known == algorithm)?;
        self.keys.get(place?)
    }

    /// Signs claims, serialized as JSON, as a token of this type. Allocates once, beside what the signature itself
    /// needs.
    ///
    /// # Errors
    /// [`SignError::NoKey`] if there is no key for `algorithm`; other errors are internal faults.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        typ: TokenType,
        claims: &[u8],
    ) -> Result<String, SignError> {
        let signer = self.signer(algorithm).ok_or(SignError::NoKey(algorithm))?;
        let key = &signer.key;
        let mut token = jwt::signing_input(signer.header(typ), claims, key.signature_length());
        let mut buffer = [0; MAX_SIGNATURE_LENGTH];
        let signature = key.sign(token.as_bytes(), &mut buffer)?;
        jwt::append_signature(&mut token, signature);
        Ok(token)
    }

    /// Verifies an untrusted text as an access token of this issuer. The `kid` selects the key, and the key fixes the
    /// algorithm; the header's algorithm is only compared with it (RFC 8725 sections 3.1 and 3.2).
    ///
    /// # Errors
    /// [`JwtError`], checked from the cheapest reason to the most expensive.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, JwtError> {
        let jwt = UnverifiedJwt::parse(token)?;
        let algorithm = self.check(&jwt)?;
        let claims = AccessTokenClaims::from_json(&jwt.payload).map_err(JwtError::Claims)?;
        Ok(VerifiedToken {
            claims,
            payload: jwt.payload,
            kid: jwt.kid,
            algorithm,
        })
    }

    /// Returns the payload of an untrusted text that this issuer signed as a token of this type. The caller checks that
    /// its claims are of the expected kind: the same type may mark several kinds.
    ///
    /// # Errors
    /// As [`KeyRing::verify`], except [`JwtError::Claims`].
    pub fn payload(&self, token: &str, typ: TokenType) -> Result<Vec<u8>, JwtError> {
        let jwt = UnverifiedJwt::parse_as(token, &[typ])?;
        self.check(&jwt)?;
        Ok(jwt.payload)
    }

    /// Checks the signature, and returns the algorithm of the key.
    fn check(&self, jwt: &UnverifiedJwt<'_>) -> Result<Algorithm, JwtError> {
        let RingKey { key, .. } = self
            .keys
            .iter()
            .find(|known| known.key.kid() == jwt.kid)
            .ok_or(JwtError::UnknownKey)?;
        if jwt.algorithm != key.algorithm() {
            return Err(JwtError::AlgorithmMismatch);
        }
        if !key.verifies(jwt.signing_input.as_bytes(), &jwt.signature) {
            return Err(JwtError::BadSignature);
        }
        Ok(key.algorithm())
    }
}

impl RingKey {
    fn of(key: &Arc<SigningKey>) -> Self {
        Self {
            headers: TokenType::ALL.map(|typ| jwt::encode_header(key.algorithm(), typ, key.kid())),
            key: Arc::clone(key),
        }
    }

    fn header(&self, typ: TokenType) -> &str {
        &self.headers[typ as usize]
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|known| &known.key))
            .finish()
    }
}

#[cfg(test)]
mod tests;
