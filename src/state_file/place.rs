//! Decides whether a state folder may be used: this user created it here, and other users cannot write to it.
//!
//! A folder that came with a repository or an archive holds keys that its author knows. The mark, a file in the folder,
//! names the folder's inode and creation time, which differ in a copy. Its second line is the secret of the folder's
//! [`Seal`].

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::dir::{Dir, FileMode};
use super::seal::Seal;
use crate::characters::shell_word;

/// The mark: names its folder and holds the secret.
const MARK: &str = ".made-here";
/// Files that a new folder may contain; none of them is trusted.
const HARMLESS: [&str; 4] = [".gitignore", ".gitkeep", "lost+found", "..made-here.new"];

/// Who chose the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The user, who is responsible for links in its path.
    ByUser,
    /// The default: it is in a folder that the user named, and must not be a link.
    ByDefault,
}

/// Why a folder is not used for state.
#[derive(Debug, thiserror::Error)]
pub enum Unsuitable {
    /// The folder belongs to another user.
    #[error(
        "it belongs to another user (uid {0}): run as that user, or choose another folder with --state, such as a new one inside it"
    )]
    OfAnother(u32),
    /// Other users can write to the folder. The text says how to close it.
    #[error(
        "other users can write to it (mode {0:o}) and may know its keys: delete it, or choose another folder with --state{1}"
    )]
    OpenToOthers(u32, String),
    /// Nothing proves that the folder was made here. The text says how to accept a copy of the user's own that has a
    /// secret.
    #[error(
        "it was not made here by symbolon dev and may come from a repository or an archive whose author knows its keys: delete it, or choose another folder with --state{0}"
    )]
    NotMadeHere(String),
    /// The folder is not a state folder: its files must not be deleted.
    #[error("it contains other files: choose an empty or a new folder with --state")]
    OtherFiles,
    /// The folder cannot be closed to other users.
    #[error(
        "its file system stores no file modes, so other users may read its contents: choose a folder on another file system with --state"
    )]
    KeepsNoModes,
    /// The folder cannot be told from a copy.
    #[error(
        "its file system records no creation times, so a folder from a repository whose author knows its keys could look like one that was made here: choose a folder on another file system with --state"
    )]
    KeepsNoBirths,
    /// The folder cannot be written to.
    #[error("choose another folder with --state")]
    Unwritable(#[source] io::Error),
    /// Another error of the file system.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for Unsuitable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded => Self::Unwritable(error),
            _ => Self::Io(error),
        }
    }
}

/// Opens a state folder, creates it if it is absent, and closes it to other users.
///
/// # Errors
/// [`Unsuitable`]; then nothing was changed, since the path may name any folder of the user by mistake.
pub fn open_state(path: &Path, chosen: Chosen) -> Result<(Dir, Seal), Unsuitable> {
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
    let seal = judge(&dir, path)?;
    Ok((dir, seal))
}

fn judge(dir: &Dir, path: &Path) -> Result<Seal, Unsuitable> {
    let found = dir.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Unsuitable::OfAnother(found.uid()));
    }
    let place = place(found.ino(), found.created().ok()).ok_or(Unsuitable::KeepsNoBirths)?;
    let mode = found.mode() & 0o7777;
    if !is_new(dir)? {
        if !is_state(dir)? {
            return Err(Unsuitable::OtherFiles);
        }
        if mode & 0o022 != 0 {
            let close = path
                .to_str()
                .and_then(shell_word)
                .map(|path| format!("; if you trust its contents, run: chmod 700 {path}"));
            return Err(Unsuitable::OpenToOthers(mode, close.unwrap_or_default()));
        }
        known(dir, &place, path)?;
    }
    if mode & 0o077 != 0 {
        dir.close_to_others()?;
        if dir.metadata()?.mode() & 0o077 != 0 {
            return Err(Unsuitable::KeepsNoModes);
        }
    }
    // Before the folder was closed, another user could have added a file; from now on its contents are final.
    if !is_new(dir)? {
        return known(dir, &place, path);
    }
    let (seal, secret) = Seal::generate()?;
    let mark = Zeroizing::new(format!("{place}\n{}\n", *secret));
    dir.write(Path::new(MARK), mark.as_bytes(), FileMode::Private)?;
    Ok(seal)
}

