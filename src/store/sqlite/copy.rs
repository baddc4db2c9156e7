//! Checks a store's file completely, beside the process that uses it.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use super::super::StoreError;
use super::file::{APPLICATION, ask, check_owner, check_pages, damaged, failed, options};

/// The largest number of tables that a report names.
const MAX_TABLES: i64 = 64;

/// What a sound store in a file contains. It has no values of columns except the issuer and times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The issuer that it is bound to; `None` if no server has used it yet.
    pub issuer: Option<String>,
    /// When it was last written to, in RFC 3339, if it is bound.
    pub written_at: Option<String>,
    /// The number of the last migration of its schema.
    pub schema_version: i64,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// Its tables, by name.
    pub tables: Vec<TableReport>,
}

/// What a table contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableReport {
    /// Its name.
    pub name: String,
    /// The number of rows.
    pub rows: i64,
    /// How long its oldest expired row has been expired, in seconds; `None` if no row has expired, or rows do not expire.
    pub oldest_expired_seconds: Option<u64>,
}

/// Whether others may write to the file during the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Usage {
    /// A server uses it.
    InUse,
    /// Nothing else uses it, and its log is empty: nothing is written beside it.
    AtRest,
}

/// Checks every page, index and reference of a file, and reads what it contains. `oldest` has the statement that finds the
/// oldest row of each table whose rows expire.
pub(in crate::store) async fn check(
    path: &Path,
    usage: Usage,
    oldest: &[(&str, Arc<str>)],
    now: Timestamp,
) -> Result<Report, StoreError> {
    let options = options()
        .filename(path)
        .read_only(true)
        .immutable(usage == Usage::AtRest)
        // A file may come from anywhere: its schema runs no functions with effects.
        .pragma("trusted_schema", "OFF")
        .pragma("query_only", "ON");
    let opened = options.connect().await;
    let mut connection = opened.map_err(|source| failed(path, source))?;
    let mark: i64 = ask(&mut connection, path, "PRAGMA application_id").await?;
    if mark != APPLICATION {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    check_owner(&mut connection, path).await?;
    check_pages(&mut connection, path, "PRAGMA integrity_check(1)").await?;
    if let Some(words) = dangling(&mut connection, path).await? {
        return Err(damaged(path, words));
    }
    let bound = sqlx::query_as("SELECT issuer, written_at FROM store")
        .fetch_optional(&mut connection)
        .await;
    let bound: Option<(String, String)> = bound.map_err(|source| failed(path, source))?;
    let (issuer, written_at) = bound.unzip();
    let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let report = Report {
        issuer,
        written_at,
        schema_version: ask(&mut connection, path, version).await?,
        bytes: 0,
        tables: tables(&mut connection, path, oldest, now).await?,
    };
    let closed = connection.close().await;
    closed.map_err(|source| failed(path, source))?;
    Ok(report)
}

async fn tables(
    connection: &mut SqliteConnection,
    path: &Path,
    oldest: &[(&str, Arc<str>)],
    now: Timestamp,
) -> Result<Vec<TableReport>, StoreError> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY name LIMIT $1";
    let names = sqlx::query_scalar(sql)
        .bind(MAX_TABLES)
        .fetch_all(&mut *connection)
        .await;
    let names: Vec<String> = names.map_err(|source| failed(path, source))?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let count = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let rows = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *connection);
        let rows: i64 = rows.await.map_err(|source| failed(path, source))?;
        let oldest = oldest.iter().find(|(table, _)| *table == name);
        let mut seconds = None;
        if let Some((_, sql)) = oldest {
            let oldest = sqlx::query_scalar(AssertSqlSafe(Arc::clone(sql)));
            let oldest = oldest.fetch_one(&mut *connection).await;
            let oldest: Option<i64> = oldest.map_err(|source| failed(path, source))?;
            let late = oldest.map(|oldest| now.as_microsecond().saturating_sub(oldest));
            seconds = late
                .filter(|late| *late > 0)
                .map(|late| late.unsigned_abs() / 1_000_000);
        }
        found.push(TableReport {
            name,
            rows,
            oldest_expired_seconds: seconds,
        });
    }
    Ok(found)
}

/// Returns what is wrong with the first row that names a row which does not exist.
async fn dangling(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1";
    let found = sqlx::query_as(sql).fetch_optional(connection).await;
    let found: Option<(String, String)> = found.map_err(|source| failed(path, source))?;
    Ok(found.map(|(table, parent)| {
        format!("a row of the table {table} names a row of {parent} that does not exist")
    }))
}
