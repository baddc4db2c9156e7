//! When objects were born and by what uid they are known: `<state>/uids.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::directory::ObjectKey;
use crate::resources::Kind;
use crate::source::live::{Birth, Births, ObjectId};
use crate::state_file;

/// The records. They are on disk after [`Records::flush`]: no object may be served before, by a uid that a
/// crash forgets.
#[derive(Clone)]
pub(super) struct Records(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    /// `Kind/namespace/name` to birth.
    known: BTreeMap<String, Record>,
    is_dirty: bool,
    clock: fn() -> Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    uid: String,
    created: Timestamp,
}

impl Records {
    /// Reads the records; a file that makes no sense is an error, since new uids would end every token.
    pub(super) fn open(path: PathBuf, clock: fn() -> Timestamp) -> io::Result<Self> {
        let known = match state_file::read(&path)? {
            Some(content) => serde_json::from_slice(&content)?,
            None => BTreeMap::new(),
        };
        Ok(Self(Arc::new(Mutex::new(Inner {
            path,
            known,
            is_dirty: false,
            clock,
        }))))
    }

    /// Writes what changed.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.is_dirty {
            state_file::write(&inner.path, &serde_json::to_vec_pretty(&inner.known)?)?;
            inner.is_dirty = false;
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(kind: Kind, key: &ObjectKey) -> String {
    format!("{kind}/{key}")
}

impl Births for Records {
    fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth {
        let Inner {
            known,
            is_dirty,
            clock,
            ..
        } = &mut *self.inner();
        let record = known.entry(name(kind, key)).or_insert_with(|| {
            *is_dirty = true;
            let now = clock();
            Record {
                uid: uuid::Uuid::new_v4().to_string(),
                // Whole seconds, as an API server has it.
                created: Timestamp::from_second(now.as_second()).unwrap_or(now),
            }
        });
        Birth {
            uid: record.uid.clone(),
            created: record.created,
        }
    }

    fn death(&mut self, kind: Kind, key: &ObjectKey) {
        let mut inner = self.inner();
        inner.is_dirty |= inner.known.remove(&name(kind, key)).is_some();
    }

    fn only(&mut self, present: &BTreeSet<ObjectId>) {
        let names: BTreeSet<String> = present.iter().map(|(kind, key)| name(*kind, key)).collect();
        let mut inner = self.inner();
        let before = inner.known.len();
        inner.known.retain(|name, _| names.contains(name));
        inner.is_dirty |= inner.known.len() != before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Timestamp {
        "2026-01-01T00:00:00.5Z".parse().unwrap()
    }

    fn open(folder: &tempfile::TempDir) -> Records {
        Records::open(folder.path().join("uids.json"), clock).unwrap()
    }

    #[test]
    fn an_object_keeps_its_uid_over_a_restart_and_loses_it_by_deletion() {
        let folder = tempfile::tempdir().unwrap();
        let key = ObjectKey::new("shop", "backend");
        let mut records = open(&folder);
        let born = records.birth(Kind::OAuthClient, &key);
        assert_eq!(born.created.to_string(), "2026-01-01T00:00:00Z");
        assert_ne!(
            records.birth(Kind::Scope, &key).uid,
            born.uid,
            "kinds are apart"
        );
        records.flush().unwrap();
        let mut records = open(&folder);
        assert_eq!(records.birth(Kind::OAuthClient, &key), born);
        records.death(Kind::OAuthClient, &key);
        assert_ne!(records.birth(Kind::OAuthClient, &key).uid, born.uid);
    }

    #[test]
    fn what_went_unseen_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let key = ObjectKey::new("shop", "backend");
        let mut records = open(&folder);
        let born = records.birth(Kind::OAuthClient, &key);
        records.only(&BTreeSet::new());
        assert_ne!(records.birth(Kind::OAuthClient, &key).uid, born.uid);
    }

    #[test]
    fn records_that_make_no_sense_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("uids.json"), "{").unwrap();
        assert!(Records::open(folder.path().join("uids.json"), clock).is_err());
    }
}
