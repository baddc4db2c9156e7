//! Proof Key for Code Exchange (RFC 7636), with `S256` alone: `plain` does not protect the code from an attacker who
//! reads the request.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The length of a challenge: the base64url of a SHA-256 hash (RFC 7636 section 4.2).
const CHALLENGE_LENGTH: usize = 43;
/// The lengths of a verifier (RFC 7636 section 4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// A `code_challenge` by the method `S256`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Challenge(String);

/// The error for a text that is not a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", NotAChallenge::TEXT)]
pub struct NotAChallenge;

impl NotAChallenge {
    /// The error as text.
    pub const TEXT: &str =
        "the code_challenge is not the base64url of a SHA-256 hash, without padding";
}

impl Challenge {
    /// Reads a `code_challenge`.
    ///
    /// # Errors
    /// It is not the base64url of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, NotAChallenge> {
        let is_one = text.len() == CHALLENGE_LENGTH
            && URL_SAFE_NO_PAD
                .decode(text)
                .is_ok_and(|hash| hash.len() == SHA256.output_len());
        is_one.then(|| Self(text.to_owned())).ok_or(NotAChallenge)
    }

    /// Derives the challenge of a `code_verifier`; `None` if the text is not one (RFC 7636 section 4.1).
    pub fn of_verifier(verifier: &str) -> Option<Self> {
        let is_unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_one =
            VERIFIER_LENGTHS.contains(&verifier.len()) && verifier.bytes().all(is_unreserved);
        is_one.then(|| Self(URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))))
    }

    /// Returns whether `verifier` is the `code_verifier` from which this challenge was derived (RFC 7636 section 4.6).
    pub fn is_met_by(&self, verifier: &str) -> bool {
        Self::of_verifier(verifier)
            .is_some_and(|own| verify_slices_are_equal(own.0.as_bytes(), self.0.as_bytes()).is_ok())
    }
}

impl TryFrom<String> for Challenge {
    type Error = NotAChallenge;

    fn try_from(text: String) -> Result<Self, NotAChallenge> {
        Self::parse(&text)
    }
}

impl From<Challenge> for String {
    fn from(challenge: Challenge) -> Self {
        challenge.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_holds() {
        assert_eq!(
            Challenge::of_verifier(VERIFIER),
            Challenge::parse(CHALLENGE).ok()
        );
        assert!(Challenge::parse(CHALLENGE).unwrap().is_met_by(VERIFIER));
    }

    #[rstest]
    #[case::the_challenge_itself(CHALLENGE.to_owned())]
    #[case::one_character_changed(VERIFIER.replace("dBj", "dBk"))]
    #[case::too_short(VERIFIER[..42].to_owned())]
    #[case::too_long("a".repeat(129))]
    #[case::padded(format!("{VERIFIER}="))]
    #[case::other_characters(VERIFIER.replace('-', "+"))]
    #[case::empty(String::new())]
    fn another_verifier_does_not_meet_it(#[case] verifier: String) {
        assert!(!Challenge::parse(CHALLENGE).unwrap().is_met_by(&verifier));
    }

    /// Such a challenge can be made, but no verifier that the RFC allows meets it.
    #[rstest]
    #[case::too_short(&"a".repeat(42))]
    #[case::too_long(&"a".repeat(129))]
    #[case::another_character(&"a+".repeat(30))]
    fn a_malformed_verifier_never_meets_its_own_challenge(#[case] verifier: &str) {
        let hash = digest(&SHA256, verifier.as_bytes());
        let challenge = Challenge::parse(&URL_SAFE_NO_PAD.encode(hash)).unwrap();
        assert!(!challenge.is_met_by(verifier));
    }

    #[rstest]
    #[case::empty("")]
    #[case::short(&CHALLENGE[1..])]
    #[case::padded("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=")]
    #[case::standard_alphabet("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM")]
    // The last character holds two bits that no byte needs.
    #[case::not_canonical("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN")]
    fn anything_but_a_hash_is_no_challenge(#[case] text: &str) {
        assert_eq!(Challenge::parse(text), Err(NotAChallenge));
    }

    proptest! {
        #[test]
        fn a_challenge_is_met_by_its_verifier_alone(mine in "[A-Za-z0-9._~-]{43,128}", other in "[A-Za-z0-9._~-]{43,128}") {
            let challenge = Challenge::parse(&URL_SAFE_NO_PAD.encode(digest(&SHA256, mine.as_bytes()))).unwrap();
            prop_assert!(challenge.is_met_by(&mine));
            prop_assert_eq!(challenge.is_met_by(&other), mine == other);
        }
    }
}
