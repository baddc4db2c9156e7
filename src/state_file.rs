//! Files that only their owner may read, written whole or not at all.
//!
//! Dev mode keeps its state in them: what an API server and etcd keep elsewhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// Makes a folder and those above it that are missing, for their owner alone. One that is there and open
/// to others is closed; one that is a link is refused, since it may have come with somebody's repository.
pub fn ensure_folder(path: &Path) -> io::Result<()> {
    refuse_link(path)?;
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)?;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_FOLDER))?;
    }
    Ok(())
}

fn refuse_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(it) if it.is_symlink() => Err(io::Error::other(format!(
            "{} is a symbolic link: what is written there would be written elsewhere",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes a file so that a reader, and a crash, finds the old content or the new. The folder must be there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = path.with_file_name(beside);
    // A remainder of a crash may have other rights: it goes first.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_FILE)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Opens a file to be locked; makes it where it is absent. A link is refused.
pub fn open_lock(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path)
}

/// Reads a file; `None` where there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; one that is gone already is removed.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_what_is_written() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        ensure_folder(&folder).unwrap();
        assert_eq!(
            (mode(&folder), mode(&root.path().join("a"))),
            (0o700, 0o700)
        );
        let file = folder.join("it.yaml");
        fs::write(&file, "open to all").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        write(&file, b"secret").unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(read(&file).unwrap().unwrap(), b"secret");
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_folder_that_was_open_is_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        ensure_folder(root.path()).unwrap();
        assert_eq!(mode(root.path()), 0o700);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, lock) = (root.path().join("secrets"), root.path().join(".lock"));
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("new"), &lock).unwrap();
        assert!(ensure_folder(&folder).is_err());
        assert!(open_lock(&lock).is_err());
        assert_eq!(mode(elsewhere.path()), 0o755);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);

        let file = elsewhere.path().join("theirs");
        fs::write(&file, "theirs").unwrap();
        std::os::unix::fs::symlink(&file, root.path().join("it")).unwrap();
        write(&root.path().join("it"), b"ours").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"theirs");
    }

    #[test]
    fn the_remainder_of_a_crash_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("it");
        fs::write(root.path().join(".it.new"), "half").unwrap();
        write(&file, b"whole").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"whole");
    }

    #[test]
    fn what_is_absent_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(&root.path().join("it")).unwrap(), None);
        remove(&root.path().join("it")).unwrap();
    }
}
