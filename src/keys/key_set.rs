//! The signing keys of one Identity, as stored in `keyset.json`, and the role of each at a given time.
//!
//! A key is published as soon as it is in the set, signs from `activeFrom` until a later key becomes active, and is
//! removed at `retiredAt`. A rotation breaks no verification if these times are further apart than caches and tokens
//! live: publish, then use, then retire.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::Algorithm;
use super::signing_key::{KeyError, SigningKey};

/// The version of `keyset.json` that this release reads and writes.
const VERSION: u64 = 1;

/// One key and its times.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The key pair.
    pub key: Arc<SigningKey>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// When the key starts to sign.
    pub active_from: Timestamp,
    /// When the key stops signing and verifying, and is no longer published.
    pub retired_at: Option<Timestamp>,
}

impl KeyRecord {
    /// A key made at `now` that signs at once.
    pub const fn active_at_once(key: Arc<SigningKey>, now: Timestamp) -> Self {
        Self {
            key,
            created_at: now,
            active_from: now,
            retired_at: None,
        }
    }

    /// Whether the key is retired at `now`.
    pub fn is_retired(&self, now: Timestamp) -> bool {
        self.retired_at.is_some_and(|retired_at| retired_at <= now)
    }
}

/// Why a `keyset.json` is refused. No message contains any part of a key, nor a stated `kid`, which may be a key in the
/// wrong place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or a member is missing, unknown or of the wrong type. The parser's own message is dropped, since it
    /// could quote a key.
    #[error(
        "invalid key set at line {line}, column {column}: not JSON, or not the members of version 1"
    )]
    Json {
        /// One-based.
        line: usize,
        /// One-based.
        column: usize,
    },
    /// Another release wrote it.
    #[error("the key set has version {0}; this release reads version 1")]
    UnsupportedVersion(u64),
    /// The private key is not base64.
    #[error("keys[{index}].pkcs8 is not base64")]
    NotBase64 {
        /// The place in the set, zero-based.
        index: usize,
    },
    /// The private key is unusable.
    #[error("keys[{index}].pkcs8 is unusable")]
    Key {
        /// The place in the set, zero-based.
        index: usize,
        /// The reason.
        #[source]
        source: KeyError,
    },
    /// The stated `kid` is not the key's thumbprint.
    #[error("keys[{index}].kid is not the key's thumbprint `{actual}`")]
    WrongKid {
        /// The place in the set, zero-based.
        index: usize,
        /// The RFC 7638 thumbprint.
        actual: String,
    },
    /// The set contains one key twice, which would give it two algorithms or two schedules.
    #[error("the key set contains the key `{0}` twice")]
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

/// All signing keys of one Identity, ordered by algorithm, activation time and `kid`.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    records: Vec<KeyRecord>,
    /// The `kid`s of keys whose successor was removed from this set: they verify and never sign again.
    followed: Vec<String>,
}

impl KeySet {
    /// Builds a set of these keys.
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
    /// [`KeySetError`] for the first fault: a key set is used as a whole or not at all.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let Version { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(KeySetError::UnsupportedVersion(version));
        }
        let document: DocumentIn = serde_json::from_slice(json)?;
        document.keys.into_iter().enumerate().try_fold(
            Self::default(),
            |mut set, (index, entry)| {
                set.insert(entry.read(index)?)?;
                Ok(set)
            },
        )
    }

    /// Writes a `keyset.json`.
    ///
    /// # Errors
    /// [`KeySetError::Key`] if a key cannot be encoded.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, KeySetError> {
        let keys = self
            .records
            .iter()
            .enumerate()
            .map(|(index, record)| EntryOut::of(index, record))
            .collect::<Result<Vec<_>, _>>()?;
        // Reserve room for every key: a growing buffer would leave unwiped copies behind.
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

    /// Returns every key, ordered by algorithm, activation time and `kid`.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// Returns the keys that verify and are published at `now`.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &KeyRecord> {
        self.records
            .iter()
            .filter(move |record| !record.is_retired(now))
    }

    /// Returns the key that signs with `algorithm` at `now`: the one that became active last. If that key is retired,
    /// or no key is active yet, the next key signs: a signature by a key published a moment ago is better than none. A
    /// superseded key never signs again.
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

    /// Whether a later key has superseded this one at `now`, even if the later key is already retired.
    pub fn is_over(&self, record: &KeyRecord, now: Timestamp) -> bool {
        let follows = |other: &&KeyRecord| {
            other.key.algorithm() == record.key.algorithm() && order(other) > order(record)
        };
        let mut later = self.records.iter().filter(follows);
        self.is_followed(record) || later.any(|other| other.active_from <= now)
    }

    /// Returns the next time after `now` at which a key becomes active or retires.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self
            .records
            .iter()
            .flat_map(|record| [Some(record.active_from), record.retired_at]);
        times.flatten().filter(|time| *time > now).min()
    }

    /// Returns the algorithm for callers that ask for none, see [`default_algorithm`].
    pub fn default_algorithm(&self, wanted: &[Algorithm], now: Timestamp) -> Option<Algorithm> {
        let is_settled = |algorithm| self.signs_since(algorithm, now).is_some();
        let has_key = |algorithm| self.active(algorithm, now).is_some();
        default_algorithm(wanted, is_settled, has_key)
    }

    /// Returns when the key that signs with `algorithm` at `now` became active; `None` if no active key signs.
    pub fn signs_since(&self, algorithm: Algorithm, now: Timestamp) -> Option<Timestamp> {
        let since = self.active(algorithm, now)?.active_from;
        (since <= now).then_some(since)
    }

    /// Returns the set without the keys that `distrusted` names. If one of them signs at `now`, the next key of its
    /// algorithm becomes active at once. Keys that a distrusted key superseded stay published and never sign again.
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

