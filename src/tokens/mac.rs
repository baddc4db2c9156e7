//! The seal on a Credential entry: HMAC-SHA256 over everything that decides whether the entry's token is valid.
//!
//! A writer of Credentials without the MAC key cannot create an entry, extend one, or point one at another owner or
//! client. The seal covers each field that validity depends on, the owner and the Identity (so that an entry cannot be
//! moved to another Credential), and the early end `notAfter` (so that removing it revives nothing; only the operator
//! sets it, since it has the key). Not sealed is what may change freely: last use, `base`, the order of entries.
//!
//! The encoding starts with its version. A length precedes every field, and a presence byte every option, so two
//! different entries never encode to the same bytes.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Entropy, KeyMaterial, TokenHash, TokenId, hex};

const VERSION: u8 = 1;

/// Separates these MACs from any other use of the same key.
const CONTEXT: &str = "symbolon.dev/credential";

/// Derives the key material for people, and its ID.
const MATERIAL: &str = "symbolon.dev/people";
const MATERIAL_ID: &str = "symbolon.dev/people-id";

/// The key that seals entries. Wiped when dropped.
pub struct MacKey(hmac::Key);

/// A MAC key that does not have 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a MAC key has exactly 32 bytes")]
pub struct WrongKeyLength;

impl MacKey {
    /// The length of a key in bytes.
    pub const LENGTH: usize = 32;

    /// Builds the key from the bytes in a Secret.
    ///
    /// # Errors
    /// [`WrongKeyLength`] if there are not exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrongKeyLength> {
        if bytes.len() == Self::LENGTH {
            Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
        } else {
            Err(WrongKeyLength)
        }
    }

    /// Generates the bytes of a new key, to be stored in a Secret.
    pub fn generate(entropy: &mut dyn Entropy) -> Zeroizing<[u8; Self::LENGTH]> {
        let mut bytes = Zeroizing::new([0; Self::LENGTH]);
        entropy.fill(&mut *bytes);
        bytes
    }

    /// Derives the key for another purpose: the first block of HKDF-Expand (RFC 5869 section 2.3) with this key as the
    /// pseudorandom key. `purpose` is a text such as `symbolon.dev/enrolment`. No seal covers the same bytes, since
    /// the encoding of an entry starts with another byte.
    pub fn derive(&self, purpose: &'static str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.block(purpose))
    }

    /// Derives the material of the keys that protect what browsers and clients of people hold. Its ID follows from the
    /// key, so all replicas use the same one. A replacement of the key must have another ID; otherwise the material of the
    /// previous one is not found.
    pub fn material(&self) -> KeyMaterial {
        KeyMaterial {
            id: self.block(MATERIAL_ID)[0],
            bytes: self.block(MATERIAL),
        }
    }

    fn block(&self, purpose: &'static str) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(&[1]);
        let mut block = Zeroizing::new([0; 32]);
        block.copy_from_slice(context.sign().as_ref());
        block
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey([redacted])")
    }
}

/// What a MAC covers: the fields of one entry, its owner and its Identity.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// The Identity that the Credential belongs to.
    pub identity: SealedIdentity<'a>,
    /// The object that the token was issued for.
    pub owner: SealedOwner<'a>,
    /// The entry's number, which grows during the owner's life.
    pub epoch: u64,
    /// The token's public ID.
    pub token_id: TokenId,
    /// The token's hash.
    pub hash: &'a TokenHash,
    /// The client that the token was issued to.
    pub client: SealedClient<'a>,
    /// The subject that the token acts as.
    pub principal: &'a str,
    /// The scopes granted at issue, in the entry's order.
    pub scopes: &'a [String],
    /// When the token was issued. Times are sealed as whole seconds: resources store no fractions.
    pub issued_at: Timestamp,
    /// When the token expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// An earlier end, set when a newer token replaced this one.
    pub not_after: Option<Timestamp>,
    /// The request that caused the issue, if there was one.
    pub nonce: Option<&'a str>,
    /// Why the token was issued.
    pub cause: &'a str,
}

