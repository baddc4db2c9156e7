//! Reads a store's file beside the process that uses it.

use std::path::Path;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::super::StoreError;
use super::file::{ask, check_owner, check_pages, damaged, examine, failed, options};

/// What a store in a file contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The issuer that it is bound to; `None` if no server has used it yet.
    pub issuer: Option<String>,
    /// When it was last written to, in RFC 3339, if it is bound.
    pub written_at: Option<String>,
    /// The number of accounts.
    pub accounts: i64,
    /// The number of grants.
    pub grants: i64,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// Writes a copy to an empty file. The copy has no free pages and needs no write-ahead log.
pub(in crate::store) async fn write(path: &Path, to: &Path) -> Result<(), StoreError> {
    let options = options().filename(path).create_if_missing(false);
    let opened = options.connect().await;
    let mut connection = opened.map_err(|source| failed(path, source))?;
    examine(&mut connection, path).await?;
    let Some(name) = to.to_str() else {
        let source = std::io::Error::other("its name is not UTF-8");
        return Err(StoreError::file(to, source));
    };
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(&mut connection)
        .await;
    copied.map_err(|source| failed(to, source))?;
    let closed = connection.close().await;
    closed.map_err(|source| failed(path, source))
}

/// Checks a file completely, and reads what it contains.
pub(in crate::store) async fn check(path: &Path) -> Result<Report, StoreError> {
    let options = options().filename(path).read_only(true);
    let opened = options.connect().await;
    let mut connection = opened.map_err(|source| failed(path, source))?;
    check_pages(&mut connection, path, "PRAGMA integrity_check(1)").await?;
    check_owner(&mut connection, path).await?;
    if let Some(words) = dangling(&mut connection, path).await? {
        return Err(damaged(path, words));
    }
    let bound = sqlx::query_as("SELECT issuer, written_at FROM store")
        .fetch_optional(&mut connection)
        .await;
    let bound: Option<(String, String)> = bound.map_err(|source| failed(path, source))?;
    let (issuer, written_at) = bound.unzip();
    let report = Report {
        issuer,
        written_at,
        accounts: ask(&mut connection, path, "SELECT count(*) FROM account").await?,
        grants: ask(&mut connection, path, "SELECT count(*) FROM grants").await?,
        bytes: 0,
    };
    let closed = connection.close().await;
    closed.map_err(|source| failed(path, source))?;
    Ok(report)
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
