//! Turns a changing directory of files into objects: the part of an API server that dev mode needs.
//!
//! This module is pure. A file with a fault keeps its last good version. A missing file counts as deleted after
//! [`GRACE`]. The first file that contains an object owns it. An object keeps its uid and creation time until it is
//! deleted; a recreated object is a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{Manifest, ManifestFault, ManifestObject, Position, SourceText};
use crate::directory::admit::{self, transition};
use crate::directory::problem::suggest::one_line;
use crate::directory::{Labels, ObjectKey, Problem, Reason, Settings, Severity};
use crate::resources::Kind;

/// How long a file may be missing before its objects are deleted: editors replace files in two steps.
pub const GRACE: Duration = Duration::from_secs(2);

/// The kind, namespace and name of an object.
pub type ObjectId = (Kind, ObjectKey);

/// The uids and creation times of objects, stored so that they survive a restart.
pub trait Births {
    /// Returns the birth of an object. A new object is recorded with the current time.
    fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth;
    /// Records that the object was deleted: if it is recreated, it is a new object.
    fn death(&mut self, kind: Kind, key: &ObjectKey);
    /// Removes the records of all objects that are not in `present`.
    fn only(&mut self, present: &BTreeSet<ObjectId>);
    /// Makes the records durable, before any update with them is returned.
    fn save(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an API server assigns to an object for its lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Its uid.
    pub uid: String,
    /// Its `creationTimestamp`.
    pub created: Timestamp,
}

/// A difference to the previous objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An object was created or changed. The value is as an API server would return it.
    Upsert(Kind, Value),
    /// An object was deleted.
    Delete(Kind, ObjectKey),
    /// A namespace was created or its labels changed.
    Namespace(Arc<str>, Labels),
    /// A namespace was deleted.
    NamespaceGone(Arc<str>),
}

/// A fault with its file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFault {
    /// The file.
    pub source: Arc<SourceText>,
    /// What is wrong.
    pub fault: ManifestFault,
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.source.position(self.fault.span.start);
        let line = format!(
            "{}:{}:{}: {}",
            self.source.name, place.line, place.column, self.fault.message
        );
        out.write_str(&one_line(&line))
    }
}

/// The result of a scan of the files.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The differences, deletions first.
    pub events: Vec<Event>,
    /// All current faults of the files.
    pub faults: Vec<FileFault>,
}

/// The last good versions of the files, and the objects that are served from them.
pub struct Live {
    settings: Settings,
    files: BTreeMap<PathBuf, File>,
    served: BTreeMap<ObjectId, Served>,
    namespaces: BTreeMap<Arc<str>, Labels>,
    /// Whether the records of objects that were deleted while dev mode did not run are removed.
    settled: bool,
}

/// A file in the version that is in use.
struct File {
    manifest: Manifest,
    /// The faults of its newest version.
    faults: Vec<FileFault>,
    /// Whether `manifest` has no fault. Then only a version without faults replaces it.
    good: bool,
    gone: Option<Instant>,
}

struct Served {
    file: PathBuf,
    written: Value,
    generation: i64,
}

/// The file that an object is read from, and the object's value.
type Place<'a> = (&'a Path, &'a Value);

/// An object that changed or has a new owner file.
struct Changed {
    id: ObjectId,
    file: PathBuf,
    /// The new object; `None` if only the file changed.
    value: Option<Value>,
}

