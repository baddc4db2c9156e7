//! Where the socket is: its folder, and how to bind and to connect without following what others have put there.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};

/// The name of the socket in its folder.
const SOCKET: &str = "server.sock";
/// What is added to the name of a store's file.
const SUFFIX: &str = ".control";

/// Returns the folder of the socket of the server that uses a store's file.
pub fn folder_of(store: &Path) -> PathBuf {
    let mut name = store.to_owned().into_os_string();
    name.push(SUFFIX);
    name.into()
}

/// A bound socket, which is removed when this value is dropped.
pub struct Place {
    folder: OwnedFd,
    pub(super) listener: UnixListener,
}

impl Place {
    /// Creates the folder and binds the socket. Only the process that holds the store's lock may call it: it replaces a
    /// socket that is already there.
    ///
    /// # Errors
    /// The folder belongs to another user, or the file system supports no sockets.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = open(path)?;
        let found = fs::fstat(&folder)?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user: delete it"));
        }
        if found.st_mode & 0o077 != 0 {
            fs::fchmod(&folder, Mode::RWXU)?;
        }
        if fs::fstat(&folder)?.st_mode & 0o077 != 0 {
            let words = "its file system stores no file modes, so other users could connect";
            return Err(io::Error::other(words));
        }
        remove(&folder)?;
        let socket = way(&folder, path);
        let listener = UnixListener::bind(&socket)?;
        // The folder keeps others out until the mode is set.
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        Ok(Self { folder, listener })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A socket that stays refuses connections, and the next server replaces it.
        let _ = remove(&self.folder);
    }
}

/// Connects to the server whose socket is in a folder.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let folder = open(path)?;
    UnixStream::connect(way(&folder, path)).await
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?)
}

fn remove(folder: &OwnedFd) -> io::Result<()> {
    match fs::unlinkat(folder, SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns a path to the socket in the open folder. The address of a socket is at most 107 bytes long, and paths of state
/// folders may be longer.
#[cfg(target_os = "linux")]
fn way(folder: &OwnedFd, _: &Path) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(SOCKET)
}

#[cfg(not(target_os = "linux"))]
fn way(_: &OwnedFd, path: &Path) -> PathBuf {
    path.join(SOCKET)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        let found = std::fs::symlink_metadata(path).unwrap();
        found.permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_user_of_the_server_can_reach_the_socket() {
        let root = tempfile::tempdir().unwrap();
        // Longer than the address of a socket may be.
        let deep = root.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let folder = folder_of(&deep.join("a.db"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let socket = folder.join(SOCKET);
        std::fs::write(&socket, "left by another").unwrap();
        let place = Place::bind(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&socket)), (0o700, 0o600));
        let found = std::fs::symlink_metadata(&socket).unwrap();
        assert!(found.file_type().is_socket());
        connect(&folder).await.unwrap();
        // A server that crashed leaves its socket.
        drop(place);
        assert!(!socket.exists());
        let error = connect(&folder).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        drop(
            std::os::unix::net::UnixListener::bind(way(&open(&folder).unwrap(), &folder)).unwrap(),
        );
        let error = connect(&folder).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let _again = Place::bind(&folder).unwrap();
        connect(&folder).await.unwrap();
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let theirs = root.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        let folder = root.path().join("a.db.control");
        symlink(&theirs, &folder).unwrap();
        assert!(Place::bind(&folder).is_err());
        assert!(connect(&folder).await.is_err());
        assert_eq!(std::fs::read_dir(&theirs).unwrap().count(), 0);
    }
}
