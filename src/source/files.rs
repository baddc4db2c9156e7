//! Finds and reads manifest files.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::kustomization::{self, Patch};
use super::manifest::Manifest;
use super::yaml::LONGEST;
use crate::state_file::{Dir, EntryKind, read_regular};

/// The maximum depth of nested folders.
const DEEPEST: usize = 64;

/// The maximum number of attempts to read a file: the target of a link may be replaced meanwhile, as in a mounted
/// `ConfigMap`.
const ATTEMPTS: usize = 3;

/// A directory of manifests with its subfolders.
///
/// A stranger may have written its contents and may change them at any time. So each file is opened below a handle of
/// the directory, and no link is followed then: what a link leads to is resolved to a path without links before.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    ignored: Vec<PathBuf>,
}

impl Folder {
    /// Opens a directory, without the `ignored` folders, such as the state folder.
    pub fn open(root: &Path, ignored: &[PathBuf]) -> io::Result<Self> {
        if !root.canonicalize()?.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                "not a directory",
            ));
        }
        let ignored = ignored.iter().map(|path| without_links(path));
        Ok(Self {
            root: root.to_owned(),
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
        let view = self.view()?;
        let mut files = Vec::new();
        view.walk(Path::new(""), DEEPEST, &mut files)?;
        files.sort();
        Ok(view.split(files))
    }

    /// Returns a file of the directory, or its patch if a kustomization in its folder, or in a folder above it in the
    /// directory, names it as one. The path is relative to the directory.
    pub fn file_or_patch(&self, below: &Path) -> io::Result<(Vec<PathBuf>, Vec<Patch>)> {
        Ok(self.view()?.split(vec![below.to_owned()]))
    }

    /// Reads a file of the directory. A file that cannot be read, or has become a link that leads out of the directory,
    /// is a fault of the manifest.
    pub fn read(&self, path: &Path) -> Manifest {
        let read = || {
            let below = path.strip_prefix(&self.root);
            self.view()?.read(below.map_err(io::Error::other)?)
        };
        manifest(path, read())
    }

    /// Returns whether a path below the directory may be a manifest or a folder with manifests.
    pub fn concerns(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.root);
        below.map_or(true, |below| {
            !below.iter().any(|part| is_hidden(Path::new(part)))
        })
    }

    /// Opens the directory that the path names now: dev mode continues after the directory was replaced.
    fn view(&self) -> io::Result<View<'_>> {
        Ok(View {
            dir: Dir::open(&self.root)?,
            real: self.root.canonicalize()?,
            folder: self,
        })
    }
}

/// A directory held open. Paths are relative to it.
struct View<'f> {
    dir: Dir,
    /// The path without links, to decide what is inside.
    real: PathBuf,
    folder: &'f Folder,
}

