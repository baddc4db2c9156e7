//! The schema of a PostgreSQL store: creates it and brings it up to date.

use std::str::FromStr;

use aws_lc_rs::digest;
use tokio_postgres::{Client, Error};

use super::super::StoreError;

/// Every migration: its number, the oldest number that a release must know to run on the migrated schema, its name and
/// its text. A migration first expands the schema, so that the previous release runs on it; a later release contracts
/// it, with a higher minimum. A migration that was released never changes.
pub(in crate::store) const MIGRATIONS: [(i64, i64, &str, &str); 3] = [
    (1, 1, "people", include_str!("../0001_postgres.sql")),
    (2, 1, "outbox", include_str!("../0002_outbox.sql")),
    (3, 1, "pat", include_str!("../0003_pat.sql")),
];

/// The name of a PostgreSQL schema: lower-case letters, digits and underscores, which need no quotes in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SchemaName(pub(super) String);

/// A text that is not the name of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a schema has 1 to 63 characters, each of a-z, 0-9 or _, starts with a letter and not with pg_"
)]
pub(super) struct UnknownSchemaName;

impl From<UnknownSchemaName> for StoreError {
    fn from(fault: UnknownSchemaName) -> Self {
        Self::Url(fault.to_string())
    }
}

impl SchemaName {
    /// Returns what precedes the name of a table in the schema.
    pub(super) fn qualifier(&self) -> String {
        format!("\"{}\".", self.0)
    }
}

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

/// Brings the schema up to date in one transaction. Replicas that start together wait for each other at the lock of the
/// table of migrations.
pub(super) async fn migrate(client: &Client, schema: &SchemaName) -> Result<(), StoreError> {
    let name = &schema.0;
    let qualifier = schema.qualifier();
    let table = format!("{qualifier}migration");
    // PostgreSQL refuses even CREATE SCHEMA IF NOT EXISTS to a user who may create no schema in the database.
    let known = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    let create = match client.query_opt(known, &[name]).await? {
        Some(_) => String::new(),
        None => format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"; "),
    };
    let prepare = format!(
        "{create}CREATE TABLE IF NOT EXISTS {table} (version BIGINT PRIMARY KEY, \
         minimum BIGINT NOT NULL, name TEXT NOT NULL, checksum BYTEA NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
    );
    // Two replicas may create the schema at the same moment; PostgreSQL then refuses one of them.
    let mut tries = 0;
    while let Err(error) = client.batch_execute(&prepare).await {
        tries += 1;
        let code = error.code().map(tokio_postgres::error::SqlState::code);
        let is_race = matches!(code, Some("23505" | "42P06" | "42P07"));
        if !is_race || tries > 10 {
            return Err(error.into());
        }
    }
    let begin = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE");
    client.batch_execute(&begin).await?;
    let applied = applied(client, &table).await?;
    check(&applied, name)?;
    for (version, minimum, title, sql) in MIGRATIONS {
        if applied.iter().any(|(found, ..)| *found == version) {
            continue;
        }
        client.batch_execute(&sql.replace('~', &qualifier)).await?;
        let record = format!("INSERT INTO {table} VALUES ($1, $2, $3, $4, now())");
        let digest = digest::digest(&digest::SHA256, sql.as_bytes());
        let checksum: &[u8] = digest.as_ref();
        client
            .execute(record.as_str(), &[&version, &minimum, &title, &checksum])
            .await?;
    }
    // A caller that fails before drops the connection, which rolls back.
    Ok(client.batch_execute("COMMIT").await?)
}

/// A migration that was applied: its number, the oldest number that a release must know, and its checksum.
type Applied = (i64, i64, Vec<u8>);

async fn applied(client: &Client, table: &str) -> Result<Vec<Applied>, Error> {
    let sql = format!("SELECT version, minimum, checksum FROM {table} ORDER BY version");
    let rows = client.query(sql.as_str(), &[]).await?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    rows.iter().map(read).collect()
}

/// Checks that this release can run on what was applied.
fn check(applied: &[Applied], schema: &str) -> Result<(), StoreError> {
    let newest = MIGRATIONS.iter().map(|(version, ..)| *version).max();
    let beyond = applied
        .iter()
        .find(|(_, minimum, _)| Some(*minimum) > newest);
    if let Some((version, ..)) = beyond {
        return Err(StoreError::NewerSchema {
            schema: schema.to_owned(),
            found: *version,
        });
    }
    for (version, .., sql) in MIGRATIONS {
        let checksum = digest::digest(&digest::SHA256, sql.as_bytes());
        let found = applied.iter().find(|(number, ..)| *number == version);
        if found.is_some_and(|(.., found)| found != checksum.as_ref()) {
            return Err(StoreError::OtherMigration {
                schema: schema.to_owned(),
                version,
            });
        }
    }
    Ok(())
}

/// Returns the issuer that the store is bound to, if there is a store.
pub(super) async fn issuer(
    client: &Client,
    schema: &SchemaName,
) -> Result<Option<String>, StoreError> {
    let table = format!("{}store", schema.qualifier());
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let exists: bool = client.query_one(sql, &[&table]).await?.try_get(0)?;
    if !exists {
        return Ok(None);
    }
    let sql = format!("SELECT issuer FROM {table} WHERE \"only\" = 1");
    let row = client.query_opt(sql.as_str(), &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
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
}
