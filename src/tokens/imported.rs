//! Imported client secrets: which texts are accepted, and which are too weak. Pure.
//!
//! A secret that is hashed once and fast is safe only if it cannot be guessed. No check can tell that a text is random,
//! but a check can tell that it is poor: too short, of few characters, repetitive, or in keyboard order.
//!
//! Not here: where the text comes from, and who may use it.

use super::TokenHash;
use super::reference::{self, Kind};

/// The fewest characters of an imported client secret.
pub const SHORTEST: usize = 32;
/// The most characters: percent-encoded together with the longest client ID, they still fit `client_secret_basic`.
pub const LONGEST: usize = 256;
/// The fewest bits that a text must appear to hold.
const BITS: f64 = 64.0;
/// A repeated piece of this many characters counts once.
const PIECE: usize = 4;

/// Why a text cannot be a client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// Outside the characters of RFC 6749 appendix A.2.
    #[error(
        "has characters other than printable ASCII, which a client secret must not have (RFC 6749 appendix A.2)"
    )]
    Unprintable,
    /// Guessable.
    #[error("has fewer than {SHORTEST} characters")]
    Short,
    /// Too long for a request.
    #[error("has more than {LONGEST} characters")]
    Long,
    /// Guessable.
    #[error(
        "has too little variety to be random: make one with a password generator, such as openssl rand -hex 32"
    )]
    Poor,
    /// A token that was issued for another purpose.
    #[error("is a token of another kind, which must not also be a client secret")]
    Token,
}

/// Returns the client secret in a text: the text without trailing line breaks, which editors and shells add and no
/// program sends. All other characters count.
///
/// # Errors
/// Why the text is not a client secret, or too weak.
pub fn read(text: &str) -> Result<&str, UnusableSecret> {
    let secret = text.trim_end_matches(['\n', '\r']);
    if !is_printable(secret) {
        Err(UnusableSecret::Unprintable)
    } else if secret.len() < SHORTEST {
        Err(UnusableSecret::Short)
    } else if secret.len() > LONGEST {
        Err(UnusableSecret::Long)
    } else if reference::parse(secret).is_ok_and(|token| token.kind != Kind::ClientSecret) {
        Err(UnusableSecret::Token)
    } else if variety(secret.as_bytes()) < BITS {
        Err(UnusableSecret::Poor)
    } else {
        Ok(secret)
    }
}

/// Hashes what a client presents; `None`, without hashing, for a text that can never have been imported.
pub fn presented(secret: &str) -> Option<TokenHash> {
    let is_possible = (SHORTEST..=LONGEST).contains(&secret.len()) && is_printable(secret);
    is_possible.then(|| TokenHash::of(secret))
}

