//! Manifests from files, directories and standard input, and the [`Directory`] that they result in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::terminal;
use crate::directory::{Change, Directory, ObjectKey, Settings, schema};
use crate::resources::Kind;
use crate::source::files::{self, Folder};
use crate::source::kustomization::{self, Patch};
use crate::source::manifest::{Manifest, ManifestObject};

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

/// Reads files, directories and, for `-`, standard input. A file that is named twice is read once.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    let mut seen = BTreeSet::new();
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
        let (files, patches) = files_of(path)?;
        tell_skipped(&patches);
        for file in files {
            if seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                manifests.push(files::read(&file));
            }
        }
    }
    Ok(manifests)
}

/// Fails if a pipe is empty: in `kustomize build | symbolon check -` the shell drops the exit status of the first
/// command.
fn refuse_nothing(name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    if bytes.trim_ascii().is_empty() {
        bail!("{name} is empty: check whether the command that writes to it failed");
    }
    Ok(())
}

/// Reports that patches are not read, and how to check their result.
fn tell_skipped(patches: &[Patch]) {
    let mut kustomizations: Vec<&Path> = patches.iter().map(|it| &*it.kustomization).collect();
    kustomizations.dedup();
    for folder in kustomizations {
        let of_folder = patches.iter().filter(|it| it.kustomization == *folder);
        let files: Vec<String> = of_folder.map(|it| it.file.display().to_string()).collect();
        terminal::note(&format!(
            "skipped patches of a kustomization ({}): to check what they make, run `kustomize build {} | symbolon check -`",
            files.join(", "),
            folder.display()
        ));
    }
}

fn files_of(path: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<Patch>)> {
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        // The kustomization may be one folder above: patches are often in a folder of their own.
        let folders = path.ancestors().skip(1).take(2);
        let root = folders.last().unwrap_or(Path::new("."));
        return Ok(kustomization::split(vec![path.to_owned()], root));
    }
    if !metadata.is_dir() {
        bail!(
            "cannot read {}: it is neither a regular file nor a directory: pipe the manifests to standard input and name -",
            path.display()
        );
    }
    let read = || Folder::open(path, &[])?.files_and_patches();
    let (files, patches) = read().with_context(|| format!("cannot read {}", path.display()))?;
    if files.is_empty() && patches.is_empty() {
        bail!(
            "found no *.yaml, *.yml or *.json file in {}",
            path.display()
        );
    }
    Ok((files, patches))
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
