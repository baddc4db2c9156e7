//! The signing keys of one Identity, as they stand in `keyset.json`, and which of them does what at a given time.
//!
//! A key is published from the moment it is in the set, signs from `activeFrom` until a later one does, and is gone
//! from `retiredAt`. Whoever sets these times apart by more than caches and tokens live makes a rotation that no
//! verification notices: publish, then use, then retire.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::Algorithm;
use super::signing_key::{KeyError, SigningKey};

/// The form of `keyset.json` that is read and written.
const VERSION: u64 = 1;

/// One key and its times.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The key pair.
    pub key: Arc<SigningKey>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it signs.
    pub active_from: Timestamp,
    /// From when it neither signs, nor verifies, nor is published.
    pub retired_at: Option<Timestamp>,
}

impl KeyRecord {
    /// A key that was made at `now` and signs from then on.
    pub const fn active_at_once(key: Arc<SigningKey>, now: Timestamp) -> Self {
        Self {
            key,
            created_at: now,
            active_from: now,
            retired_at: None,
        }
    }

    /// Whether the key is gone at `now`.
    pub fn is_retired(&self, now: Timestamp) -> bool {
        self.retired_at.is_some_and(|retired_at| retired_at <= now)
    }
}

/// Why a `keyset.json` is refused. No message holds any part of a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No JSON, or a member missing, unknown, or of the wrong type. (The parser's own message could quote a key.)
    #[error(
        "no key set: something else than a member of version 1 stands at line {line}, column {column}"
    )]
    Json {
        /// Counted from one.
        line: usize,
        /// Counted from one.
        column: usize,
    },
    /// Written by another release.
    #[error("the key set has version {0}; this release reads version 1")]
    UnsupportedVersion(u64),
    /// The private key is not base64.
    #[error("the key `{kid}` is not base64")]
    NotBase64 {
        /// As stated.
        kid: String,
    },
    /// The private key cannot be used.
    #[error("the key `{kid}` cannot be used")]
    Key {
        /// As stated.
        kid: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The stated name is not the key's thumbprint.
    #[error("the key `{stated}` is really `{actual}`")]
    WrongKid {
        /// As stated.
        stated: String,
        /// The RFC 7638 thumbprint.
        actual: String,
    },
    /// One key is there twice: it would be used with two algorithms or at two times.
    #[error("the key `{0}` is there twice")]
    Duplicate(String),
}

