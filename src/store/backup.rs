//! Copies of a SQLite store: reads one that no server uses, writes a copy into a new file, and checks both.
//!
//! A server copies its own store by [`super::Store::snapshot`]. A PostgreSQL store is backed up by the tools of PostgreSQL.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::cleanup::TABLES;
use super::sqlite::copy::{self, Report, Usage};
use super::sqlite::file::lock_if_free;
use super::sqlite::snapshot::Snapshot;
use super::statement::Texts;
use super::{Store, StoreError};

/// What is added to the name of a copy until it is complete.
const PARTIAL: &str = ".partial";

/// A store's file, or a copy of one, that no server uses. A server that starts waits until this value is dropped.
pub struct Unused {
    path: PathBuf,
    _lock: Option<File>,
}

impl Unused {
    /// Takes a file.
    ///
    /// # Errors
    /// There is no such file, it is not a regular file, or another process holds it.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let found = std::fs::metadata(path).map_err(|source| StoreError::file(path, source))?;
        if !found.is_file() {
            let source = io::Error::other("it is not a regular file");
            return Err(StoreError::file(path, source));
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock_if_free(path)?,
        })
    }

    /// Holds the present state of the file, for a copy of it. Commits that a crashed server left in the write-ahead log
    /// are first written into the file, as a server does when it starts.
    ///
    /// # Errors
    /// The file is damaged, is not a store, or another program uses it.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let file = File::open(&self.path).map_err(|source| StoreError::file(&self.path, source))?;
        let connection = Snapshot::connect(&self.path).await?;
        let held = Snapshot::hold(connection, Arc::new(file), &self.path).await?;
        held.map_err(|_| StoreError::Busy)
    }

    /// Checks every page, index and reference. It changes nothing.
    ///
    /// # Errors
    /// The file is not a store, a newer release wrote it, it is damaged, or it cannot be read.
    pub async fn verify(&self, now: Timestamp) -> Result<Report, StoreError> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let is_logged = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
        let usage = if is_logged {
            Usage::InUse
        } else {
            Usage::AtRest
        };
        verify(&self.path, usage, now).await
    }
}

/// Checks every page, index and reference of the store's file, while the store is in use.
///
/// # Errors
/// The store is not a file, is damaged, or cannot be read.
pub async fn verify_in_use(store: &Store, now: Timestamp) -> Result<Report, StoreError> {
    match store.path() {
        Some(path) => verify(path, Usage::InUse, now).await,
        None => Err(StoreError::Misused("the store is not a file")),
    }
}

async fn verify(path: &Path, usage: Usage, now: Timestamp) -> Result<Report, StoreError> {
    let texts = Texts::new("");
    let oldest = TABLES.map(|(table, _, statement)| (table, texts.of(statement)));
    let mut report = copy::check(path, usage, &oldest, now).await?;
    let found = std::fs::metadata(path).map_err(|source| StoreError::file(path, source))?;
    report.bytes = found.len();
    Ok(report)
}

/// A copy that is being written. Until it is complete and verified it has another name, and it is deleted unless it gets
/// there. Only its owner can read it.
pub struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    is_kept: bool,
}