impl Live {
    /// Returns an empty state. `settings` are those of the directory that the objects go into.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            files: BTreeMap::new(),
            served: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            settled: false,
        }
    }

    /// Returns the known files, with missing files that do not count as deleted yet.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Returns when the first missing file counts as deleted.
    pub fn deadline(&self) -> Option<Instant> {
        self.files
            .values()
            .filter_map(|file| file.gone)
            .min()
            .map(|gone| gone + GRACE)
    }

    /// Returns the place in a file for a problem of a served object: `file:line:column`, or only the file if its newest
    /// version has faults and is not the one in use.
    pub fn place(&self, kind: Kind, key: &ObjectKey, problem: &Problem) -> Option<String> {
        let served = self.served.get(&(kind, key.clone()))?;
        let file = self.files.get(&served.file)?;
        let source = &file.manifest.source;
        let mut objects = file.manifest.objects.iter();
        let object = objects.find(|object| object.kind == kind && object.key == *key)?;
        if file
            .faults
            .iter()
            .any(|fault| !Arc::ptr_eq(&fault.source, source))
        {
            return Some(source.name.clone());
        }
        let start = object.place(&problem.path, &problem.message).start;
        let Position { line, column } = source.position(start);
        Some(format!("{}:{line}:{column}", source.name))
    }

    /// Takes a new or changed file.
    pub fn put(&mut self, path: PathBuf, manifest: Manifest) {
        let faults = self.faults_of(&manifest);
        let good = faults
            .iter()
            .all(|fault| fault.fault.severity == Severity::Warning);
        match self.files.get_mut(&path) {
            Some(file) if file.good && !good => {
                file.faults = faults;
                file.gone = None;
            }
            _ => {
                let mut manifest = manifest;
                manifest
                    .objects
                    .retain(|object| self.refusals(object).is_empty());
                self.files.insert(
                    path,
                    File {
                        manifest,
                        faults,
                        good,
                        gone: None,
                    },
                );
            }
        }
    }

    /// Notes that a file is missing.
    pub fn remove(&mut self, path: &Path, now: Instant) {
        if let Some(file) = self.files.get_mut(path) {
            file.gone.get_or_insert(now);
        }
    }

    /// Returns the differences since the last call.
    pub fn update(&mut self, now: Instant, births: &mut impl Births) -> Update {
        self.files
            .retain(|_, file| file.gone.is_none_or(|gone| now < gone + GRACE));
        let mut update = Update::default();
        let wanted = self.wanted(&mut update.faults);
        let gone: Vec<ObjectId> = self
            .served
            .keys()
            .filter(|id| !wanted.contains_key(*id))
            .cloned()
            .collect();
        let changed: Vec<Changed> = wanted
            .into_iter()
            .filter_map(|(id, place)| self.changed(id, place))
            .collect();
        for id in gone {
            self.served.remove(&id);
            births.death(id.0, &id.1);
            update.events.push(Event::Delete(id.0, id.1));
        }
        for change in changed {
            update.events.extend(self.serve(change, births));
        }
        self.update_namespaces(&mut update.events);
        if !self.settled && self.files.values().all(|file| file.good) {
            births.only(&self.served.keys().cloned().collect());
            self.settled = true;
        }
        update
    }

    /// Returns the objects of all files, each from one file, and collects the faults of all files.
    fn wanted(&self, faults: &mut Vec<FileFault>) -> BTreeMap<ObjectId, Place<'_>> {
        let mut candidates: Vec<(ObjectId, &Path, &File, &ManifestObject)> = Vec::new();
        for (path, file) in &self.files {
            faults.extend(file.faults.iter().cloned());
            let objects = file.manifest.objects.iter();
            candidates.extend(objects.map(|object| {
                (
                    (object.kind, object.key.clone()),
                    path.as_path(),
                    file,
                    object,
                )
            }));
        }
        // The current owner file keeps an object while it exists; otherwise the first path owns it.
        candidates.sort_by_key(|(id, path, file, _)| {
            let owner = self
                .served
                .get(id)
                .is_some_and(|served| served.file == *path);
            (file.gone.is_some(), !owner)
        });
        let mut wanted: BTreeMap<ObjectId, Place<'_>> = BTreeMap::new();
        for (id, path, file, object) in candidates {
            if let Some((owner, _)) = wanted.get(&id) {
                if file.gone.is_none() {
                    faults.push(twice(file, object, owner));
                }
            } else {
                wanted.insert(id, (path, &object.value));
            }
        }
        wanted
    }

    fn changed(&self, id: ObjectId, (file, value): Place<'_>) -> Option<Changed> {
        match self.served.get(&id) {
            Some(served) if served.written == *value => (served.file != file).then(|| Changed {
                id,
                file: file.to_owned(),
                value: None,
            }),
            _ => Some(Changed {
                id,
                file: file.to_owned(),
                value: Some(value.clone()),
            }),
        }
    }

    fn serve(&mut self, change: Changed, births: &mut impl Births) -> Option<Event> {
        let Changed { id, file, value } = change;
        let before = self.served.get_mut(&id);
        let (written, generation) = match (before, value) {
            (Some(served), None) => {
                served.file = file;
                return None;
            }
            (Some(served), Some(value)) => {
                let other_spec = served.written.get("spec") != value.get("spec");
                (value, served.generation + i64::from(other_spec))
            }
            (None, value) => (value?, 1),
        };
        let kind = id.0;
        let object = born(written.clone(), &births.birth(kind, &id.1), generation);
        self.served.insert(
            id,
            Served {
                file,
                written,
                generation,
            },
        );
        Some(Event::Upsert(kind, object))
    }

    fn update_namespaces(&mut self, events: &mut Vec<Event>) {
        let shown = self
            .files
            .values()
            .flat_map(|file| &file.manifest.namespaces);
        let now: BTreeMap<Arc<str>, Labels> = shown.cloned().collect();
        let gone = self
            .namespaces
            .keys()
            .filter(|name| !now.contains_key(*name));
        events.extend(gone.map(|name| Event::NamespaceGone(name.clone())));
        let changed = now
            .iter()
            .filter(|(name, labels)| self.namespaces.get(*name) != Some(labels));
        events.extend(changed.map(|(name, labels)| Event::Namespace(name.clone(), labels.clone())));
        self.namespaces = now;
    }

    fn faults_of(&self, manifest: &Manifest) -> Vec<FileFault> {
        let of_file = manifest.faults.iter().cloned();
        let of_objects = manifest.objects.iter().flat_map(|object| {
            let problems = self.refusals(object);
            problems
                .into_iter()
                .map(|problem| fault_of(object, problem))
        });
        let faults = of_file.chain(of_objects);
        faults
            .map(|fault| FileFault {
                source: manifest.source.clone(),
                fault,
            })
            .collect()
    }

    /// Returns why an API server would refuse an object: by the rules for the object, and for its change.
    fn refusals(&self, object: &ManifestObject) -> Vec<Problem> {
        let mut problems = admit::problems(object.kind, &object.value, &self.settings);
        if let Some(served) = self.served.get(&(object.kind, object.key.clone())) {
            problems.extend(transition::problems(
                object.kind,
                &served.written,
                &object.value,
            ));
        }
        problems
    }
}

