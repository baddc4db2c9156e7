//! A secret string: prints nothing, is wiped when dropped, and compares in constant time.
//!
//! It has no `Serialize`: a secret leaves only through a call of `expose()`.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret text.
#[derive(Clone, Default)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Returns the secret itself. Review every call.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretString {
    /// Takes over the string's buffer, so that no copy remains.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for SecretString {
    /// Constant time for equal lengths; only the length can leak.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretString {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing() {
        let secret = SecretString::from("hunter2".to_owned());
        for printed in [
            format!("{secret:?}"),
            format!("{secret}"),
            format!("{:#?}", Some(&secret)),
        ] {
            assert!(printed.contains("[redacted]"), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn equality_looks_at_the_whole_text() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        assert_eq!(secret("abc"), secret("abc"));
        for other in ["abd", "ab", "abcd", "", "ABC"] {
            assert_ne!(secret("abc"), secret(other));
        }
    }
}
