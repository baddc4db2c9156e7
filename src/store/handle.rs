//! The handle of a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tracing::info;

use super::StoreError;
use super::postgres::{self, Postgres, Settings};
use super::row::{Row, Value};
use super::sqlite::Sqlite;
use super::sqlite::snapshot::Snapshot;
use super::statement::Statement;
use super::tx::{Mode, Outcome, Tx};
use crate::people::notice::{Audience, NoAudience};
use crate::shares::Caller;

/// The Identity that a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The issuer, which the store is bound to.
    pub issuer: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which changes when the Identity is recreated.
    pub uid: String,
}

#[derive(Clone)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// The largest distance between this machine's clock and the database's. Beyond it, the expiry of what replicas share
/// would be judged differently by each, so nothing of people is served.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(5);

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// In memory; lost when the process ends.
    Memory,
    /// In a SQLite file.
    Sqlite {
        /// Its path.
        path: PathBuf,
        /// How long to wait for another process to release it.
        patience: Duration,
    },
    /// In PostgreSQL.
    Postgres(Settings),
}

/// An open store. Clones share it.
///
/// A caller that stops waiting for an operation cancels it before it has begun, and not afterwards. So callers that
/// leave occupy no more of the store than what it does at once. What waits is bounded, and each caller has a share of it.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
    audience: Arc<dyn Audience>,
    caller: Option<Caller>,
}

impl Store {
    fn of(backend: Backend) -> Self {
        Self {
            backend,
            audience: Arc::new(NoAudience),
            caller: None,
        }
    }

    /// Returns a handle of the same store whose operations write notices for this audience when they end sessions.
    #[must_use]
    pub fn telling(&self, audience: Arc<dyn Audience>) -> Self {
        Self {
            audience,
            ..self.clone()
        }
    }

    /// Returns who is told of the end of sessions.
    pub(super) fn audience(&self) -> Arc<dyn Audience> {
        Arc::clone(&self.audience)
    }

    /// Returns a handle of the same store whose operations wait in the share of this caller. The operations of a handle
    /// without a caller are the server's own.
    #[must_use]
    pub fn for_caller(&self, caller: Option<Caller>) -> Self {
        Self {
            caller,
            ..self.clone()
        }
    }

    /// Opens the store at a location.
    ///
    /// # Errors
    /// Why the store cannot be used.
    pub async fn at(location: Location) -> Result<Self, StoreError> {
        match location {
            Location::Memory => Self::in_memory().await,
            Location::Sqlite { path, patience } => Self::open(&path, patience).await,
            Location::Postgres(settings) => Self::connect(settings).await,
        }
    }

