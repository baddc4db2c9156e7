//! The one writer of a SQLite store: a task that commits many transactions at once.
//!
//! A commit waits for the disk, so up to [`GROUP`] transactions share one. Each has a savepoint, so one that fails or
//! is cancelled fails or cancels no other. A caller gets its result only after the commit. A caller that stops waiting
//! cancels a transaction that has not begun, but no other.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};

use super::super::StoreError;
use super::super::tx::{Link, Mode, Outcome, Tx};
use super::file;

/// The largest number of transactions in one commit.
const GROUP: usize = 32;
/// How many transactions may wait. One more is refused.
pub(super) const QUEUE: usize = 1024;

/// Called with the result of the group's commit.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The work of one transaction, without its type.
trait Work: Send {
    /// Runs the work, at most for `patience`; returns whether to save it, and how to reply.
    fn run(self: Box<Self>, tx: &mut Tx, patience: Duration) -> BoxFuture<'_, (bool, Reply)>;
    /// Whether no one waits for the result.
    fn is_abandoned(&self) -> bool;
    /// Does not run it; returns how to reply.
    fn refuse(self: Box<Self>) -> Reply;
}

struct Job<T, F> {
    work: F,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Job<T, F>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>> + Send + 'static,
{
    fn run(self: Box<Self>, tx: &mut Tx, patience: Duration) -> BoxFuture<'_, (bool, Reply)> {
        Box::pin(async move {
            let Self { work, reply } = *self;
            let done = tokio::time::timeout(patience, AssertUnwindSafe(work(tx)).catch_unwind());
            let result = match done.await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(StoreError::Misused("it panicked")),
                Err(_) => Err(StoreError::Slow(patience)),
            };
            let (save, result) = match result.map(Outcome::split) {
                Ok((save, value)) => (save, Ok(value)),
                Err(error) => (false, Err(error)),
            };
            let reply: Reply = Box::new(move |committed| {
                // The caller may have stopped waiting.
                let _ = reply.send(result.and_then(|value| committed.map(|()| value)));
            });
            (save, reply)
        })
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn refuse(self: Box<Self>) -> Reply {
        Box::new(move |failed| {
            let error = failed.err().unwrap_or(StoreError::Closed);
            let _ = self.reply.send(Err(error));
        })
    }
}

