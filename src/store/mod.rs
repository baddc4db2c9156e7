//! What is kept for people: a SQLite file, bound to one issuer, written by one process.
//!
//! It is opened, checked, migrated and watched over here; the tables of people come with the features that need them,
//! behind narrow traits beside their users. Absent: anything that machine clients and service tokens need, HTTP, metrics,
//! and any repair: a file that is not as it should be is left as it is.

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

/// Of its files: what people entrust to it is nobody else's on the node.
const PRIVATE: u32 = 0o600;
/// Opening a FIFO in the place of a file fails at once instead of waiting for another process.
const AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// What marks a file as ours: "SYMB".
const APPLICATION: i64 = 0x5359_4D42;
/// Every step of the schema, by its number. One that was released is never changed.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "store", include_str!("0001_store.sql"))];
/// Between tries for the lock.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// Between words about the lock.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long a statement waits for another's.
const BUSY: Duration = Duration::from_secs(5);

/// The Identity that a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its issuer: what the file is bound to.
    pub issuer: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; another where it was created anew.
    pub uid: String,
}

/// Why a store cannot be used. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "another process writes to {0}: it has not let go of it in time; only one pod may use a volume"
    )]
    Held(PathBuf),
    /// It is a `SQLite` file of something else.
    #[error("{0} is not a store of Symbolon: mount an empty volume, or the right one")]
    Foreign(PathBuf),
    /// It belongs to another issuer.
    #[error(
        "the store belongs to the issuer {found}, not to {wanted}: mount an empty volume (delete the PersistentVolumeClaim if nobody needs its data), or the right one"
    )]
    OtherIssuer {
        /// Whose it is.
        found: String,
        /// Who asks.
        wanted: String,
    },
    /// A newer program has written it.
    #[error(
        "{0} was written by a newer release of Symbolon: run that, or restore a backup from before the upgrade"
    )]
    Newer(PathBuf),
    /// It is damaged.
    #[error("{path} is damaged and was left as it is: restore a backup of it ({words})")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the check says.
        words: String,
    },
    /// The file system does not let it be opened or made.
    #[error("cannot open {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Any other fault of the database.
    #[error("the store {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
}

/// Kinds of faults, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room is left.
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
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::ReadOnly,
        Self::Corrupt,
        Self::Io,
        Self::Other,
    ];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Corrupt => "corrupt",
            Self::Io => "io",
            Self::Other => "other",
        }
    }

    /// By `SQLite`'s primary result code.
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
    /// What it is counted as.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Corrupt { .. } => Fault::Corrupt,
            Self::File { .. } => Fault::Io,
            Self::Database { source, .. } => Fault::of(source),
            _ => Fault::Other,
        }
    }
}

/// An open store. While it is held no other process can open it.
pub struct Store {
    connection: SqliteConnection,
    path: PathBuf,
    /// Locked, and let go of by the kernel however the process ends.
    _lock: File,
}

impl Store {
    /// Opens a file, or makes it; waits for whoever has it for `patience` at most.
    ///
    /// # Errors
    /// Where it cannot be used: nothing was written then.
    pub async fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let lock = lock(path, patience).await?;
        let is_new = own_file(path).map_err(|source| StoreError::File {
            path: path.to_owned(),
            source,
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            // In WAL a commit under NORMAL may be undone by a loss of power: a used code would be good again.
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

    /// Whether what is there is ours and sound; reads alone.
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
        // One that ended in the middle of the first migration has no table yet.
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
        // A write-ahead log: it stays so in the file.
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

    /// Binds a new store to an Identity, or makes sure that it is that Identity's. One that was created anew, or bears
    /// another name, goes on with it: the issuer is what counts.
    ///
    /// # Errors
    /// It belongs to another issuer.
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
                info!(before = %known.uid, now = %holder.uid, "the store goes on with the Identity that has its issuer now");
            }
            None => info!(issuer = holder.issuer, "a new store"),
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

    /// Writes a moment, to learn whether it can.
    ///
    /// # Errors
    /// It cannot.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE store SET written_at = ? WHERE only = 1")
            .bind(now.to_string())
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| failed(&self.path, source))
    }

    /// Bytes of the file and its log.
    pub fn size(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let of = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        of(&self.path) + of(Path::new(&log))
    }

    /// Writes the log into the file and lets go of both.
    ///
    /// # Errors
    /// The log stays, and is read at the next start.
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

/// Makes the file for its owner alone, or closes it to others: SQLite would go by the umask, and gives the files beside
/// it the rights of this one. Whether it holds nothing yet.
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
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(found.len() == 0)
}

/// A volume that one node may mount is no lock: two pods of that node would share it.
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
            warn!(path = %path.display(), "another process has the store: waiting for it to end");
            told = Some(Instant::now());
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}
