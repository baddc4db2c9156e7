//! The store of people's data: a SQLite file, bound to one issuer, written by one process.
//!
//! This module opens, checks, migrates and monitors the file. Each feature brings its own tables, behind a narrow trait
//! beside its user. Not here: anything that machine clients and service tokens need, HTTP, metrics, and any repair: a
//! faulty file is left as it is.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection,
};
use tokio::time::Instant;
use tracing::{info, warn};

#[cfg(test)]
mod tests;

/// The mode of the store's files: no other user of the node may read people's data.
const PRIVATE: u32 = 0o600;
/// Makes opening a FIFO in place of a file fail at once, instead of waiting for another process.
const AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// The `SQLite` `application_id` that marks a file as ours: "SYMB".
const APPLICATION: i64 = 0x5359_4D42;
/// Every migration of the schema, by number. A released one never changes.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "store", include_str!("0001_store.sql"))];
/// The pause between two tries for the lock.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// The pause between two log lines about the lock.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long a statement waits for another one.
const BUSY: Duration = Duration::from_secs(5);

/// The Identity that a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The issuer, which the file is bound to.
    pub issuer: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which changes when the Identity is recreated.
    pub uid: String,
}

/// Why a store cannot be used. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the store.
    #[error("another process still uses {0}: make sure that only one pod uses the volume")]
    Held(PathBuf),
    /// The file is a `SQLite` database of another program.
    #[error("{0} is not a store of Symbolon: mount an empty volume or the right one")]
    Foreign(PathBuf),
    /// The store belongs to another issuer.
    #[error(
        "the store belongs to the issuer {found}, not to {wanted}: mount an empty volume (delete the PersistentVolumeClaim if its data is no longer needed) or the right one"
    )]
    OtherIssuer {
        /// The issuer in the store.
        found: String,
        /// The Identity's issuer.
        wanted: String,
    },
    /// A newer release wrote the file.
    #[error(
        "{0} was written by a newer release of Symbolon: run that release, or restore a backup from before the upgrade"
    )]
    Newer(PathBuf),
    /// The file is damaged.
    #[error("{path} is damaged and was left as it is: restore a backup ({words})")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What `SQLite`'s check reports.
        words: String,
    },
    /// The file cannot be opened or created.
    #[error("cannot open {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Any other fault of the database.
    #[error("the store {path} failed: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: sqlx::Error,
    },
}

/// The kinds of faults that metrics count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The volume is full.
    Full,
    /// The file system or the file is read-only.
    ReadOnly,
    /// The file is damaged.
    Corrupt,
    /// Reading or writing failed.
    Io,
    /// Anything else.
    Other,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::ReadOnly,
        Self::Corrupt,
        Self::Io,
        Self::Other,
    ];

    /// Returns the name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Corrupt => "corrupt",
            Self::Io => "io",
            Self::Other => "other",
        }
    }

    /// Classifies an error by `SQLite`'s primary result code.
    fn of(error: &sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<i64>().ok());
        match code.map(|code| code & 0xff) {
            Some(13) => Self::Full,
            Some(8) => Self::ReadOnly,
            Some(11 | 26) => Self::Corrupt,
            Some(10 | 14) => Self::Io,
            _ => Self::Other,
        }
    }
}

impl StoreError {
    /// Returns the kind of fault to count.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Corrupt { .. } => Fault::Corrupt,
            Self::File { .. } => Fault::Io,
            Self::Database { source, .. } => Fault::of(source),
            _ => Fault::Other,
        }
    }
}

/// An open store. No other process can open the file while it exists.
pub struct Store {
    connection: SqliteConnection,
    path: PathBuf,
    /// Holds the lock, which the kernel releases however the process ends.
    _lock: File,
}