enum Message {
    Work(Mode, Box<dyn Work>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The handle of the writer.
#[derive(Clone)]
pub(in crate::store) struct Writer(mpsc::Sender<Message>);

impl Writer {
    /// Starts the writer of the file `path`. Each transaction may take `patience`. `held` is dropped after the
    /// connection is closed.
    pub(super) fn start(
        tx: Tx,
        path: &Path,
        patience: Duration,
        held: impl Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let place = Place {
            path: path.to_owned(),
            patience,
        };
        tokio::spawn(write(tx, receiver, place, held));
        Self(sender)
    }

    /// Runs `work` in a transaction and returns its result after the commit.
    pub(in crate::store) async fn run<T, F>(&self, mode: Mode, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let (reply, result) = oneshot::channel();
        let job = Box::new(Job { work, reply });
        let sent = self.0.try_send(Message::Work(mode, job));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// Commits the transactions that wait, then closes the connection.
    pub(in crate::store) async fn close(&self) -> Result<(), StoreError> {
        let (reply, closed) = oneshot::channel();
        let sent = self.0.send(Message::Close(reply)).await;
        sent.map_err(|_| StoreError::Closed)?;
        closed.await.map_err(|_| StoreError::Closed)?
    }
}

/// What a writer needs to know of its store.
struct Place {
    path: PathBuf,
    patience: Duration,
}

async fn write(mut tx: Tx, mut queue: mpsc::Receiver<Message>, place: Place, held: impl Send) {
    let mut group = Vec::with_capacity(GROUP);
    let mut closing = None;
    while closing.is_none() {
        if queue.recv_many(&mut group, GROUP).await == 0 {
            break;
        }
        let mut works = Vec::with_capacity(group.len());
        for message in group.drain(..) {
            match message {
                Message::Work(mode, work) => works.push((mode, work)),
                Message::Close(reply) => closing = Some(reply),
            }
        }
        commit(&mut tx, works, &place).await;
    }
    // Transactions that still wait are dropped without a reply, which tells their callers that the store is closed.
    drop(queue);
    let closed = match tx.link {
        Link::Sqlite(connection) => connection.close().await.map_err(StoreError::from),
        _ => Ok(()),
    };
    drop(held);
    if let Some(reply) = closing {
        let _ = reply.send(closed);
    }
}

/// Runs a group in one transaction and replies to each caller.
async fn commit(tx: &mut Tx, works: Vec<(Mode, Box<dyn Work>)>, place: &Place) {
    if works.is_empty() {
        return;
    }
    let mut replies: Vec<(bool, Reply)> = Vec::with_capacity(works.len());
    // Each read sees what was committed before it, and has nothing to commit. In memory the writer also reads.
    let writes = works.iter().any(|(mode, _)| *mode != Mode::Read);
    let mut state = Ok(());
    if writes {
        state = control(tx, "BEGIN IMMEDIATE").await;
    }
    for (mode, work) in works {
        if work.is_abandoned() {
            continue;
        }
        if state.is_err() {
            replies.push((true, work.refuse()));
            continue;
        }
        match one(tx, mode, work, place.patience).await {
            (reply, Ok(())) => replies.push(reply),
            (reply, Err(error)) => {
                replies.push(reply);
                state = Err(error);
            }
        }
    }
    if state.is_ok() && writes {
        state = control(tx, "COMMIT").await;
    }
    if state.is_err() && writes {
        // After some faults SQLite has already rolled back.
        let _ = tx.control("ROLLBACK").await;
    }
    #[cfg(test)]
    let state = state.and_then(|()| tx.faults.strike());
    let failed = state.err();
    let failed = failed.map(|error| Arc::new(file::located(&place.path, error)));
    // A cancelled transaction has its result whether or not the others were committed.
    for (is_saved, reply) in replies {
        let failed = failed.as_ref().filter(|_| is_saved);
        reply(failed.map_or(Ok(()), |error| {
            Err(StoreError::RolledBack(Arc::clone(error)))
        }));
    }
}

/// Runs one transaction. Returns its reply, and an error if the connection cannot be used for the next.
async fn one(
    tx: &mut Tx,
    mode: Mode,
    work: Box<dyn Work>,
    patience: Duration,
) -> ((bool, Reply), Result<(), StoreError>) {
    tx.reset(mode);
    // A single statement undoes itself if it fails.
    let is_nested = mode == Mode::Whole;
    if is_nested && let Err(error) = control(tx, "SAVEPOINT work").await {
        return ((true, work.refuse()), Err(error));
    }
    let (save, reply) = work.run(tx, patience).await;
    let ended = match (is_nested, save) {
        (true, true) => control(tx, "RELEASE work").await,
        (true, false) => undo(tx).await,
        (false, false) if tx.has_written() => Err(StoreError::Abandoned),
        (false, _) => Ok(()),
    };
    ((save, reply), ended)
}

async fn undo(tx: &mut Tx) -> Result<(), StoreError> {
    tx.control("ROLLBACK TO work").await?;
    tx.control("RELEASE work").await.map(drop)
}

async fn control(tx: &mut Tx, sql: &str) -> Result<(), StoreError> {
    #[cfg(test)]
    tx.faults.strike()?;
    tx.control(sql).await.map(drop)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sqlx::ConnectOptions as _;

    use super::super::super::faults::Faults;
    use super::super::super::statement::{Statement, Texts};
    use super::*;

    /// Makes each update of the row take long, and then fill the table `once`.
    const SLOW: &str = "CREATE VIEW slow AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000000) \
        SELECT max(x) AS x FROM n; \
        CREATE TRIGGER slowly BEFORE UPDATE ON store WHEN new.written_at = 'slow' \
        BEGIN INSERT INTO once SELECT x'00', x FROM slow; END; \
        INSERT INTO store VALUES (1, 'https://a', 'platform', 'main', '1', 'before', 'before')";

    async fn writer(patience: Duration) -> Writer {
        let path = Path::new("/a/file.db");
        let options = file::options().in_memory(true);
        let mut connection = options.connect().await.unwrap();
        file::migrate(&mut connection, path).await.unwrap();
        let slow = sqlx::raw_sql(SLOW).execute(&mut connection).await;
        slow.unwrap();
        let texts = Arc::new(Texts::new(""));
        let link = Link::Sqlite(connection);
        let tx = Tx::new(link, &texts, Mode::Whole, &Faults::default());
        Writer::start(tx, path, patience, ())
    }

    impl Writer {
        async fn accept(&self, value: u8) -> Result<(), StoreError> {
            let now = Timestamp::UNIX_EPOCH;
            let accepted = self.run(Mode::Single, move |tx| {
                Box::pin(async move {
                    let values = [(&[value; 32]).into(), now.into(), now.into()];
                    tx.run(Statement::ONCE_ADD, values).await.map(Outcome::Save)
                })
            });
            accepted.await
        }

        async fn count(&self) -> i64 {
            let counted = self.run(Mode::Read, |tx| {
                Box::pin(async move {
                    let rows = tx.control("SELECT count(*) FROM once").await?;
                    Ok(Outcome::Save(rows[0].int(0)?))
                })
            });
            counted.await.unwrap()
        }
    }

    /// Starts the slow statement and does not wait for its end.
    fn abandon(tx: &mut Tx) -> BoxFuture<'_, Result<Outcome<()>, StoreError>> {
        Box::pin(async move {
            let slow = tx.run(Statement::STORE_PROBE, ["slow".into()]);
            let brief = Duration::from_millis(1);
            match tokio::time::timeout(brief, slow).await {
                Ok(_) => panic!("the statement was to take longer"),
                Err(_) => Err(StoreError::Slow(brief)),
            }
        })
    }

    #[tokio::test]
    async fn an_abandoned_statement_takes_no_effect_although_it_needed_no_savepoint() {
        let writer = writer(Duration::from_secs(60)).await;
        let all = tokio::join!(
            writer.accept(1),
            writer.run(Mode::Single, abandon),
            writer.accept(2),
        );
        assert!(matches!(all.1, Err(StoreError::Slow(_))), "{:?}", all.1);
        for other in [all.0, all.2] {
            let Err(StoreError::RolledBack(cause)) = other else {
                panic!("{other:?}");
            };
            assert!(matches!(*cause, StoreError::Abandoned), "{cause}");
        }
        assert_eq!(writer.count().await, 0);
        writer.accept(3).await.unwrap();
        assert_eq!(writer.count().await, 1, "the writer goes on");
    }

    #[tokio::test]
    async fn an_abandoned_statement_in_a_savepoint_undoes_no_other_transaction() {
        let writer = writer(Duration::from_secs(60)).await;
        let all = tokio::join!(
            writer.accept(1),
            writer.run(Mode::Whole, abandon),
            writer.accept(2),
        );
        assert!(matches!(all.1, Err(StoreError::Slow(_))), "{:?}", all.1);
        assert!(all.0.is_ok() && all.2.is_ok());
        assert_eq!(writer.count().await, 2);
    }

    /// The writer would otherwise work for callers that no share counts any more.
    #[tokio::test]
    async fn a_transaction_that_waits_ends_with_its_caller() {
        let writer = writer(Duration::from_secs(60)).await;
        let (release, blocked) = oneshot::channel::<()>();
        let blocker = writer.run(Mode::Whole, |_| {
            Box::pin(async move { Ok(Outcome::Cancel(blocked.await)) })
        });
        let mut blocker = std::pin::pin!(blocker);
        assert!(futures::poll!(&mut blocker).is_pending());
        let mut waits = std::pin::pin!(writer.accept(1));
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(writer.accept(2).now_or_never().is_none());
        release.send(()).unwrap();
        blocker.await.unwrap().unwrap();
        waits.await.unwrap();
        assert_eq!(writer.count().await, 1);
    }

    #[tokio::test]
    async fn a_transaction_that_takes_too_long_is_rolled_back() {
        let writer = writer(Duration::from_millis(20)).await;
        let endless = writer.run(Mode::Whole, |tx| -> BoxFuture<'_, Result<Outcome<()>, _>> {
            Box::pin(async move {
                tx.run(Statement::STORE_PROBE, ["late".into()]).await?;
                std::future::pending().await
            })
        });
        assert!(matches!(endless.await, Err(StoreError::Slow(_))));
        // A busy machine may need several tries.
        while writer.accept(1).await.is_err() {}
        let written = writer.run(Mode::Read, |tx| {
            Box::pin(async move {
                let rows = tx.control("SELECT written_at FROM store").await?;
                Ok(Outcome::Save(rows[0].text(0)?))
            })
        });
        assert_eq!(written.await.unwrap(), "before");
    }

    /// SQLite checks a deferred reference only at the commit.
    #[tokio::test]
    async fn a_commit_that_fails_names_the_file() {
        let writer = writer(Duration::from_secs(60)).await;
        let dangling = writer.run(Mode::Whole, |tx| {
            Box::pin(async move {
                tx.control("PRAGMA defer_foreign_keys = 1").await?;
                let sql = "INSERT INTO password VALUES (x'00', '', 0)";
                tx.control(sql).await?;
                Ok(Outcome::Save(()))
            })
        });
        let failed = dangling.await.unwrap_err();
        assert!(matches!(failed, StoreError::RolledBack(_)), "{failed}");
        let words = failed.to_string();
        assert!(words.contains("/a/file.db"), "{words}");
        assert!(words.contains("FOREIGN KEY"), "{words}");
    }
}
