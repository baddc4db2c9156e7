//! What clients must still be told: that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! A notice is tried again with growing pauses until the client takes it, and given up after [`TRIES`] tries. The number
//! of notices that wait is bounded: one more is dropped, counted and logged, since a sign-out never waits for clients.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::session::Participant;
use crate::tokens::TokenId;

/// The largest number of notices that wait.
const WAITING: usize = 4096;
/// How many clients are told at once.
const AT_ONCE: usize = 16;
/// How often a notice is tried.
pub const TRIES: u32 = 6;
/// The pause after the first try. Each further one is four times as long: the last try is about half an hour later.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Something to tell a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The client.
    pub client: Participant,
    /// The person.
    pub subject: Arc<str>,
    /// The session that ended; `None` if all of the person's have.
    pub session: Option<TokenId>,
    /// When.
    pub since: Timestamp,
}

/// How one try ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The client took it, or has nothing to be told by now.
    Done,
    /// The client refused it, and would again.
    Refused,
    /// It may work later.
    Failed,
}

/// Takes a notice to its client.
pub trait Messenger: Send + Sync + 'static {
    /// Tries once. Each try signs a new token.
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told>;
}

/// Where notices go.
#[derive(Clone, Debug)]
pub struct Outbox(mpsc::Sender<Notice>);

/// The notices that wait.
#[derive(Debug)]
pub struct Waiting(mpsc::Receiver<Notice>);

impl Outbox {
    /// Creates an outbox, and what must be carried out of it.
    pub fn new() -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Waiting(receiver))
    }

    /// Hands over a notice.
    pub fn send(&self, notice: Notice) {
        if let Err(error) = self.0.try_send(notice) {
            let client = match &error {
                mpsc::error::TrySendError::Full(notice)
                | mpsc::error::TrySendError::Closed(notice) => notice.client.id.clone(),
            };
            tracing::warn!(
                client,
                "a client is not told that a session has ended: too many notices wait"
            );
        }
    }
}

impl Waiting {
    /// Carries notices out until every outbox is dropped.
    pub async fn deliver(self, messenger: Arc<dyn Messenger>) {
        let notices = futures::stream::unfold(self.0, |mut receiver| async {
            let notice = receiver.recv().await?;
            Some((notice, receiver))
        });
        let carry = |notice: Notice| {
            let messenger = Arc::clone(&messenger);
            async move { carry(&*messenger, &notice).await }
        };
        notices.for_each_concurrent(AT_ONCE, carry).await;
    }
}

async fn carry(messenger: &dyn Messenger, notice: &Notice) {
    let client = &*notice.client.id;
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=TRIES {
        match messenger.tell(notice).await {
            Told::Done => return,
            Told::Refused => {
                tracing::warn!(
                    client,
                    "a client refused to be told that a session has ended"
                );
                return;
            }
            Told::Failed if attempt < TRIES => {
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            Told::Failed => {}
        }
    }
    tracing::warn!(
        client,
        tries = TRIES,
        "a client could not be told that a session has ended"
    );
}
