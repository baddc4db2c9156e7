//! The one writer of a SQLite store: a task that commits many transactions at once.
//!
//! A commit waits for the disk, so up to [`GROUP`] transactions share one. Each has a savepoint, so one that fails or
//! is cancelled fails or cancels no other. A caller gets its result only after the commit. A caller that stops waiting
//! does not cancel its transaction.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};

use super::super::StoreError;
use super::super::tx::{Link, Mode, Outcome, Tx};

/// The largest number of transactions in one commit.
const GROUP: usize = 32;
/// How many transactions may wait. One more is refused.
const QUEUE: usize = 1024;
/// How long one transaction may take. It only executes statements, so it takes longer only if the disk is slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// Called with the result of the group's commit.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The work of one transaction, without its type.
trait Work: Send {
    /// Runs the work; returns whether to save it, and how to reply.
    fn run(self: Box<Self>, tx: &mut Tx) -> BoxFuture<'_, (bool, Reply)>;
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
    fn run(self: Box<Self>, tx: &mut Tx) -> BoxFuture<'_, (bool, Reply)> {
        Box::pin(async move {
            let Self { work, reply } = *self;
            let done = tokio::time::timeout(PATIENCE, AssertUnwindSafe(work(tx)).catch_unwind());
            let result = match done.await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(StoreError::Misused("it panicked")),
                Err(_) => Err(StoreError::Slow(PATIENCE)),
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
    /// Starts the writer. `held` is dropped after the connection is closed.
    pub(super) fn start(tx: Tx, held: impl Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(tx, receiver, held));
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

async fn write(mut tx: Tx, mut queue: mpsc::Receiver<Message>, held: impl Send) {
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
        commit(&mut tx, works).await;
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
async fn commit(tx: &mut Tx, works: Vec<(Mode, Box<dyn Work>)>) {
    if works.is_empty() {
        return;
    }
    let mut replies: Vec<(bool, Reply)> = Vec::with_capacity(works.len());
    let mut state = control(tx, "BEGIN IMMEDIATE").await;
    for (mode, work) in works {
        if state.is_err() {
            replies.push((true, work.refuse()));
            continue;
        }
        match one(tx, mode, work).await {
            (reply, Ok(())) => replies.push(reply),
            (reply, Err(error)) => {
                replies.push(reply);
                state = Err(error);
            }
        }
    }
    if state.is_ok() {
        state = control(tx, "COMMIT").await;
    }
    if state.is_err() {
        // After some faults SQLite has already rolled back.
        let _ = tx.control("ROLLBACK").await;
    }
    #[cfg(test)]
    let state = state.and_then(|()| tx.faults.strike());
    let failed = state.err().map(Arc::new);
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
) -> ((bool, Reply), Result<(), StoreError>) {
    tx.reset(mode);
    // A single statement undoes itself if it fails.
    let is_nested = mode == Mode::Whole;
    if is_nested && let Err(error) = control(tx, "SAVEPOINT work").await {
        return ((true, work.refuse()), Err(error));
    }
    let (save, reply) = work.run(tx).await;
    let ended = match (is_nested, save) {
        (true, true) => control(tx, "RELEASE work").await,
        (true, false) => undo(tx).await,
        (false, false) if tx.has_written() => {
            Err(StoreError::Misused("a single statement is cancelled"))
        }
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
