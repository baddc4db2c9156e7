//! SQLite, in a file or in memory: one writer with group commit, and short readers.

pub(super) mod copy;
pub(super) mod file;
pub(super) mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

use self::snapshot::Snapshot;
use self::writer::Writer;
use super::StoreError;
use super::statement::Texts;
use super::tx::{Link, Mode, Outcome, Tx};
use crate::shares::{Caller, Line};

/// The number of connections that read beside the writer.
const READERS: u32 = 4;
/// The largest number of reads that wait for a connection, of all callers.
const WAITING: usize = 512;
/// How long one transaction or read may take. It only executes statements, so it takes longer only if the disk is slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reader waits for its connection.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How often a snapshot is tried while readers use an earlier state, and the pause between two tries.
const TRIES: u32 = 250;
const TRY_EVERY: Duration = Duration::from_millis(20);

/// A SQLite store.
#[derive(Clone)]
pub(super) struct Sqlite {
    writer: Writer,
    /// What waits for the writer.
    writes: Arc<Line>,
    /// What waits for a reader or has one.
    reads: Arc<Line>,
    /// How long a read may take.
    patience: Duration,
    /// `None` in memory, where each connection has a database of its own.
    readers: Option<SqlitePool>,
    path: PathBuf,
    /// `None` in memory.
    file: Option<Arc<File>>,
    texts: Arc<Texts>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

impl Sqlite {
    /// Opens the file or creates it; waits up to `patience` for another process to release it.
    pub(super) async fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        Self::open_with(path, patience, (ACQUIRE, PATIENCE)).await
    }

    /// Opens the file with these limits: how long a reader waits for its connection, and how long a read may take.
    async fn open_with(
        path: &Path,
        patience: Duration,
        (acquire, read): (Duration, Duration),
    ) -> Result<Self, StoreError> {
        let opened = file::open(path, patience).await?;
        let file::Opened {
            connection,
            lock,
            file,
        } = opened;
        let options = file::options().filename(path).pragma("query_only", "ON");
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(acquire)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let held = (lock, Arc::clone(&file));
        let opened = Self::over(connection, Some(readers), path, held);
        Ok(Self {
            file: Some(file),
            patience: read,
            ..opened
        })
    }

    /// Creates an empty store in memory.
    pub(super) async fn in_memory() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let opened = file::options().in_memory(true).connect().await;
        let mut connection = opened.map_err(|source| file::failed(path, source))?;
        file::migrate(&mut connection, path).await?;
        Ok(Self::over(connection, None, path, ()))
    }

    fn over(
        connection: sqlx::SqliteConnection,
        readers: Option<SqlitePool>,
        path: &Path,
        held: impl Send + 'static,
    ) -> Self {
        let texts = Arc::new(Texts::new(""));
        #[cfg(test)]
        let faults = super::faults::Faults::default();
        let tx = Tx::new(
            Link::Sqlite(connection),
            &texts,
            Mode::Whole,
            #[cfg(test)]
            &faults,
        );
        Self {
            writer: Writer::start(tx, path, PATIENCE, held),
            writes: Arc::new(Line::new(writer::QUEUE)),
            reads: Arc::new(Line::new(WAITING + READERS as usize)),
            patience: PATIENCE,
            readers,
            path: path.to_owned(),
            file: None,
            texts,
            #[cfg(test)]
            faults,
        }
    }

    pub(super) async fn run<T, F>(
        &self,
        caller: Option<Caller>,
        mode: Mode,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let Some(readers) = self.readers.as_ref().filter(|_| mode == Mode::Read) else {
            let place = self.writes.enter(caller).ok_or(StoreError::Busy)?;
            // Work that waits keeps its place in the line although its caller leaves.
            let work = self.writer.run(mode, move |tx| {
                drop(place);
                work(tx)
            });
            let done = work.await;
            return done.map_err(|error| self.located(error));
        };
        let _place = self.reads.enter(caller).ok_or(StoreError::Busy)?;
        let connection = readers.acquire().await;
        let link = Link::Reader(connection.map_err(|error| self.located(error.into()))?);
        let mut tx = Tx::new(
            link,
            &self.texts,
            mode,
            #[cfg(test)]
            &self.faults,
        );
        // A statement that still runs keeps its connection until it ends: the pool waits for it.
        let done = tokio::time::timeout(self.patience, work(&mut tx)).await;
        let done = done.unwrap_or(Err(StoreError::Slow(self.patience)));
        let done = done.map(|outcome| outcome.split().1);
        done.map_err(|error| self.located(error))
    }

    fn located(&self, error: StoreError) -> StoreError {
        file::located(&self.path, error)
    }

    /// Returns the path of the file; `None` in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| &*self.path)
    }

    /// Checks the file quickly, and holds its present state.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let Some(file) = &self.file else {
            return Err(StoreError::Misused("a store in memory has no file"));
        };
        let mut connection = Snapshot::connect(&self.path).await?;
        for _ in 0..TRIES {
            let (file, path) = (Arc::clone(file), self.path.clone());
            // While the writer runs this, no one else writes.
            let held = self.writer.run(Mode::Whole, move |_| {
                Box::pin(async move {
                    let held = Snapshot::hold(connection, file, &path).await?;
                    Ok(Outcome::Cancel(held))
                })
            });
            match held.await.map_err(|error| self.located(error))? {
                Ok(snapshot) => return Ok(snapshot),
                Err(again) => connection = again,
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        Err(StoreError::Busy)
    }

    /// Returns the size of the file and its write-ahead log in bytes; 0 in memory.
    pub(super) fn size(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let of = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        of(&self.path) + of(Path::new(&log))
    }

    /// Writes the log into the file and closes both.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        if let Some(readers) = &self.readers {
            readers.close().await;
        }
        let closed = self.writer.close().await;
        closed.map_err(|error| self.located(error))
    }
}
