//! The keys at work: signs and verifies access tokens with what a key set says for one moment.
//!
//! Everything that does not depend on the token is made once: parsed keys, encoded headers, the JWK Set. Make a new ring
//! when the key set changes and at [`KeyRing::next_change`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::key_set::default_algorithm;
use super::signing_key::{KeyError, MAX_SIGNATURE_LENGTH, SigningKey};
use super::{Algorithm, KeySet, jwks};
use crate::tokens::claims::AccessTokenClaims;
use crate::tokens::jwt::{self, MalformedJwt, UnverifiedJwt};

/// What goes wrong when signing.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key set has no living key for it.
    #[error("there is no {0} key")]
    NoKey(Algorithm),
    /// AWS-LC failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The claims could not be written.
    #[error("the claims could not be written")]
    Claims(#[from] serde_json::Error),
}

/// Why a text is no access token of ours. For the log: who sent it learns only that it is invalid.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// No access token at all.
    #[error(transparent)]
    Malformed(#[from] MalformedJwt),
    /// Signed by nobody we know, or by a key that is gone.
    #[error("the key is unknown")]
    UnknownKey,
    /// The header names another algorithm than the key's.
    #[error("the algorithm is not the key's")]
    AlgorithmMismatch,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    BadSignature,
    /// Signed by us, and yet not what we write.
    #[error("the claims are malformed")]
    Claims(#[source] serde_json::Error),
}

/// An access token that one of our keys signed. Its times, issuer and audience are still to be checked.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: AccessTokenClaims,
    /// Which key signed it.
    pub kid: String,
    /// With which algorithm.
    pub algorithm: Algorithm,
}

/// The keys of one Identity at one moment.
pub struct KeyRing {
    /// Those that verify, ordered as in the set.
    keys: Vec<RingKey>,
    /// For each of [`Algorithm::ALL`] the place of the key that signs.
    active: [Option<usize>; Algorithm::ALL.len()],
    /// The algorithms whose signing key's time has come.
    settled: Vec<Algorithm>,
    jwks: Bytes,
    next_change: Option<Timestamp>,
}

struct RingKey {
    key: Arc<SigningKey>,
    /// Encoded.
    header: String,
}

impl KeyRing {
    /// The ring of `set` at `now`.
    ///
    /// # Errors
    /// None that is known: no part of a JWK Set can fail to be written.
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

    /// From when this ring is out of date, though the set stays the same.
    pub const fn next_change(&self) -> Option<Timestamp> {
        self.next_change
    }

    /// The JWK Set, public keys only (RFC 7517). Cheap to clone; the same keys give the same bytes.
    pub fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    /// The algorithms that this ring can sign with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.signer(*algorithm).is_some())
    }

    /// The algorithm of those who ask for none, where `wanted` are offered: the first whose key was published for long
    /// enough, else the one that signed before.
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

    /// Signs an access token.
    ///
    /// # Errors
    /// [`SignError::NoKey`] if there is no key for `algorithm`; the others are faults of the machine.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        claims: &AccessTokenClaims,
    ) -> Result<String, SignError> {
        self.sign_json(algorithm, &claims.to_json()?)
    }

    /// Signs an access token whose claims are written already. One allocation beside the signature's own.
    ///
    /// # Errors
    /// As [`KeyRing::sign`].
    pub fn sign_json(&self, algorithm: Algorithm, claims: &[u8]) -> Result<String, SignError> {
        let RingKey { key, header } = self.signer(algorithm).ok_or(SignError::NoKey(algorithm))?;
        let mut token = jwt::signing_input(header, claims, key.signature_length());
        let mut buffer = [0; MAX_SIGNATURE_LENGTH];
        let signature = key.sign(token.as_bytes(), &mut buffer)?;
        jwt::append_signature(&mut token, signature);
        Ok(token)
    }

    /// Verifies any untrusted text as an access token of ours. The key is chosen by its name and brings its algorithm with it;
    /// what the header says of either is only compared (RFC 8725 sections 3.1 and 3.2).
    ///
    /// # Errors
    /// [`JwtError`], the cheapest reason first.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, JwtError> {
        let jwt = UnverifiedJwt::parse(token)?;
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
        let claims = AccessTokenClaims::from_json(&jwt.payload).map_err(JwtError::Claims)?;
        Ok(VerifiedToken {
            claims,
            kid: jwt.kid,
            algorithm: key.algorithm(),
        })
    }
}

impl RingKey {
    fn of(key: &Arc<SigningKey>) -> Self {
        Self {
            header: jwt::encode_header(key.algorithm(), key.kid()),
            key: Arc::clone(key),
        }
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
