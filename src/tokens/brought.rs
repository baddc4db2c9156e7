//! Client secrets that somebody else made: what is taken, and what is too weak. Pure.
//!
//! A secret that is hashed once and fast is safe only if nobody can guess it. Whether a text is random nobody can
//! see; whether it is poor, one can: too short, of few characters, repeated, or in a row as on a keyboard's line.
//!
//! Absent: where the text came from, and who may use it.

use super::TokenHash;
use super::reference::{self, Kind};

/// The fewest characters of a client secret that somebody else made.
pub const SHORTEST: usize = 32;
/// The most characters: percent-encoded together with the longest client id, they still fit `client_secret_basic`.
pub const LONGEST: usize = 256;
/// The fewest bits that a text must seem to hold.
const BITS: f64 = 64.0;
/// A piece of so many characters counts once.
const PIECE: usize = 4;

/// Why a text is no client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// RFC 6749 appendix A.2.
    #[error(
        "has characters other than printable ASCII, which a client secret may not have (RFC 6749 appendix A.2)"
    )]
    Unprintable,
    /// It could be guessed.
    #[error("has fewer than {SHORTEST} characters")]
    Short,
    /// It does not fit a request.
    #[error("has more than {LONGEST} characters")]
    Long,
    /// It could be guessed.
    #[error(
        "has too little variety to be random: make one with a password generator, such as openssl rand -hex 32"
    )]
    Poor,
    /// It is a token that was issued for something else.
    #[error("is a token of another kind, which must not be a client secret too")]
    Token,
}

/// The client secret in a text: without the line breaks that editors and shells leave at its end, which no
/// program sends. Everything else counts.
///
/// # Errors
/// Why it is none, or too weak.
pub fn read(text: &str) -> Result<&str, Unusable> {
    let secret = text.trim_end_matches(['\n', '\r']);
    if !is_printable(secret) {
        Err(Unusable::Unprintable)
    } else if secret.len() < SHORTEST {
        Err(Unusable::Short)
    } else if secret.len() > LONGEST {
        Err(Unusable::Long)
    } else if reference::parse(secret).is_ok_and(|token| token.kind != Kind::ClientSecret) {
        Err(Unusable::Token)
    } else if variety(secret.as_bytes()) < BITS {
        Err(Unusable::Poor)
    } else {
        Ok(secret)
    }
}

/// The hash of what a client presents; `None` for what was never brought, before anything is hashed.
pub fn presented(secret: &str) -> Option<TokenHash> {
    let is_possible = (SHORTEST..=LONGEST).contains(&secret.len()) && is_printable(secret);
    is_possible.then(|| TokenHash::of(secret))
}

/// `VSCHAR`.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// About how many bits a text holds, from above: the entropy of its characters, counted for those alone that
/// neither follow on the one before nor end a piece that was there already.
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
    fn what_generators_make_is_taken() {
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
    fn what_a_person_types_is_refused() {
        for (text, why) in [
            ("", Unusable::Short),
            ("hunter2", Unusable::Short),
            (&"x1".repeat(15), Unusable::Short),
            (&"a".repeat(40), Unusable::Poor),
            (&"password".repeat(5), Unusable::Poor),
            (&"correcthorse".repeat(4), Unusable::Poor),
            ("abcdefghijklmnopqrstuvwxyz0123456789", Unusable::Poor),
            ("00000000-0000-0000-0000-000000000000", Unusable::Poor),
            ("changeme-changeme-changeme-changeme", Unusable::Poor),
            ("1111222233334444555566667777888899990000", Unusable::Poor),
            (&"aZ3$".repeat(65), Unusable::Long),
            ("Grüße-Grüße-Grüße-Grüße-Grüße-Grüße", Unusable::Unprintable),
            (
                "two\nlines0123456789abcdef0123456789abcdef",
                Unusable::Unprintable,
            ),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_shortest_and_the_longest_are_taken_and_presented() {
        for (length, expected) in [
            (SHORTEST - 1, Err(Unusable::Short)),
            (SHORTEST, Ok(SHORTEST)),
            (LONGEST, Ok(LONGEST)),
            (LONGEST + 1, Err(Unusable::Long)),
        ] {
            let mut text = vec![0; length];
            base62::random(&mut text, &mut SeededEntropy::new(3));
            let text = String::from_utf8(text).unwrap();
            assert_eq!(read(&text).map(str::len), expected);
            assert_eq!(presented(&text).is_some(), expected.is_ok());
        }
    }

    #[test]
    fn variety_is_the_entropy_of_what_neither_follows_nor_repeats() {
        for (text, bits) in [
            ("", 0.0),
            ("a", 0.0),
            ("aaaa", 0.0),
            // Two characters, one bit each: `b` follows `a`, the others do not follow.
            ("az", 2.0),
            ("ab", 1.0),
            ("azaz", 4.0),
            // From the sixth on, a piece of four was there before.
            ("azazazaz", 5.0),
            ("acegacegaceg", 14.0),
        ] {
            let found = variety(text.as_bytes());
            assert!((found - bits).abs() < 1e-9, "{text}: {found}");
        }
    }

    #[test]
    fn line_breaks_at_the_end_are_not_part_of_it_and_blanks_are() {
        let secret = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
        for text in [secret, &format!("{secret}\n"), &format!("{secret}\r\n\n")] {
            assert_eq!(read(text), Ok(secret));
        }
        let blank = format!(" {secret} ");
        assert_eq!(read(&blank), Ok(blank.as_str()));
    }

    #[test]
    fn a_token_of_another_kind_is_no_client_secret() {
        let mut entropy = SeededEntropy::new(1);
        for kind in [Kind::ServiceAccessToken, Kind::PersonalAccessToken] {
            let token = reference::mint(&Prefix::default(), kind, &mut entropy).token;
            assert_eq!(read(token.expose()), Err(Unusable::Token));
        }
    }

    #[test]
    fn what_could_never_be_right_is_not_hashed() {
        for junk in ["", " ", "short", &"x".repeat(LONGEST + 1), &"é".repeat(32)] {
            assert!(presented(junk).is_none(), "{junk}");
        }
        let secret = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
        assert_eq!(presented(secret), Some(TokenHash::of(secret)));
    }
}
