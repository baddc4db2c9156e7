//! Stores the uids and creation times of objects in a file. An object keeps its uid over a restart and gets a new one
//! when it is recreated.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::live::{Birth, Births, ObjectId};
use crate::directory::ObjectKey;
use crate::directory::problem::suggest::shown;
use crate::resources::Kind;
use crate::state_file::{Dir, FileMode};

/// Births in a JSON file, `<state>/uids.json` in dev mode.
#[derive(Debug)]
pub struct BirthFile {
    dir: Arc<Dir>,
    /// The path in `dir`.
    path: PathBuf,
    births: BTreeMap<String, Birth>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// By `<Kind>/<namespace>/<name>`.
    objects: BTreeMap<String, Birth>,
}

const VERSION: u32 = 1;
/// The maximum length of the file in bytes. An object takes about 100 bytes.
const LONGEST: u64 = 64 << 20;
/// The most objects that a warning names.
const MOST_NAMED: usize = 8;

impl BirthFile {
    /// Reads the file, if there is one. A file that cannot be decoded is an error: with new uids everything issued so
    /// far would become invalid.
    pub fn open(dir: Arc<Dir>, path: &Path) -> io::Result<Self> {
        let found = dir.read(path, LONGEST);
        let mut births = match found.map_err(|error| unusable(path, &error.to_string()))? {
            Some(found) => read(&found.bytes).map_err(|why| unusable(path, &why))?,
            None => BTreeMap::new(),
        };
        let shared = without_shared_uids(&mut births);
        if !shared.is_empty() {
            let objects = shared.iter().take(MOST_NAMED).map(|name| shown(name));
            let objects: Vec<_> = objects.collect();
            tracing::warn!(
                file = %path.display(),
                count = shared.len(),
                objects = objects.join(", "),
                "objects have the same uid, each gets a new one and everything issued for it becomes invalid"
            );
        }
        Ok(Self {
            dir,
            path: path.to_owned(),
            births,
            changed: !shared.is_empty(),
        })
    }
}

/// Removes the objects whose uid another object has too, and returns their names. With one uid they would have one
/// Credential, and replace each other's tokens without end.
fn without_shared_uids(births: &mut BTreeMap<String, Birth>) -> Vec<String> {
    let mut objects: BTreeMap<String, usize> = BTreeMap::new();
    for birth in births.values() {
        *objects.entry(birth.uid.clone()).or_default() += 1;
    }
    let is_shared = |birth: &Birth| objects.get(&birth.uid).is_some_and(|count| *count > 1);
    let shared = births.iter().filter(|(_, birth)| is_shared(birth));
    let shared: Vec<String> = shared.map(|(name, _)| name.clone()).collect();
    births.retain(|_, birth| !is_shared(birth));
    shared
}

fn read(bytes: &[u8]) -> Result<BTreeMap<String, Birth>, String> {
    // Without the parser's own message, which may quote the file: another one may be in its place.
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("line {line}, column {column}: not the uids of objects")
    })?;
    if stored.version == VERSION {
        Ok(stored.objects)
    } else {
        Err(format!("version {} is unknown", stored.version))
    }
}

fn unusable(path: &Path, why: &str) -> io::Error {
    let message = format!(
        "{}: {why}; restore the file, or delete it to start again: everything issued so far becomes invalid",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn name(kind: Kind, key: &ObjectKey) -> String {
    format!("{kind}/{key}")
}

impl Births for BirthFile {
    fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth {
        let changed = &mut self.changed;
        let birth = self.births.entry(name(kind, key)).or_insert_with(|| {
            *changed = true;
            born_now()
        });
        birth.clone()
    }

    fn death(&mut self, kind: Kind, key: &ObjectKey) {
        self.changed |= self.births.remove(&name(kind, key)).is_some();
    }

    fn only(&mut self, present: &BTreeSet<ObjectId>) {
        let names: BTreeSet<String> = present.iter().map(|(kind, key)| name(*kind, key)).collect();
        let before = self.births.len();
        self.births.retain(|name, _| names.contains(name));
        self.changed |= self.births.len() != before;
    }

    /// Replaces the file as a whole, so that a crash leaves either the old or the new file.
    fn save(&mut self) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let stored = Stored {
            version: VERSION,
            objects: self.births.clone(),
        };
        let content = serde_json::to_vec_pretty(&stored)?;
        self.dir.write(&self.path, &content, FileMode::Private)?;
        self.changed = false;
        Ok(())
    }
}

/// Returns what an API server would assign: a random uid, and the time in whole seconds.
fn born_now() -> Birth {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the time at which the object is first seen"
    )]
    let now = Timestamp::now();
    Birth {
        uid: uuid::Uuid::new_v4().to_string(),
        created: Timestamp::from_second(now.as_second()).unwrap_or(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> io::Result<BirthFile> {
        let dir = Dir::open(folder.path()).unwrap();
        BirthFile::open(Arc::new(dir), Path::new("uids.json"))
    }

    #[test]
    fn births_and_deaths_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (ObjectKey::new("ns", "a"), ObjectKey::new("ns", "b"));
        let mut births = open(&folder).unwrap();
        let first = births.birth(Kind::Scope, &a);
        let other = births.birth(Kind::Scope, &b);
        assert_ne!(first.uid, other.uid);
        births.death(Kind::Scope, &b);
        births.save().unwrap();

        let mut births = open(&folder).unwrap();
        assert_eq!(births.birth(Kind::Scope, &a), first);
        assert_ne!(births.birth(Kind::Scope, &b).uid, other.uid);
        births.only(&BTreeSet::new());
        assert_ne!(births.birth(Kind::Scope, &a).uid, first.uid);
    }

    /// Objects with one uid would have one Credential.
    #[test]
    fn objects_with_the_same_uid_each_get_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<_> = ["a", "b", "c"]
            .map(|name| ObjectKey::new("ns", name))
            .into();
        let mut births = open(&folder).unwrap();
        let kept = births.birth(Kind::Scope, &keys[2]);
        let one = births.birth(Kind::Scope, &keys[0]);
        births.birth(Kind::OAuthClient, &keys[1]);
        let shared = births.births.get_mut("OAuthClient/ns/b").unwrap();
        shared.uid.clone_from(&one.uid);
        births.save().unwrap();

        let mut births = open(&folder).unwrap();
        let again = births.birth(Kind::Scope, &keys[0]);
        let other = births.birth(Kind::OAuthClient, &keys[1]);
        assert!(again.uid != one.uid && other.uid != one.uid && again.uid != other.uid);
        assert_eq!(births.birth(Kind::Scope, &keys[2]), kept);
        births.save().unwrap();
        let mut births = open(&folder).unwrap();
        assert_eq!(births.birth(Kind::Scope, &keys[0]), again, "they stay");
    }

    #[test]
    fn a_file_that_cannot_be_decoded_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uids.json");
        for text in ["{", r#"{"version": 2, "objects": {}}"#] {
            std::fs::write(&path, text).unwrap();
            let error = open(&folder).unwrap_err();
            assert!(
                error.to_string().contains("delete it to start again"),
                "{error}"
            );
        }
        std::fs::write(&path, r#"{"version": 1, "objects": "CANARY"}"#).unwrap();
        let error = open(&folder).unwrap_err().to_string();
        assert!(
            error.contains("line 1, column") && !error.contains("CANARY"),
            "{error}"
        );
    }
}
