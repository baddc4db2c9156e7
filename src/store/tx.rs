//! A transaction, and how a statement runs on it.

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::sync::Arc;

use super::StoreError;
use super::connection::Connection;
use super::row::{Row, Value};
use super::statement::{Statement, Texts};

/// How the work on a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// What was written stays.
    Save(T),
    /// What was written is rolled back.
    Cancel(T),
}

impl<T> Outcome<T> {
    /// Whether to save, and the result.
    pub(super) fn split(self) -> (bool, T) {
        match self {
            Self::Save(value) => (true, value),
            Self::Cancel(value) => (false, value),
        }
    }
}

/// What a piece of work may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only read.
    Read,
    /// Change rows with at most one statement, which needs no transaction of its own.
    Single,
    /// Change rows with several statements.
    Whole,
}

/// The connection of a transaction.
pub(super) enum Link {
    Sqlite(SqliteConnection),
    Reader(PoolConnection<sqlx::Sqlite>),
    Postgres(Connection),
}

/// A transaction. The operations on each area of the store are its methods, see [`super::area`].
pub struct Tx {
    pub(super) link: Link,
    texts: Arc<Texts>,
    mode: Mode,
    has_written: bool,
    has_failed: bool,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

/// Binds the values and fetches all rows.
async fn fetch_sqlite(
    connection: &mut SqliteConnection,
    sql: Arc<str>,
    values: Vec<Value>,
) -> Result<Vec<Row>, StoreError> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::Ints(_) | Value::ManyBytes(_) => {
                return Err(StoreError::Misused("SQLite takes no lists"));
            }
        };
    }
    let rows = query.fetch_all(connection).await?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

impl Tx {
    pub(super) fn new(
        link: Link,
        texts: &Arc<Texts>,
        mode: Mode,
        #[cfg(test)] faults: &super::faults::Faults,
    ) -> Self {
        Self {
            link,
            texts: Arc::clone(texts),
            mode,
            has_written: false,
            has_failed: false,
            #[cfg(test)]
            faults: faults.clone(),
        }
    }

    /// Starts the next piece of work on the same connection.
    pub(super) fn reset(&mut self, mode: Mode) {
        (self.mode, self.has_written, self.has_failed) = (mode, false, false);
    }

    /// Executes a statement and returns its rows.
    pub(super) async fn rows<const N: usize>(
        &mut self,
        statement: Statement,
        values: [Value; N],
    ) -> Result<Vec<Row>, StoreError> {
        self.execute(statement, values.into()).await
    }

    /// Executes a statement that takes many values and returns its rows.
    pub(super) async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let writes = statement.writes();
        match self.mode {
            Mode::Read if writes => return Err(StoreError::Misused("a read changes rows")),
            Mode::Single if writes && self.has_written => {
                return Err(StoreError::Misused("more than one statement changes rows"));
            }
            _ => {}
        }
        #[cfg(test)]
        self.faults.strike()?;
        // Set before the statement runs: if its caller gives up, it may still take effect.
        self.has_written |= writes;
        let rows = self.fetch(self.texts.of(statement), values).await;
        if rows.is_err() && self.mode == Mode::Single {
            // A statement that fails undoes itself.
            self.has_written = false;
        }
        rows
    }

    /// Whether a statement has changed rows, or was abandoned and may have.
    pub(super) const fn has_written(&self) -> bool {
        self.has_written
    }

    /// Executes a statement that returns at most one row.
    pub(super) async fn row<const N: usize>(
        &mut self,
        statement: Statement,
        values: [Value; N],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, values).await?.pop())
    }

    /// Executes a statement that returns no row.
    pub(super) async fn run<const N: usize>(
        &mut self,
        statement: Statement,
        values: [Value; N],
    ) -> Result<(), StoreError> {
        self.rows(statement, values).await.map(drop)
    }

    /// Executes any SQL: the statements that control transactions, and those of tests.
    pub(super) async fn fetch(
        &mut self,
        sql: Arc<str>,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match &mut self.link {
            Link::Sqlite(connection) => fetch_sqlite(connection, sql, values).await,
            Link::Reader(connection) => fetch_sqlite(connection, sql, values).await,
            Link::Postgres(connection) => connection.fetch(&sql, values).await,
        };
        self.has_failed |= rows.is_err();
        rows
    }

    /// Whether a statement has failed. PostgreSQL then commits nothing more, and does not say so.
    pub(super) const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Executes SQL that takes no values.
    pub(super) async fn control(&mut self, sql: &str) -> Result<Vec<Row>, StoreError> {
        self.fetch(sql.into(), Vec::new()).await
    }
}
