//! What a directory of files that change makes of objects: the part of an API server that dev mode needs.
//!
//! Pure. A file with a fault keeps its last good version; a file that is gone for a while is deleted; the
//! first file that holds an object owns it; uid and creation time are kept as long as the object is
//! there, and an object that comes back is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{Fault, Manifest, ManifestObject, SourceText};
use crate::directory::suggest::one_line;
use crate::directory::{Labels, ObjectKey, Problem, Reason, Settings, Severity, admit, transition};
use crate::resources::Kind;

/// How long a file may be gone before its objects are: editors replace files in two steps.
pub const GRACE: Duration = Duration::from_secs(2);

/// Which object.
pub type ObjectId = (Kind, ObjectKey);

/// When an object was born and by what uid it is known: kept outside, so that it outlives a restart.
pub trait Births {
    /// The birth of an object, recorded now if it is new.
    fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth;
    /// The object is gone: if it comes back, it is another.
    fn death(&mut self, kind: Kind, key: &ObjectKey);
    /// Every object that is there: whatever else has a record is gone.
    fn only(&mut self, present: &BTreeSet<ObjectId>);
    /// Makes what was recorded last, before anybody is told of it.
    fn save(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an API server gives an object for life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Its uid.
    pub uid: String,
    /// Its `creationTimestamp`.
    pub created: Timestamp,
}

/// A difference to what was there.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An object came or changed: as an API server would show it.
    Upsert(Kind, Value),
    /// An object went.
    Delete(Kind, ObjectKey),
    /// A namespace came or changed its labels.
    Namespace(Arc<str>, Labels),
    /// A namespace went.
    NamespaceGone(Arc<str>),
}

/// A fault with its file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFault {
    /// The file.
    pub source: Arc<SourceText>,
    /// What is wrong.
    pub fault: Fault,
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

/// What a look at the files brought.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Deletions first.
    pub events: Vec<Event>,
    /// All that is wrong with the files now.
    pub faults: Vec<FileFault>,
}

/// The files as they were last good, and what is served of them.
pub struct Live {
    settings: Settings,
    files: BTreeMap<PathBuf, File>,
    served: BTreeMap<ObjectId, Served>,
    namespaces: BTreeMap<Arc<str>, Labels>,
    /// Whether records of objects that went while nobody looked have been cleared.
    settled: bool,
}

/// A file as it was last taken.
struct File {
    manifest: Manifest,
    /// What is wrong with its newest version.
    faults: Vec<FileFault>,
    /// Whether `manifest` had no fault: then it stays until another has none.
    good: bool,
    gone: Option<Instant>,
}

struct Served {
    file: PathBuf,
    written: Value,
    generation: i64,
}

/// The file that an object is taken from, and the object.
type Place<'a> = (&'a Path, &'a Value);

/// An object that is taken from another file now, or is another.
struct Changed {
    id: ObjectId,
    file: PathBuf,
    /// `None`: only the file is another.
    value: Option<Value>,
}

impl Live {
    /// Nothing yet. The settings are those of the directory that is to be filled.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            files: BTreeMap::new(),
            served: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            settled: false,
        }
    }

    /// The files that are known, those that are gone but not yet given up included.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// When to look again, for files that are gone.
    pub fn deadline(&self) -> Option<Instant> {
        self.files
            .values()
            .filter_map(|file| file.gone)
            .min()
            .map(|gone| gone + GRACE)
    }

    /// A file came or changed.
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

    /// A file is not there any more.
    pub fn remove(&mut self, path: &Path, now: Instant) {
        if let Some(file) = self.files.get_mut(path) {
            file.gone.get_or_insert(now);
        }
    }

    /// The differences since the last time.
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

    /// The objects of all files, each from one; collects the faults of all.
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
        // Who has it keeps it while its file is there; then the order of paths.
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

    /// Why an API server would not take an object: the rules for itself, and for its change.
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

/// A problem as a fault of the file that its object stands in.
pub fn fault_of(object: &ManifestObject, problem: Problem) -> Fault {
    let Problem {
        severity,
        reason,
        path,
        message,
    } = problem;
    Fault {
        severity,
        reason,
        span: object.place(&path, &message),
        message,
        related: None,
    }
}

fn twice(file: &File, object: &ManifestObject, owner: &Path) -> FileFault {
    let message = format!(
        "{} {} is in {} already: take one out",
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

    /// Uids `u1`, `u2` … in the order of birth.
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

        /// Events as `+<uid>.<generation> <name> <value>` and `-<name>`, then faults.
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
    fn only_differences_are_told() {
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
                "a.yaml:2:7: this is not YAML: unclosed bracket '['",
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
    fn what_is_good_in_a_file_that_never_was_is_served() {
        let mut world = World::new();
        world.put("a.yaml", &(scope("a", "one") + &scope("B", "one")));
        assert_eq!(world.told().len(), 2);
        world.put("a.yaml", &(scope("a", "two") + &scope("B", "one")));
        assert!(world.told().contains(&"+u1.2 a two".to_owned()));
        world.put("b.yaml", &scope("c", "one"));
        assert!(world.told().contains(&"+u2.1 c one".to_owned()));
    }

    #[test]
    fn a_file_that_is_gone_for_a_while_is_deleted() {
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
            "what comes back is another object"
        );
    }

    #[test]
    fn an_object_has_one_file() {
        let mut world = World::new();
        world.put("b.yaml", &scope("a", "one"));
        world.told();
        world.put("a.yaml", &scope("a", "two"));
        assert_eq!(
            world.told(),
            ["a.yaml:4:18: Scope default/a is in b.yaml already: take one out"]
        );
        world.live.remove(Path::new("b.yaml"), world.now);
        assert_eq!(
            world.told(),
            ["+u1.2 a two"],
            "moved to another file, it is the same object"
        );
    }

    #[test]
    fn records_of_what_went_unseen_are_cleared_when_all_files_are_read() {
        let mut world = World::new();
        world
            .births
            .birth(Kind::Scope, &ObjectKey::new("default", "a"));
        world
            .births
            .birth(Kind::Scope, &ObjectKey::new("default", "old"));
        world.put("a.yaml", "apiVersion: symbolon.dev/v1alpha1\nkind: [");
        world.told();
        assert_eq!(world.births.uids.len(), 2, "the file may hold them");
        world.put("a.yaml", &scope("a", "one"));
        assert_eq!(world.told(), ["+u1.1 a one"]);
        assert_eq!(world.births.uids.len(), 1);
    }

    #[test]
    fn namespaces_come_and_go() {
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
