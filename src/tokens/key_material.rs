//! Secret material with an ID, from which each use derives a key of its own.
//!
//! Values that a key has protected live on while the key is replaced, so they carry the ID of their key, and two
//! materials are live during a rotation.

use std::fmt;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

/// The material of one key: 32 secret bytes with an ID. The ID of a replacement differs.
#[derive(Clone)]
pub struct KeyMaterial {
    /// Stored in what the keys protect.
    pub id: u8,
    /// The secret.
    pub bytes: Zeroizing<[u8; 32]>,
}

impl KeyMaterial {
    /// Derives the key for one purpose by HKDF-SHA256 (RFC 5869). `salt` names the use, `purpose` the key within it.
    pub fn derive(&self, salt: &'static str, purpose: &str) -> Zeroizing<[u8; 32]> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt.as_bytes()).extract(&*self.bytes);
        let mut key = Zeroizing::new([0; 32]);
        // HKDF fails only for outputs over 8160 bytes.
        let filled = extracted
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut *key));
        debug_assert!(filled.is_ok());
        key
    }

    /// Returns material for tests, whose bytes all equal `id`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn sample(id: u8) -> Self {
        Self {
            id,
            bytes: Zeroizing::new([id; 32]),
        }
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({}, [redacted])", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_purpose_and_material_has_a_key_of_its_own() {
        let of = KeyMaterial::sample;
        let keys = [
            of(1).derive("a", "x"),
            of(1).derive("a", "y"),
            of(1).derive("b", "x"),
            of(2).derive("a", "x"),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{n}");
            assert_ne!(**key, [0; 32]);
        }
        assert_eq!(of(1).derive("a", "x"), keys[0]);
    }

    #[test]
    fn material_prints_nothing() {
        let material = KeyMaterial::sample(7);
        assert_eq!(format!("{material:?}"), "KeyMaterial(7, [redacted])");
    }
}
