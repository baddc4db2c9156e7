//! Text that a caller sent and that nothing vouches for: it may be anything, a secret in the wrong field included.
//!
//! [`Unverified`] cannot be printed. What a log may show of it is its length and a hash under a key that this process
//! made at random and never writes: equal texts have equal hashes until the process ends, and no one who reads the log
//! can test a guess. A text is shown as it is only where the caller of an audit function proves it harmless.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

/// The key of this process; `None` if the system has no randomness, and then there are no hashes.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());

/// Bytes of a hash that are written.
const WRITTEN: usize = 8;

/// A text that a caller sent.
#[derive(Clone, Copy)]
pub struct Unverified<'a>(&'a str);

impl<'a> Unverified<'a> {
    /// Marks a text as one that a caller sent.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Its length in bytes.
    pub const fn length(self) -> usize {
        self.0.len()
    }

    /// The first 64 bits of its HMAC-SHA-256 under this process's key, as hexadecimal digits.
    pub fn hash(self) -> Option<String> {
        let tag = hmac::sign(KEY.as_ref()?, self.0.as_bytes());
        let start = tag.as_ref().get(..WRITTEN)?.try_into().ok()?;
        Some(format!("{:016x}", u64::from_be_bytes(start)))
    }

    /// The text itself, for an audit event that may show it.
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
            "a guess can be tested without the key"
        );
        assert_eq!(format!("{secret:?}"), "Unverified(6 bytes)");
    }
}
