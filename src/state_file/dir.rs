//! A folder held open: paths below it are opened component by component, and no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use rustix::fs::{self, AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::regular::{AT_ONCE, contents, irregular};

const PRIVATE_FOLDER: fs::Mode = fs::Mode::RWXU;
const OF_A_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Who may read a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Only the owner.
    Private,
    /// Every user that the umask of the process allows.
    Public,
}

/// A file that was read.
#[derive(Debug)]
pub struct Content {
    /// The content.
    pub bytes: Vec<u8>,
    /// The last modification: seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a folder is; a link is not what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// Something else, such as a FIFO or a device.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Folder,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// A folder. Paths are relative to it and contain only names. A link in place of a folder or file is an error. A file
/// is replaced and never overwritten, so other hard links to it do not change.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens a folder that the user named; links in this path are the user's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = fs::open(path, OF_A_FOLDER, fs::Mode::empty())?;
        Ok(Self(folder))
    }

    /// Opens a folder inside one that the user named; it must not be a link. Creates it if it is absent.
    pub(super) fn make_in(parent: &Path, name: &OsStr) -> io::Result<Self> {
        let parent = Self::open(parent)?;
        match fs::mkdirat(&parent.0, name, PRIVATE_FOLDER) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Do not change its mode before it is judged.
        parent.folder(Path::new(name), false).map(Self)
    }

    /// Returns the folder's metadata.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.0.try_clone()?).metadata()
    }

    /// Removes all rights of other users.
    pub(super) fn close_to_others(&self) -> io::Result<()> {
        Ok(fs::fchmod(&self.0, PRIVATE_FOLDER)?)
    }

    /// Creates a folder and its missing parents with mode 0700; folders that are open to other users are closed.
    pub fn ensure(&self, path: &Path) -> io::Result<()> {
        self.folder(path, true).map(drop)
    }

    /// Reads a regular file of at most `most` bytes; `None` if it does not exist.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Option<Content>> {
        let file = match self.open_file(path, OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (bytes, metadata) = contents(file, most)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Some(Content { bytes, modified }))
    }

    /// Writes a file atomically: a reader, or a crash, sees the old or the new content. Creates missing folders.
    pub fn write(&self, path: &Path, content: &[u8], mode: FileMode) -> io::Result<()> {
        let (folder, name) = self.parent(path, true)?;
        let beside = write_beside(&folder, name, content, mode)?;
        fs::renameat(&folder, &beside, &folder, name)
            .map_err(|error| in_the_way(error.into(), &folder, name))?;
        Ok(fs::fsync(&folder)?)
    }

    /// Writes a file that exists, atomically. Returns `false`, and writes nothing, if it does not exist: a file that
    /// another process deletes at the same time does not come back.
    pub fn replace(&self, path: &Path, content: &[u8], mode: FileMode) -> io::Result<bool> {
        let (folder, name) = match self.parent(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            parent => parent?,
        };
        let beside = write_beside(&folder, name, content, mode)?;
        match fs::renameat_with(&folder, &beside, &folder, name, fs::RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                remove(&folder, &beside)?;
                return Ok(false);
            }
            // Some file systems cannot exchange two files.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if kind_of(&folder, name).is_none() {
                    remove(&folder, &beside)?;
                    return Ok(false);
                }
                fs::renameat(&folder, &beside, &folder, name)
                    .map_err(|error| in_the_way(error.into(), &folder, name))?;
            }
            Err(error) => {
                remove(&folder, &beside)?;
                return Err(error.into());
            }
        }
        // The old file, after an exchange. A folder was exchanged too, and goes back.
        if let Err(error) = remove(&folder, &beside) {
            fs::renameat_with(&folder, &beside, &folder, name, fs::RenameFlags::EXCHANGE)?;
            remove(&folder, &beside)?;
            return Err(in_the_way(error, &folder, name));
        }
        fs::fsync(&folder)?;
        Ok(true)
    }

    /// Opens a file to be locked; creates it if it is absent.
    pub fn open_lock(&self, path: &Path) -> io::Result<File> {
        let file = self.open_file(path, OFlags::WRONLY | OFlags::CREATE)?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(irregular())
        }
    }

    /// Removes a file or a link; does nothing if it is absent.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        match self.parent(path, false) {
            Ok((folder, name)) => remove(&folder, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists a folder in the order of names; empty if it is absent. The empty path is this folder.
    pub fn entries(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let folder = match self.folder(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut found = Vec::new();
        for entry in fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell the type here.
                FileType::Unknown => kind_of(&folder, &name).unwrap_or(FileType::Unknown),
                kind => kind,
            };
            let kind = kind.into();
            found.push(DirEntry { name, kind });
        }
        found.sort();
        Ok(found)
    }

    fn open_file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let (folder, name) = self.parent(path, flags.contains(OFlags::CREATE))?;
        let flags = flags | OFlags::NOFOLLOW | AT_ONCE;
        let mode = fs::Mode::RUSR | fs::Mode::WUSR;
        match fs::openat(&folder, name, flags, mode) {
            Ok(file) => Ok(File::from(file)),
            Err(error) => Err(explained(error, &folder, name)),
        }
    }

    /// Opens the parent folder of a path, and returns it with the file's name.
    fn parent<'a>(&self, path: &'a Path, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.folder(parent, make)?, name))
    }

    fn folder(&self, path: &Path, make: bool) -> io::Result<OwnedFd> {
        let names = path.components().map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        });
        let names: Vec<&OsStr> = names.collect::<io::Result<_>>()?;
        let mut folder = self.0.try_clone()?;
        for name in names {
            if make {
                match fs::mkdirat(&folder, name, PRIVATE_FOLDER) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(Errno::NOENT) => return Err(gone()),
                    Err(error) => return Err(error.into()),
                }
            }
            let flags = OF_A_FOLDER | OFlags::NOFOLLOW;
            let next = fs::openat(&folder, name, flags, fs::Mode::empty())
                .map_err(|error| explained(error, &folder, name))?;
            if make && fs::fstat(&next)?.st_mode & 0o077 != 0 {
                fs::fchmod(&next, PRIVATE_FOLDER)?;
            }
            folder = next;
        }
        Ok(folder)
    }
}

