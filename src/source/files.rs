//! Finds and reads manifest files.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::kustomization::{self, Patch};
use super::manifest::Manifest;
use super::yaml::LONGEST;
use crate::state_file::read_regular;

/// The maximum depth of nested folders.
const DEEPEST: usize = 64;

/// A directory of manifests with its subfolders.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    /// The path without links, to decide what is inside.
    real: PathBuf,
    ignored: Vec<PathBuf>,
}

impl Folder {
    /// Opens a directory, without the `ignored` folders, such as the state folder.
    pub fn open(root: &Path, ignored: &[PathBuf]) -> io::Result<Self> {
        let real = root.canonicalize()?;
        if !real.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "not a directory",
            ));
        }
        let ignored = ignored.iter().map(|path| without_links(path));
        Ok(Self {
            root: root.to_owned(),
            real,
            ignored: ignored.collect(),
        })
    }

    /// Returns the path as the user gave it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns its manifest files, sorted by path. It skips hidden files and folders, links to folders, links that lead
    /// out of the directory or to hidden files in it, and everything that is not a regular file. It also skips the
    /// patches of kustomizations.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        Ok(self.files_and_patches()?.0)
    }

    /// Returns its manifest files, and separately the patches of kustomizations.
    pub fn files_and_patches(&self) -> io::Result<(Vec<PathBuf>, Vec<Patch>)> {
        let mut files = Vec::new();
        self.walk(&self.root, DEEPEST, &mut files)?;
        files.sort();
        Ok(kustomization::split(files, &self.root))
    }

    /// Returns whether a path below the directory may be a manifest or a folder with manifests.
    pub fn concerns(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.root);
        below.map_or(true, |below| {
            !below.iter().any(|part| is_hidden(Path::new(part)))
        })
    }

    fn walk(&self, folder: &Path, deeper: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
        let Some(deeper) = deeper.checked_sub(1) else {
            let message =
                format!("folders are nested deeper than {DEEPEST}: move some of them out");
            return Err(at(folder, &io::Error::other(message)));
        };
        for entry in std::fs::read_dir(folder).map_err(|error| at(folder, &error))? {
            let entry = entry?;
            let path = entry.path();
            if is_hidden(&path) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !self.is_ignored(&path) {
                    // A folder that is deleted in the meantime has no files.
                    ignore_absence(self.walk(&path, deeper, files))?;
                }
            } else if is_manifest(&path)
                && (kind.is_file() || kind.is_symlink() && self.leads_inside(&path))
            {
                files.push(path);
            }
        }
        Ok(())
    }

    fn is_ignored(&self, path: &Path) -> bool {
        path.canonicalize()
            .is_ok_and(|path| self.ignored.contains(&path))
    }

    fn leads_inside(&self, link: &Path) -> bool {
        link.canonicalize().is_ok_and(|target| {
            // A ConfigMap volume has its files in `..data` and similar folders.
            let is_secret = |name: &OsStr| {
                let name = name.as_encoded_bytes();
                name.starts_with(b".") && !name.starts_with(b"..")
            };
            target.is_file()
                && target
                    .strip_prefix(&self.real)
                    .is_ok_and(|below| !below.iter().any(is_secret))
                && !self
                    .ignored
                    .iter()
                    .any(|ignored| target.starts_with(ignored))
        })
    }
}

