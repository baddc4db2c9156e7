//! What clients must still be told: that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! A notice is tried again with growing pauses until the client takes it, and given up after [`TRIES`] tries. The number
//! of notices that wait is bounded: one more is dropped and logged, since a sign-out never waits for clients. Notices are
//! in memory: a restart drops them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::tokens::TokenId;

/// The largest number of notices that wait.
const WAITING: usize = 4096;
/// How many clients are told at once.
const AT_ONCE: usize = 16;
/// How often a notice is tried.
const TRIES: u32 = 6;
/// The pause after the first try. Each further one is four times as long: the last try is about half an hour later.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// A client that had a grant in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Its ID.
    pub id: String,
    /// The uid of its resource then.
    pub uid: String,
}

/// Something to tell a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The client.
    pub client: Participant,
    /// The person.
    pub subject: Arc<str>,
    /// The session that ended.
    pub session: TokenId,
}

/// How one try ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The client took it, or need not be told any more.
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

#[derive(Debug)]
struct Pending {
    notice: Notice,
    /// How often it was tried.
    tries: u32,
    _place: OwnedSemaphorePermit,
}

/// Where notices go. Clones share it.
#[derive(Clone, Debug)]
pub struct Outbox {
    sender: mpsc::UnboundedSender<Pending>,
    places: Arc<Semaphore>,
}

/// The notices that wait.
#[derive(Debug)]
pub struct Waiting {
    receiver: mpsc::UnboundedReceiver<Pending>,
    sender: mpsc::WeakUnboundedSender<Pending>,
}

impl Outbox {
    /// Creates an outbox, and what must be carried out of it.
    pub fn new() -> (Self, Waiting) {
        // Bounded by the places.
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Waiting {
            receiver,
            sender: sender.downgrade(),
        };
        let places = Arc::new(Semaphore::new(WAITING));
        (Self { sender, places }, waiting)
    }

    /// Hands over a notice.
    pub fn send(&self, notice: Notice) {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                // Without a receiver, the process ends.
                let _ = self.sender.send(Pending {
                    notice,
                    tries: 0,
                    _place: place,
                });
            }
            Err(_) => {
                let client = notice.client.id;
                tracing::warn!(
                    client,
                    "a client is not told that a session has ended: too many notices wait"
                );
            }
        }
    }
}

impl Waiting {
    /// Carries notices out until every outbox is dropped.
    pub async fn deliver(self, messenger: Arc<dyn Messenger>) {
        let Self { receiver, sender } = self;
        let notices = futures::stream::unfold(receiver, |mut receiver| async {
            let pending = receiver.recv().await?;
            Some((pending, receiver))
        });
        let carry = |pending: Pending| {
            let (messenger, sender) = (Arc::clone(&messenger), sender.clone());
            async move { carry(&*messenger, &sender, pending).await }
        };
        notices.for_each_concurrent(AT_ONCE, carry).await;
    }
}

/// Tries once. A notice that failed comes back after a pause, which holds up no other notice.
async fn carry(
    messenger: &dyn Messenger,
    sender: &mpsc::WeakUnboundedSender<Pending>,
    mut pending: Pending,
) {
    pending.tries += 1;
    let told = messenger.tell(&pending.notice).await;
    let (client, tries) = (&*pending.notice.client.id, pending.tries);
    match told {
        Told::Done => {}
        Told::Refused => {
            tracing::warn!(
                client,
                "a client refused to be told that a session has ended"
            );
        }
        Told::Failed if tries < TRIES => {
            let pause = FIRST_PAUSE * 4_u32.pow(tries - 1);
            let sender = sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                if let Some(sender) = sender.upgrade() {
                    let _ = sender.send(pending);
                }
            });
        }
        Told::Failed => {
            tracing::warn!(
                client,
                tries,
                "a client could not be told that a session has ended"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Fails this often, then works.
    struct Flaky(AtomicU32, Mutex<Vec<String>>);

    impl Messenger for Flaky {
        fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
            self.1.lock().unwrap().push(notice.client.id.clone());
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            let told = if left > 0 { Told::Failed } else { Told::Done };
            Box::pin(async move { told })
        }
    }

    fn notice(client: &str) -> Notice {
        Notice {
            client: Participant {
                id: client.to_owned(),
                uid: "1".to_owned(),
            },
            subject: "alice".into(),
            session: "AAAAAAAAAAAAAAAA".parse().unwrap(),
        }
    }

    async fn tried(failures: u32) -> usize {
        let (outbox, waiting) = Outbox::new();
        let flaky = Arc::new(Flaky(AtomicU32::new(failures), Mutex::default()));
        let carried = tokio::spawn(waiting.deliver(Arc::<Flaky>::clone(&flaky)));
        outbox.send(notice("shop"));
        // In paused time, this passes once nothing else is left to do.
        tokio::time::sleep(Duration::from_hours(2)).await;
        drop(outbox);
        carried.await.unwrap();
        let tried = flaky.1.lock().unwrap();
        tried.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_is_tried_until_the_client_takes_it_and_given_up_in_the_end() {
        assert_eq!(tried(0).await, 1);
        assert_eq!(tried(2).await, 3);
        assert_eq!(tried(100).await, 6);
    }

    #[tokio::test]
    async fn the_notices_that_wait_are_bounded() {
        let (outbox, mut waiting) = Outbox::new();
        for _ in 0..WAITING + 10 {
            outbox.send(notice("shop"));
        }
        drop(outbox);
        let mut count = 0;
        while waiting.receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, WAITING);
    }
}