/// Writes a new file beside the one of this name, and returns the new file's name.
fn write_beside(
    folder: &OwnedFd,
    name: &OsStr,
    content: &[u8],
    mode: FileMode,
) -> io::Result<OsString> {
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(".new");
    // A temporary file left by a crash may have another mode: remove it first.
    remove(folder, &beside).map_err(|error| in_the_way(error, folder, &beside))?;
    let mode = match mode {
        FileMode::Private => fs::Mode::RUSR | fs::Mode::WUSR,
        FileMode::Public => fs::Mode::from_raw_mode(0o666),
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | AT_ONCE;
    let mut file = File::from(fs::openat(folder, &beside, flags, mode)?);
    file.write_all(content)?;
    file.sync_all()?;
    Ok(beside)
}

fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn kind_of(folder: &OwnedFd, name: &OsStr) -> Option<FileType> {
    let found = fs::statat(folder.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(found.st_mode))
}

/// Names the obstacle if the system's error does not. The caller adds the path.
fn explained(error: Errno, folder: &OwnedFd, name: &OsStr) -> io::Error {
    let name_shown = name.display();
    match (error, kind_of(folder, name)) {
        (Errno::LOOP | Errno::NOTDIR | Errno::MLINK, Some(FileType::Symlink)) => io::Error::other(
            format!("{name_shown} is a symbolic link, which may point anywhere: remove it"),
        ),
        (Errno::NOTDIR, Some(_)) => {
            io::Error::other(format!("{name_shown} is not a folder: remove it"))
        }
        (Errno::NXIO, _) => irregular(),
        _ => error.into(),
    }
}

/// Names a folder that is in place of the file to write.
fn in_the_way(error: io::Error, folder: &OwnedFd, name: &OsStr) -> io::Error {
    match kind_of(folder, name) {
        Some(FileType::Directory) => io::Error::other(format!(
            "{} is a folder in place of a file: remove it",
            name.display()
        )),
        _ => error,
    }
}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the folder was deleted while it was in use: start again",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::testing::fifo;
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn text(dir: &Dir, path: &str) -> Option<String> {
        let content = dir.read(Path::new(path), 1000).unwrap()?;
        Some(String::from_utf8(content.bytes).unwrap())
    }

    #[test]
    fn only_the_owner_can_read_a_private_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let folder = root.path().join("a/b");
        dir.ensure(Path::new("a/b")).unwrap();
        assert_eq!(
            (mode(&folder), mode(&root.path().join("a"))),
            (0o700, 0o700)
        );
        let file = folder.join("it.yaml");
        fs::write(&file, "open to all").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        dir.write(Path::new("a/b/it.yaml"), b"secret", FileMode::Private)
            .unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(text(&dir, "a/b/it.yaml").unwrap(), "secret");
        let left = dir.entries(Path::new("a/b")).unwrap();
        assert_eq!(left.len(), 1, "no temporary file remains");
    }

    #[test]
    fn an_open_folder_is_closed_to_other_users() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("it");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        Dir::open(root.path())
            .unwrap()
            .ensure(Path::new("it"))
            .unwrap();
        assert_eq!(mode(&folder), 0o700);
    }

    /// A repository may contain links in place of each component.
    #[test]
    fn no_operation_follows_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(elsewhere.path().join("Scope")).unwrap();
        let theirs = elsewhere.path().join("Scope/it.yaml");
        fs::write(&theirs, "theirs").unwrap();
        fs::create_dir(root.path().join("status")).unwrap();
        symlink(elsewhere.path(), root.path().join("first")).unwrap();
        symlink(
            elsewhere.path().join("Scope"),
            root.path().join("status/Scope"),
        )
        .unwrap();
        symlink(&theirs, root.path().join("status/it.yaml")).unwrap();
        symlink(
            elsewhere.path().join("new"),
            root.path().join("status/dangling"),
        )
        .unwrap();
        let dir = Dir::open(root.path()).unwrap();
        for path in ["first/Scope/it.yaml", "status/Scope/it.yaml"] {
            let path = Path::new(path);
            assert!(dir.read(path, 1000).is_err());
            assert!(dir.write(path, b"ours", FileMode::Private).is_err());
            assert!(dir.remove(path).is_err());
            assert!(dir.open_lock(path).is_err());
            assert!(dir.ensure(path.parent().unwrap()).is_err());
            assert!(dir.entries(path.parent().unwrap()).is_err());
        }
        for path in ["status/it.yaml", "status/dangling"].map(Path::new) {
            let error = dir.read(path, 1000).unwrap_err();
            assert!(error.to_string().contains("is a symbolic link"), "{error}");
            assert!(dir.open_lock(path).is_err());
            // A write replaces the link, and a removal removes it.
            dir.write(path, b"ours", FileMode::Private).unwrap();
            assert_eq!(text(&dir, path.to_str().unwrap()).unwrap(), "ours");
            dir.remove(path).unwrap();
        }
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
        assert_eq!(mode(elsewhere.path()), 0o755);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
        for out in ["../it", "/etc/passwd", "a/../../it", ""] {
            assert!(dir.read(Path::new(out), 1000).is_err(), "{out}");
        }
    }

    #[test]
    fn a_held_folder_stays_the_same_when_its_path_is_replaced() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let named = root.path().join("state");
        fs::create_dir(&named).unwrap();
        let dir = Dir::open(&named).unwrap();
        fs::rename(&named, root.path().join("moved")).unwrap();
        symlink(elsewhere.path(), &named).unwrap();
        dir.write(Path::new("keys/it"), b"ours", FileMode::Private)
            .unwrap();
        assert_eq!(
            fs::read(root.path().join("moved/keys/it")).unwrap(),
            b"ours"
        );
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_write_does_not_change_other_hard_links() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("theirs"), "theirs").unwrap();
        fs::hard_link(root.path().join("theirs"), root.path().join("it")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        dir.write(Path::new("it"), b"ours", FileMode::Private)
            .unwrap();
        assert_eq!(fs::read(root.path().join("theirs")).unwrap(), b"theirs");
    }

    #[test]
    fn a_file_that_is_not_regular_is_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        fifo(&root.path().join("fifo"));
        fs::create_dir(root.path().join("folder")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        for name in ["fifo", "folder"].map(Path::new) {
            let error = dir.read(name, 1000).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
            assert!(dir.open_lock(name).is_err());
        }
        dir.write(Path::new("fifo"), b"whole", FileMode::Private)
            .unwrap();
        assert_eq!(text(&dir, "fifo").unwrap(), "whole");
        assert!(
            dir.read(Path::new("fifo"), 4).is_err(),
            "longer than the limit"
        );
    }

    #[test]
    fn a_replaced_file_must_exist() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        for name in ["it", "folder/it"].map(Path::new) {
            assert!(!dir.replace(name, b"new", FileMode::Private).unwrap());
            assert_eq!(dir.entries(Path::new("")).unwrap(), []);
        }
        fs::write(root.path().join("it"), "a much longer old content").unwrap();
        assert!(
            dir.replace(Path::new("it"), b"new", FileMode::Private)
                .unwrap()
        );
        assert_eq!(text(&dir, "it").unwrap(), "new");
        assert_eq!(mode(&root.path().join("it")), 0o600);
        assert_eq!(dir.entries(Path::new("")).unwrap().len(), 1);
    }

    #[test]
    fn a_folder_in_place_of_the_replaced_file_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        fs::create_dir_all(root.path().join("it/deeper")).unwrap();
        let replaced = dir.replace(Path::new("it"), b"new", FileMode::Private);
        let error = replaced.unwrap_err().to_string();
        assert!(error.contains("it is a folder"), "{error}");
        assert!(root.path().join("it/deeper").exists());
        assert_eq!(dir.entries(Path::new("")).unwrap().len(), 1);
    }

    /// One thread deletes the file again and again: each replacement is whole, or writes nothing.
    #[test]
    fn a_deleted_file_does_not_come_back() {
        let root = tempfile::tempdir().unwrap();
        let (dir, file) = (Dir::open(root.path()).unwrap(), root.path().join("it"));
        for _ in 0..200 {
            fs::write(&file, "old").unwrap();
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    fs::remove_file(&file).unwrap();
                });
                start.wait();
                dir.replace(Path::new("it"), b"new", FileMode::Private)
                    .unwrap();
            });
            assert!(!file.exists());
        }
    }

    #[test]
    fn a_temporary_file_left_by_a_crash_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".it.new"), "half").unwrap();
        let dir = Dir::open(root.path()).unwrap();
        dir.write(Path::new("it"), b"whole", FileMode::Private)
            .unwrap();
        assert_eq!(text(&dir, "it").unwrap(), "whole");
    }

    #[test]
    fn an_error_names_a_folder_in_place_of_a_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        for name in [".it.new", "it"] {
            let folder = root.path().join(name).join("deeper");
            fs::create_dir_all(&folder).unwrap();
            let written = dir.write(Path::new("it"), b"ours", FileMode::Private);
            let error = written.unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is a folder")), "{error}");
            assert!(folder.exists());
            fs::remove_dir_all(root.path().join(name)).unwrap();
        }
        dir.write(Path::new("it"), b"ours", FileMode::Private)
            .unwrap();
    }

    #[test]
    fn an_absent_file_is_not_an_error() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        assert_eq!(text(&dir, "it"), None);
        assert_eq!(text(&dir, "a/b/it"), None);
        dir.remove(Path::new("it")).unwrap();
        dir.remove(Path::new("a/b/it")).unwrap();
        assert_eq!(dir.entries(Path::new("a")).unwrap(), []);
    }

    #[test]
    fn a_deleted_folder_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("state");
        fs::create_dir(&named).unwrap();
        let dir = Dir::open(&named).unwrap();
        fs::remove_dir(&named).unwrap();
        let error = dir
            .write(Path::new("keys/it"), b"ours", FileMode::Private)
            .unwrap_err();
        assert!(error.to_string().contains("was deleted"), "{error}");
    }
}