/// Returns the path without links; the last parts need not exist yet.
fn without_links(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            without_links(Path::new(".")).join(name)
        }
        (Err(_), Some(parent), Some(name)) => without_links(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Adds the folder to an error, since it may be far below the folder that the user named.
fn at(folder: &Path, error: &io::Error) -> io::Error {
    let message = format!("{}: {error}", folder.display());
    io::Error::new(error.kind(), message)
}

fn ignore_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads one regular file. An unreadable file becomes a fault of the manifest.
pub fn read(path: &Path) -> Manifest {
    let name = path.display().to_string();
    match read_regular(path, LONGEST as u64) {
        Ok(bytes) => Manifest::read(&name, &bytes),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Manifest::too_long(&name),
        Err(error) => Manifest::unreadable(&name, &error.to_string()),
    }
}

/// Returns whether a path is one of the process's own descriptors. Shells pass `<(command)` as such a path, so a pipe
/// is accepted there.
pub fn is_descriptor(path: &Path) -> bool {
    let below = |folder: &str| path.parent() == Some(Path::new(folder));
    path == Path::new("/dev/stdin") || below("/dev/fd") || below("/proc/self/fd")
}

/// Reads the input, but at most one byte more than the maximum length, which is enough to detect a too long one.
pub fn read_bounded(input: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "a: 1").unwrap();
    }

    #[test]
    fn an_ignored_folder_may_be_created_later() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("deep/../deep/state");
        std::fs::create_dir(root.path().join("deep")).unwrap();
        let folder = Folder::open(root.path(), &[state]).unwrap();
        write(root.path(), "deep/state/secrets/a.yaml");
        assert_eq!(folder.files().unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn only_manifests_inside_the_directory_are_found() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "secret.yaml");
        for path in [
            "b.yaml",
            "a/c.yml",
            "a/d.json",
            ".git/e.yaml",
            ".f.yaml",
            "state/g.yaml",
            "h.txt",
            ".git/config",
            "..2026/volume.yaml",
        ] {
            write(root.path(), path);
        }
        #[cfg(unix)]
        {
            let link = |to: PathBuf, from: &str| {
                std::os::unix::fs::symlink(to, root.path().join(from)).unwrap();
            };
            link(outside.path().join("secret.yaml"), "out.yaml");
            link(outside.path().to_owned(), "out");
            link(root.path().to_owned(), "loop");
            link(root.path().join("b.yaml"), "in.yaml");
            link(root.path().join("state/g.yaml"), "state.yaml");
            link(root.path().join(".f.yaml"), "hidden.yaml");
            link(root.path().join(".git/config"), "config.yaml");
            link(PathBuf::from("..2026"), "..data");
            link(PathBuf::from("..data/volume.yaml"), "volume.yaml");
        }
        let folder = Folder::open(root.path(), &[root.path().join("state")]).unwrap();
        let files = folder.files().unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap())
            .collect();
        let expected: &[&str] = if cfg!(unix) {
            &["a/c.yml", "a/d.json", "b.yaml", "in.yaml", "volume.yaml"]
        } else {
            &["a/c.yml", "a/d.json", "b.yaml"]
        };
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_too_long_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        assert!(
            read(&path).faults[0]
                .message
                .starts_with("cannot be read: ")
        );
        std::fs::write(&path, vec![b' '; LONGEST + 10]).unwrap();
        assert!(read(&path).faults[0].message.contains("longer than 1 MiB"));
        assert!(Folder::open(&path, &[]).is_err());
    }

    #[test]
    fn fifos_and_devices_do_not_block() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("fifo.yaml");
        crate::state_file::testing::fifo(&fifo);
        let device = root.path().join("device.yaml");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        let huge = root.path().join("huge.yaml");
        let file = std::fs::File::create(&huge).unwrap();
        file.set_len(10 << 30).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        assert_eq!(folder.files().unwrap(), std::slice::from_ref(&huge));
        for path in [&fifo, &device] {
            let message = &read(path).faults[0].message;
            assert!(message.contains("not a regular file"), "{message}");
        }
        assert!(read(&huge).faults[0].message.contains("longer than 1 MiB"));
    }

    #[test]
    fn the_depth_of_folders_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("{}a.yaml", "d/".repeat(DEEPEST - 1)));
        let folder = Folder::open(root.path(), &[]).unwrap();
        assert_eq!(folder.files().unwrap().len(), 1);
        write(root.path(), &format!("{}a.yaml", "d/".repeat(DEEPEST)));
        let error = folder.files().unwrap_err().to_string();
        assert!(error.contains("/d/d: folders are nested deeper"), "{error}");
    }
}