/// Reads the mark of a folder that was made here.
fn known(dir: &Dir, place: &str, path: &Path) -> Result<Seal, Unsuitable> {
    let mark = dir.read(Path::new(MARK), 256).ok().flatten();
    let mark = Zeroizing::new(mark.map(|mark| mark.bytes).unwrap_or_default());
    match parse(&mark) {
        Some((named, seal)) if named == place.as_bytes() => Ok(seal),
        // The author of a repository may have written this secret, so the user must decide.
        Some(_) => {
            let file = path.join(MARK);
            let accept = file.to_str().and_then(shell_word).map(|file| {
                format!("; if you copied it here yourself, run: printf '%s\\n' '{place}' \"$(tail -n 1 {file})\" > {file}")
            });
            Err(Unsuitable::NotMadeHere(accept.unwrap_or_default()))
        }
        None => Err(Unsuitable::NotMadeHere(String::new())),
    }
}

/// Splits the mark into its two lines.
fn parse(mark: &[u8]) -> Option<(&[u8], Seal)> {
    let mut lines = mark.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let (place, secret) = (lines.next()?, lines.next()?);
    let seal = Seal::parse(secret)?;
    lines.next().is_none().then_some((place, seal))
}

/// Returns whether the folder contains a file of a state folder, even one copied from elsewhere.
fn is_state(dir: &Dir) -> io::Result<bool> {
    let entries = dir.entries(&PathBuf::new())?;
    Ok([MARK, "keys", "uids.json"]
        .iter()
        .any(|name| entries.iter().any(|entry| entry.name == **name)))
}

/// Whether the folder contains nothing that would be trusted.
fn is_new(dir: &Dir) -> io::Result<bool> {
    let entries = dir.entries(&PathBuf::new())?;
    Ok(entries
        .iter()
        .all(|entry| HARMLESS.iter().any(|it| entry.name == **it)))
}