/// The Identity of an entry.
#[derive(Clone, Copy, Debug)]
pub struct SealedIdentity<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The owner of an entry.
#[derive(Clone, Copy, Debug)]
pub struct SealedOwner<'a> {
    /// `OAuthClient` or `ServiceAccessToken`.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid, so that a recreated owner inherits no tokens.
    pub uid: &'a str,
}

/// The client of an entry.
#[derive(Clone, Copy, Debug)]
pub struct SealedClient<'a> {
    /// Its name, in the owner's namespace.
    pub name: &'a str,
    /// Its uid, so that a recreated client inherits no tokens.
    pub uid: &'a str,
}

/// The seal: 32 bytes, written as lower-case hexadecimal in resources.
///
/// Has no `==`: [`verify`] compares, in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 32]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0[..4], f)?;
        f.write_str("…")
    }
}

/// A text that is not a [`Mac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a MAC has 64 lower-case hexadecimal digits")]
pub struct InvalidMac;

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::read(text).map(Self).ok_or(InvalidMac)
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidMac;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// Seals an entry.
pub fn seal(key: &MacKey, sealed: &Sealed<'_>) -> Mac {
    let mut mac = [0; 32];
    mac.copy_from_slice(hmac::sign(&key.0, &encode(sealed)).as_ref());
    Mac(mac)
}

/// Whether `mac` seals exactly this entry under this key. Constant time.
#[must_use]
pub fn verify(key: &MacKey, sealed: &Sealed<'_>, mac: &Mac) -> bool {
    hmac::verify(&key.0, &encode(sealed), &mac.0).is_ok()
}

fn encode(sealed: &Sealed<'_>) -> Vec<u8> {
    // Destructured without `..`, so that a new field cannot go unsealed unnoticed.
    let Sealed {
        identity: SealedIdentity { namespace, name },
        owner,
        epoch,
        token_id,
        hash,
        client: SealedClient {
            name: client_name,
            uid: client_uid,
        },
        principal,
        scopes,
        issued_at,
        expires_at,
        not_after,
        nonce,
        cause,
    } = *sealed;
    let mut out = Encoder::start();
    out.text(namespace).text(name);
    out.text(owner.kind)
        .text(owner.namespace)
        .text(owner.name)
        .text(owner.uid);
    out.number(epoch)
        .text(token_id.as_str())
        .field(hash.as_bytes());
    out.text(client_name)
        .text(client_uid)
        .text(principal)
        .list(scopes);
    out.time(issued_at)
        .option(expires_at, Encoder::time)
        .option(not_after, Encoder::time);
    out.option(nonce, Encoder::text).text(cause);
    out.0
}

/// Length-prefixed fields, big-endian.
struct Encoder(Vec<u8>);

