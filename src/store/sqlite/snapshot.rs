//! The bytes of a store's file at one moment, while the store is in use.
//!
//! A read transaction that begins when the whole write-ahead log is in the file keeps every checkpoint from writing to the
//! file until it ends. So the file itself is the copy: no second file is written, also on a volume that is full. Meanwhile
//! commits go to the log.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::super::StoreError;
use super::file::{ask, examine, failed, options};

/// The largest number of bytes in one piece.
const PIECE: u64 = 256 << 10;
/// The offset of the two bytes of the header that say whether the file has a write-ahead log, and their value if not.
const LOG_MARK: std::ops::Range<usize> = 18..20;
const WITHOUT_LOG: u8 = 1;

/// A state of the file that does not change while this value exists.
pub struct Snapshot {
    connection: SqliteConnection,
    /// Closing any descriptor of the file releases the locks that SQLite has on it in this process. So a server keeps one
    /// descriptor open for as long as its store.
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    at: u64,
}

impl Snapshot {
    /// Opens a file beside its users, and checks it quickly.
    pub(in crate::store) async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
        let options = options().filename(path).create_if_missing(false);
        let opened = options.connect().await;
        let mut connection = opened.map_err(|source| failed(path, source))?;
        examine(&mut connection, path).await?;
        Ok(connection)
    }

    /// Begins a read transaction; `None` if a part of the log is not in the file. No one may write meanwhile.
    pub(in crate::store) async fn hold(
        mut connection: SqliteConnection,
        file: Arc<File>,
        path: &Path,
    ) -> Result<Result<Self, SqliteConnection>, StoreError> {
        let checkpoint = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)");
        let moved = checkpoint.fetch_one(&mut connection).await;
        let (busy, log, done): (i64, i64, i64) = moved.map_err(|source| failed(path, source))?;
        if busy != 0 || log != done {
            return Ok(Err(connection));
        }
        let begun = sqlx::raw_sql("BEGIN").execute(&mut connection).await;
        begun.map_err(|source| failed(path, source))?;
        // The transaction begins with the first read.
        let pages: i64 = ask(&mut connection, path, "PRAGMA page_count").await?;
        let _: i64 = ask(&mut connection, path, "SELECT count(*) FROM sqlite_master").await?;
        let size: i64 = ask(&mut connection, path, "PRAGMA page_size").await?;
        Ok(Ok(Self {
            connection,
            file,
            path: path.to_owned(),
            bytes: pages.unsigned_abs() * size.unsigned_abs(),
            at: 0,
        }))
    }

    /// Returns the number of bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next piece; `None` at the end. The copy says that it has no write-ahead log, so it can be read without
    /// writing beside it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let (at, size) = (self.at, PIECE.min(self.bytes - self.at));
        if size == 0 {
            return Ok(None);
        }
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(size).unwrap_or_default()];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let read = read.await.map_err(|_| StoreError::Closed)?;
        let mut piece = read.map_err(|source| StoreError::file(&self.path, source))?;
        if at == 0 && piece.len() >= LOG_MARK.end {
            piece[LOG_MARK].fill(WITHOUT_LOG);
        }
        self.at += size;
        Ok(Some(piece))
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// The connection could not be closed.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.connection.close().await;
        closed.map_err(|source| failed(&self.path, source))
    }
}
