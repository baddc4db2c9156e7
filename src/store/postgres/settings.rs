//! How to reach a PostgreSQL database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::super::StoreError;
use super::schema::SchemaName;

/// The largest size of a file with a URL, in bytes.
const MOST: u64 = 8192;

/// How much the store asks of the database, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The largest number of connections.
    pub connections: usize,
    /// How long to wait for a free or a new connection.
    pub acquire: Duration,
    /// How long a statement may take or wait for a lock.
    pub statement: Duration,
    /// How long a transaction may wait for its next statement.
    pub idle: Duration,
    /// How long one piece of work may take, with its wait for a connection.
    pub transaction: Duration,
}

impl Default for ConnectionLimits {
    /// Twice as many connections as cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            connections: 2 * cores,
            acquire: Duration::from_secs(3),
            statement: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            transaction: Duration::from_secs(10),
        }
    }
}

impl ConnectionLimits {
    /// Returns what bounds the time of a statement and of an abandoned transaction. Behind a pooler, administrators set
    /// the same limits on the role, because a setting of the session may not last there.
    pub(super) fn session(self) -> String {
        let (statement, idle) = (self.statement.as_millis(), self.idle.as_millis());
        format!(
            "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {idle}; SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'"
        )
    }
}

#[derive(Clone)]
enum Source {
    Url(Zeroizing<String>),
    File(PathBuf),
}

/// How to reach a PostgreSQL database.
#[derive(Clone)]
pub struct Settings {
    source: Source,
    /// The file with the database's CA, if the URL does not name it.
    pub(super) ca: Option<PathBuf>,
    pub(super) schema: SchemaName,
    pub(super) limits: ConnectionLimits,
}

impl fmt::Debug for Settings {
    /// Prints nothing of the URL, which contains the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Settings");
        if let Source::File(path) = &self.source {
            debug.field("file", path);
        }
        if let Some(path) = &self.ca {
            debug.field("ca", path);
        }
        debug
            .field("schema", &self.schema.0)
            .field("limits", &self.limits)
            .finish()
    }
}

impl Settings {
    /// Takes a URL in the form of libpq, such as
    /// `postgres://user:password@host/database?sslmode=verify-full&sslrootcert=/ca.crt`, and the name of the schema.
    ///
    /// # Errors
    /// The name of the schema is wrong.
    pub fn new(url: &str, schema: &str, limits: ConnectionLimits) -> Result<Self, StoreError> {
        let source = Source::Url(url.to_owned().into());
        Self::from_source(source, schema, limits)
    }

    /// Takes the path of a file that contains such a URL, and the name of the schema. A changed file is used when
    /// [`super::super::Store::reload`] is called.
    ///
    /// # Errors
    /// The name of the schema is wrong.
    pub fn from_file(
        path: &Path,
        schema: &str,
        limits: ConnectionLimits,
    ) -> Result<Self, StoreError> {
        Self::from_source(Source::File(path.to_owned()), schema, limits)
    }

    fn from_source(
        source: Source,
        schema: &str,
        limits: ConnectionLimits,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            source,
            ca: None,
            schema: schema.parse()?,
            limits,
        })
    }

    /// Names a file with the certificates of the database's CA, for a URL without `sslrootcert`. The `sslmode` is then
    /// `verify-full`, unless the URL says otherwise.
    #[must_use]
    pub fn with_ca(self, path: Option<PathBuf>) -> Self {
        Self { ca: path, ..self }
    }

    /// Returns the URL.
    pub(super) async fn url(&self) -> Result<Zeroizing<String>, StoreError> {
        match &self.source {
            Source::Url(url) => Ok(url.clone()),
            Source::File(path) => read(path)
                .await
                .map_err(|source| StoreError::file(path, source)),
        }
    }
}

async fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // Opening a FIFO would wait for another process.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = Zeroizing::new(String::new());
    let file = tokio::fs::File::open(path).await?;
    file.take(MOST + 1).read_to_string(&mut text).await?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST) {
        return Err(std::io::Error::other("it is too long for a URL"));
    }
    Ok(text.trim().to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_print_no_password() {
        let url = "postgres://u:hunter2@h/d";
        let settings = Settings::new(url, "symbolon", ConnectionLimits::default()).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(Settings::new(url, "Bad", ConnectionLimits::default()).is_err());
    }
}
