//! A directory of manifests that a test may change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value;
use tempfile::TempDir;

use super::eventually;

/// A copy of manifests, with the state folder that dev mode creates in it. Dropping the value deletes it.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Copies a directory of this repository.
    pub(crate) fn copy_of(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        for entry in fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "yaml") {
                fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        Self(folder)
    }

    /// Creates an empty folder.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The text of a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Writes a file as editors do: a new file, renamed over the old one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let beside = self.file(&format!(".{name}.new"));
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, self.file(name)).unwrap();
    }

    /// Deletes a file.
    pub(crate) fn delete(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// Replaces the only occurrence of `from` in a file.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}:\n{text}");
        self.write(name, &text.replace(from, to));
    }

    /// The path of the Secret `namespace/name`.
    pub(crate) fn secret_file(&self, namespace: &str, name: &str) -> PathBuf {
        self.file(&format!(".symbolon/secrets/{namespace}/{name}.yaml"))
    }

    /// The Secret's decoded data; `None` if the Secret does not exist.
    pub(crate) fn secret_now(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<String, String>> {
        data_in(&self.secret_file(namespace, name))
    }

    /// The data of the Secret with an Identity's signing keys.
    pub(crate) fn signing_keys(&self, namespace: &str, identity: &str) -> BTreeMap<String, String> {
        let file = format!(".symbolon/keys/{namespace}/{identity}-signing.yaml");
        data_in(&self.file(&file)).unwrap()
    }

    /// Waits until the Secret has `key` and returns its data.
    pub(crate) fn secret(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> BTreeMap<String, String> {
        eventually(&format!("Secret {namespace}/{name} has {key}"), || {
            self.secret_now(namespace, name)
                .filter(|data| data.contains_key(key))
        })
    }

    /// Waits until a value of a Secret differs from `old` and returns it.
    pub(crate) fn value_after(&self, namespace: &str, name: &str, key: &str, old: &str) -> String {
        eventually(
            &format!("Secret {namespace}/{name} has another {key}"),
            || {
                self.secret_now(namespace, name)?
                    .remove(key)
                    .filter(|value| value != old)
            },
        )
    }
}

/// The decoded data of the Secret in a file; `None` if the file does not exist.
fn data_in(file: &Path) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).ok()?;
    let secret: Value = serde_yaml::from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {error}\n{text}", file.display()));
    Some(data_of(&secret))
}

/// The decoded data of a Secret.
pub(crate) fn data_of(secret: &Value) -> BTreeMap<String, String> {
    let entries = |field: &str| secret[field].as_object().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let decoded = |value: &Value| {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text(value))
            .unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let data = entries("data")
        .into_iter()
        .map(|(key, value)| (key, decoded(&value)));
    let plain = entries("stringData")
        .into_iter()
        .map(|(key, value)| (key, text(&value)));
    data.chain(plain).collect()
}
