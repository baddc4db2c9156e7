//! Which files are patches of a kustomization. A patch is a part of an object, so it cannot be checked alone: only the
//! output of `kustomize build` can.
//!
//! A kustomization names patches in its own folder and below it only, as kustomize's load restrictor demands: a
//! stranger's folder must not decide which files elsewhere are read.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

use super::yaml;

/// The names of a kustomization file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A file that a kustomization names as a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The file.
    pub file: PathBuf,
    /// The folder of the kustomization that names it as a patch.
    pub kustomization: PathBuf,
}

/// The files that a kustomization names, relative to its folder.
#[derive(Default)]
struct Named {
    patches: HashSet<PathBuf>,
    resources: HashSet<PathBuf>,
}

/// Splits files into those to read and those that kustomizations in their folders, or in the folders above, name as
/// patches. A file that a kustomization names as a resource too is read.
///
/// All paths are relative to one directory. `real` returns the path of an existing file without links, and `read` its
/// content. Each file is read once, however many links lead to it.
pub fn split(
    files: Vec<PathBuf>,
    real: impl Fn(&Path) -> Option<PathBuf>,
    read: impl Fn(&Path) -> Option<Vec<u8>>,
) -> (Vec<PathBuf>, Vec<Patch>) {
    let mut known: BTreeMap<PathBuf, Rc<Named>> = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, Option<Rc<Named>>> = BTreeMap::new();
    for file in &files {
        for folder in file.ancestors().skip(1) {
            if folders.contains_key(folder) {
                break;
            }
            let found = NAMES.iter().find_map(|name| real(&folder.join(name)));
            let named = found.map(|path| {
                let named = known.entry(path);
                let named = named.or_insert_with_key(|path| Rc::new(Named::of(read(path))));
                Rc::clone(named)
            });
            folders.insert(folder.to_owned(), named);
        }
    }
    let (mut to_read, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        let namers = |list: fn(&Named) -> &HashSet<PathBuf>| {
            file.ancestors().skip(1).find(|folder| {
                let named = folders.get(*folder).and_then(Option::as_ref);
                let below = file.strip_prefix(folder).ok();
                named
                    .zip(below)
                    .is_some_and(|(named, below)| list(named).contains(below))
            })
        };
        match namers(|named| &named.patches) {
            Some(folder) if namers(|named| &named.resources).is_none() => {
                let kustomization = folder.to_owned();
                skipped.push(Patch {
                    file,
                    kustomization,
                });
            }
            _ => to_read.push(file),
        }
    }
    (to_read, skipped)
}

