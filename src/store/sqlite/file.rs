//! The file of a SQLite store: opens, checks, migrates and locks it.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqlSafeStr as _, SqliteConnection};
use tokio::time::Instant;
use tracing::warn;

use super::super::{Fault, StoreError};

/// The mode of the store's files: no other user of the node may read people's data.
const PRIVATE: u32 = 0o600;
/// Makes opening a FIFO in place of a file fail at once, instead of waiting for another process, and follows no link: the
/// lock is beside the name, so two names of one file would admit two processes.
const FLAGS: i32 = rustix::fs::OFlags::NONBLOCK
    .union(rustix::fs::OFlags::NOFOLLOW)
    .bits()
    .cast_signed();
/// The `SQLite` `application_id` that marks a file as ours: "SYMB".
pub(super) const APPLICATION: i64 = 0x5359_4D42;
/// Every migration of the schema, by number. A migration that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "store", include_str!("../0001_store.sql")),
    (2, "people", include_str!("../0002_people.sql")),
    (3, "outbox", include_str!("../0003_outbox.sql")),
    (4, "pat", include_str!("../0004_pat.sql")),
];
/// Returns the number of the newest migration.
#[cfg(test)]
pub(in crate::store) fn newest_migration() -> i64 {
    MIGRATIONS
        .iter()
        .map(|(version, ..)| *version)
        .max()
        .unwrap()
}

/// The pause between two attempts to lock.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// The pause between two log lines about the lock.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long a statement waits for another one.
const BUSY: Duration = Duration::from_secs(5);

/// Returns the options of every connection.
pub(super) fn options() -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .foreign_keys(true)
        // With NORMAL in WAL mode, a power failure could undo a commit and make a used code valid again.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    options.disable_statement_logging()
}

/// An open file with its schema up to date, and the lock that keeps other processes out.
pub(super) struct Opened {
    pub(super) connection: SqliteConnection,
    /// The kernel releases the lock however the process ends.
    pub(super) lock: File,
    /// The file itself, for copies. It must be closed after the last connection.
    pub(super) file: Arc<File>,
}

/// Opens the file or creates it; waits up to `patience` for another process to release it.
///
/// # Errors
/// Why the store cannot be used; nothing was written then.
pub(super) async fn open(path: &Path, patience: Duration) -> Result<Opened, StoreError> {
    let lock = lock(path, patience).await?;
    let owned = own_file(path).map_err(|source| StoreError::file(path, source))?;
    let (file, is_new) = owned;
    // SQLite applies this setting only to a file without tables; `vacuum` converts an older file.
    let options = options()
        .filename(path)
        .auto_vacuum(SqliteAutoVacuum::Incremental);
    let opened = options.connect().await;
    let mut connection = opened.map_err(|source| failed(path, source))?;
    if !is_new {
        examine(&mut connection, path).await?;
        vacuum(&mut connection, path).await?;
    }
    // The file remembers that it uses a write-ahead log.
    let _: String = ask(&mut connection, path, "PRAGMA journal_mode = WAL").await?;
    migrate(&mut connection, path).await?;
    Ok(Opened {
        connection,
        lock,
        file: Arc::new(file),
    })
}

/// Checks that the file is ours and sound. Reads only.
pub(super) async fn examine(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    check_pages(connection, path, "PRAGMA quick_check(1)").await?;
    check_owner(connection, path).await
}

/// Checks by a pragma that the pages are sound.
pub(super) async fn check_pages(
    connection: &mut SqliteConnection,
    path: &Path,
    pragma: &'static str,
) -> Result<(), StoreError> {
    let words: String = ask(connection, path, pragma).await?;
    if words == "ok" {
        return Ok(());
    }
    Err(damaged(path, words))
}

/// Checks that the file is ours, and not of a newer release.
pub(super) async fn check_owner(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    let mark: i64 = ask(connection, path, "PRAGMA application_id").await?;
    let tables = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    let tables: i64 = ask(connection, path, tables).await?;
    // A file whose first migration was interrupted has no table yet.
    if mark != APPLICATION && tables > 0 {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if mark != APPLICATION {
        return Ok(());
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let newest: i64 = ask(connection, path, newest).await?;
    let known = MIGRATIONS.iter().map(|(version, ..)| *version).max();
    if Some(newest) > known {
        return Err(StoreError::Newer(path.to_owned()));
    }
    Ok(())
}

/// Converts a file that a release without people's data created, so that it can shrink. Such a file is small.
async fn vacuum(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let mode: i64 = ask(connection, path, "PRAGMA auto_vacuum").await?;
    let people = "SELECT count(*) FROM sqlite_master WHERE name = 'account'";
    let people: i64 = ask(connection, path, people).await?;
    if mode == 2 || people > 0 {
        return Ok(());
    }
    let sql = "PRAGMA auto_vacuum = INCREMENTAL; VACUUM";
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.map(drop).map_err(|source| failed(path, source))
}

/// Brings the schema up to date.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    let steps = MIGRATIONS.map(|(version, name, sql)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(steps.into());
    let done = migrator.run_direct(None, connection, false).await;
    done.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            StoreError::Newer(path.to_owned())
        }
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
            failed(path, source)
        }
        other => StoreError::Database {
            path: path.to_owned(),
            source: sqlx::Error::Migrate(Box::new(other)),
        },
    })
}

pub(super) async fn ask<T>(
    connection: &mut SqliteConnection,
    path: &Path,
    sql: &'static str,
) -> Result<T, StoreError>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    let answer = sqlx::query_scalar(sql).fetch_one(connection);
    answer.await.map_err(|source| failed(path, source))
}

/// Adds the path to a database's error.
pub(super) fn located(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Statement(source) => failed(path, source),
        other => other,
    }
}

pub(super) fn damaged(path: &Path, words: String) -> StoreError {
    StoreError::Corrupt {
        path: path.to_owned(),
        words,
    }
}

pub(super) fn failed(path: &Path, source: sqlx::Error) -> StoreError {
    if Fault::of(&source) == Fault::Corrupt {
        return damaged(path, source.to_string());
    }
    StoreError::Database {
        path: path.to_owned(),
        source,
    }
}

/// Creates the file with mode 0600, or restricts an existing one: SQLite would follow the umask, and gives the files
/// beside it the mode of this one. Returns it, and whether it is empty.
fn own_file(path: &Path) -> std::io::Result<(File, bool)> {
    let file = open_private(OpenOptions::new().read(true), path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok((file, found.len() == 0))
}

/// Opens a file for writing, or creates it for its owner alone.
fn open_private(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .custom_flags(FLAGS)
        .open(path)
        .map_err(|error| {
            if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                return std::io::Error::other("it is a link: name the file that it leads to");
            }
            error
        })
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    name.into()
}

/// Locks a store that no other process holds; `None` if it has no lock, as a copy.
pub(in crate::store) fn lock_if_free(path: &Path) -> Result<Option<File>, StoreError> {
    let name = &lock_name(path);
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(FLAGS)
        .open(name);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| StoreError::file(name, source))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(StoreError::file(name, source)),
    }
}

/// Locks the store. The volume itself is no lock: two pods on one node can mount it.
async fn lock(path: &Path, patience: Duration) -> Result<File, StoreError> {
    let name = &lock_name(path);
    let fault = |source| StoreError::file(name, source);
    let file = open_private(&mut OpenOptions::new(), name).map_err(fault)?;
    let began = Instant::now();
    let mut told = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < patience => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Held(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        if told.is_none_or(|told: Instant| told.elapsed() >= TELL_EVERY) {
            warn!(path = %path.display(), "store in use by another process, waiting for it to end");
            told = Some(Instant::now());
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}