impl View<'_> {
    fn walk(&self, folder: &Path, deeper: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
        let shown = || self.folder.root.join(folder);
        let Some(deeper) = deeper.checked_sub(1) else {
            let message =
                format!("folders are nested deeper than {DEEPEST}: move some of them out");
            return Err(at(&shown(), &io::Error::other(message)));
        };
        // A folder that is deleted in the meantime has no entries.
        let entries = self.dir.entries(folder);
        for entry in entries.map_err(|error| at(&shown(), &error))? {
            let path = folder.join(&entry.name);
            if is_hidden(&path) {
                continue;
            }
            match entry.kind {
                EntryKind::Folder if !self.folder.ignored.contains(&self.real.join(&path)) => {
                    self.walk(&path, deeper, files)?;
                }
                EntryKind::File if is_manifest(&path) => files.push(path),
                EntryKind::Link if is_manifest(&path) && self.file(&path).is_some() => {
                    files.push(path);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Separates the patches of kustomizations from the files, and adds the path of the directory to both.
    fn split(&self, files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<Patch>) {
        let root = &self.folder.root;
        let (files, patches) =
            kustomization::split(files, |path| self.file(path), |path| self.read(path).ok());
        let whole = |below: PathBuf| {
            if below.as_os_str().is_empty() {
                root.clone()
            } else {
                root.join(below)
            }
        };
        let patches = patches.into_iter().map(|patch| Patch {
            file: whole(patch.file),
            kustomization: whole(patch.kustomization),
        });
        (files.into_iter().map(whole).collect(), patches.collect())
    }

    /// Returns the path of a regular file without links, if it is inside.
    fn file(&self, path: &Path) -> Option<PathBuf> {
        let real = self.inside(path).ok()?;
        let found = std::fs::symlink_metadata(self.real.join(&real)).ok()?;
        found.is_file().then_some(real)
    }

    /// Returns a path without links.
    ///
    /// # Errors
    /// A link leads out of the directory, or to a hidden or ignored file in it.
    fn inside(&self, path: &Path) -> io::Result<PathBuf> {
        // A ConfigMap volume has its files in `..data` and similar folders.
        let is_secret = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            name.starts_with(b".") && !name.starts_with(b"..")
        };
        let ignored = &self.folder.ignored;
        let target = self.real.join(path).canonicalize()?;
        let below = target.strip_prefix(&self.real).ok().filter(|below| {
            *below == path
                || !below.iter().any(is_secret)
                    && !ignored.iter().any(|ignored| target.starts_with(ignored))
        });
        below.map(Path::to_owned).ok_or_else(|| {
            io::Error::other(
                "it is a link that leads out of the directory, or to a hidden file: put a file in its place",
            )
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let attempt = || {
            let real = self.inside(path)?;
            self.dir.read(&real, LONGEST as u64)
        };
        let mut failure = io::ErrorKind::NotFound.into();
        for _ in 0..ATTEMPTS {
            match attempt() {
                Ok(Some(content)) => return Ok(content.bytes),
                Ok(None) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
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

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads one regular file that the user named: links in this path are the user's. An unreadable file becomes a fault of
/// the manifest.
pub fn read(path: &Path) -> Manifest {
    manifest(path, read_regular(path, LONGEST as u64))
}

fn manifest(path: &Path, read: io::Result<Vec<u8>>) -> Manifest {
    let name = path.display().to_string();
    match read {
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

    /// The author of the directory may replace anything between the listing and the reading.
    #[test]
    fn what_became_a_link_out_of_the_directory_after_the_listing_is_not_read() {
        use std::os::unix::fs::symlink;
        const SECRET: &str = "apiVersion: symbolon.dev/v1alpha1\nkind: hunter2\n";
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("c.yaml"), SECRET).unwrap();
        for path in [
            "a/b/c.yaml",
            "d.yaml",
            "e.yaml",
            ".git/c.yaml",
            "state/c.yaml",
        ] {
            write(root.path(), path);
        }
        std::fs::write(root.path().join(".git/c.yaml"), SECRET).unwrap();
        std::fs::write(root.path().join("state/c.yaml"), SECRET).unwrap();
        symlink("d.yaml", root.path().join("f.yaml")).unwrap();
        let folder = Folder::open(root.path(), &[root.path().join("state")]).unwrap();
        let files = folder.files().unwrap();
        assert_eq!(files.len(), 4);
        let replace = |path: &str, target: &Path| {
            let path = root.path().join(path);
            if path.is_dir() {
                std::fs::remove_dir_all(&path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
            symlink(target, path).unwrap();
        };
        replace("a/b", outside.path());
        replace("d.yaml", &outside.path().join("c.yaml"));
        replace("e.yaml", Path::new(".git/c.yaml"));
        for path in &files {
            let read = folder.read(path);
            assert!(!read.source.text.contains("hunter2"), "{path:?}");
            let fault = &read.faults[0].message;
            assert!(fault.starts_with("cannot be read: it is a link"), "{fault}");
        }
        replace("e.yaml", Path::new("state/c.yaml"));
        replace("d.yaml", Path::new("../d.yaml"));
        for path in &files {
            assert!(!folder.read(path).faults.is_empty(), "{path:?}");
        }
    }

    /// No link is followed when a file is opened: each state of the directory between two system calls is safe.
    #[test]
    fn a_link_that_changes_all_the_time_never_leads_out() {
        use std::os::unix::fs::symlink;
        use std::sync::atomic::{AtomicBool, Ordering};
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("c.yaml"), "hunter2").unwrap();
        write(outside.path(), "private-name.yaml");
        write(root.path(), "real/c.yaml");
        write(root.path(), "sub/c.yaml");
        symlink("sub/c.yaml", root.path().join("link.yaml")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let (sub, aside) = (root.path().join("sub"), root.path().join("aside"));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(&sub, &aside).unwrap();
                    symlink(outside.path(), &sub).unwrap();
                    std::fs::remove_file(&sub).unwrap();
                    std::fs::rename(&aside, &sub).unwrap();
                }
            });
            for _ in 0..2000 {
                // A listing may fail because a folder has just become a link.
                for path in folder.files().unwrap_or_default() {
                    assert!(!path.ends_with("private-name.yaml"), "{path:?}");
                }
                for path in ["sub/c.yaml", "link.yaml", "real/c.yaml"] {
                    let read = folder.read(&root.path().join(path));
                    assert!(!read.source.text.contains("hunter2"), "{path}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    /// A mounted `ConfigMap`: the files are links through `..data`, which is replaced in one step.
    #[test]
    fn files_of_a_configmap_volume_are_read_before_and_after_an_update() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "..2026_01/a.yaml");
        symlink("..2026_01", root.path().join("..data")).unwrap();
        symlink("..data/a.yaml", root.path().join("a.yaml")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let path = root.path().join("a.yaml");
        assert_eq!(folder.files().unwrap(), std::slice::from_ref(&path));
        assert_eq!(folder.read(&path).source.text, "a: 1");
        write(root.path(), "..2026_02/a.yaml");
        std::fs::write(root.path().join("..2026_02/a.yaml"), "a: 2").unwrap();
        symlink("..2026_02", root.path().join("..data_tmp")).unwrap();
        std::fs::rename(root.path().join("..data_tmp"), root.path().join("..data")).unwrap();
        std::fs::remove_dir_all(root.path().join("..2026_01")).unwrap();
        assert_eq!(folder.read(&path).source.text, "a: 2");
    }

    #[test]
    fn a_kustomization_is_not_read_through_a_link_out_of_the_directory() {
        use std::os::unix::fs::symlink;
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("k.yaml"), "patches: [{path: a.yaml}]").unwrap();
        write(root.path(), "one/a.yaml");
        write(root.path(), "two/a.yaml");
        symlink(
            outside.path().join("k.yaml"),
            root.path().join("one/Kustomization"),
        )
        .unwrap();
        std::fs::write(root.path().join("k"), "patches: [{path: a.yaml}]").unwrap();
        symlink("../k", root.path().join("two/Kustomization")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let (files, patches) = folder.files_and_patches().unwrap();
        assert_eq!(files, [root.path().join("one/a.yaml")]);
        assert_eq!(patches[0].file, root.path().join("two/a.yaml"));
        assert_eq!(patches[0].kustomization, root.path().join("two"));
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
