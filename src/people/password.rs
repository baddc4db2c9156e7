//! Passwords: which ones a person may choose, and how they are hashed and compared.
//!
//! The rules follow NIST SP 800-63B-4 section 3.1.1.2: length instead of classes of characters, no passwords that
//! attackers try first, no periodic change. Hashes are PHC strings. Pure, but slow by design: the server calls
//! [`Phc::verify`], [`hash`] and [`check`] on its pool of threads. Not here: who may set a password, and the limits on
//! guessing.

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::tokens::{Entropy, SecretString};

/// The shortest password that stands alone, in characters.
pub const MIN_LENGTH: usize = 15;
/// The longest password, in bytes.
pub const MAX_LENGTH: usize = 1024;
/// The smallest number of guesses that an attacker who tries likely passwords first must need.
const MIN_GUESSES: u64 = 100_000_000;
/// A shorter username is part of many passwords by chance.
const MIN_NAME: usize = 4;

/// The cost of new hashes: 19 MiB and two passes (OWASP Password Storage Cheat Sheet).
pub const COST: Cost = Cost {
    memory: 19 << 10,
    passes: 2,
    lanes: 1,
};
/// The most expensive imported hash that is accepted, by memory. It bounds the memory of the pool: 64 MiB a thread.
const MAX_MEMORY: u32 = 64 << 10;
/// The most expensive imported hash, in KiB of memory times passes: about half a second of CPU time.
const MAX_WORK: u32 = 4 * MAX_MEMORY;
const MAX_LANES: u32 = 16;
/// The most iterations of an imported PBKDF2 hash: about a second of CPU time.
const MAX_ITERATIONS: u32 = 2_000_000;
const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;
/// The longest PHC string that is read, in bytes.
const MAX_PHC: usize = 512;

/// A password in its normal form: NFC, with every space as U+0020 (the profile `OpaqueString` of RFC 8265 section 4.2).
/// Keyboards and systems compose characters differently, and a person cannot see the difference.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// The error for a text that is longer than [`MAX_LENGTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password is longer than {MAX_LENGTH} bytes")]
pub struct TooLong;

impl Password {
    /// Reads what a person typed. The length is checked before anything else happens.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn new(typed: &str) -> Result<Self, TooLong> {
        if typed.len() > MAX_LENGTH {
            return Err(TooLong);
        }
        // Reserve the most that NFC can need: a growing buffer would leave unwiped copies behind.
        let mut text = String::with_capacity(3 * typed.len());
        text.extend(typed.chars().map(plain_space).nfc());
        let text = SecretString::from(text);
        if text.expose().len() > MAX_LENGTH {
            return Err(TooLong);
        }
        Ok(Self(text))
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// Maps the characters of the category Zs to U+0020.
const fn plain_space(c: char) -> char {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            ' '
        }
        other => other,
    }
}

/// What a new password must not contain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// The username and the addresses of the person.
    pub person: &'a [&'a str],
    /// The host of the issuer.
    pub host: &'a str,
}

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// It has fewer than [`MIN_LENGTH`] characters.
    #[error("use at least {MIN_LENGTH} characters")]
    TooShort,
    /// It contains a control character, such as a line break, which no form can send again.
    #[error("a password has no control characters")]
    ControlCharacter,
    /// It contains the username, an address of the person, or the host of the issuer.
    #[error("the password must not contain your name or the name of this site")]
    ContainsName,
    /// Attackers try it early: it is, or is made of, common passwords, repetitions, sequences, names and dates.
    #[error("this password is easy to guess: choose another one")]
    Common,
}

/// Judges a new password.
///
/// # Errors
/// The first fault.
pub fn check(password: &Password, names: Names<'_>) -> Result<(), Fault> {
    let text = password.0.expose();
    if text.chars().count() < MIN_LENGTH {
        return Err(Fault::TooShort);
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::ControlCharacter);
    }
    let lower = SecretString::from(text.to_lowercase());
    let contains = |name: &str| {
        name.chars().count() >= MIN_NAME && lower.expose().contains(&name.to_lowercase())
    };
    let local_part = |name: &'_ str| name.split_once('@').map(|(local, _)| local.to_owned());
    let is_named = names
        .person
        .iter()
        .any(|name| contains(name) || local_part(name).is_some_and(|local| contains(&local)));
    if is_named || contains(names.host) {
        return Err(Fault::ContainsName);
    }
    // Their parts count as the most common words.
    let words = names.person.iter().copied().chain([names.host]);
    let words: Vec<&str> = words
        .flat_map(|name| name.split(['.', '@', '-', '_', ' ']))
        .filter(|word| !word.is_empty())
        .collect();
    if zxcvbn::zxcvbn(text, &words).guesses() < MIN_GUESSES {
        return Err(Fault::Common);
    }
    Ok(())
}

/// The cost of argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory.
    pub memory: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// A stored hash of a password.
#[derive(Clone)]
pub struct Phc {
    salt: Vec<u8>,
    hash: Vec<u8>,
    function: Function,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Argon2id(Cost),
    Pbkdf2(Digest, NonZeroU32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha512,
}

impl Digest {
    const fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// Why a text is not a hash that the server can verify. The text is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It is not a PHC string with a salt and a hash.
    #[error(
        "not a PHC string with a salt and a hash, such as $argon2id$v=19$m=19456,t=2,p=1$...$..."
    )]
    Malformed,
    /// Another function or version.
    #[error("use argon2id version 19, pbkdf2-sha256 or pbkdf2-sha512")]
    Function,
    /// It costs too much memory or time to verify, or its salt or hash has an unusual length.
    #[error(
        "use at most m=65536 with m times t at most 262144 and p=16, or at most i=2000000; a salt of 8 to 48 bytes and a hash of 16 to 64 bytes"
    )]
    Cost,
}