impl From<serde_json::Error> for KeySetError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// All signing keys of one Identity, ordered by algorithm, time and name.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    records: Vec<KeyRecord>,
    /// Names of keys that were followed by one that is left out: they verify, and never sign again.
    followed: Vec<String>,
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    /// [`KeySetError::Duplicate`].
    pub fn from_records(records: impl IntoIterator<Item = KeyRecord>) -> Result<Self, KeySetError> {
        records
            .into_iter()
            .try_fold(Self::default(), |mut set, record| {
                set.insert(record)?;
                Ok(set)
            })
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`KeySetError::Duplicate`].
    pub fn insert(&mut self, record: KeyRecord) -> Result<(), KeySetError> {
        if self
            .records
            .iter()
            .any(|known| known.key.kid() == record.key.kid())
        {
            return Err(KeySetError::Duplicate(record.key.kid().to_owned()));
        }
        self.records.push(record);
        self.records.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(())
    }

    /// Reads a `keyset.json`.
    ///
    /// # Errors
    /// [`KeySetError`] at the first fault: half a key set is not used.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let Version { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(KeySetError::UnsupportedVersion(version));
        }
        let document: DocumentIn = serde_json::from_slice(json)?;
        document
            .keys
            .into_iter()
            .try_fold(Self::default(), |mut set, entry| {
                set.insert(entry.read()?)?;
                Ok(set)
            })
    }

    /// Writes a `keyset.json`.
    ///
    /// # Errors
    /// [`KeySetError::Key`] if a key cannot be encoded.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, KeySetError> {
        let keys = self
            .records
            .iter()
            .map(EntryOut::of)
            .collect::<Result<Vec<_>, _>>()?;
        // Large enough for every key: growing would leave unwiped copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(256 + keys.len() * 4096));
        serde_json::to_writer_pretty(
            &mut *json,
            &DocumentOut {
                version: VERSION,
                keys,
            },
        )?;
        Ok(json)
    }

    /// Every key, ordered by algorithm, time and name.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// The keys that verify and are published at `now`.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &KeyRecord> {
        self.records
            .iter()
            .filter(move |record| !record.is_retired(now))
    }

    /// The key that signs with `algorithm` at `now`: the one whose time came last. Where that is gone, or none's time
    /// has come, it is the next, for a signature by a key published a moment ago is better than none; never is it one
    /// that was followed by another.
    pub fn active(&self, algorithm: Algorithm, now: Timestamp) -> Option<&KeyRecord> {
        let is_own = |record: &&KeyRecord| record.key.algorithm() == algorithm;
        let own = || self.records.iter().filter(is_own);
        let begun = own().filter(|record| record.active_from <= now).count();
        let mut able = own()
            .skip(begun.saturating_sub(1))
            .filter(|record| !record.is_retired(now) && !self.is_followed(record));
        able.next()
    }

    fn is_followed(&self, record: &KeyRecord) -> bool {
        self.followed.iter().any(|kid| kid == record.key.kid())
    }

    /// Whether the key signs no more at `now`, since another's time has come: whatever becomes of that other.
    pub fn is_over(&self, record: &KeyRecord, now: Timestamp) -> bool {
        let follows = |other: &&KeyRecord| {
            other.key.algorithm() == record.key.algorithm() && order(other) > order(record)
        };
        let mut later = self.records.iter().filter(follows);
        self.is_followed(record) || later.any(|other| other.active_from <= now)
    }

    /// The next time after `now` at which another key signs or a key is gone, if there is one.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self
            .records
            .iter()
            .flat_map(|record| [Some(record.active_from), record.retired_at]);
        times.flatten().filter(|time| *time > now).min()
    }

    /// The algorithm of those who ask for none, see [`default_algorithm`].
    pub fn default_algorithm(&self, wanted: &[Algorithm], now: Timestamp) -> Option<Algorithm> {
        let is_settled = |algorithm| self.signs_since(algorithm, now).is_some();
        let has_key = |algorithm| self.active(algorithm, now).is_some();
        default_algorithm(wanted, is_settled, has_key)
    }

    /// Since when the key that signs with `algorithm` at `now` does so; `None` where none does whose time has come.
    pub fn signs_since(&self, algorithm: Algorithm, now: Timestamp) -> Option<Timestamp> {
        let since = self.active(algorithm, now)?.active_from;
        (since <= now).then_some(since)
    }

    /// The set without the keys of these names. Where one of them was to sign at `now`, the next of its algorithm
    /// does so at once, if there is one; those that it had followed stay published and do not come back to sign.
    #[must_use]
    pub fn without(&self, distrusted: &[String], now: Timestamp) -> Self {
        let trusted = |record: &&KeyRecord| !distrusted.iter().any(|kid| kid == record.key.kid());
        let rest = || self.records.iter().filter(trusted);
        let over = rest().filter(|record| self.is_over(record, now));
        let mut rest = Self {
            followed: over.map(|record| record.key.kid().to_owned()).collect(),
            records: rest().cloned().collect(),
        };
        for algorithm in Algorithm::ALL {
            let is_bereft = self.signs_since(algorithm, now).is_some()
                && rest.signs_since(algorithm, now).is_none();
            let heir = rest.active(algorithm, now).filter(|_| is_bereft);
            if let Some(heir) = heir.map(|heir| heir.key.kid().to_owned()) {
                rest.begin(&heir, now);
            }
        }
        rest
    }

    fn begin(&mut self, kid: &str, now: Timestamp) {
        let named = self.records.iter_mut();
        for record in named.filter(|record| record.key.kid() == kid) {
            record.active_from = now;
        }
        self.records.sort_by(|a, b| order(a).cmp(&order(b)));
    }
}

fn order(record: &KeyRecord) -> (Algorithm, Timestamp, &str) {
    (record.key.algorithm(), record.active_from, record.key.kid())
}

/// The algorithm of those who ask for none: the first of `wanted` whose key's time has come. Until one's has, the
/// algorithm that signed before goes on, RS256 first, which every verifier knows (RFC 9068 section 4); where there is none
/// either, a key published a moment ago is better than none.
pub(super) fn default_algorithm(
    wanted: &[Algorithm],
    is_settled: impl Fn(Algorithm) -> bool,
    has_key: impl Fn(Algorithm) -> bool,
) -> Option<Algorithm> {
    let find = |among: &[Algorithm], has: &dyn Fn(Algorithm) -> bool| {
        among.iter().copied().find(|algorithm| has(*algorithm))
    };
    find(wanted, &is_settled)
        .or_else(|| find(&Algorithm::ALL, &is_settled))
        .or_else(|| find(wanted, &has_key))
}

