//! PostgreSQL, for many replicas.
//!
//! Correctness needs no sequence, advisory lock or NOTIFY, and READ COMMITTED is enough: each decision is one
//! conditional statement. Nothing depends on the session, so a pooler such as PgBouncer can be used.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::error::{StoreError, code_of};
use super::statement::Texts;
use super::tx::{Link, Mode, Outcome, Tx};

/// Every migration: its number, the oldest number that a release must know to run on the migrated schema, its name and
/// its text. A migration first expands the schema, so that the previous release runs on it; a later release contracts
/// it, with a higher minimum. A migration that was released never changes.
const MIGRATIONS: [(i64, i64, &str, &str); 1] =
    [(1, 1, "people", include_str!("0001_postgres.sql"))];
/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(5);
/// How long a transaction may wait for its next statement.
const IDLE: Duration = Duration::from_secs(5);
/// How long one piece of work may take, with its wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for a free connection.
const ACQUIRE: Duration = Duration::from_secs(3);

/// The name of a PostgreSQL schema: lower-case letters, digits and underscores, which need no quotes in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SchemaName(String);

/// A text that is not the name of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a schema has 1 to 63 characters, each of a-z, 0-9 or _, starts with a letter and not with pg_"
)]
struct UnknownSchemaName;

impl FromStr for SchemaName {
    type Err = UnknownSchemaName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_good = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(is_known)
            && !text.starts_with("pg_");
        is_good
            .then(|| Self(text.to_owned()))
            .ok_or(UnknownSchemaName)
    }
}

/// How to reach a PostgreSQL database.
#[derive(Clone)]
pub struct Settings {
    options: PgConnectOptions,
    schema: SchemaName,
    connections: u32,
}

impl fmt::Debug for Settings {
    /// Prints nothing of the URL, which contains the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings").field(&self.schema.0).finish()
    }
}

impl Settings {
    /// Takes a URL in the form of libpq, such as
    /// `postgres://user:password@host/database?sslmode=verify-full&sslrootcert=/ca.crt`, the name of the schema, and
    /// the largest number of connections.
    ///
    /// # Errors
    /// The URL or the name is wrong.
    pub fn new(url: &str, schema: &str, connections: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let schema = schema
            .parse()
            .map_err(|error: UnknownSchemaName| sqlx::Error::Configuration(Box::new(error)))?;
        Ok(Self {
            options: options
                .application_name("symbolon")
                .disable_statement_logging(),
            schema,
            connections,
        })
    }
}

/// A PostgreSQL store.
#[derive(Clone)]
pub(super) struct Postgres {
    pool: PgPool,
    texts: Arc<Texts>,
    #[cfg(test)]
    qualifier: Arc<str>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

impl Postgres {
    pub(super) async fn connect(settings: Settings) -> Result<Self, StoreError> {
        let Settings {
            options,
            schema,
            connections,
        } = settings;
        let qualifier = format!("\"{}\".", schema.0);
        let mut connection = options.connect().await?;
        let migrated = migrate(&mut connection, &schema).await;
        // The connection is no longer needed, so a failure to close it does not matter.
        let _ = connection.close().await;
        migrated?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(limit(connection)))
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            texts: Arc::new(Texts::new(&qualifier)),
            #[cfg(test)]
            qualifier: qualifier.into(),
            #[cfg(test)]
            faults: super::faults::Faults::default(),
        })
    }

    pub(super) async fn run<T, F>(&self, mode: Mode, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let done = tokio::time::timeout(PATIENCE, self.run_now(mode, work)).await;
        done.unwrap_or(Err(StoreError::Slow(PATIENCE)))
    }

    async fn run_now<T, F>(&self, mode: Mode, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let link = match mode {
            Mode::Read | Mode::Single => Link::Postgres(self.pool.acquire().await?),
            Mode::Whole => {
                #[cfg(test)]
                self.faults.strike()?;
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
                Link::Transaction(self.pool.begin_with(begin).await?)
            }
        };
        let mut tx = Tx::new(
            link,
            &self.texts,
            mode,
            #[cfg(test)]
            &self.faults,
        );
        // Dropping the transaction rolls it back, also after a panic.
        let done = AssertUnwindSafe(work(&mut tx)).catch_unwind().await;
        let done = done.unwrap_or(Err(StoreError::Misused("it panicked")));
        let (save, value) = done?.split();
        match tx.link {
            Link::Transaction(transaction) if save => {
                #[cfg(test)]
                self.faults.strike()?;
                transaction.commit().await?;
            }
            Link::Transaction(transaction) => transaction.rollback().await?,
            _ => {}
        }
        #[cfg(test)]
        if mode != Mode::Read {
            self.faults.strike()?;
        }
        Ok(value)
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    #[cfg(test)]
    pub(super) fn qualifier(&self) -> &str {
        &self.qualifier
    }
}