    /// Opens a SQLite file or creates it; waits up to `patience` for another process to release it. No other process
    /// can open the file while the store is open.
    ///
    /// # Errors
    /// Why the store cannot be used; nothing was written then.
    pub async fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let sqlite = Sqlite::open(path, patience).await?;
        Ok(Self::of(Backend::Sqlite(sqlite)))
    }

    /// Creates an empty store in memory, which is lost when the last handle is dropped.
    ///
    /// # Errors
    /// A fault of SQLite.
    pub async fn in_memory() -> Result<Self, StoreError> {
        Ok(Self::of(Backend::Sqlite(Sqlite::in_memory().await?)))
    }

    /// Connects to PostgreSQL and brings the schema up to date.
    ///
    /// # Errors
    /// Why the store cannot be used.
    pub async fn connect(settings: Settings) -> Result<Self, StoreError> {
        let postgres = Postgres::connect(settings).await?;
        Ok(Self::of(Backend::Postgres(postgres)))
    }

    /// Runs `work`, which only reads. Each statement sees what was committed before it.
    ///
    /// # Errors
    /// A fault of the work or of the database.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        self.run(Mode::Read, move |tx| save(work(tx))).await
    }

    /// Runs `work`, which changes rows with one statement. On PostgreSQL it needs one round trip.
    ///
    /// # Errors
    /// A fault of the work or of the database: then nothing was written, unless the reply to the commit was lost.
    pub async fn write_single<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        self.run(Mode::Single, move |tx| save(work(tx))).await
    }

    /// Executes a statement that changes rows, and returns those that it returns.
    pub(super) async fn execute(
        &self,
        statement: Statement,
        values: impl Into<Vec<Value>>,
    ) -> Result<Vec<Row>, StoreError> {
        let values = values.into();
        self.write_single(move |tx| Box::pin(tx.execute(statement, values)))
            .await
    }

    /// Executes a statement that only reads, and returns its only row.
    pub(super) async fn find(
        &self,
        statement: Statement,
        values: impl Into<Vec<Value>>,
    ) -> Result<Option<Row>, StoreError> {
        let values = values.into();
        self.read(move |tx| Box::pin(async move { Ok(tx.execute(statement, values).await?.pop()) }))
            .await
    }

    /// Runs `work` in a transaction, and saves or cancels it as `work` says. The work only executes statements:
    /// hashing, signing and requests come before or after.
    ///
    /// # Errors
    /// A fault of the work or of the database: then nothing was written, unless the reply to the commit was lost.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        self.run(Mode::Whole, work).await
    }

    async fn run<T, F>(&self, mode: Mode, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        // Boxed: the futures of both engines are large, and each operation contains several.
        match &self.backend {
            Backend::Sqlite(sqlite) => Box::pin(sqlite.run(self.caller, mode, work)).await,
            Backend::Postgres(postgres) => Box::pin(postgres.run(self.caller, mode, work)).await,
        }
    }

    /// Binds a new store to an Identity, or checks that it is bound to the Identity's issuer. A recreated or renamed
    /// Identity keeps its store: only the issuer counts.
    ///
    /// # Errors
    /// The store belongs to another issuer.
    pub async fn bind(&self, holder: &Holder, now: Timestamp) -> Result<(), StoreError> {
        let (holder, issuer) = (holder.clone(), &holder.issuer);
        self.write(move |tx| Box::pin(bind(tx, holder, now)))
            .await?;
        if let Backend::Postgres(postgres) = &self.backend {
            postgres.bound(issuer);
        }
        Ok(())
    }

    /// Reads the file with the database's URL again, and connects to where it leads if it has changed. Returns whether
    /// it has; always `false` for a store without such a file.
    ///
    /// # Errors
    /// Why the changed URL cannot be used, such as another issuer's store. The previous one stays in use.
    pub async fn reload(&self) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(false),
            Backend::Postgres(postgres) => postgres.reload().await,
        }
    }

    /// Calls [`Store::reload`] at each interval, and logs what changes. It never ends for a database, and at once for
    /// other stores.
    pub async fn follow_url(&self, every: Duration) {
        if let Backend::Postgres(postgres) = &self.backend {
            postgres::follow(postgres, every).await;
        }
    }

    /// Returns how far this machine's clock is from the database's; zero for a store of this process. `now` is read
    /// before and after the question, so the time that it takes does not count.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn clock_distance(
        &self,
        now: impl Fn() -> Timestamp + Send,
    ) -> Result<Duration, StoreError> {
        if !self.is_postgres() {
            return Ok(Duration::ZERO);
        }
        let before = now();
        let row = self.find(Statement::CLOCK_READ, []).await?;
        let theirs = row.map(|row| row.time(0)).transpose()?;
        Ok(distance(before, theirs.unwrap_or(before), now()))
    }

    /// Writes the current time, to find out whether the store is writable.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        let values = [now.to_string().as_str().into()];
        self.execute(Statement::STORE_PROBE, values).await.map(drop)
    }

    /// Returns the size of the file and its write-ahead log in bytes; 0 for other stores.
    pub fn size(&self) -> u64 {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.size(),
            Backend::Postgres(_) => 0,
        }
    }

    /// Whether each statement is a round trip to another process. There one statement does what several do in a file.
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Returns the path of a SQLite file; `None` for other stores.
    pub fn path(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.path(),
            Backend::Postgres(_) => None,
        }
    }

    /// Holds the present state of a SQLite file, for a copy of it. The store stays in use.
    ///
    /// # Errors
    /// The store is not a file, is damaged, or is too busy.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.snapshot().await,
            Backend::Postgres(_) => Err(StoreError::Misused("PostgreSQL has no file")),
        }
    }

    /// Closes the store for every clone. SQLite writes the log into the file.
    ///
    /// # Errors
    /// The store could not be closed. The log remains, and the next start reads it.
    pub async fn close(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => {
                postgres.close();
                Ok(())
            }
        }
    }

    /// Returns the store over an open file, for tests.
    #[cfg(test)]
    pub(super) fn over(sqlite: Sqlite) -> Self {
        Self::of(Backend::Sqlite(sqlite))
    }

    /// Returns where tests inject faults.
    #[cfg(test)]
    pub(super) const fn faults(&self) -> &super::faults::Faults {
        match &self.backend {
            Backend::Sqlite(sqlite) => &sqlite.faults,
            Backend::Postgres(postgres) => &postgres.faults,
        }
    }

    /// Returns the schema's qualifier, for tests.
    #[cfg(test)]
    pub(super) fn qualifier(&self) -> &str {
        match &self.backend {
            Backend::Sqlite(_) => "",
            Backend::Postgres(postgres) => postgres.qualifier(),
        }
    }
}

/// Returns how far a time is from the interval in which it was read.
fn distance(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Duration {
    let behind = before.duration_since(theirs);
    let ahead = theirs.duration_since(after);
    behind.max(ahead).try_into().unwrap_or_default()
}

fn save<'t, T: Send + 't>(
    work: BoxFuture<'t, Result<T, StoreError>>,
) -> BoxFuture<'t, Result<Outcome<T>, StoreError>> {
    Box::pin(async move { work.await.map(Outcome::Save) })
}

async fn bind(tx: &mut Tx, holder: Holder, now: Timestamp) -> Result<Outcome<()>, StoreError> {
    let known = match tx.row(Statement::STORE_READ, []).await? {
        None => None,
        Some(row) => Some(Holder {
            issuer: row.text(0)?,
            namespace: row.text(1)?,
            name: row.text(2)?,
            uid: row.text(3)?,
        }),
    };
    match known {
        Some(known) if known == holder => return Ok(Outcome::Cancel(())),
        Some(known) if known.issuer != holder.issuer => {
            return Err(StoreError::OtherIssuer {
                found: known.issuer,
                wanted: holder.issuer,
            });
        }
        Some(known) => {
            info!(before = %known.uid, now = %holder.uid, "store bound to a recreated or renamed Identity of the same issuer");
        }
        None => info!(issuer = holder.issuer, "store created"),
    }
    let Holder {
        issuer,
        namespace,
        name,
        uid,
    } = &holder;
    let now = now.to_string();
    let values = [issuer, namespace, name, uid, &now].map(Into::into);
    tx.run(Statement::STORE_BIND, values).await?;
    Ok(Outcome::Save(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_the_question_takes_is_no_distance() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (before, theirs, after, expected) in [
            (100, 100, 100, 0),
            (100, 103, 110, 0),
            (100, 110, 110, 0),
            (100, 95, 101, 5),
            (100, 107, 101, 6),
            (100, 40, 200, 60),
        ] {
            let found = distance(at(before), at(theirs), at(after));
            assert_eq!(
                found,
                Duration::from_secs(expected),
                "{before} {theirs} {after}"
            );
        }
    }
}
