//! Copies a SQLite store while it is in use, and checks a copy before it is needed.
//!
//! A PostgreSQL store is backed up by the tools of PostgreSQL.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::sqlite::copy::{self, Report};

/// Writes a copy of the store `path` to the new file `to`, which only its owner can read, and verifies the copy. A
/// server may use the store at the same time: the copy is its state at one moment.
///
/// # Errors
/// The file `to` exists, or the store cannot be read or copied. No file is left then.
pub async fn backup(path: &Path, to: &Path) -> Result<Report, StoreError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|source| StoreError::file(to, source))?;
    let unfinished = Unfinished(Some(to.to_owned()));
    copy::write(path, to).await?;
    file.sync_all()
        .map_err(|source| StoreError::file(to, source))?;
    let report = verify(to).await?;
    // The name in its folder must be as durable as the file.
    let folder = to.parent().filter(|folder| *folder != Path::new(""));
    let folder = std::fs::File::open(folder.unwrap_or(Path::new(".")));
    let synced = folder.and_then(|folder| folder.sync_all());
    synced.map_err(|source| StoreError::file(to, source))?;
    unfinished.keep();
    Ok(report)
}

/// Checks every page, index and reference of a store in a file. It changes nothing.
///
/// # Errors
/// The file is not a store, a newer release wrote it, it is damaged, or it cannot be read.
pub async fn verify(path: &Path) -> Result<Report, StoreError> {
    let found = std::fs::metadata(path).map_err(|source| StoreError::file(path, source))?;
    if !found.is_file() {
        return Err(StoreError::file(
            path,
            std::io::Error::other("not a regular file"),
        ));
    }
    let mut report = copy::check(path).await?;
    report.bytes = found.len();
    Ok(report)
}

/// A file that is deleted unless it is finished.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The failure that led here is reported.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use jiff::Timestamp;
    use sqlx::{ConnectOptions as _, Connection as _};

    use super::super::Store;
    use super::super::contract::world::holder;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    async fn made(path: &Path) -> Store {
        let store = Store::open(path, Duration::ZERO).await.unwrap();
        store.bind(&holder("https://a"), NOW).await.unwrap();
        store
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
        let report = backup(&path, &to).await.unwrap();
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
        assert!(backup(&path, &to).await.is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"mine");
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
}