/// Bounds the time of a statement and of an abandoned transaction. Behind a pooler, administrators set the same limits
/// on the role, because a setting of the session may not last there.
async fn limit(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (statement, idle) = (STATEMENT.as_millis(), IDLE.as_millis());
    let sql = format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
         SET idle_in_transaction_session_timeout = {idle}; SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'"
    );
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection);
    done.await.map(drop)
}

/// Brings the schema up to date in one transaction. Replicas that start together wait for each other at the lock of the
/// table of migrations.
async fn migrate(connection: &mut PgConnection, schema: &SchemaName) -> Result<(), StoreError> {
    let name = &schema.0;
    let qualifier = format!("\"{name}\".");
    let table = format!("{qualifier}migration");
    let prepare = format!(
        "CREATE SCHEMA IF NOT EXISTS \"{name}\"; CREATE TABLE IF NOT EXISTS {table} (version BIGINT PRIMARY KEY, \
         minimum BIGINT NOT NULL, name TEXT NOT NULL, checksum BYTEA NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
    );
    // Two replicas may create the schema at the same moment; PostgreSQL then refuses one of them.
    let mut tries = 0;
    while let Err(error) = raw(connection, &prepare).await {
        tries += 1;
        let code = code_of(&error);
        let is_race = matches!(code.as_deref(), Some("23505" | "42P06" | "42P07"));
        if !is_race || tries > 10 {
            return Err(error.into());
        }
    }
    let mut transaction = connection.begin().await?;
    let lock = format!("LOCK TABLE {table} IN EXCLUSIVE MODE");
    raw(&mut transaction, &lock).await?;
    let applied = format!("SELECT version, minimum, checksum FROM {table} ORDER BY version");
    let applied: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(applied))
        .fetch_all(&mut *transaction)
        .await?;
    let known = MIGRATIONS.map(|(version, ..)| version);
    let newest = known.into_iter().max().unwrap_or_default();
    if let Some((version, ..)) = applied.iter().find(|(_, minimum, _)| *minimum > newest) {
        return Err(StoreError::NewerSchema {
            schema: name.clone(),
            found: *version,
        });
    }
    for (version, minimum, title, sql) in MIGRATIONS {
        let checksum = digest::digest(&digest::SHA256, sql.as_bytes());
        let found = applied.iter().find(|(applied, ..)| *applied == version);
        match found {
            Some((.., found)) if found == checksum.as_ref() => continue,
            Some(_) => {
                return Err(StoreError::OtherMigration {
                    schema: name.clone(),
                    version,
                });
            }
            None => {}
        }
        raw(&mut transaction, &sql.replace('~', &qualifier)).await?;
        let record = format!("INSERT INTO {table} VALUES ($1, $2, $3, $4, now())");
        sqlx::query(sqlx::AssertSqlSafe(record))
            .bind(version)
            .bind(minimum)
            .bind(title)
            .bind(checksum.as_ref())
            .execute(&mut *transaction)
            .await?;
    }
    Ok(transaction.commit().await?)
}

async fn raw(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(sql);
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        assert!("symbolon".parse::<SchemaName>().is_ok());
        assert!("tenant_2".parse::<SchemaName>().is_ok());
        let long = "a".repeat(64);
        for bad in ["", "A", "1a", "a-b", "a\"b", "pg_x", "a b", "é", &long] {
            assert!(bad.parse::<SchemaName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_print_no_password() {
        let settings = Settings::new("postgres://u:hunter2@h/d", "symbolon", 4).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(Settings::new("postgres://h/d", "Bad", 4).is_err());
    }
}
