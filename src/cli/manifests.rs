//! Manifests from files, directories and standard input, and the [`Directory`] that they result in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::terminal;
use crate::characters::shell_word;
use crate::directory::{Change, Directory, ObjectKey, Reason, Settings, Severity, admit, schema};
use crate::resources::Kind;
use crate::source::files::{self, Folder};
use crate::source::kustomization::Patch;
use crate::source::manifest::{Manifest, ManifestFault, ManifestObject};

/// The maximum number of patches of a kustomization that a note names.
const MAX_NAMED: usize = 50;

/// Parses `NAMESPACE/NAME`.
pub(super) fn object_key(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if schema::is_dns_label(namespace) && !name.is_empty() && !name.contains('/') =>
        {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}

/// Parses the name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if schema::is_dns_label(text) {
        Ok(text.to_owned())
    } else {
        Err("write the name of a namespace".to_owned())
    }
}

/// What was read.
pub(super) struct Input {
    pub(super) manifests: Vec<Manifest>,
    /// The patches of kustomizations, which are not read as manifests.
    pub(super) skipped: Vec<Patch>,
}

/// Reads files, directories and, for `-`, standard input. A file that is named twice is read once.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Input> {
    let (mut manifests, mut patches) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut is_new =
        |file: &PathBuf| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone()));
    for path in paths {
        if path == Path::new("-") {
            let bytes =
                files::read_bounded(std::io::stdin()).context("cannot read standard input")?;
            refuse_nothing("standard input", &bytes)?;
            manifests.push(Manifest::read("<stdin>", &bytes));
            continue;
        }
        if files::is_descriptor(path) {
            let name = path.display().to_string();
            let read = std::fs::File::open(path).and_then(files::read_bounded);
            let bytes = read.with_context(|| format!("cannot read {name}"))?;
            refuse_nothing(&name, &bytes)?;
            manifests.push(Manifest::read(&name, &bytes));
            continue;
        }
        let found = Found::at(path)?;
        for file in found.files.iter().filter(|file| is_new(file)) {
            manifests.push(found.read(file));
        }
        for patch in &found.patches {
            if is_new(&patch.file) {
                patches.push((patch.clone(), found.read(&patch.file)));
            }
        }
    }
    let skipped = skip(patches, &mut manifests);
    tell_skipped(&skipped);
    Ok(Input { manifests, skipped })
}

/// Fails if a pipe is empty: in `kustomize build | symbolon check -` the shell drops the exit status of the first
/// command.
fn refuse_nothing(name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    if bytes.trim_ascii().is_empty() {
        bail!("{name} is empty: check whether the command that writes to it failed");
    }
    Ok(())
}

/// Decides which patches are skipped, and adds the others to the manifests.
///
/// A stranger may name any file of the folder as a patch. So a file is skipped only if it cannot be applied alone: its
/// objects are incomplete, or another file defines them. The second case is a warning, since only the kustomization
/// tells which of the two counts. A file that cannot be read completely may be anything, and its faults are reported.
fn skip(patches: Vec<(Patch, Manifest)>, manifests: &mut Vec<Manifest>) -> Vec<Patch> {
    let id = |object: &ManifestObject| (object.kind, object.key.clone());
    let objects = manifests.iter().flat_map(|manifest| &manifest.objects);
    let mut defined: BTreeSet<_> = objects.map(id).collect();
    let namespaces = manifests.iter().flat_map(|manifest| &manifest.namespaces);
    let mut known: BTreeSet<_> = namespaces.map(|(name, _)| name.clone()).collect();
    let mut skipped = Vec::new();
    for (patch, manifest) in patches {
        let complete: Vec<_> = manifest
            .objects
            .iter()
            .filter(|it| is_complete(it))
            .collect();
        let named = manifest.namespaces.iter().map(|(name, _)| name);
        // A Namespace needs only a name, so it is always complete.
        let is_only_definition = complete.iter().any(|it| !defined.contains(&id(it)))
            || named.clone().any(|name| !known.contains(name));
        if is_only_definition || !manifest.is_whole() {
            defined.extend(complete.into_iter().map(id));
            known.extend(named.cloned());
            manifests.push(manifest);
            continue;
        }
        let objects = complete.iter().map(|it| {
            let place = it.place("/metadata/name", "");
            skipped_object(&format!("{} {}", it.kind, it.key), place, &patch)
        });
        let namespaces =
            named.map(|name| skipped_object(&format!("Namespace {name}"), 0..0, &patch));
        let faults: Vec<ManifestFault> = objects.chain(namespaces).collect();
        if !faults.is_empty() {
            manifests.push(Manifest {
                objects: Vec::new(),
                namespaces: Vec::new(),
                faults,
                lost: Vec::new(),
                ..manifest
            });
        }
        skipped.push(patch);
    }
    skipped
}

