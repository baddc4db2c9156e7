//! Which files are patches of a kustomization. A patch is a part of an object, so it cannot be checked alone: only the
//! output of `kustomize build` can.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml::{self, LONGEST};
use crate::state_file::read_regular;

/// The names of a kustomization file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A file that is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The file.
    pub file: PathBuf,
    /// The folder of the kustomization that names it as a patch.
    pub kustomization: PathBuf,
}

/// Splits files into those to read and those that kustomizations in their folders, or in the folders above up to
/// `root`, name as patches. A file that a kustomization names as a resource too is read.
pub fn split(files: Vec<PathBuf>, root: &Path) -> (Vec<PathBuf>, Vec<Patch>) {
    let mut folders = BTreeSet::new();
    for file in &files {
        for folder in file.ancestors().skip(1) {
            if !folder.starts_with(root) || !folders.insert(folder.to_owned()) {
                break;
            }
        }
    }
    let mut patches = BTreeMap::new();
    let mut resources = BTreeSet::new();
    for folder in &folders {
        let Some(kustomization) = read(folder) else {
            continue;
        };
        let real = |path: &String| folder.join(path).canonicalize().ok();
        let named = named_patches(&kustomization);
        patches.extend(named.iter().filter_map(real).map(|path| (path, folder)));
        let named = texts(&kustomization["resources"]);
        resources.extend(named.iter().filter_map(real));
    }
    // Dev mode does this at each scan, and most directories have no patch.
    if patches.is_empty() {
        return (files, Vec::new());
    }
    let (mut read, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        match patches.get(&real) {
            Some(folder) if !resources.contains(&real) => skipped.push(Patch {
                file,
                kustomization: (*folder).clone(),
            }),
            _ => read.push(file),
        }
    }
    (read, skipped)
}

/// Reads the kustomization of a folder, if it has one.
fn read(folder: &Path) -> Option<Value> {
    let mut paths = NAMES.iter().map(|name| folder.join(name));
    let bytes = paths.find_map(|path| read_regular(&path, LONGEST as u64).ok())?;
    let mut documents = yaml::parse_bytes(&bytes).1.documents.into_iter();
    documents.next().map(|document| document.value)
}

/// Returns the paths of the patches that a kustomization names.
fn named_patches(kustomization: &Value) -> Vec<String> {
    let mut named = texts(&kustomization["patchesStrategicMerge"]);
    for field in ["patches", "patchesJson6902"] {
        let patches = kustomization[field].as_array().into_iter().flatten();
        let paths = patches.filter_map(|patch| patch["path"].as_str());
        named.extend(paths.map(str::to_owned));
    }
    named
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    let texts = items.filter_map(Value::as_str);
    // An item of `patchesStrategicMerge` may be the patch itself.
    let texts = texts.filter(|text| !text.contains('\n'));
    texts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_patches_are_skipped_wherever_they_are() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        write(
            "base/kustomization.yaml",
            "resources: [a.yaml, both.yaml]\npatches: [{path: both.yaml}, {patch: 'a: b'}]\n",
        );
        write(
            "over/Kustomization",
            "resources: [../base]\npatchesStrategicMerge: [merge.yaml, \"a: b\\nc: d\"]\npatchesJson6902: [{path: json/six.yaml, target: {kind: Scope}}]\npatches:\n- path: ../shared/p.yaml\n- path: missing.yaml\n",
        );
        let files = [
            "base/a.yaml",
            "base/both.yaml",
            "base/kustomization.yaml",
            "over/json/six.yaml",
            "over/merge.yaml",
            "shared/p.yaml",
        ]
        .map(|path| match path {
            "base/kustomization.yaml" => root.path().join(path),
            path => write(path, "a: b"),
        });
        let (read, skipped) = split(files.to_vec(), root.path());
        assert_eq!(read, files[..3]);
        let over = root.path().join("over");
        let expected = files[3..].iter().map(|file| Patch {
            file: file.clone(),
            kustomization: over.clone(),
        });
        assert_eq!(skipped, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_kustomization_with_a_fault_skips_nothing() {
        let root = tempfile::tempdir().unwrap();
        for text in ["patches: [", "patches: a", "patches: [{path: 5}]", "[]", ""] {
            std::fs::write(root.path().join("kustomization.yaml"), text).unwrap();
            let file = root.path().join("a.yaml");
            std::fs::write(&file, "a: b").unwrap();
            let (read, skipped) = split(vec![file.clone()], root.path());
            assert_eq!((read, skipped), (vec![file], vec![]), "{text}");
        }
    }
}
