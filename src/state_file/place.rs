//! Decides whether a state folder may be used: it was made here, by this user, and other users cannot write to it.
//!
//! A folder that came with a repository or an archive holds keys that its author knows. A file in the folder names the
//! folder's inode and creation time: a copy has others.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::dir::{Dir, Mode};

/// Names the folder that it is in.
const MARK: &str = ".made-here";
/// What may be in a new folder: nothing of it is believed.
const HARMLESS: [&str; 4] = [".gitignore", ".gitkeep", "lost+found", "..made-here.new"];

/// Who said where the state folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The user: links in its path are the user's.
    ByUser,
    /// The default: it is in a folder that the user named, and must not be a link.
    ByDefault,
}

/// Why a folder is not used for state.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another user.
    #[error(
        "it belongs to the user with the uid {0}: run as that user, or give another folder with --state"
    )]
    OfAnother(u32),
    /// Others may write to it.
    #[error(
        "others may write to it (mode {0:o}) and may know its keys: delete it, or give another folder with --state; if you trust what is in it, run: chmod 700 '{1}'"
    )]
    OpenToOthers(u32, String),
    /// Nothing says that it was made here.
    #[error(
        "it was not made here by symbolon dev and may have come with a repository or an archive, whose author knows its keys: delete it, or give another folder with --state; if you copied it here yourself, run: echo '{0}' > '{1}/{MARK}'"
    )]
    NotMadeHere(String, String),
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Opens a state folder; makes it where it is absent, and closes it to others.
///
/// # Errors
/// [`Refusal`]. Nothing in the folder was changed but its mode.
pub fn open_state(path: &Path, chosen: Chosen) -> Result<Dir, Refusal> {
    let dir = match (chosen, path.parent(), path.file_name()) {
        (Chosen::ByDefault, Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Dir::make_in(parent, name)?
        }
        _ => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            Dir::open(path)?
        }
    };
    judge(&dir, path)?;
    Ok(dir)
}

fn judge(dir: &Dir, path: &Path) -> Result<(), Refusal> {
    let found = dir.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Refusal::OfAnother(found.uid()));
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 && !is_new(dir)? {
        return Err(Refusal::OpenToOthers(mode, quoted(path)));
    }
    if mode & 0o077 != 0 {
        dir.close_to_others()?;
    }
    let mark = mark(&found);
    // Since the folder was closed, no other user can have added a file.
    if is_new(dir)? {
        dir.write(Path::new(MARK), mark.as_bytes(), Mode::Private)?;
        return Ok(());
    }
    let known = dir.read(Path::new(MARK), 256);
    let is_known =
        known.is_ok_and(|it| it.is_some_and(|it| it.bytes.trim_ascii() == mark.as_bytes()));
    if is_known {
        Ok(())
    } else {
        Err(Refusal::NotMadeHere(mark, quoted(path)))
    }
}

/// Whether it holds nothing that would be believed.
fn is_new(dir: &Dir) -> io::Result<bool> {
    let entries = dir.entries(&PathBuf::new())?;
    Ok(entries
        .iter()
        .all(|entry| HARMLESS.iter().any(|it| entry.name == **it)))
}

/// What tells a folder from its copies: its inode, and when that was made, where the file system knows.
fn mark(folder: &Metadata) -> String {
    let made = folder.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    match made {
        Some(made) => format!(
            "{} {}.{:09}",
            folder.ino(),
            made.as_secs(),
            made.subsec_nanos()
        ),
        None => folder.ino().to_string(),
    }
}

/// A path as part of a line of shell, between quotes.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', r"'\''")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn close(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with state in it, made as it should be.
    fn made() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let dir = open_state(&state, Chosen::ByDefault).unwrap();
        dir.write(Path::new("keys/a"), b"k", Mode::Private).unwrap();
        (root, state)
    }

    #[test]
    fn what_was_made_here_is_opened_again_where_it_was_moved_too() {
        let (root, state) = made();
        open_state(&state, Chosen::ByDefault).unwrap();
        let moved = root.path().join("moved");
        fs::rename(&state, &moved).unwrap();
        open_state(&moved, Chosen::ByUser).unwrap();
    }

    /// Does what the line of shell in a refusal does: `echo 'TEXT' > 'FILE'`.
    fn run(line: &str) {
        let line = line.strip_prefix("echo '").unwrap();
        let (text, file) = line.split_once("' > '").unwrap();
        fs::write(file.strip_suffix('\'').unwrap(), format!("{text}\n")).unwrap();
    }

    #[test]
    fn state_that_came_from_elsewhere_is_refused_until_the_user_says_otherwise() {
        let (root, state) = made();
        let copy = root.path().join("copy");
        fs::create_dir_all(copy.join("keys")).unwrap();
        close(&copy, 0o700);
        for file in ["keys/a", MARK] {
            fs::copy(state.join(file), copy.join(file)).unwrap();
        }
        for chosen in [Chosen::ByDefault, Chosen::ByUser] {
            let refused = open_state(&copy, chosen).unwrap_err();
            assert!(matches!(refused, Refusal::NotMadeHere(..)), "{refused}");
        }
        fs::remove_file(copy.join(MARK)).unwrap();
        let refused = open_state(&copy, Chosen::ByDefault).unwrap_err();
        let refused = refused.to_string();
        run(refused.split_once("run: ").unwrap().1);
        open_state(&copy, Chosen::ByDefault).unwrap();
    }

    #[test]
    fn a_folder_of_anything_else_is_refused_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("id_ed25519"), "theirs").unwrap();
        assert!(open_state(root.path(), Chosen::ByUser).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_folder_is_taken_and_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".gitignore"), "*").unwrap();
        close(root.path(), 0o777);
        open_state(root.path(), Chosen::ByUser).unwrap();
        let mode = fs::metadata(root.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn state_that_others_could_read_is_closed_and_state_that_they_could_write_is_refused() {
        let (_root, state) = made();
        close(&state, 0o755);
        open_state(&state, Chosen::ByDefault).unwrap();
        close(&state, 0o770);
        let refused = open_state(&state, Chosen::ByDefault).unwrap_err();
        assert!(
            matches!(refused, Refusal::OpenToOthers(0o770, _)),
            "{refused}"
        );
    }

    #[test]
    fn only_a_folder_that_the_user_named_may_be_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let state = root.path().join(".symbolon");
        symlink(elsewhere.path(), &state).unwrap();
        let refused = open_state(&state, Chosen::ByDefault).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        open_state(&state, Chosen::ByUser).unwrap();
    }
}