/// Returns whether an API server accepts the object as it is written.
fn is_complete(object: &ManifestObject) -> bool {
    let problems = admit::problems(object.kind, &object.value, &Settings::default());
    let mut severities = problems.iter().map(|problem| problem.severity);
    severities.all(|severity| severity == Severity::Warning)
}

/// Returns the warning about a complete object, as `Kind namespace/name`, in a patch.
fn skipped_object(object: &str, span: Range<usize>, patch: &Patch) -> ManifestFault {
    let message = format!(
        "{object} is complete, but not checked, since a kustomization names this file as a patch: {}",
        how_to_check(&patch.kustomization)
    );
    ManifestFault {
        severity: Severity::Warning,
        reason: Reason::ValueConflict,
        span,
        message,
        related: None,
    }
}

/// Returns how to check the output of a kustomization. Kustomize takes `github.com/a/b` for a remote repository even if
/// such a folder exists, so a relative path begins with a dot.
pub(super) fn how_to_check(kustomization: &Path) -> String {
    let is_marked = matches!(
        kustomization.components().next(),
        Some(Component::RootDir | Component::Prefix(_) | Component::CurDir | Component::ParentDir)
    );
    let kustomization = if is_marked {
        kustomization.to_owned()
    } else {
        Path::new(".").join(kustomization)
    };
    match kustomization.to_str().and_then(shell_word) {
        Some(folder) => format!(
            "to check the objects as patched, run `kustomize build {folder} | symbolon check -`"
        ),
        None => "to check the objects as patched, run `kustomize build` in its folder and pipe the output to `symbolon check -`".to_owned(),
    }
}

/// Reports that patches are not read, and how to check their result.
fn tell_skipped(patches: &[Patch]) {
    let mut of_folder: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for patch in patches {
        let file = patch.file.display().to_string();
        of_folder
            .entry(&patch.kustomization)
            .or_default()
            .push(file);
    }
    for (folder, files) in of_folder {
        let more = files.len().saturating_sub(MAX_NAMED);
        let more = (more > 0).then(|| format!("and {more} more"));
        let files: Vec<String> = files.into_iter().take(MAX_NAMED).chain(more).collect();
        terminal::note(&format!(
            "skipped patches of a kustomization ({}): {}",
            files.join(", "),
            how_to_check(folder)
        ));
    }
}

/// The files that a path stands for.
struct Found {
    /// The directory, if the path names one: its author chooses where links lead.
    folder: Option<Folder>,
    files: Vec<PathBuf>,
    patches: Vec<Patch>,
}

impl Found {
    fn at(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let metadata = std::fs::metadata(path).with_context(cannot)?;
        if metadata.is_file() {
            let (files, patches) = near(path);
            return Ok(Self {
                folder: None,
                files,
                patches,
            });
        }
        if !metadata.is_dir() {
            bail!(
                "cannot read {}: it is neither a regular file nor a directory: pipe the manifests to standard input and name -",
                path.display()
            );
        }
        let folder = Folder::open(path, &[]).with_context(cannot)?;
        let (files, patches) = folder.files_and_patches().with_context(cannot)?;
        if files.is_empty() && patches.is_empty() {
            bail!(
                "found no *.yaml, *.yml or *.json file in {}",
                path.display()
            );
        }
        Ok(Self {
            folder: Some(folder),
            files,
            patches,
        })
    }