impl Named {
    /// Returns the files that a kustomization with this content names; none if it cannot be read.
    fn of(bytes: Option<Vec<u8>>) -> Self {
        let documents = bytes.map(|bytes| yaml::parse_bytes(&bytes).1.documents);
        let Some(first) = documents.into_iter().flatten().next() else {
            return Self::default();
        };
        let kustomization = first.value;
        let mut patches: HashSet<PathBuf> = texts(&kustomization["patchesStrategicMerge"])
            .filter_map(below)
            .collect();
        for field in ["patches", "patchesJson6902"] {
            let named = kustomization[field].as_array().into_iter().flatten();
            let named = named.filter_map(|patch| patch["path"].as_str());
            patches.extend(named.filter_map(below));
        }
        let resources = texts(&kustomization["resources"]).filter_map(below);
        Self {
            patches,
            resources: resources.collect(),
        }
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let items = list.as_array().into_iter().flatten();
    let texts = items.filter_map(Value::as_str);
    // An item of `patchesStrategicMerge` may be the patch itself.
    texts.filter(|text| !text.contains('\n'))
}

/// Returns a path without `.` and `..`; `None` if it leads out of the folder.
fn below(path: &str) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            Component::ParentDir if below.pop() => {}
            _ => return None,
        }
    }
    Some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits files that exist as `texts`; those with a text that begins with `->` are links.
    fn split_of(texts: &[(&str, &str)]) -> (Vec<String>, Vec<(String, String)>, usize) {
        let texts: BTreeMap<&Path, &str> =
            texts.iter().map(|(at, it)| (Path::new(*at), *it)).collect();
        let files = texts.keys().map(|path| (*path).to_owned()).collect();
        let real = |path: &Path| {
            let text = texts.get(path)?;
            Some(PathBuf::from(
                text.strip_prefix("->").unwrap_or(path.to_str()?),
            ))
        };
        let reads = std::cell::Cell::new(0);
        let read = |path: &Path| {
            reads.set(reads.get() + 1);
            Some(texts.get(path)?.as_bytes().to_vec())
        };
        let shown = |path: &Path| path.display().to_string();
        let (files, patches) = split(files, real, read);
        (
            files.iter().map(|it| shown(it)).collect(),
            patches
                .iter()
                .map(|it| (shown(&it.file), shown(&it.kustomization)))
                .collect(),
            reads.get(),
        )
    }

    #[test]
    fn files_that_are_patches_are_skipped_in_and_below_the_folder() {
        let (files, patches, _) = split_of(&[
            (
                "base/kustomization.yaml",
                "resources: [a.yaml, both.yaml]\npatches: [{path: both.yaml}, {patch: 'a: b'}]\n",
            ),
            ("base/a.yaml", ""),
            ("base/both.yaml", ""),
            (
                "over/Kustomization",
                "resources: [../base]\npatchesStrategicMerge: [merge.yaml, \"a: b\\nc: d\"]\npatchesJson6902: [{path: json/six.yaml, target: {kind: Scope}}]\npatches:\n- path: ./x/../p.yaml\n- path: missing.yaml\n",
            ),
            ("over/json/six.yaml", ""),
            ("over/merge.yaml", ""),
            ("over/p.yaml", ""),
        ]);
        assert_eq!(
            files,
            [
                "base/a.yaml",
                "base/both.yaml",
                "base/kustomization.yaml",
                "over/Kustomization"
            ]
        );
        let over = ["over/json/six.yaml", "over/merge.yaml", "over/p.yaml"];
        assert_eq!(patches, over.map(|file| (file.into(), "over".into())));
    }

    /// Otherwise a folder such as `docs/example` could hide a manifest of another team.
    #[test]
    fn a_kustomization_skips_no_file_outside_its_folder() {
        for path in [
            "../../evil.yaml",
            "x/../../../evil.yaml",
            "/evil.yaml",
            "../example/../../evil.yaml",
            "../other/evil.yaml",
            "..",
            "",
        ] {
            let named = format!("patches: [{{path: '{path}'}}]\npatchesStrategicMerge: ['{path}']");
            let (files, patches, _) = split_of(&[
                ("docs/example/kustomization.yaml", &named),
                ("docs/other/evil.yaml", ""),
                ("evil.yaml", ""),
            ]);
            assert_eq!((files.len(), patches.len()), (3, 0), "{path}");
        }
    }

    #[test]
    fn a_kustomization_is_read_once_however_many_links_lead_to_it() {
        let links: Vec<String> = (0..50)
            .map(|n| format!("d{n}/kustomization.yaml"))
            .collect();
        let links = links.iter().map(|path| (&**path, "->k.yaml"));
        let all: Vec<_> = links
            .chain([("k.yaml", "patches: [{path: p.yaml}]"), ("d7/p.yaml", "")])
            .collect();
        let (_, patches, reads) = split_of(&all);
        assert_eq!(patches, [("d7/p.yaml".to_owned(), "d7".to_owned())]);
        assert_eq!(reads, 1);
    }

    #[test]
    fn a_kustomization_with_a_fault_skips_nothing() {
        for text in ["patches: [", "patches: a", "patches: [{path: 5}]", "[]", ""] {
            let (_, patches, _) = split_of(&[("kustomization.yaml", text), ("a.yaml", "a: b")]);
            assert_eq!(patches, [], "{text}");
        }
    }
}