/// Chooses the algorithm for callers that ask for none: the first of `wanted` that has an active key. Until there is
/// one, the algorithm that signed before continues, RS256 first, which every verifier knows (RFC 9068 section 4). If no
/// algorithm has an active key, a key published a moment ago is better than none.
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

/// Parsed first and loosely, to tell a newer document from a broken one.
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

/// Refuses unknown members: a member that this release ignores could limit the key.
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
    fn read(self, index: usize) -> Result<KeyRecord, KeySetError> {
        let Self {
            kid,
            algorithm,
            created_at,
            active_from,
            retired_at,
            pkcs8,
        } = self;
        let Ok(pkcs8) = STANDARD.decode(pkcs8.as_bytes()).map(Zeroizing::new) else {
            return Err(KeySetError::NotBase64 { index });
        };
        let key = match SigningKey::from_pkcs8(algorithm, &pkcs8) {
            Ok(key) => key,
            Err(source) => return Err(KeySetError::Key { index, source }),
        };
        if key.kid() != kid {
            return Err(KeySetError::WrongKid {
                index,
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
    fn of(index: usize, record: &'a KeyRecord) -> Result<Self, KeySetError> {
        let KeyRecord {
            key,
            created_at,
            active_from,
            retired_at,
        } = record;
        let pkcs8 = key
            .to_pkcs8()
            .map_err(|source| KeySetError::Key { index, source })?;
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
    fn an_invalid_key_set_is_refused_with_its_place(#[case] json: &str) {
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
            KeySetError::WrongKid { index: 0, actual }
        );
    }

    #[test]
    fn a_key_of_another_kind_or_damaged_is_refused() {
        let mut other = document();
        other["keys"][0]["algorithm"] = json!("ES256");
        let source = KeyError::Rejected(Algorithm::ES256);
        assert_eq!(
            parse(&other).unwrap_err(),
            KeySetError::Key { index: 0, source }
        );
        let mut damaged = document();
        damaged["keys"][0]["pkcs8"] = json!("MII");
        assert_eq!(
            parse(&damaged).unwrap_err(),
            KeySetError::NotBase64 { index: 0 }
        );
        damaged["keys"][0]["pkcs8"] = json!("MIIE");
        let source = KeyError::Rejected(Algorithm::RS256);
        assert_eq!(
            parse(&damaged).unwrap_err(),
            KeySetError::Key { index: 0, source }
        );
    }

    #[test]
    fn a_key_cannot_be_listed_twice_even_for_two_algorithms() {
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
        // Put the key where another type belongs: the parser's own message would quote it.
        let document = document();
        let secret = document["keys"][0]["pkcs8"].as_str().unwrap();
        for at in [
            "/version",
            "/keys",
            "/keys/0",
            "/keys/0/kid",
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
        // The stated kid is also read when the key itself is unusable.
        for damage in ["MII", "MIIE"] {
            let mut broken = document.clone();
            broken["keys"][0]["kid"] = json!(secret);
            broken["keys"][0]["pkcs8"] = json!(damage);
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
    fn a_distrusted_key_neither_signs_nor_verifies() {
        let distrusted = [key(Algorithm::ES256).kid().to_owned(), "unknown".into()];
        let set = key_set().without(&distrusted, at(1));
        assert!(set.active(Algorithm::ES256, at(1)).is_none());
        assert_eq!(set.records().len(), 3);
    }

    #[test]
    fn only_the_successor_of_a_distrusted_signer_becomes_active_at_once() {
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
    fn a_superseded_key_never_signs_again() {
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
        assert_eq!(
            signer(&set, 25),
            None,
            "not even after its successor retires"
        );
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
    fn the_default_is_the_first_active_algorithm_and_until_then_the_previous_one() {
        use Algorithm::{ES256, EdDSA, PS256, RS256};
        let set = KeySet::from_records([
            record(key(RS256), 0, Some(200)),
            record(key(EdDSA), 0, None),
            record(key(ES256), 100, None),
        ])
        .unwrap();
        let default = |wanted: &[Algorithm], now| set.default_algorithm(wanted, at(now));
        assert_eq!(default(&[ES256], 99), Some(RS256), "RS256 continues");
        assert_eq!(default(&[ES256], 100), Some(ES256));
        assert_eq!(
            default(&[ES256, EdDSA], 99),
            Some(EdDSA),
            "wanted and active"
        );
        assert_eq!(default(&[PS256], 300), Some(ES256), "better than none");
        let first = KeySet::from_records([record(key(ES256), 100, None)]).unwrap();
        assert_eq!(first.default_algorithm(&[PS256, ES256], at(1)), Some(ES256));
        assert_eq!(first.default_algorithm(&[PS256], at(1)), None);
    }

    #[test]
    fn the_next_change_is_the_next_activation_or_retirement() {
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
