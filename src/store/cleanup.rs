//! Deletes expired rows in bounded batches. Security does not depend on it: each expiry is judged at use.

use std::time::Duration;

use jiff::Timestamp;

use super::statement::Statement;
use super::{Store, StoreError};

/// The largest number of rows that one transaction deletes, so that no other transaction waits for long.
pub(super) const BATCH: i64 = 500;
/// Gives back some free pages of a SQLite file.
const SHRINK: &str = "PRAGMA incremental_vacuum(200)";

/// Each table, what deletes its expired rows, and what finds its oldest one. The order respects references: rows of a
/// later table are kept while one of an earlier table needs them.
pub(super) const TABLES: [(&str, Statement, Statement); 10] = [
    ("code", Statement::DELETE_CODES, Statement::OLDEST_CODE),
    (
        "refresh",
        Statement::DELETE_REFRESHES,
        Statement::OLDEST_REFRESH,
    ),
    ("grants", Statement::DELETE_GRANTS, Statement::OLDEST_GRANT),
    (
        "session",
        Statement::DELETE_SESSIONS,
        Statement::OLDEST_SESSION,
    ),
    ("pat", Statement::DELETE_PATS, Statement::OLDEST_PAT),
    ("par", Statement::DELETE_PARS, Statement::OLDEST_PAR),
    (
        "enrolment",
        Statement::DELETE_ENROLMENTS,
        Statement::OLDEST_ENROLMENT,
    ),
    ("once", Statement::DELETE_ONCE, Statement::OLDEST_ONCE),
    (
        "attempt",
        Statement::DELETE_ATTEMPTS,
        Statement::OLDEST_ATTEMPT,
    ),
    (
        "outbox",
        Statement::DELETE_NOTICES,
        Statement::OLDEST_NOTICE,
    ),
];

/// What one round of deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The number of deleted rows.
    pub rows: u64,
    /// How many of them were notices that no client has taken.
    pub notices: u64,
    /// Whether a table may still have expired rows: another round is due at once.
    pub more: bool,
}

/// How often expired rows are deleted.
const EVERY: Duration = Duration::from_secs(10);
/// The pause between two batches, so that other transactions come first.
const PAUSE: Duration = Duration::from_millis(20);

/// What one look at the tables found, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// How many rows were deleted since the previous look.
    pub rows: u64,
    /// How many of them were notices that no client has taken.
    pub notices: u64,
    /// The oldest expired row of each table that is left.
    pub overdue: Vec<Overdue>,
}

/// The oldest expired row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The table.
    pub table: &'static str,
    /// How long the row has been expired; zero if no row has expired.
    pub age: Duration,
}

impl Store {
    /// Deletes at most one batch of each table, each in a transaction of its own, and gives back some free pages of a
    /// SQLite file.
    ///
    /// # Errors
    /// A fault of the database. Batches that were committed stay deleted.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<Deleted, StoreError> {
        let mut deleted = Deleted::default();
        for (_, statement, _) in TABLES {
            let rows = self
                .write_single(move |tx| {
                    Box::pin(async move {
                        let values = [now.into(), BATCH.into()];
                        Ok(tx.rows(statement, values).await?.len() as u64)
                    })
                })
                .await?;
            deleted.rows += rows;
            if statement == Statement::DELETE_NOTICES {
                deleted.notices += rows;
            }
            deleted.more |= rows >= BATCH.unsigned_abs();
        }
        if !self.is_postgres() {
            self.write_single(|tx| Box::pin(async move { tx.control(SHRINK).await.map(drop) }))
                .await?;
        }
        Ok(deleted)
    }

    /// Deletes expired rows for ever: batch after batch while there are any, then at intervals. Replicas may do so at the
    /// same time. `now` reads the clock; `tell` gets what was done, or why it failed, after which it is tried again.
    pub async fn keep_clean(
        &self,
        now: impl Fn() -> Timestamp,
        mut tell: impl FnMut(Result<Cleaned, StoreError>),
    ) {
        loop {
            tell(self.clean(&now).await);
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Deletes every row that has expired, in batches.
    async fn clean(&self, now: impl Fn() -> Timestamp) -> Result<Cleaned, StoreError> {
        let (mut rows, mut notices) = (0, 0);
        loop {
            let deleted = self.delete_expired(now()).await?;
            rows += deleted.rows;
            notices += deleted.notices;
            if !deleted.more {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let overdue = self.overdue(now()).await?;
        Ok(Cleaned {
            rows,
            notices,
            overdue,
        })
    }

    /// Returns the age of the oldest expired row of each table.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn overdue(&self, now: Timestamp) -> Result<Vec<Overdue>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut found = Vec::with_capacity(TABLES.len());
                for (table, _, statement) in TABLES {
                    let row = tx.row(statement, []).await?;
                    let oldest = row.map(|row| row.time_or_null(0)).transpose()?.flatten();
                    let age = oldest.and_then(|oldest| now.duration_since(oldest).try_into().ok());
                    found.push(Overdue {
                        table,
                        age: age.unwrap_or_default(),
                    });
                }
                Ok(found)
            })
        })
        .await
    }
}