impl NewFile {
    /// Creates the file beside its later place.
    ///
    /// # Errors
    /// There is already something at the path, or the file cannot be created.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        if let Ok(found) = std::fs::symlink_metadata(path) {
            return Err(StoreError::file(path, in_the_way(found.file_type())));
        }
        let mut partial = path.to_owned().into_os_string();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let created = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial);
        let file = created.map_err(|source| {
            let source = match source.kind() {
                io::ErrorKind::AlreadyExists => io::Error::other(
                    "it exists: another backup writes it, or was killed; delete it if none runs",
                ),
                _ => source,
            };
            StoreError::file(&partial, source)
        })?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file,
            is_kept: false,
        })
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// The disk is full, or failed.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all(piece);
        written.map_err(|source| self.unwritten(source))
    }

    fn unwritten(&self, source: io::Error) -> StoreError {
        let advice = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some space, or choose a file on another disk"
            }
            _ => "choose a file on another disk",
        };
        StoreError::Copy {
            path: self.path.clone(),
            source,
            advice,
        }
    }

    /// Verifies the copy, and gives it its name.
    ///
    /// # Errors
    /// The copy is damaged, or cannot be written to disk. Nothing of it is kept then.
    pub async fn finish(mut self, now: Timestamp) -> Result<Report, StoreError> {
        let synced = self.file.sync_all();
        synced.map_err(|source| self.unwritten(source))?;
        let report = verify(&self.partial, Usage::AtRest, now).await;
        let report = report.map_err(|error| match error {
            StoreError::Corrupt { words, .. } => StoreError::Copy {
                path: self.path.clone(),
                source: io::Error::other(format!("the copy is damaged ({words})")),
                advice: "check the store with symbolon store verify",
            },
            error => error,
        })?;
        self.rename().map_err(|source| self.unwritten(source))?;
        self.is_kept = true;
        // The name in its folder must be as durable as the file.
        let folder = self.path.parent().filter(|it| *it != Path::new(""));
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let synced = folder.and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::file(&self.path, source))?;
        Ok(report)
    }

    /// Renames the copy. A file that was created at its place meanwhile stays.
    fn rename(&self) -> io::Result<()> {
        let (from, to) = (&self.partial, &self.path);
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot rename in this way.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                std::fs::hard_link(from, to)?;
                std::fs::remove_file(from)
            }
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // The failure that led here is reported.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Names what is at the place of a new file.
fn in_the_way(found: std::fs::FileType) -> io::Error {
    let what = if found.is_symlink() {
        "it is a symbolic link, which may point anywhere: choose another name"
    } else if found.is_dir() {
        "it is a folder: add the name of a file"
    } else if found.is_fifo() || found.is_socket() || found.is_char_device() {
        "it is not a regular file: choose another name, or write the copy to the standard output"
    } else {
        "it exists, and is not overwritten: choose another name, or delete it"
    };
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use sqlx::{ConnectOptions as _, Connection as _};

    use super::super::contract::world::holder;
    use super::super::sqlite::file::newest_migration;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    async fn made(path: &Path) -> Store {
        let store = Store::open(path, Duration::ZERO).await.unwrap();
        store.bind(&holder("https://a"), NOW).await.unwrap();
        store
    }

    async fn write(mut snapshot: Snapshot, to: &Path) -> Result<Report, StoreError> {
        let mut file = NewFile::create(to)?;
        while let Some(piece) = snapshot.next().await? {
            file.write(&piece)?;
        }
        snapshot.close().await?;
        file.finish(NOW).await
    }

    async fn backup(path: &Path, to: &Path) -> Result<Report, StoreError> {
        write(Unused::take(path)?.snapshot().await?, to).await
    }

    async fn verify(path: &Path) -> Result<Report, StoreError> {
        Unused::take(path)?.verify(NOW).await
    }

    fn rows(report: &Report, name: &str) -> i64 {
        report
            .tables
            .iter()
            .find(|table| table.name == name)
            .unwrap()
            .rows
    }

    #[tokio::test]
    async fn a_store_in_use_is_copied_and_the_copy_opens() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a.db"), folder.path().join("copy.db"));
        let store = made(&path).await;
        store
            .accept_once([1; 32], Timestamp::MAX, NOW)
            .await
            .unwrap();
        assert!(matches!(Unused::take(&path), Err(StoreError::Held(_))));
        let snapshot = store.snapshot().await.unwrap();
        // What is written from now on is in the log alone.
        store
            .accept_once([3; 32], Timestamp::MAX, NOW)
            .await
            .unwrap();
        let report = write(snapshot, &to).await.unwrap();
        assert_eq!(rows(&report, "once"), 1);
        assert_eq!(report.schema_version, newest_migration());
        assert_eq!(verify(&to).await.unwrap(), report);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            5,
            "nothing beside the copy"
        );
        assert_eq!(report.issuer.as_deref(), Some("https://a"));
        assert_eq!(report.written_at, Some(NOW.to_string()));
        assert!(report.bytes > 0);
        let mode = std::fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The original goes on, and the copy is its state of before.
        store
            .accept_once([2; 32], Timestamp::MAX, NOW)
            .await
            .unwrap();
        let copy = Store::open(&to, Duration::ZERO).await.unwrap();
        assert!(
            !copy
                .accept_once([1; 32], Timestamp::MAX, NOW)
                .await
                .unwrap()
        );
        assert!(
            copy.accept_once([2; 32], Timestamp::MAX, NOW)
                .await
                .unwrap()
        );
        let mode = copy.ask("PRAGMA auto_vacuum").await.unwrap();
        assert_eq!(mode.int(0).unwrap(), 2, "it can shrink");
    }

    #[tokio::test]
    async fn no_file_is_overwritten_and_none_is_left_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a.db"), folder.path().join("copy.db"));
        made(&path).await.close().await.unwrap();
        std::fs::write(&to, "mine").unwrap();
        let words = backup(&path, &to).await.unwrap_err().to_string();
        assert!(words.contains("not overwritten"), "{words}");
        assert_eq!(std::fs::read(&to).unwrap(), b"mine");
        std::fs::remove_file(&to).unwrap();
        symlink(folder.path().join("elsewhere"), &to).unwrap();
        let words = backup(&path, &to).await.unwrap_err().to_string();
        assert!(words.contains("symbolic link"), "{words}");
        std::fs::remove_file(&to).unwrap();
        crate::state_file::testing::fifo(&to);
        let words = backup(&path, &to).await.unwrap_err().to_string();
        assert!(words.contains("not a regular file"), "{words}");
        assert!(verify(&to).await.is_err());
        std::fs::remove_file(&to).unwrap();
        // A copy that another process has put there meanwhile stays.
        let file = NewFile::create(&to).unwrap();
        assert!(NewFile::create(&to).is_err(), "one at a time");
        let mut file = file;
        let mut snapshot = Unused::take(&path).unwrap().snapshot().await.unwrap();
        while let Some(piece) = snapshot.next().await.unwrap() {
            file.write(&piece).unwrap();
        }
        snapshot.close().await.unwrap();
        std::fs::write(&to, "mine").unwrap();
        assert!(file.finish(NOW).await.is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"mine");
        assert!(!folder.path().join("copy.db.partial").exists());
        std::fs::remove_file(&to).unwrap();
        std::fs::write(
            &path,
            "no database at all, but long enough to be taken for one ".repeat(99),
        )
        .unwrap();
        assert!(backup(&path, &to).await.is_err());
        assert!(!to.exists());
        assert!(backup(&folder.path().join("absent.db"), &to).await.is_err());
        assert!(!to.exists() && !folder.path().join("absent.db").exists());
    }

    #[tokio::test]
    async fn a_damaged_copy_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, to) = (folder.path().join("a.db"), folder.path().join("copy.db"));
        let store = made(&path).await;
        for number in 0..200 {
            store
                .accept_once([number; 32], Timestamp::MAX, NOW)
                .await
                .unwrap();
        }
        store.close().await.unwrap();
        backup(&path, &to).await.unwrap();
        let sound = std::fs::read(&to).unwrap();
        // Each page after the first holds rows or an index of them.
        let mut noticed = 0;
        for page in 1..sound.len() / 4096 {
            let mut damaged = sound.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(0x5a);
            std::fs::write(&to, &damaged).unwrap();
            noticed += usize::from(verify(&to).await.is_err());
            assert!(
                std::fs::read(&to).unwrap() == damaged,
                "verifying changes nothing"
            );
        }
        assert_eq!(noticed, sound.len() / 4096 - 1);
        std::fs::write(&to, &sound[..sound.len() - 4096]).unwrap();
        assert!(verify(&to).await.is_err(), "cut off");
        std::fs::write(&to, &sound).unwrap();
        assert!(verify(&to).await.is_ok());
    }

    #[tokio::test]
    async fn a_dangling_reference_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = made(&path).await;
        store.close().await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(false);
        let mut connection = options.connect().await.unwrap();
        let sql = "INSERT INTO password VALUES (x'00', '', 0)";
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let words = verify(&path).await.unwrap_err().to_string();
        assert!(words.contains("password"), "{words}");
    }

    /// Writers and readers at full speed: each copy is sound and has every row that was written before it began.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_taken_under_load_is_one_state_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = made(&folder.path().join("a.db")).await;
        let written = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (writer, count) = (store.clone(), Arc::clone(&written));
        let later = NOW + jiff::SignedDuration::from_hours(1);
        let load = tokio::spawn(async move {
            for number in 0_u32.. {
                let mut value = [0; 32];
                value[..4].copy_from_slice(&number.to_be_bytes());
                let done = writer.accept_once(value, later, NOW);
                done.await.unwrap();
                writer.overdue(NOW).await.unwrap();
                count.store(number + 1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        for copy in 0..4 {
            let before = written.load(std::sync::atomic::Ordering::SeqCst);
            let to = folder.path().join(format!("copy{copy}.db"));
            let report = write(store.snapshot().await.unwrap(), &to).await.unwrap();
            assert!(rows(&report, "once") >= i64::from(before));
            while written.load(std::sync::atomic::Ordering::SeqCst) < before + 100 {
                assert!(!load.is_finished(), "a commit failed");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        load.abort();
    }

    #[tokio::test]
    async fn commits_that_a_crash_left_in_the_log_are_in_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = made(&path).await;
        store.accept_once([1; 32], NOW, NOW).await.unwrap();
        // The files of a server that was killed.
        let crashed = folder.path().join("crashed.db");
        for end in ["", "-wal"] {
            let name = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(name(&path), name(&crashed)).unwrap();
        }
        assert!(
            std::fs::metadata(folder.path().join("crashed.db-wal"))
                .unwrap()
                .len()
                > 0
        );
        let later = NOW + jiff::SignedDuration::from_secs(7);
        let report = Unused::take(&crashed).unwrap().verify(later).await.unwrap();
        let once = report.tables.iter().find(|table| table.name == "once");
        assert_eq!(once.unwrap().oldest_expired_seconds, Some(7));
        let report = backup(&crashed, &folder.path().join("copy.db"))
            .await
            .unwrap();
        assert_eq!(rows(&report, "once"), 1);
    }
}