    fn read(&self, file: &Path) -> Manifest {
        match &self.folder {
            Some(folder) => folder.read(file),
            None => files::read(file),
        }
    }
}

/// Returns the file that a path names, or its patch: the kustomization may be one folder above, since patches are often
/// in a folder of their own. A kustomization in a folder that cannot be listed is not found.
fn near(named: &Path) -> (Vec<PathBuf>, Vec<Patch>) {
    let path = named.strip_prefix(".").unwrap_or(named);
    let or_here = |folder: &Path| {
        if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder.to_owned()
        }
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    // The folder above `a/..` is not `a`.
    let is_plain = matches!(parent.components().next_back(), Some(Component::Normal(_)));
    let above = parent.parent().filter(|_| is_plain);
    let split = above.into_iter().chain([parent]).find_map(|root| {
        let folder = Folder::open(&or_here(root), &[]).ok()?;
        folder.file_or_patch(path.strip_prefix(root).ok()?).ok()
    });
    let (files, patches) = split.unwrap_or_else(|| (vec![named.to_owned()], Vec::new()));
    // The name of the file stays as the user wrote it.
    let files = files.into_iter().map(|_| named.to_owned());
    let patches = patches.into_iter().map(|patch| Patch {
        file: named.to_owned(),
        ..patch
    });
    (files.collect(), patches.collect())
}

/// All objects together, as in an API server.
pub(super) struct World {
    pub(super) directory: Directory,
    /// The existing objects, from `--applied`.
    pub(super) before: BTreeMap<(Kind, ObjectKey), Value>,
    /// The OAuthClients of the checked manifests.
    clients: BTreeMap<(Kind, ObjectKey), Value>,
}

impl World {
    /// Applies `applied` to a world that has the objects of `context`. Of several objects with one name the first
    /// counts.
    pub(super) fn new(
        settings: Settings,
        context: &[Manifest],
        applied: &[Manifest],
        now: Timestamp,
    ) -> Self {
        let mut world = Self {
            directory: Directory::new(settings),
            before: BTreeMap::new(),
            clients: BTreeMap::new(),
        };
        let objects = applied.iter().flat_map(|manifest| &manifest.objects);
        for object in objects.filter(|object| object.kind == Kind::OAuthClient) {
            world
                .clients
                .entry((object.kind, object.key.clone()))
                .or_insert_with(|| object.value.clone());
        }
        for manifest in context {
            for object in &manifest.objects {
                world
                    .before
                    .entry((object.kind, object.key.clone()))
                    .or_insert_with(|| object.value.clone());
            }
        }
        for (name, labels) in context
            .iter()
            .chain(applied)
            .flat_map(|manifest| &manifest.namespaces)
        {
            world
                .directory
                .apply(Change::Namespace(name.clone(), labels.clone()));
        }
        let mut taken = BTreeSet::new();
        for object in applied
            .iter()
            .chain(context)
            .flat_map(|manifest| &manifest.objects)
        {
            let id = (object.kind, object.key.clone());
            let created = if world.before.contains_key(&id) {
                Timestamp::UNIX_EPOCH
            } else {
                now
            };
            if taken.insert(id) {
                world.apply(object, created);
            }
        }
        world
    }

    /// Returns an OAuthClient as it is written.
    pub(super) fn client(&self, key: &ObjectKey) -> Option<&Value> {
        let id = (Kind::OAuthClient, key.clone());
        self.clients.get(&id).or_else(|| self.before.get(&id))
    }

    fn apply(&mut self, object: &ManifestObject, created: Timestamp) {
        let mut value = object.value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "uid".into(),
                format!("{}/{}", object.kind, object.key).into(),
            );
            metadata.insert("creationTimestamp".into(), created.to_string().into());
        }
        let change = Change::object(object.kind, &value, self.directory.settings());
        if let Some(change) = change {
            self.directory.apply(change);
        }
    }
}
