//! Keys for tests, each generated once a run.
#![allow(clippy::unwrap_used, reason = "only tests and fuzz targets use this")]

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::{Algorithm, KeyRecord, KeySet, SigningKey, generate};

static KEYS: LazyLock<[Arc<SigningKey>; 4]> =
    LazyLock::new(|| Algorithm::ALL.map(|a| Arc::new(generate(a).unwrap())));

/// Returns the only key of `algorithm`.
pub(crate) fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    let [rs256, ps256, es256, eddsa] = &*KEYS;
    Arc::clone(match algorithm {
        Algorithm::RS256 => rs256,
        Algorithm::PS256 => ps256,
        Algorithm::ES256 => es256,
        Algorithm::EdDSA => eddsa,
    })
}

/// A time in seconds since 1970.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A key that signs from `active_from` until a later key does, and retires at `retired_at`.
pub(crate) fn record(key: Arc<SigningKey>, active_from: i64, retired_at: Option<i64>) -> KeyRecord {
    KeyRecord {
        key,
        created_at: at(0),
        active_from: at(active_from),
        retired_at: retired_at.map(at),
    }
}

/// One key for each algorithm, active from the start.
pub(crate) fn key_set() -> KeySet {
    KeySet::from_records(Algorithm::ALL.map(|algorithm| record(key(algorithm), 0, None))).unwrap()
}
