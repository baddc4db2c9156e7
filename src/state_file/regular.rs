//! Reads regular files of bounded length, from places where another user may have put something else.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a FIFO at once instead of waiting for its writer, and never takes a terminal as the controlling one.
pub(super) const AT_ONCE: OFlags = OFlags::NONBLOCK
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Reads a regular file of at most `most` bytes. Follows links on the way: the path is the user's own.
///
/// # Errors
/// The file cannot be read, is longer, or is a device, a FIFO, a socket or a folder.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Some devices act when they are opened.
    refuse_irregular(&std::fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(AT_ONCE.bits().cast_signed())
        .open(path)?;
    contents(file, most).map(|(bytes, _)| bytes)
}

/// Returns the bytes and the metadata of an open file.
pub(super) fn contents(file: File, most: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let metadata = file.metadata()?;
    refuse_irregular(&metadata)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((bytes, metadata))
}

fn refuse_irregular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(irregular())
    }
}

pub(super) fn irregular() -> io::Error {
    let message = "it is not a regular file: remove it, or put a file in its place";
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn devices_fifos_sockets_and_folders_are_refused_without_waiting() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("fifo");
        crate::state_file::testing::fifo(&fifo);
        let socket = root.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for path in [
            fifo,
            socket,
            link,
            PathBuf::from("/dev/zero"),
            root.path().to_owned(),
        ] {
            let error = read_regular(&path, 10).unwrap_err();
            assert!(
                error.to_string().contains("not a regular file"),
                "{path:?}: {error}"
            );
        }
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("it");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert!(read_regular(&path, 9).is_err());
    }
}