/// Identifies a folder among its copies: its inode and its creation time. An inode alone can be guessed: some file
/// systems count inodes, and assign new ones at each mount. `None` if the file system does not record the time, or
/// reports 1970.
fn place(inode: u64, made: Option<SystemTime>) -> Option<String> {
    let made = made?.duration_since(UNIX_EPOCH).ok()?;
    let (seconds, nanoseconds) = (made.as_secs(), made.subsec_nanos());
    (seconds > 0).then(|| format!("{inode} {seconds}.{nanoseconds:09}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn close(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Creates a state folder with a file in it.
    fn made() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let (dir, _) = open_state(&state, Chosen::ByDefault).unwrap();
        dir.write(Path::new("keys/a"), b"k", FileMode::Private)
            .unwrap();
        (root, state)
    }

    #[test]
    fn a_folder_made_here_opens_again_even_after_a_move() {
        let (root, state) = made();
        open_state(&state, Chosen::ByDefault).unwrap();
        let moved = root.path().join("moved");
        fs::rename(&state, &moved).unwrap();
        open_state(&moved, Chosen::ByUser).unwrap();
    }

    /// An inode can be guessed: the author of a repository could name it in a forged mark.
    #[test]
    fn a_folder_without_a_creation_time_cannot_be_identified() {
        use std::time::Duration;
        assert_eq!(place(7, None), None);
        assert_eq!(place(7, Some(UNIX_EPOCH)), None);
        assert_eq!(
            place(7, UNIX_EPOCH.checked_sub(Duration::from_secs(9))),
            None
        );
        let made = UNIX_EPOCH + Duration::new(1_800_000_000, 5);
        assert_eq!(place(7, Some(made)).unwrap(), "7 1800000000.000000005");
    }

    /// Does what the shell command in a refusal does: `printf '%s\n' 'PLACE' "$(tail -n 1 'FILE')" > 'FILE'`.
    fn run(line: &str) {
        let line = line.strip_prefix("printf '%s\\n' '").unwrap();
        let (place, rest) = line.split_once("' \"$(tail -n 1 ").unwrap();
        let (from, to) = rest.split_once(")\" > ").unwrap();
        assert_eq!(from, to);
        assert_eq!(
            shell_word(from).as_deref(),
            Some(from),
            "it needs no quotes"
        );
        let text = fs::read_to_string(from).unwrap();
        let secret = text.lines().last().unwrap();
        fs::write(to, format!("{place}\n{secret}\n")).unwrap();
    }

    #[test]
    fn state_from_elsewhere_is_refused_until_the_user_accepts_it() {
        let (root, state) = made();
        let (_, seal) = open_state(&state, Chosen::ByDefault).unwrap();
        let copy = root.path().join("copy");
        fs::create_dir_all(copy.join("keys")).unwrap();
        close(&copy, 0o700);
        for file in ["keys/a", MARK] {
            fs::copy(state.join(file), copy.join(file)).unwrap();
        }
        for chosen in [Chosen::ByDefault, Chosen::ByUser] {
            let refused = open_state(&copy, chosen).unwrap_err();
            assert!(matches!(refused, Unsuitable::NotMadeHere(..)), "{refused}");
        }
        let refused = open_state(&copy, Chosen::ByDefault).unwrap_err();
        let refused = refused.to_string();
        run(refused.split_once("run: ").unwrap().1);
        let (_, accepted) = open_state(&copy, Chosen::ByDefault).unwrap();
        let path = Path::new("keys/a");
        let file = seal.sealed(path, b"k\n");
        assert!(
            accepted.opened(path, &file).is_some(),
            "its keys are trusted"
        );
    }

    #[test]
    fn a_mark_without_a_secret_is_invalid() {
        let (_root, state) = made();
        let file = state.join(MARK);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mark = fs::read_to_string(&file).unwrap();
        let (place, secret) = mark.split_once('\n').unwrap();
        for other in [
            format!("{place}\n"),
            place.to_owned(),
            format!("{place}\n\n"),
            format!("{place}\n{}\n", &secret[1..]),
            format!("{mark}{secret}"),
            format!("\n{mark}"),
            String::new(),
        ] {
            fs::write(&file, &other).unwrap();
            let refused = open_state(&state, Chosen::ByDefault)
                .unwrap_err()
                .to_string();
            assert!(refused.contains("delete it"), "{refused}");
            assert!(!refused.contains("run: "), "{other:?}: {refused}");
        }
        fs::remove_file(&file).unwrap();
        assert!(open_state(&state, Chosen::ByDefault).is_err());
        fs::write(&file, &mark).unwrap();
        open_state(&state, Chosen::ByDefault).unwrap();
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_not_changed() {
        let (_root, state) = made();
        fs::remove_file(state.join(MARK)).unwrap();
        close(&state, 0o755);
        let refused = open_state(&state, Chosen::ByUser).unwrap_err();
        assert!(matches!(refused, Unsuitable::NotMadeHere(_)), "{refused}");
        let mode = fs::metadata(&state).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);

        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("id_ed25519"), "theirs").unwrap();
        for mode in [0o755, 0o711, 0o777, 0o1777, 0o500] {
            close(root.path(), mode);
            let refused = open_state(root.path(), Chosen::ByUser).unwrap_err();
            assert!(matches!(refused, Unsuitable::OtherFiles), "{refused}");
            assert!(!refused.to_string().contains("delete"), "{refused}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
            let now = fs::metadata(root.path()).unwrap().permissions().mode();
            assert_eq!(now & 0o7777, mode);
        }
        close(root.path(), 0o700);
    }

    #[test]
    fn an_empty_folder_is_accepted_and_closed_to_other_users() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".gitignore"), "*").unwrap();
        close(root.path(), 0o777);
        open_state(root.path(), Chosen::ByUser).unwrap();
        let mode = fs::metadata(root.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn readable_state_is_closed_to_other_users_and_writable_state_is_refused() {
        let (_root, state) = made();
        close(&state, 0o755);
        open_state(&state, Chosen::ByDefault).unwrap();
        close(&state, 0o770);
        let refused = open_state(&state, Chosen::ByDefault).unwrap_err();
        assert!(
            matches!(refused, Unsuitable::OpenToOthers(0o770, _)),
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