/// Returns a problem as a fault of the object's file.
pub fn fault_of(object: &ManifestObject, problem: Problem) -> ManifestFault {
    let Problem {
        severity,
        reason,
        path,
        message,
    } = problem;
    ManifestFault {
        severity,
        reason,
        span: object.place(&path, &message),
        message,
        related: None,
    }
}

fn twice(file: &File, object: &ManifestObject, owner: &Path) -> FileFault {
    let message = format!(
        "{} {} is already defined in {}: remove one",
        object.kind,
        object.key,
        one_line(&owner.display().to_string())
    );
    let problem = Problem::error(Reason::ValueConflict, "/metadata/name", message);
    FileFault {
        source: file.manifest.source.clone(),
        fault: fault_of(object, problem),
    }
}

fn born(mut value: Value, birth: &Birth, generation: i64) -> Value {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        metadata.insert("uid".into(), birth.uid.clone().into());
        metadata.insert("creationTimestamp".into(), birth.created.to_string().into());
        metadata.insert("generation".into(), generation.into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assigns the uids `u1`, `u2` … in the order of births.
    #[derive(Default)]
    struct Counter {
        given: usize,
        uids: BTreeMap<ObjectId, usize>,
    }

    impl Births for Counter {
        fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth {
            let given = &mut self.given;
            let uid = self.uids.entry((kind, key.clone())).or_insert_with(|| {
                *given += 1;
                *given
            });
            Birth {
                uid: format!("u{uid}"),
                created: Timestamp::UNIX_EPOCH,
            }
        }
        fn death(&mut self, kind: Kind, key: &ObjectKey) {
            self.uids.remove(&(kind, key.clone()));
        }
        fn only(&mut self, present: &BTreeSet<ObjectId>) {
            self.uids.retain(|id, _| present.contains(id));
        }
    }

    struct World {
        live: Live,
        births: Counter,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self {
                live: Live::new(Settings::default()),
                births: Counter::default(),
                now: Instant::now(),
            }
        }

        fn put(&mut self, path: &str, text: &str) {
            self.live
                .put(path.into(), Manifest::read(path, text.as_bytes()));
        }

        /// Returns events as `+<uid>.<generation> <name> <description>` and `-<name>`, then faults.
        fn told(&mut self) -> Vec<String> {
            let update = self.live.update(self.now, &mut self.births);
            let event = |event: Event| match event {
                Event::Upsert(_, value) => {
                    let metadata = &value["metadata"];
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let (uid, name, scope) = (
                        text(&metadata["uid"]),
                        text(&metadata["name"]),
                        text(&value["spec"]["description"]),
                    );
                    format!("+{uid}.{} {name} {scope}", metadata["generation"])
                }
                Event::Delete(_, key) => format!("-{}", key.name),
                Event::Namespace(name, labels) => format!("+ns {name} {}", labels.len()),
                Event::NamespaceGone(name) => format!("-ns {name}"),
            };
            update
                .events
                .into_iter()
                .map(event)
                .chain(update.faults.iter().map(ToString::to_string))
                .collect()
        }
    }

    fn scope(name: &str, description: &str) -> String {
        format!(
            "---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: {name}}}\nspec: {{value: v, description: {description}}}\n"
        )
    }

    #[test]
    fn only_differences_are_returned() {
        let mut world = World::new();
        world.put("a.yaml", &(scope("a", "one") + &scope("b", "one")));
        assert_eq!(world.told(), ["+u1.1 a one", "+u2.1 b one"]);
        assert_eq!(world.told(), [""; 0]);
        world.put("a.yaml", &(scope("a", "two") + &scope("b", "one")));
        assert_eq!(world.told(), ["+u1.2 a two"]);
        world.put("a.yaml", &scope("a", "two"));
        assert_eq!(world.told(), ["-b"]);
    }

    #[test]
    fn the_generation_counts_changes_of_the_spec() {
        let mut world = World::new();
        world.put("a.yaml", &scope("a", "one"));
        world.told();
        world.put("a.yaml", &scope("a, labels: {x: z}", "one"));
        assert_eq!(world.told(), ["+u1.1 a one"]);
    }

    #[test]
    fn a_file_with_a_fault_keeps_its_last_good_version() {
        let mut world = World::new();
        world.put("a.yaml", &(scope("a", "one") + &scope("b", "one")));
        world.told();
        for (bad, fault) in [
            (
                "apiVersion: symbolon.dev/v1alpha1\nkind: [".to_owned(),
                "a.yaml:2:7: this '[' is not closed: write ']' at its end",
            ),
            (
                scope("a", "two") + &scope("B", "one"),
                "a.yaml:9:18: `B` is not a valid name",
            ),
            (
                scope("a", "[]"),
                "a.yaml:5:18: description must be a string, not a list",
            ),
            (
                scope("a", "two").replace("value: v", "value: w"),
                "a.yaml:5:15: value is immutable",
            ),
        ] {
            world.put("a.yaml", &bad);
            let told = world.told();
            assert!(told.len() == 1 && told[0].starts_with(fault), "{told:?}");
        }
        world.put("a.yaml", &scope("a", "three"));
        assert_eq!(world.told(), ["-b", "+u1.2 a three"]);
    }

    #[test]
    fn good_objects_of_a_file_that_never_was_good_are_served() {
        let mut world = World::new();
        world.put("a.yaml", &(scope("a", "one") + &scope("B", "one")));
        assert_eq!(world.told().len(), 2);
        world.put("a.yaml", &(scope("a", "two") + &scope("B", "one")));
        assert!(world.told().contains(&"+u1.2 a two".to_owned()));
        world.put("b.yaml", &scope("c", "one"));
        assert!(world.told().contains(&"+u2.1 c one".to_owned()));
    }

    #[test]
    fn a_missing_file_is_deleted_after_the_grace_period() {
        let mut world = World::new();
        world.put("a.yaml", &scope("a", "one"));
        world.told();
        world.live.remove(Path::new("a.yaml"), world.now);
        world.now += GRACE / 2;
        assert_eq!(world.told(), [""; 0]);
        world.put("a.yaml", &scope("a", "two"));
        assert_eq!(world.told(), ["+u1.2 a two"]);
        world.live.remove(Path::new("a.yaml"), world.now);
        assert_eq!(world.live.deadline(), Some(world.now + GRACE));
        world.now += GRACE;
        assert_eq!(world.told(), ["-a"]);
        world.put("a.yaml", &scope("a", "two"));
        assert_eq!(
            world.told(),
            ["+u2.1 a two"],
            "a recreated object is a new object"
        );
    }

    #[test]
    fn an_object_belongs_to_one_file() {
        let mut world = World::new();
        world.put("b.yaml", &scope("a", "one"));
        world.told();
        world.put("a.yaml", &scope("a", "two"));
        assert_eq!(
            world.told(),
            ["a.yaml:4:18: Scope default/a is already defined in b.yaml: remove one"]
        );
        world.live.remove(Path::new("b.yaml"), world.now);
        assert_eq!(
            world.told(),
            ["+u1.2 a two"],
            "an object in another file is the same object"
        );
    }

    #[test]
    fn records_of_objects_deleted_while_stopped_are_removed_when_all_files_are_good() {
        let mut world = World::new();
        world
            .births
            .birth(Kind::Scope, &ObjectKey::new("default", "a"));
        world
            .births
            .birth(Kind::Scope, &ObjectKey::new("default", "old"));
        world.put("a.yaml", "apiVersion: symbolon.dev/v1alpha1\nkind: [");
        world.told();
        assert_eq!(world.births.uids.len(), 2, "the file may contain them");
        world.put("a.yaml", &scope("a", "one"));
        assert_eq!(world.told(), ["+u1.1 a one"]);
        assert_eq!(world.births.uids.len(), 1);
    }

    #[test]
    fn namespaces_are_created_and_deleted() {
        let mut world = World::new();
        world.put(
            "a.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: blue, labels: {a: b}}",
        );
        assert_eq!(world.told(), ["+ns blue 2"]);
        world.put("a.yaml", "");
        assert_eq!(world.told(), ["-ns blue"]);
    }
}
