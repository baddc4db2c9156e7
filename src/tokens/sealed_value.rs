//! Values that the server hands to a browser and gets back: encrypted and authenticated, so that a request on its way
//! needs no row in the store.
//!
//! ```text
//! base64url( key id: 1 byte   expiry: 8 bytes   nonce: 12 bytes   ciphertext   tag: 16 bytes )
//! ```
//!
//! The cipher is AES-256-GCM-SIV (RFC 8452): anonymous callers decide how many values are sealed, and a repeated random
//! nonce reveals at most that two values are equal. The associated data binds a value to its kind, its issuer and the
//! cookie of one browser. So no value opens in another place, and a flow that an attacker began does not open in a
//! victim's browser.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Entropy, KeyMaterial, fields};

/// The longest sealed value, as text in bytes. It must fit into a URL.
pub const MAX_LENGTH: usize = 6 << 10;
/// The longest value before it is sealed, in bytes. Unpadded base64 has four characters for three bytes.
pub const MAX_VALUE: usize = MAX_LENGTH / 4 * 3 - HEADER_LENGTH - NONCE_LEN - TAG_LENGTH;
/// The longest time for which a value opens.
pub const MAX_LIFETIME: Duration = Duration::from_mins(10);

const SALT: &str = "symbolon.dev/sealed-value";
const EXPIRY_LENGTH: usize = 8;
const HEADER_LENGTH: usize = 1 + EXPIRY_LENGTH;
const TAG_LENGTH: usize = 16;

/// The keys that values are sealed with: the newest seals, and the previous one still opens during a rotation.
pub struct ValueKeys {
    newest: Key,
    previous: Option<Key>,
}

struct Key {
    id: u8,
    key: LessSafeKey,
}

/// Where a value may be opened.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What the value is, such as `authorize`. No kind opens as another.
    pub kind: &'static str,
    /// The issuer that sealed it.
    pub issuer: &'a str,
    /// The secret of the browser's cookie. Empty if the value is not bound to a browser.
    pub browser: &'a str,
}

/// The error for a value that is too long to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is longer than {MAX_LENGTH} bytes when sealed")]
pub struct TooLong;

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// It is genuine, but its time is over.
    #[error("the value has expired")]
    Expired,
    /// It was changed, cut, sealed for another place, or sealed with a key that is not live.
    #[error("the value was not sealed for this place")]
    Foreign,
}

impl Key {
    fn new(material: &KeyMaterial) -> Option<Self> {
        let bytes = material.derive(SALT, "aes-256-gcm-siv");
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*bytes).ok()?;
        Some(Self {
            id: material.id,
            key: LessSafeKey::new(key),
        })
    }
}

