//! Finding and reading files of manifests.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::yaml::LONGEST;
use crate::state_file::read_regular;

/// How deep folders are looked into.
const DEEPEST: usize = 64;

/// A directory of manifests, as far down as it goes.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    /// The same without links, to know what lies in it.
    real: PathBuf,
    ignored: Vec<PathBuf>,
}

impl Folder {
    /// A directory, without these of its folders, such as the one that holds the state.
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

    /// Where it is, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its files of manifests in the order of their paths. Hidden files and folders are left out, links to folders, links
    /// that lead out of the directory or to what is hidden in it, and what is not a regular file.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        self.walk(&self.root, DEEPEST, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// Whether a path below the directory may be one of a manifest, or of a folder of some.
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
                    // A folder that goes away meanwhile has no files.
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
            // `..data` and the like are where the volume of a ConfigMap has its files.
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

/// A path as it is, or will be once it is made.
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

/// An error of one of the folders, which may be far below the one that the user named.
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

/// Reads one regular file; what cannot be read is a fault of it.
pub fn read(path: &Path) -> Manifest {
    let name = path.display().to_string();
    match read_regular(path, LONGEST as u64) {
        Ok(bytes) => Manifest::read(&name, &bytes),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Manifest::too_long(&name),
        Err(error) => Manifest::unreadable(&name, &error.to_string()),
    }
}

/// Whether a path is one of the process's own descriptors, as shells write `<(command)`: a pipe there was meant.
pub fn is_descriptor(path: &Path) -> bool {
    let below = |folder: &str| path.parent() == Some(Path::new(folder));
    path == Path::new("/dev/stdin") || below("/dev/fd") || below("/proc/self/fd")
}

/// Reads no more than it takes to see that something is too long.
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
    fn a_folder_that_is_made_later_is_ignored_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("deep/../deep/state");
        std::fs::create_dir(root.path().join("deep")).unwrap();
        let folder = Folder::open(root.path(), &[state]).unwrap();
        write(root.path(), "deep/state/secrets/a.yaml");
        assert_eq!(folder.files().unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn manifests_are_found_all_the_way_down_and_nothing_else() {
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
    fn what_is_not_a_regular_file_is_not_waited_for() {
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
    fn folders_have_a_deepest() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("{}a.yaml", "d/".repeat(DEEPEST - 1)));
        let folder = Folder::open(root.path(), &[]).unwrap();
        assert_eq!(folder.files().unwrap().len(), 1);
        write(root.path(), &format!("{}a.yaml", "d/".repeat(DEEPEST)));
        let error = folder.files().unwrap_err().to_string();
        assert!(error.contains("/d/d: folders are nested deeper"), "{error}");
    }
}