impl Store {
    /// Opens the file or creates it; waits up to `patience` for another process to release it.
    ///
    /// # Errors
    /// Why the store cannot be used; nothing was written then.
    pub async fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let lock = lock(path, patience).await?;
        let is_new = own_file(path).map_err(|source| StoreError::File {
            path: path.to_owned(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            // With NORMAL in WAL mode, a power failure could undo a commit and make a used code valid again.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let opened = options.disable_statement_logging().connect().await;
        let mut store = Self {
            connection: opened.map_err(|source| failed(path, source))?,
            path: path.to_owned(),
            _lock: lock,
        };
        if !is_new {
            store.examine().await?;
        }
        store.migrate().await?;
        Ok(store)
    }

    /// Checks that the file is ours and sound. Reads only.
    async fn examine(&mut self) -> Result<(), StoreError> {
        let check: String = self.ask("PRAGMA quick_check(1)").await?;
        if check != "ok" {
            return Err(StoreError::Corrupt {
                path: self.path.clone(),
                words: check,
            });
        }
        let mark: i64 = self.ask("PRAGMA application_id").await?;
        let tables: i64 = self
            .ask("SELECT count(*) FROM sqlite_master WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\'")
            .await?;
        // A file whose first migration was interrupted has no table yet.
        if mark != APPLICATION && tables > 0 {
            return Err(StoreError::Foreign(self.path.clone()));
        }
        if mark != APPLICATION {
            return Ok(());
        }
        let newest: i64 = self
            .ask("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .await?;
        let known = MIGRATIONS.iter().map(|(version, ..)| *version).max();
        if Some(newest) > known {
            return Err(StoreError::Newer(self.path.clone()));
        }
        Ok(())
    }

    async fn migrate(&mut self) -> Result<(), StoreError> {
        // The file remembers that it uses a write-ahead log.
        let _: String = self.ask("PRAGMA journal_mode = WAL").await?;
        let steps = MIGRATIONS.map(|(version, name, sql)| {
            let sql = AssertSqlSafe(sql).into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        });
        let migrator = Migrator::with_migrations(steps.into());
        let done = migrator.run_direct(None, &mut self.connection, false).await;
        done.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
                StoreError::Newer(self.path.clone())
            }
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                failed(&self.path, source)
            }
            other => StoreError::Database {
                path: self.path.clone(),
                source: sqlx::Error::Migrate(Box::new(other)),
            },
        })
    }

    /// Binds a new store to an Identity, or checks that it is bound to the Identity's issuer. A recreated or renamed
    /// Identity keeps its store: only the issuer counts.
    ///
    /// # Errors
    /// The store belongs to another issuer.
    pub async fn bind(&mut self, holder: &Holder, now: Timestamp) -> Result<(), StoreError> {
        let known: Option<(String, String, String, String)> =
            sqlx::query_as("SELECT issuer, namespace, name, uid FROM store WHERE only = 1")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|source| failed(&self.path, source))?;
        let known = known.map(|(issuer, namespace, name, uid)| Holder {
            issuer,
            namespace,
            name,
            uid,
        });
        match known {
            Some(known) if known == *holder => return Ok(()),
            Some(known) if known.issuer != holder.issuer => {
                return Err(StoreError::OtherIssuer {
                    found: known.issuer,
                    wanted: holder.issuer.clone(),
                });
            }
            Some(known) => {
                info!(before = %known.uid, now = %holder.uid, "store bound to a recreated or renamed Identity of the same issuer");
            }
            None => info!(issuer = holder.issuer, "store created"),
        }
        sqlx::query(
            "INSERT INTO store (only, issuer, namespace, name, uid, created_at, written_at) VALUES (1, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (only) DO UPDATE SET namespace = excluded.namespace, name = excluded.name, uid = excluded.uid, \
             written_at = excluded.written_at",
        )
        .bind(&holder.issuer)
        .bind(&holder.namespace)
        .bind(&holder.name)
        .bind(&holder.uid)
        .bind(now.to_string())
        .bind(now.to_string())
        .execute(&mut self.connection)
        .await
        .map_err(|source| failed(&self.path, source))?;
        Ok(())
    }

    /// Writes the current time, to learn whether the store is writable.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE store SET written_at = ? WHERE only = 1")
            .bind(now.to_string())
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| failed(&self.path, source))
    }

    /// Returns the size of the file and its write-ahead log in bytes.
    pub fn size(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let of = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        of(&self.path) + of(Path::new(&log))
    }

    /// Writes the log into the file and closes both.
    ///
    /// # Errors
    /// If it fails, the log remains, and the next start reads it.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.connection.close().await;
        closed.map_err(|source| failed(&self.path, source))
    }

    async fn ask<T>(&mut self, sql: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
    {
        let answer = sqlx::query_scalar(sql).fetch_one(&mut self.connection);
        answer.await.map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    match Fault::of(&source) {
        Fault::Corrupt => StoreError::Corrupt {
            path,
            words: source.to_string(),
        },
        _ => StoreError::Database { path, source },
    }
}

/// Creates the file with mode 0600, or restricts an existing one: SQLite would follow the umask, and gives the files
/// beside it the mode of this one. Returns whether the file is empty.
fn own_file(path: &Path) -> std::io::Result<bool> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .custom_flags(AT_ONCE)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(found.len() == 0)
}

/// Locks the store. The volume itself is no lock: two pods on one node can mount it.
async fn lock(path: &Path, patience: Duration) -> Result<File, StoreError> {
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let fault = |source| StoreError::File {
        path: PathBuf::from(&name),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE)
        .custom_flags(AT_ONCE)
        .open(&name)
        .map_err(fault)?;
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