impl ValueKeys {
    /// Derives the keys.
    ///
    /// # Panics
    /// Never: the cipher takes every key of 32 bytes.
    #[expect(
        clippy::expect_used,
        reason = "the derived key has the cipher's length"
    )]
    pub fn new(newest: &KeyMaterial, previous: Option<&KeyMaterial>) -> Self {
        let key = |material| Key::new(material).expect("a key of 32 bytes");
        Self {
            newest: key(newest),
            previous: previous.map(key),
        }
    }

    /// Seals `value` until `expires_at`, or for [`MAX_LIFETIME`] if that is earlier.
    ///
    /// # Errors
    /// [`TooLong`] if the text would have more than [`MAX_LENGTH`] bytes.
    pub fn seal(
        &self,
        place: Place<'_>,
        value: &[u8],
        expires_at: Timestamp,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<String, TooLong> {
        let latest = now.checked_add(MAX_LIFETIME).unwrap_or(Timestamp::MAX);
        let expiry = expires_at.min(latest).as_second().to_be_bytes();
        if value.len() > MAX_VALUE {
            return Err(TooLong);
        }
        let mut header = [0; HEADER_LENGTH];
        header[0] = self.newest.id;
        header[1..].copy_from_slice(&expiry);
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(HEADER_LENGTH + NONCE_LEN + value.len() + TAG_LENGTH);
        sealed.extend(header);
        sealed.extend(nonce);
        // Encrypted in a buffer of its full size, so that no copy of the value remains.
        let mut text = Zeroizing::new(value.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated_data(header, place));
        let tag = self
            .newest
            .key
            .seal_in_place_separate_tag(nonce, aad, &mut text);
        // AES-GCM-SIV refuses only values of many gigabytes.
        let tag = tag.map_err(|_| TooLong)?;
        sealed.extend(&*text);
        sealed.extend(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens a value.
    ///
    /// # Errors
    /// See [`Unsealed`]. A caller can tell an expired value from a foreign one only with a genuine value.
    pub fn open(
        &self,
        place: Place<'_>,
        text: &str,
        now: Timestamp,
    ) -> Result<Zeroizing<Vec<u8>>, Unsealed> {
        let (value, expires_at) = self
            .open_at_any_time(place, text)
            .ok_or(Unsealed::Foreign)?;
        let is_live = now < expires_at;
        is_live.then_some(value).ok_or(Unsealed::Expired)
    }

    /// Opens a value, expired or not. Returns when it expires too; `None` if it is [`Unsealed::Foreign`].
    pub fn open_at_any_time(
        &self,
        place: Place<'_>,
        text: &str,
    ) -> Option<(Zeroizing<Vec<u8>>, Timestamp)> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (header, rest) = sealed.split_first_chunk::<HEADER_LENGTH>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (id, expiry) = header.split_first()?;
        let mut keys = [Some(&self.newest), self.previous.as_ref()]
            .into_iter()
            .flatten();
        let key = keys.find(|key| key.id == *id)?;
        let mut value = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(associated_data(*header, place));
        let length = key.key.open_in_place(nonce, aad, &mut value).ok()?.len();
        value.truncate(length);
        let expiry = i64::from_be_bytes(expiry.try_into().ok()?);
        Some((value, Timestamp::from_second(expiry).ok()?))
    }
}

/// What the tag covers besides the value.
fn associated_data(header: [u8; HEADER_LENGTH], place: Place<'_>) -> Vec<u8> {
    let Place {
        kind,
        issuer,
        browser,
    } = place;
    let mut data = header.to_vec();
    fields::append(&mut data, [kind, issuer, browser]);
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::SeededEntropy;

    const PLACE: Place<'_> = Place {
        kind: "authorize",
        issuer: "https://id.example.com",
        browser: "b1",
    };

    fn keys() -> ValueKeys {
        ValueKeys::new(&KeyMaterial::sample(1), None)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sealed_by(keys: &ValueKeys, value: &[u8], seed: u64) -> String {
        let mut entropy = SeededEntropy::new(seed);
        keys.seal(PLACE, value, at(160), at(100), &mut entropy)
            .unwrap()
    }

    fn opened(keys: &ValueKeys, place: Place<'_>, text: &str) -> Result<Vec<u8>, Unsealed> {
        keys.open(place, text, at(101)).map(|value| value.to_vec())
    }

    #[test]
    fn a_value_opens_only_in_its_place() {
        let text = sealed_by(&keys(), b"value", 1);
        assert_eq!(opened(&keys(), PLACE, &text).unwrap(), b"value");
        let elsewhere = [
            Place {
                kind: "sign-out",
                ..PLACE
            },
            Place {
                issuer: "https://id.example.com/",
                ..PLACE
            },
            Place {
                browser: "b2",
                ..PLACE
            },
            Place {
                browser: "",
                ..PLACE
            },
            // A character that moves to the next part.
            Place {
                issuer: "https://id.example.co",
                browser: "mb1",
                ..PLACE
            },
        ];
        for place in elsewhere {
            assert_eq!(
                opened(&keys(), place, &text),
                Err(Unsealed::Foreign),
                "{place:?}"
            );
        }
    }

    #[test]
    fn a_value_opens_until_its_expiry_and_for_ten_minutes_at_most() {
        let seal = |until| {
            let mut entropy = SeededEntropy::new(1);
            keys()
                .seal(PLACE, b"v", at(until), at(100), &mut entropy)
                .unwrap()
        };
        let open = |text: &str, now| keys().open(PLACE, text, at(now)).map(|_| ());
        assert_eq!(open(&seal(160), 159), Ok(()));
        assert_eq!(open(&seal(160), 160), Err(Unsealed::Expired));
        assert_eq!(open(&seal(10_000), 699), Ok(()));
        assert_eq!(open(&seal(10_000), 700), Err(Unsealed::Expired));
        assert_eq!(open(&seal(50), 100), Err(Unsealed::Expired));
        // An expired value of another browser is foreign: its expiry is not told.
        let other = Place {
            browser: "b2",
            ..PLACE
        };
        let told = keys().open(other, &seal(160), at(160)).map(|_| ());
        assert_eq!(told, Err(Unsealed::Foreign));
    }

    #[test]
    fn two_keys_open_during_a_rotation() {
        let text = sealed_by(&keys(), b"v", 1);
        let both = ValueKeys::new(&KeyMaterial::sample(2), Some(&KeyMaterial::sample(1)));
        assert!(opened(&both, PLACE, &text).is_ok());
        let newer = sealed_by(&both, b"v", 1);
        assert_eq!(opened(&keys(), PLACE, &newer), Err(Unsealed::Foreign));
        // A replica that has the new key, but does not seal with it yet.
        let behind = ValueKeys::new(&KeyMaterial::sample(1), Some(&KeyMaterial::sample(2)));
        assert!(opened(&behind, PLACE, &newer).is_ok());
        let after = ValueKeys::new(&KeyMaterial::sample(2), None);
        assert_eq!(opened(&after, PLACE, &text), Err(Unsealed::Foreign));
        // Other material under the same ID.
        let other = KeyMaterial {
            id: 1,
            ..KeyMaterial::sample(9)
        };
        let other = ValueKeys::new(&other, None);
        assert_eq!(opened(&other, PLACE, &text), Err(Unsealed::Foreign));
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_refused() {
        let text = sealed_by(&keys(), b"a value", 1);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let changed = URL_SAFE_NO_PAD.encode(changed);
                assert_eq!(
                    opened(&keys(), PLACE, &changed),
                    Err(Unsealed::Foreign),
                    "{at}"
                );
            }
            let cut = URL_SAFE_NO_PAD.encode(&bytes[..at]);
            assert_eq!(opened(&keys(), PLACE, &cut), Err(Unsealed::Foreign), "{at}");
            let cut = URL_SAFE_NO_PAD.encode(&bytes[at + 1..]);
            assert_eq!(opened(&keys(), PLACE, &cut), Err(Unsealed::Foreign), "{at}");
        }
        for changed in [
            format!("{text}A"),
            format!("{text}="),
            format!(" {text}"),
            format!("A{text}"),
        ] {
            assert_eq!(opened(&keys(), PLACE, &changed), Err(Unsealed::Foreign));
        }
    }

    #[test]
    fn a_sealed_value_fits_into_a_url() {
        let longest = sealed_by(&keys(), &[7; MAX_VALUE], 1);
        assert_eq!(longest.len(), MAX_LENGTH);
        assert!(opened(&keys(), PLACE, &longest).is_ok());
        let value = [7; MAX_VALUE + 1];
        let mut entropy = SeededEntropy::new(1);
        let refused = keys().seal(PLACE, &value, at(160), at(100), &mut entropy);
        assert_eq!(refused, Err(TooLong));
        let long = "A".repeat(MAX_LENGTH + 4);
        assert_eq!(opened(&keys(), PLACE, &long), Err(Unsealed::Foreign));
    }

    #[test]
    fn equal_values_have_different_seals() {
        assert_ne!(sealed_by(&keys(), b"v", 1), sealed_by(&keys(), b"v", 2));
    }

    proptest! {
        #[test]
        fn any_value_reads_back(value in proptest::collection::vec(any::<u8>(), 0..2000), seed in any::<u64>()) {
            let text = sealed_by(&keys(), &value, seed);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(opened(&keys(), PLACE, &text).unwrap(), value);
        }

        #[test]
        fn any_other_text_is_foreign(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(opened(&keys(), PLACE, &text), Err(Unsealed::Foreign));
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(opened(&keys(), PLACE, &text), Err(Unsealed::Foreign));
        }
    }
}