/// Read first and loosely, so that a newer document is told from a broken one.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentIn {
    #[serde(rename = "version")]
    _version: u64,
    keys: Vec<EntryIn>,
}

/// Unknown members are refused: one that this release does not honour could have limited the key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryIn {
    kid: String,
    algorithm: Algorithm,
    created_at: Timestamp,
    active_from: Timestamp,
    #[serde(default)]
    retired_at: Option<Timestamp>,
    #[serde(deserialize_with = "wiped")]
    pkcs8: Zeroizing<String>,
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl EntryIn {
    fn read(self) -> Result<KeyRecord, KeySetError> {
        let Self {
            kid,
            algorithm,
            created_at,
            active_from,
            retired_at,
            pkcs8,
        } = self;
        let Ok(pkcs8) = STANDARD.decode(pkcs8.as_bytes()).map(Zeroizing::new) else {
            return Err(KeySetError::NotBase64 { kid });
        };
        let key = match SigningKey::from_pkcs8(algorithm, &pkcs8) {
            Ok(key) => key,
            Err(source) => return Err(KeySetError::Key { kid, source }),
        };
        if key.kid() != kid {
            return Err(KeySetError::WrongKid {
                stated: kid,
                actual: key.kid().to_owned(),
            });
        }
        Ok(KeyRecord {
            key: Arc::new(key),
            created_at,
            active_from,
            retired_at,
        })
    }
}

#[derive(Serialize)]
struct DocumentOut<'a> {
    version: u64,
    keys: Vec<EntryOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryOut<'a> {
    kid: &'a str,
    algorithm: Algorithm,
    created_at: Timestamp,
    active_from: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<Timestamp>,
    #[serde(serialize_with = "exposed")]
    pkcs8: Zeroizing<String>,
}

fn exposed<S: serde::Serializer>(
    secret: &Zeroizing<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}