/// What a comparison tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The password is right. `is_outdated` tells that it should be hashed again with [`COST`].
    Right {
        /// Whether the hash has another function or cost.
        is_outdated: bool,
    },
    /// The password is wrong, or there is none.
    Wrong,
}

impl Phc {
    /// Reads a PHC string.
    ///
    /// # Errors
    /// See [`Unsupported`].
    pub fn parse(text: &str) -> Result<Self, Unsupported> {
        if text.len() > MAX_PHC {
            return Err(Unsupported::Malformed);
        }
        let parsed = PasswordHash::new(text).map_err(|_| Unsupported::Malformed)?;
        let (Some(salt), Some(hash)) = (&parsed.salt, &parsed.hash) else {
            return Err(Unsupported::Malformed);
        };
        let number = |name: &str| parsed.params.get_decimal(name);
        let function = match parsed.algorithm.as_str() {
            "argon2id" if parsed.version == Some(Version::V0x13.into()) => {
                let cost = (number("m"), number("t"), number("p"));
                let (Some(memory), Some(passes), Some(lanes)) = cost else {
                    return Err(Unsupported::Malformed);
                };
                // Secrets and associated data of argon2 are not supported.
                if parsed.params.iter().count() != 3 {
                    return Err(Unsupported::Function);
                }
                Function::Argon2id(Cost {
                    memory,
                    passes,
                    lanes,
                })
            }
            "pbkdf2-sha256" | "pbkdf2-sha512" if parsed.version.is_none() => {
                let iterations = number("i").and_then(NonZeroU32::new);
                let iterations = iterations.ok_or(Unsupported::Malformed)?;
                let digest = match parsed.algorithm.as_str() {
                    "pbkdf2-sha256" => Digest::Sha256,
                    _ => Digest::Sha512,
                };
                Function::Pbkdf2(digest, iterations)
            }
            _ => return Err(Unsupported::Function),
        };
        let phc = Self {
            salt: salt.to_vec(),
            hash: hash.as_bytes().to_vec(),
            function,
        };
        phc.is_bounded().then_some(phc).ok_or(Unsupported::Cost)
    }

    fn is_bounded(&self) -> bool {
        let is_cheap = match self.function {
            Function::Argon2id(cost) => {
                let work = cost.memory.checked_mul(cost.passes);
                cost.memory <= MAX_MEMORY
                    && cost.lanes <= MAX_LANES
                    && work.is_some_and(|work| work <= MAX_WORK)
                    && cost.params(self.hash.len()).is_some()
            }
            Function::Pbkdf2(_, iterations) => iterations.get() <= MAX_ITERATIONS,
        };
        is_cheap && (8..=48).contains(&self.salt.len()) && (16..=64).contains(&self.hash.len())
    }

    /// Returns a hash that no password has, at the cost of new ones: an unknown user costs as much as a known one.
    pub fn of_no_one(entropy: &mut dyn Entropy) -> Self {
        let (mut salt, mut hash) = (vec![0; SALT_LENGTH], vec![0; HASH_LENGTH]);
        entropy.fill(&mut salt);
        // As hard to hit by chance as any other hash.
        entropy.fill(&mut hash);
        Self {
            salt,
            hash,
            function: Function::Argon2id(COST),
        }
    }

    /// Compares a password. Slow, and takes up to 64 MiB of memory.
    #[must_use]
    pub fn verify(&self, password: &Password) -> Comparison {
        let is_right = match self.function {
            Function::Argon2id(cost) => argon2id(password, &self.salt, cost, self.hash.len())
                .is_some_and(|hash| verify_slices_are_equal(&hash, &self.hash).is_ok()),
            Function::Pbkdf2(digest, iterations) => pbkdf2::verify(
                digest.algorithm(),
                iterations,
                &self.salt,
                password.bytes(),
                &self.hash,
            )
            .is_ok(),
        };
        if !is_right {
            return Comparison::Wrong;
        }
        let is_current = self.function == Function::Argon2id(COST)
            && self.salt.len() >= SALT_LENGTH
            && self.hash.len() >= HASH_LENGTH;
        Comparison::Right {
            is_outdated: !is_current,
        }
    }
}

impl std::fmt::Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Phc({:?}, [redacted])", self.function)
    }
}

impl Cost {
    fn params(self, length: usize) -> Option<Params> {
        Params::new(self.memory, self.passes, self.lanes, Some(length)).ok()
    }
}

fn argon2id(
    password: &Password,
    salt: &[u8],
    cost: Cost,
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params(length)?);
    let mut hash = Zeroizing::new(vec![0; length]);
    let hashed = argon2.hash_password_into(password.bytes(), salt, &mut hash);
    hashed.ok().map(|()| hash)
}

/// Hashes a new password as a PHC string. Slow, and takes [`COST`]'s memory.
///
/// # Panics
/// Never: argon2id takes every password of at most [`MAX_LENGTH`] bytes at [`COST`].
#[expect(
    clippy::expect_used,
    reason = "the cost and every length are within argon2's bounds"
)]
pub fn hash(password: &Password, entropy: &mut dyn Entropy) -> String {
    let mut salt = [0; SALT_LENGTH];
    entropy.fill(&mut salt);
    let hash = argon2id(password, &salt, COST, HASH_LENGTH).expect("argon2id within its bounds");
    let Cost {
        memory,
        passes,
        lanes,
    } = COST;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(&*hash));
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

#[cfg(test)]
mod tests;