/// `VSCHAR` of RFC 6749 appendix A.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Estimates from above how many bits a text holds: the entropy of its characters times the number of characters that
/// neither equal or neighbour the previous character nor end a piece that occurred before.
#[expect(
    clippy::cast_precision_loss,
    reason = "at most 256 characters are counted"
)]
fn variety(text: &[u8]) -> f64 {
    let mut counts = [0_usize; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let length = text.len() as f64;
    let share = |count: &usize| *count as f64 / length;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| -share(count) * share(count).log2())
        .sum();
    let follows = |at: usize| at > 0 && text[at].abs_diff(text[at - 1]) <= 1;
    let is_repeated = |at: usize| {
        let Some(start) = (at + 1).checked_sub(PIECE) else {
            return false;
        };
        let piece = &text[start..=at];
        text[..at].windows(PIECE).any(|earlier| earlier == piece)
    };
    let new = (0..text.len())
        .filter(|at| !follows(*at) && !is_repeated(*at))
        .count();
    entropy * new as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Entropy as _, Prefix, SeededEntropy, base62, reference};
    use super::*;

    #[test]
    fn generated_secrets_are_accepted() {
        let mut entropy = SeededEntropy::new(7);
        for _ in 0..2000 {
            let own = reference::mint(&Prefix::default(), Kind::ClientSecret, &mut entropy);
            assert_eq!(read(own.token.expose()), Ok(own.token.expose()));
            let mut bytes = [0; 16];
            entropy.fill(&mut bytes);
            let hex = format!("{:032x}", u128::from_be_bytes(bytes));
            assert_eq!(read(&hex), Ok(hex.as_str()), "openssl rand -hex 16");
            let uuid = uuid::Builder::from_random_bytes(bytes)
                .into_uuid()
                .to_string();
            assert_eq!(read(&uuid), Ok(uuid.as_str()));
        }
    }

    #[test]
    fn typed_secrets_are_refused() {
        for (text, why) in [
            ("", UnusableSecret::Short),
            ("hunter2", UnusableSecret::Short),
            (&"x1".repeat(15), UnusableSecret::Short),
            (&"a".repeat(40), UnusableSecret::Poor),
            (&"password".repeat(5), UnusableSecret::Poor),
            (&"correcthorse".repeat(4), UnusableSecret::Poor),
            ("abcdefghijklmnopqrstuvwxyz0123456789", UnusableSecret::Poor),
            ("00000000-0000-0000-0000-000000000000", UnusableSecret::Poor),
            ("changeme-changeme-changeme-changeme", UnusableSecret::Poor),
            (
                "1111222233334444555566667777888899990000",
                UnusableSecret::Poor,
            ),
            (&"aZ3$".repeat(65), UnusableSecret::Long),
            (
                "Grüße-Grüße-Grüße-Grüße-Grüße-Grüße",
                UnusableSecret::Unprintable,
            ),
            (
                "two\nlines0123456789abcdef0123456789abcdef",
                UnusableSecret::Unprintable,
            ),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_shortest_and_the_longest_secret_are_accepted() {
        for (length, expected) in [
            (SHORTEST - 1, Err(UnusableSecret::Short)),
            (SHORTEST, Ok(SHORTEST)),
            (LONGEST, Ok(LONGEST)),
            (LONGEST + 1, Err(UnusableSecret::Long)),
        ] {
            let mut text = vec![0; length];
            base62::random(&mut text, &mut SeededEntropy::new(3));
            let text = String::from_utf8(text).unwrap();
            assert_eq!(read(&text).map(str::len), expected);
            assert_eq!(presented(&text).is_some(), expected.is_ok());
        }
    }

    #[test]
    fn variety_counts_characters_that_neither_follow_nor_repeat() {
        for (text, bits) in [
            ("", 0.0),
            ("a", 0.0),
            ("aaaa", 0.0),
            // Two characters, one bit each. `b` follows `a` in the alphabet and is not counted; `z` does not follow.
            ("az", 2.0),
            ("ab", 1.0),
            ("azaz", 4.0),
            // From the sixth character on, each ends a piece of four that occurred before.
            ("azazazaz", 5.0),
            ("acegacegaceg", 14.0),
        ] {
            let found = variety(text.as_bytes());
            assert!((found - bits).abs() < 1e-9, "{text}: {found}");
        }
    }

    #[test]
    fn trailing_line_breaks_are_removed_and_blanks_are_kept() {
        let secret = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
        for text in [secret, &format!("{secret}\n"), &format!("{secret}\r\n\n")] {
            assert_eq!(read(text), Ok(secret));
        }
        let blank = format!(" {secret} ");
        assert_eq!(read(&blank), Ok(blank.as_str()));
    }

    #[test]
    fn a_token_of_another_kind_is_not_a_client_secret() {
        let mut entropy = SeededEntropy::new(1);
        for kind in [Kind::ServiceAccessToken, Kind::PersonalAccessToken] {
            let token = reference::mint(&Prefix::default(), kind, &mut entropy).token;
            assert_eq!(read(token.expose()), Err(UnusableSecret::Token));
        }
    }

    #[test]
    fn an_impossible_secret_is_not_hashed() {
        for junk in ["", " ", "short", &"x".repeat(LONGEST + 1), &"é".repeat(32)] {
            assert!(presented(junk).is_none(), "{junk}");
        }
        let secret = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
        assert_eq!(presented(secret), Some(TokenHash::of(secret)));
    }
}