impl<'a> EntryOut<'a> {
    fn of(record: &'a KeyRecord) -> Result<Self, KeySetError> {
        let KeyRecord {
            key,
            created_at,
            active_from,
            retired_at,
        } = record;
        let pkcs8 = key.to_pkcs8().map_err(|source| KeySetError::Key {
            kid: key.kid().to_owned(),
            source,
        })?;
        Ok(Self {
            kid: key.kid(),
            algorithm: key.algorithm(),
            created_at: *created_at,
            active_from: *active_from,
            retired_at: *retired_at,
            pkcs8: Zeroizing::new(STANDARD.encode(&*pkcs8)),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::fixtures::{at, key, key_set, record};
    use crate::keys::generate;

    fn document() -> Value {
        serde_json::from_slice(&key_set().to_json().unwrap()).unwrap()
    }

    fn parse(document: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(document.to_string().as_bytes())
    }

    #[test]
    fn a_key_set_reads_back_as_it_was_written() {
        let mut set = key_set();
        set.insert(KeyRecord {
            key: Arc::new(generate(Algorithm::EdDSA).unwrap()),
            created_at: at(1),
            active_from: at(2),
            retired_at: Some(at(3)),
        })
        .unwrap();
        let json = set.to_json().unwrap();
        let again = KeySet::parse(&json).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        let facts = |set: &KeySet| -> Vec<_> {
            set.records()
                .iter()
                .map(|r| {
                    (
                        r.key.kid().to_owned(),
                        r.created_at,
                        r.active_from,
                        r.retired_at,
                    )
                })
                .collect()
        };
        assert_eq!(facts(&again), facts(&set));
    }

    #[test]
    fn the_document_has_the_members_that_are_documented() {
        let document = document();
        assert_eq!(document["version"], 1);
        let entry = document["keys"][0].as_object().unwrap();
        let members: Vec<&str> = entry.keys().map(String::as_str).collect();
        assert_eq!(
            members,
            ["activeFrom", "algorithm", "createdAt", "kid", "pkcs8"]
        );
        assert_eq!(
            (&entry["algorithm"], &entry["activeFrom"]),
            (&json!("RS256"), &json!("1970-01-01T00:00:00Z"))
        );
    }

    #[test]
    fn an_empty_set_is_a_set() {
        assert!(
            parse(&json!({"version": 1, "keys": []}))
                .unwrap()
                .records()
                .is_empty()
        );
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_json("keys")]
    #[case::list("[]")]
    #[case::no_version(r#"{"keys":[]}"#)]
    #[case::no_keys(r#"{"version":1}"#)]
    #[case::version_text(r#"{"version":"1","keys":[]}"#)]
    #[case::unknown_member(r#"{"version":1,"keys":[],"more":1}"#)]
    #[case::followed(r#"{"version":1,"keys":[]} x"#)]
    fn what_is_no_key_set_is_refused_with_its_place(#[case] json: &str) {
        assert!(matches!(
            KeySet::parse(json.as_bytes()),
            Err(KeySetError::Json { .. })
        ));
    }

    #[rstest]
    #[case("algorithm", json!("HS256"))]
    #[case("algorithm", json!("none"))]
    #[case("activeFrom", json!("yesterday"))]
    #[case("createdAt", Value::Null)]
    #[case("kid", json!(1))]
    #[case("pkcs8", json!({}))]
    #[case("unknown", json!(true))]
    fn an_entry_with_a_wrong_member_is_refused(#[case] member: &str, #[case] value: Value) {
        let mut document = document();
        document["keys"][0][member] = value;
        assert!(matches!(parse(&document), Err(KeySetError::Json { .. })));
    }

    #[test]
    fn a_newer_version_is_told_from_a_broken_one() {
        let newer = json!({"version": 2, "keysets": {}});
        assert_eq!(
            parse(&newer).unwrap_err(),
            KeySetError::UnsupportedVersion(2)
        );
    }

    #[test]
    fn the_kid_must_be_the_keys_own() {
        let mut document = document();
        let actual = key(Algorithm::RS256).kid().to_owned();
        document["keys"][0]["kid"] = json!("mine");
        assert_eq!(
            parse(&document).unwrap_err(),
            KeySetError::WrongKid {
                stated: "mine".into(),
                actual
            }
        );
    }

    #[test]
    fn a_key_of_another_kind_or_damaged_is_refused() {
        let kid = key(Algorithm::RS256).kid().to_owned();
        let mut other = document();
        other["keys"][0]["algorithm"] = json!("ES256");
        let source = KeyError::Rejected(Algorithm::ES256);
        assert_eq!(
            parse(&other).unwrap_err(),
            KeySetError::Key {
                kid: kid.clone(),
                source
            }
        );
        let mut damaged = document();
        damaged["keys"][0]["pkcs8"] = json!("MII");
        assert_eq!(
            parse(&damaged).unwrap_err(),
            KeySetError::NotBase64 { kid: kid.clone() }
        );
        damaged["keys"][0]["pkcs8"] = json!("MIIE");
        let source = KeyError::Rejected(Algorithm::RS256);
        assert_eq!(
            parse(&damaged).unwrap_err(),
            KeySetError::Key { kid, source }
        );
    }

    #[test]
    fn one_key_cannot_be_there_twice_not_even_for_two_algorithms() {
        let mut document = document();
        let mut twin = document["keys"][0].clone();
        twin["algorithm"] = json!("PS256");
        document["keys"].as_array_mut().unwrap().push(twin);
        assert_eq!(
            parse(&document).unwrap_err(),
            KeySetError::Duplicate(key(Algorithm::RS256).kid().to_owned())
        );
    }

    #[test]
    fn no_error_holds_any_part_of_a_key() {
        // A key where another type belongs: the parser's own message would quote it.
        let document = document();
        let secret = document["keys"][0]["pkcs8"].as_str().unwrap();
        for at in [
            "/version",
            "/keys",
            "/keys/0",
            "/keys/0/createdAt",
            "/keys/0/algorithm",
        ] {
            let mut broken = document.clone();
            *broken.pointer_mut(at).unwrap() = json!(secret);
            let error = parse(&broken).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains(&secret[..8]),
                "{error:?}"
            );
        }
        assert!(!format!("{:?}", key_set()).contains(&secret[..8]));
    }

    #[test]
    fn the_latest_active_key_signs() {
        let [first, second, third] =
            [(); 3].map(|()| Arc::new(generate(Algorithm::ES256).unwrap()));
        let set = KeySet::from_records([
            record(Arc::clone(&third), 30, None),
            record(Arc::clone(&first), 10, Some(25)),
            record(Arc::clone(&second), 20, Some(40)),
        ])
        .unwrap();
        let active = |now| {
            set.active(Algorithm::ES256, at(now))
                .unwrap()
                .key
                .kid()
                .to_owned()
        };
        assert_eq!(active(5), first.kid(), "before any is active: the earliest");
        assert_eq!(active(10), first.kid());
        assert_eq!(active(19), first.kid());
        assert_eq!(active(20), second.kid());
        assert_eq!(active(29), second.kid());
        assert_eq!(active(30), third.kid());
        assert_eq!(active(1000), third.kid());
        assert!(set.active(Algorithm::RS256, at(30)).is_none());
    }

    #[test]
    fn a_retired_key_does_nothing() {
        let set = KeySet::from_records([record(key(Algorithm::ES256), 10, Some(20))]).unwrap();
        assert!(set.active(Algorithm::ES256, at(19)).is_some());
        assert!(set.active(Algorithm::ES256, at(20)).is_none());
        assert_eq!(
            (set.published(at(19)).count(), set.published(at(20)).count()),
            (1, 0)
        );
    }

    #[test]
    fn a_distrusted_key_is_as_if_it_had_never_been() {
        let distrusted = [key(Algorithm::ES256).kid().to_owned(), "unknown".into()];
        let set = key_set().without(&distrusted, at(1));
        assert!(set.active(Algorithm::ES256, at(1)).is_none());
        assert_eq!(set.records().len(), 3);
    }

    #[test]
    fn the_heir_of_a_distrusted_key_signs_at_once_and_nobody_elses() {
        let next = Arc::new(generate(Algorithm::ES256).unwrap());
        let mut set = key_set();
        set.insert(record(Arc::clone(&next), 100, None)).unwrap();
        let distrusted = [key(Algorithm::ES256).kid().to_owned()];
        let since = |set: &KeySet| set.signs_since(Algorithm::ES256, at(7));
        assert_eq!(since(&set.without(&distrusted, at(7))), Some(at(7)));
        assert_eq!(since(&set.without(&[], at(7))), Some(at(0)));
        let pending = [next.kid().to_owned()];
        assert_eq!(since(&set.without(&pending, at(7))), Some(at(0)));
    }

    #[test]
    fn a_key_that_was_followed_never_comes_back_to_sign() {
        let keys = [(); 3].map(|()| Arc::new(generate(Algorithm::ES256).unwrap()));
        let [first, second, third] = &keys;
        let records = |end| {
            [
                record(Arc::clone(first), 10, None),
                record(Arc::clone(second), 20, end),
            ]
        };
        let signer = |set: &KeySet, now| {
            let signer = set.active(Algorithm::ES256, at(now));
            signer.map(|signer| signer.key.kid().to_owned())
        };
        let set = KeySet::from_records(records(Some(25))).unwrap();
        assert_eq!(signer(&set, 25), None, "not when the other is gone");
        let mut set = KeySet::from_records(records(None)).unwrap();
        let distrusted = [second.kid().to_owned()];
        let without = |set: &KeySet, now| set.without(&distrusted, at(now));
        assert_eq!(signer(&without(&set, 19), 19), Some(first.kid().into()));
        assert_eq!(signer(&without(&set, 20), 20), None);
        assert_eq!(signer(&without(&without(&set, 20), 20), 21), None);
        set.insert(record(Arc::clone(third), 30, None)).unwrap();
        assert_eq!(signer(&without(&set, 20), 20), Some(third.kid().into()));
    }

    #[test]
    fn the_default_is_the_first_whose_time_has_come_and_until_then_the_one_before() {
        use Algorithm::{ES256, EdDSA, PS256, RS256};
        let set = KeySet::from_records([
            record(key(RS256), 0, Some(200)),
            record(key(EdDSA), 0, None),
            record(key(ES256), 100, None),
        ])
        .unwrap();
        let default = |wanted: &[Algorithm], now| set.default_algorithm(wanted, at(now));
        assert_eq!(default(&[ES256], 99), Some(RS256), "it goes on");
        assert_eq!(default(&[ES256], 100), Some(ES256));
        assert_eq!(default(&[ES256, EdDSA], 99), Some(EdDSA), "wanted too");
        assert_eq!(default(&[PS256], 300), Some(ES256), "better than none");
        let first = KeySet::from_records([record(key(ES256), 100, None)]).unwrap();
        assert_eq!(first.default_algorithm(&[PS256, ES256], at(1)), Some(ES256));
        assert_eq!(first.default_algorithm(&[PS256], at(1)), None);
    }

    #[test]
    fn the_next_change_is_the_next_time_anything_does() {
        let set = KeySet::from_records([
            record(key(Algorithm::ES256), 10, Some(40)),
            record(key(Algorithm::EdDSA), 20, None),
        ])
        .unwrap();
        let next = |now| set.next_change(at(now)).map(Timestamp::as_second);
        assert_eq!(
            [next(0), next(10), next(20), next(40)],
            [Some(10), Some(20), Some(40), None]
        );
    }
}