impl Encoder {
    fn start() -> Self {
        let mut out = Self(Vec::with_capacity(768));
        out.0.push(VERSION);
        out.text(CONTEXT);
        out
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        // A resource has at most a few megabytes, so the length always fits. If it did not, saturation would still be
        // deterministic.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend(length.to_be_bytes());
        self.0.extend(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.field(text.as_bytes())
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    fn time(&mut self, time: Timestamp) -> &mut Self {
        self.field(&time.as_second().to_be_bytes())
    }

    fn list(&mut self, texts: &[String]) -> &mut Self {
        self.number(texts.len() as u64);
        texts.iter().fold(self, |out, text| out.text(text))
    }

    fn option<T>(&mut self, value: Option<T>, write: fn(&mut Self, T) -> &mut Self) -> &mut Self {
        self.0.push(u8::from(value.is_some()));
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::SeededEntropy;

    /// An owned entry, to be varied.
    #[derive(Clone, Debug, PartialEq)]
    struct Entry {
        texts: [String; 10],
        epoch: u64,
        id: TokenId,
        hash: TokenHash,
        scopes: Vec<String>,
        times: (i64, Option<i64>, Option<i64>),
        nonce: Option<String>,
    }

    impl Entry {
        fn sealed(&self) -> Sealed<'_> {
            let [
                namespace,
                name,
                kind,
                owner_namespace,
                owner_name,
                uid,
                client,
                client_uid,
                principal,
                cause,
            ] = &self.texts;
            let at = |second| Timestamp::from_second(second).unwrap();
            Sealed {
                identity: SealedIdentity { namespace, name },
                owner: SealedOwner {
                    kind,
                    namespace: owner_namespace,
                    name: owner_name,
                    uid,
                },
                epoch: self.epoch,
                token_id: self.id,
                hash: &self.hash,
                client: SealedClient {
                    name: client,
                    uid: client_uid,
                },
                principal,
                scopes: &self.scopes,
                issued_at: at(self.times.0),
                expires_at: self.times.1.map(at),
                not_after: self.times.2.map(at),
                nonce: self.nonce.as_deref(),
                cause,
            }
        }
    }

    fn key(byte: u8) -> MacKey {
        MacKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn entry() -> Entry {
        Entry {
            texts: [
                "idns",
                "main",
                "OAuthClient",
                "team",
                "api",
                "uid-1",
                "api",
                "uid-2",
                "team.api",
                "Initial",
            ]
            .map(str::to_owned),
            epoch: 3,
            id: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            hash: TokenHash::of("token"),
            scopes: vec!["team:read".into(), "team:write".into()],
            times: (1_700_000_000, Some(1_800_000_000), None),
            nonce: None,
        }
    }

    /// Few letters and short texts, to make shifted boundaries likely.
    fn any_entry() -> impl Strategy<Value = Entry> {
        let text = || "[ab\\x00]{0,3}";
        (
            proptest::array::uniform10(text()),
            0..3_u64,
            proptest::collection::vec(text(), 0..4),
            (
                0..2_i64,
                proptest::option::of(0..2_i64),
                proptest::option::of(0..2_i64),
            ),
            proptest::option::of(text()),
        )
            .prop_map(|(texts, epoch, scopes, times, nonce)| Entry {
                texts,
                epoch,
                scopes,
                times,
                nonce,
                ..entry()
            })
    }

    #[test]
    fn the_encoding_is_fixed() {
        let mac = seal(&key(7), &entry().sealed());
        // Computed with an independent HMAC over an independent encoding. A change here invalidates every stored MAC:
        // it needs a new version byte, and code that reads both versions.
        insta::assert_snapshot!(mac, @"eea5ea57b39a9381fb9294558f37ba430c93e8c78f2c7e487fa082f4526f6ba5");
        assert!(verify(
            &key(7),
            &entry().sealed(),
            &mac.to_string().parse().unwrap()
        ));
    }

    #[test]
    fn a_change_of_any_field_breaks_the_seal() {
        let mac = seal(&key(7), &entry().sealed());
        let mut changed: Vec<Entry> = (0..10)
            .map(|field| {
                let mut other = entry();
                other.texts[field].push('x');
                other
            })
            .collect();
        changed.push(Entry {
            epoch: 4,
            ..entry()
        });
        changed.push(Entry {
            id: "AAAAAAAAAAAAAAAB".parse().unwrap(),
            ..entry()
        });
        changed.push(Entry {
            hash: TokenHash::of("other"),
            ..entry()
        });
        changed.push(Entry {
            scopes: vec!["team:read".into()],
            ..entry()
        });
        changed.push(Entry {
            scopes: vec!["team:write".into(), "team:read".into()],
            ..entry()
        });
        changed.push(Entry {
            times: (1_700_000_001, Some(1_800_000_000), None),
            ..entry()
        });
        changed.push(Entry {
            times: (1_700_000_000, Some(1_900_000_000), None),
            ..entry()
        });
        changed.push(Entry {
            times: (1_700_000_000, None, None),
            ..entry()
        });
        changed.push(Entry {
            nonce: Some(String::new()),
            ..entry()
        });
        for other in changed {
            assert!(!verify(&key(7), &other.sealed(), &mac), "{other:?}");
        }
    }

    #[test]
    fn removing_or_changing_not_after_breaks_the_seal() {
        let with = |end| Entry {
            times: (1_700_000_000, Some(1_800_000_000), end),
            ..entry()
        };
        let mac = seal(&key(7), &with(Some(1_750_000_000)).sealed());
        assert!(verify(&key(7), &with(Some(1_750_000_000)).sealed(), &mac));
        assert!(!verify(&key(7), &with(Some(1_750_000_001)).sealed(), &mac));
        assert!(!verify(&key(7), &with(None).sealed(), &mac));
    }

    #[test]
    fn a_credential_without_a_valid_mac_is_refused() {
        let sealed = entry();
        assert!(
            !verify(&key(8), &sealed.sealed(), &seal(&key(7), &sealed.sealed())),
            "another key"
        );
        assert!(!verify(&key(7), &sealed.sealed(), &Mac([0; 32])));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"A".repeat(64)] {
            assert!(
                serde_json::from_value::<Mac>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn times_are_sealed_to_the_second() {
        let sealed = entry();
        let mac = seal(&key(7), &sealed.sealed());
        let finer = Sealed {
            issued_at: "2023-11-14T22:13:20.9Z".parse().unwrap(),
            ..sealed.sealed()
        };
        assert!(
            verify(&key(7), &finer, &mac),
            "fractions of a second are not sealed"
        );
    }

    #[test]
    fn a_mac_key_has_32_bytes_and_prints_nothing() {
        for length in [0, 1, 31, 33, 64] {
            assert_eq!(
                MacKey::from_bytes(&vec![1; length]).unwrap_err(),
                WrongKeyLength
            );
        }
        let bytes = MacKey::generate(&mut SeededEntropy::new(1));
        assert_eq!(
            format!("{:?}", MacKey::from_bytes(&*bytes).unwrap()),
            "MacKey([redacted])"
        );
    }

    #[test]
    fn a_derived_key_is_hkdf_with_one_block() {
        use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
        let mut wanted = [0; 32];
        let prk = Prk::new_less_safe(HKDF_SHA256, &[7; 32]);
        let output = prk.expand(&[b"a"], HKDF_SHA256).unwrap();
        output.fill(&mut wanted).unwrap();
        let wanted = hmac::Key::new(hmac::HMAC_SHA256, &wanted);
        let tag = hmac::sign(&wanted, b"text");
        assert!(hmac::verify(&key(7).derive("a"), b"text", tag.as_ref()).is_ok());
        assert!(hmac::verify(&key(7).derive("b"), b"text", tag.as_ref()).is_err());
        assert!(hmac::verify(&key(8).derive("a"), b"text", tag.as_ref()).is_err());
    }

    #[test]
    fn a_mac_key_comes_from_the_given_entropy() {
        let mut expected = [0; MacKey::LENGTH];
        SeededEntropy::new(1).fill(&mut expected);
        assert_eq!(*MacKey::generate(&mut SeededEntropy::new(1)), expected);
        assert_ne!(*MacKey::generate(&mut SeededEntropy::new(2)), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn different_entries_encode_differently(a in any_entry(), b in any_entry()) {
            prop_assert_eq!(a == b, encode(&a.sealed()) == encode(&b.sealed()));
        }

        #[test]
        fn a_character_moved_to_the_next_field_changes_the_encoding(a in any_entry(), field in 0..9_usize) {
            let mut b = a.clone();
            if let Some(moved) = b.texts[field].pop() {
                b.texts[field + 1].insert(0, moved);
                prop_assert_ne!(encode(&a.sealed()), encode(&b.sealed()));
            }
        }

        #[test]
        fn scopes_split_elsewhere_change_the_encoding(a in any_entry()) {
            let mut b = a.clone();
            b.scopes = vec![a.scopes.concat()];
            prop_assert_eq!(a.scopes == b.scopes, encode(&a.sealed()) == encode(&b.sealed()));
        }
    }
}
