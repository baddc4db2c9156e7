//! Unverified text from a caller: it can be anything, even a secret in the wrong field.
//!
//! [`Unverified`] cannot be printed. A log may show its length and a hash, keyed with a random key that this process
//! never writes: equal texts have equal hashes until the process ends, and a reader of the log cannot test a guess. The
//! text itself is shown only if the caller of an audit function proves it harmless.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

/// The key of this process; `None` if the system has no randomness, in which case there are no hashes.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());

/// The number of hash bytes that are written.
const WRITTEN: usize = 8;

/// A text from a caller.
#[derive(Clone, Copy)]
pub struct Unverified<'a>(&'a str);

impl<'a> Unverified<'a> {
    /// Marks a text as unverified.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the length in bytes.
    pub const fn length(self) -> usize {
        self.0.len()
    }

    /// Returns the first 64 bits of the HMAC-SHA-256 under this process's key, in hexadecimal.
    pub fn hash(self) -> Option<String> {
        let tag = hmac::sign(KEY.as_ref()?, self.0.as_bytes());
        let start = tag.as_ref().get(..WRITTEN)?.try_into().ok()?;
        Some(format!("{:016x}", u64::from_be_bytes(start)))
    }

    /// Returns the text itself, for an audit event that may show it.
    pub(super) const fn text(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({} bytes)", self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_equal_hashes_that_show_nothing_of_them() {
        let (secret, other) = (Unverified::new("s3cret"), Unverified::new("s3creu"));
        assert_eq!(secret.hash(), Unverified::new("s3cret").hash());
        assert_ne!(secret.hash(), other.hash());
        assert_eq!(secret.hash().unwrap().len(), 2 * WRITTEN);
        let guess = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"s3cret");
        let guess = u64::from_be_bytes(guess.as_ref()[..WRITTEN].try_into().unwrap());
        assert_ne!(
            secret.hash().unwrap(),
            format!("{guess:016x}"),
            "a guess must not be testable without the key"
        );
        assert_eq!(format!("{secret:?}"), "Unverified(6 bytes)");
    }
}
