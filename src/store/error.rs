//! Why a store cannot be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a store cannot be used. Nothing of the failed transaction was written, unless the reply to its commit was
/// lost.
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
    /// A newer release migrated the database beyond what this one can use.
    #[error(
        "the schema {schema} has migration {found}, which needs a newer release of Symbolon than this one: run that release, or restore a backup from before the upgrade"
    )]
    NewerSchema {
        /// The schema's name.
        schema: String,
        /// The first migration that this release cannot run on.
        found: i64,
    },
    /// A migration that was applied differs from the one of the same number in this release.
    #[error(
        "migration {version} of the schema {schema} is not the one of this release: connect to the right database"
    )]
    OtherMigration {
        /// The schema's name.
        schema: String,
        /// The migration.
        version: i64,
    },
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
    /// A copy cannot be written.
    #[error("cannot write {path}: {source}: nothing of the copy was kept; {advice}")]
    Copy {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Any other fault of the file.
    #[error("the store {path} failed: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: sqlx::Error,
    },
    /// The database failed while a statement ran.
    #[error("the store failed: {0}")]
    Statement(#[from] sqlx::Error),
    /// PostgreSQL failed, or cannot be reached.
    #[error("the store failed: {}", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The URL of the database or the name of the schema cannot be used.
    #[error("{0}")]
    Url(String),
    /// A file that the URL names for TLS cannot be used.
    #[error("cannot set up TLS to the database: {0}")]
    Tls(String),
    /// No connection to the database was free in time. The request can be retried.
    #[error("no connection to the database became free in time")]
    NoConnection,
    /// A column contains what this release never writes.
    #[error("column {column} of the store contains an unexpected value: {reason}")]
    Value {
        /// The column's number in the statement, from 0.
        column: usize,
        /// The reason.
        reason: String,
    },
    /// Too many transactions wait. The request can be retried.
    #[error("the store is busy: too many transactions wait")]
    Busy,
    /// Other requests changed the same row first, each time this request was judged. The request can be retried.
    #[error(
        "parallel requests changed the same row first, {0} times in a row: the request can be retried"
    )]
    Contended(u32),
    /// A transaction took too long. It was rolled back, unless its commit was already on the way.
    #[error("the store is slow: a transaction took longer than {0:?}")]
    Slow(std::time::Duration),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// Several transactions were rolled back together. The request can be retried.
    #[error("the transaction was rolled back with others: {0}")]
    RolledBack(Arc<StoreError>),
    /// A transaction failed while its only statement ran, so the statement may still take effect. Every transaction of
    /// the same commit was rolled back. The request can be retried.
    #[error("a statement was abandoned while it ran")]
    Abandoned,
    /// The work on a transaction panicked, or wrote what it may not write: a fault of this program.
    #[error("a transaction was used wrongly: {0}")]
    Misused(&'static str),
    /// A fault that a test injects.
    #[cfg(test)]
    #[error("injected")]
    Injected,
}

/// Writes an error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{HookError, PoolError};
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::Postgres(error)
            }
            PoolError::Closed => Self::Closed,
            _ => Self::NoConnection,
        }
    }
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

    /// Classifies an error by PostgreSQL's SQLSTATE. Without one, the connection failed.
    fn of_postgres(error: &tokio_postgres::Error) -> Self {
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("53100") => Self::Full,
            Some("25006") => Self::ReadOnly,
            Some("XX001" | "XX002") => Self::Corrupt,
            None | Some("58030") => Self::Io,
            Some(_) => Self::Other,
        }
    }

    /// Classifies an error by `SQLite`'s primary result code.
    pub(super) fn of(error: &sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) {
            return Self::Io;
        }
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        let Some(code) = code else {
            return Self::Other;
        };
        match code.parse::<i64>().map(|code| code & 0xff) {
            Ok(13) => Self::Full,
            Ok(8) => Self::ReadOnly,
            Ok(11 | 26) => Self::Corrupt,
            Ok(10 | 14) => Self::Io,
            _ => Self::Other,
        }
    }
}

impl StoreError {
    /// Returns the error for a file that cannot be opened or created.
    pub(super) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the kind of fault to count.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Corrupt { .. } => Fault::Corrupt,
            Self::File { .. } | Self::NoConnection => Fault::Io,
            Self::Postgres(error) => Fault::of_postgres(error),
            Self::Database { source, .. } | Self::Statement(source) => Fault::of(source),
            Self::RolledBack(cause) => cause.fault(),
            _ => Fault::Other,
        }
    }
}
