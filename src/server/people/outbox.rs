//! What clients must still be told: that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! A notice is tried again with growing pauses until the client takes it, and given up after [`TRIES`] tries. The number
//! of notices that wait is bounded: one more is dropped and logged, since a sign-out never waits for clients. A client
//! and a namespace have a share of the places and of the tries at once, so that none whose clients do not answer
//! silences the others. Notices are in memory: a restart drops them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::lock::lock;
use crate::tokens::TokenId;

/// The largest number of notices that wait: of all clients, of those of one namespace, and of one client.
const WAITING: [usize; 3] = [4096, 2048, 1024];
/// How many are told at once, likewise.
const AT_ONCE: [usize; 3] = [64, 8, 4];
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

/// Returns the namespace of a client.
pub type NamespaceOf = dyn Fn(&Participant) -> Option<Arc<str>> + Send + Sync;

/// Counts something of all clients, of those of a namespace, and of a client.
type Counters = [Arc<AtomicUsize>; 3];

fn counts(counters: &Counters) -> [usize; 3] {
    counters.each_ref().map(|it| it.load(Ordering::Relaxed))
}

/// Counts until it is dropped.
#[derive(Debug)]
struct Counted(Counters);

impl Counted {
    fn new(counters: &Counters) -> Self {
        for counter in counters {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Self(counters.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for counter in &self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What one owner of notices has.
#[derive(Debug, Default)]
struct Share {
    /// Notices, also those that are under way.
    held: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Pending {
    notice: Notice,
    held: Counted,
    under_way: Counters,
    /// How often it was tried.
    tries: u32,
    due: Instant,
}

impl Pending {
    /// Returns how many notices its namespace and its client hold.
    fn holding(&self) -> (usize, usize) {
        let [_, namespace, client] = counts(&self.held.0);
        (namespace, client)
    }

    fn may_go(&self, now: Instant) -> bool {
        let counts = counts(&self.under_way);
        self.due <= now
            && counts
                .iter()
                .zip(AT_ONCE)
                .all(|(count, most)| *count < most)
    }
}

/// The notices that wait, from the oldest to the newest, and what their owners have.
#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<Pending>,
    all: Share,
    namespaces: HashMap<Arc<str>, Share>,
    clients: HashMap<Arc<str>, Share>,
}

/// Returns the share of a name. Those without notices are forgotten when there are many.
fn share<'s>(shares: &'s mut HashMap<Arc<str>, Share>, name: &Arc<str>) -> &'s Share {
    if shares.len() > WAITING[0] {
        shares.retain(|_, share| share.held.load(Ordering::Relaxed) > 0);
    }
    shares.entry(Arc::clone(name)).or_default()
}

impl Lines {
    /// Takes a notice. Returns the one that is dropped: this one if its owner has used up its share, or the newest of
    /// the owner that holds most if all places are taken.
    fn add(&mut self, notice: Notice, namespace: &Arc<str>, now: Instant) -> Option<Notice> {
        let client: Arc<str> = (&*notice.client.id).into();
        let shares = [
            &self.all,
            share(&mut self.namespaces, namespace),
            share(&mut self.clients, &client),
        ];
        let held = shares.map(|share| Arc::clone(&share.held));
        let under_way = shares.map(|share| Arc::clone(&share.under_way));
        let [of_all, of_namespace, of_client] = counts(&held);
        let [most, most_of_namespace, most_of_client] = WAITING;
        if of_namespace >= most_of_namespace || of_client >= most_of_client {
            return Some(notice);
        }
        let mut dropped = None;
        if of_all >= most {
            let waiting = self.waiting.iter().enumerate();
            let largest = waiting.max_by_key(|(_, pending)| pending.holding());
            let largest = largest.filter(|(_, pending)| pending.holding().0 > of_namespace);
            let Some((at, _)) = largest else {
                return Some(notice);
            };
            dropped = Some(self.waiting.remove(at).notice);
        }
        self.waiting.push(Pending {
            notice,
            held: Counted::new(&held),
            under_way,
            tries: 0,
            due: now,
        });
        dropped
    }

    /// Returns the next notice that is due: of all whose owners are below their limits, one whose owner has fewest under
    /// way, and of those the oldest.
    fn next(&mut self, now: Instant) -> Option<(Pending, Counted)> {
        let [under_way, ..] = AT_ONCE;
        if self.all.under_way.load(Ordering::Relaxed) >= under_way {
            return None;
        }
        let waiting = self.waiting.iter().enumerate();
        let may_go = waiting.filter(|(_, pending)| pending.may_go(now));
        let (at, _) = may_go.min_by_key(|(_, pending)| counts(&pending.under_way))?;
        let pending = self.waiting.remove(at);
        let counted = Counted::new(&pending.under_way);
        Some((pending, counted))
    }

    /// Returns when the next pause ends.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = self.waiting.iter().map(|pending| pending.due);
        due.filter(|due| *due > now).min()
    }
}

/// Where notices go. Clones share it.
#[derive(Clone)]
pub struct Outbox {
    lines: Arc<Mutex<Lines>>,
    wake: mpsc::Sender<()>,
    namespace_of: Arc<NamespaceOf>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// The notices that wait.
#[derive(Debug)]
pub struct Waiting {
    lines: Arc<Mutex<Lines>>,
    woken: mpsc::Receiver<()>,
}

impl Outbox {
    /// Creates an outbox, and what must be carried out of it. `namespace_of` says whose share a notice takes.
    pub fn new(namespace_of: Arc<NamespaceOf>) -> (Self, Waiting) {
        let (wake, woken) = mpsc::channel(1);
        let lines = Arc::<Mutex<Lines>>::default();
        let waiting = Waiting {
            lines: Arc::clone(&lines),
            woken,
        };
        let outbox = Self {
            lines,
            wake,
            namespace_of,
        };
        (outbox, waiting)
    }

    /// Hands over a notice.
    pub fn send(&self, notice: Notice) {
        // Those of a client that is gone share one.
        let namespace = (self.namespace_of)(&notice.client).unwrap_or_default();
        let dropped = lock(&self.lines).add(notice, &namespace, Instant::now());
        if let Some(dropped) = dropped {
            let client = dropped.client.id;
            tracing::warn!(
                client,
                "a client is not told that a session has ended: too many notices wait"
            );
        }
        // If it is full, the other side wakes in any case. Without the other side, the process ends.
        let _ = self.wake.try_send(());
    }
}

impl Waiting {
    /// Carries notices out until every outbox is dropped.
    pub async fn deliver(self, messenger: Arc<dyn Messenger>) {
        let Self { lines, mut woken } = self;
        let mut tries = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !tries.is_empty() {
            let now = Instant::now();
            let next = || lock(&lines).next(now);
            while let Some((pending, counted)) = next() {
                tries.push(attempt(Arc::clone(&messenger), pending, counted));
            }
            let due = lock(&lines).next_due(now);
            let pause = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                wake = woken.recv(), if is_open => is_open = wake.is_some(),
                Some((pending, told)) = tries.next() => {
                    lock(&lines).waiting.extend(again(pending, told));
                }
                () = pause => {}
            }
        }
    }
}

/// Tries once.
async fn attempt(
    messenger: Arc<dyn Messenger>,
    mut pending: Pending,
    counted: Counted,
) -> (Pending, Told) {
    pending.tries += 1;
    let told = messenger.tell(&pending.notice).await;
    drop(counted);
    (pending, told)
}

/// Returns the notice with its next pause, if it must be tried again.
fn again(mut pending: Pending, told: Told) -> Option<Pending> {
    let (client, tries) = (&*pending.notice.client.id, pending.tries);
    match told {
        Told::Done => None,
        Told::Refused => {
            tracing::warn!(
                client,
                "a client refused to be told that a session has ended"
            );
            None
        }
        Told::Failed if tries < TRIES => {
            pending.due = Instant::now() + FIRST_PAUSE * 4_u32.pow(tries - 1);
            Some(pending)
        }
        Told::Failed => {
            tracing::warn!(
                client,
                tries,
                "a client could not be told that a session has ended"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

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

    /// Clients have IDs such as `blue.app`.
    fn outbox() -> (Outbox, Waiting) {
        Outbox::new(Arc::new(|client| {
            let (namespace, _) = client.id.split_once('.')?;
            Some(namespace.into())
        }))
    }

    async fn tried(failures: u32) -> usize {
        let (outbox, waiting) = outbox();
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

    /// How many notices of a client wait.
    fn held(outbox: &Outbox, client: &str) -> usize {
        let lines = lock(&outbox.lines);
        let of_client = |pending: &&Pending| pending.notice.client.id == client;
        lines.waiting.iter().filter(of_client).count()
    }

    #[tokio::test]
    async fn the_notices_that_wait_are_bounded_for_each_client_and_namespace() {
        let (outbox, _waiting) = outbox();
        let send = |client: &str, count| (0..count).for_each(|_| outbox.send(notice(client)));
        let [_, _, of_client] = WAITING;
        send("blue.one", of_client + 10);
        assert_eq!(held(&outbox, "blue.one"), of_client);
        send("blue.two", of_client);
        send("blue.three", 10);
        assert_eq!(held(&outbox, "blue.three"), 0);
        send("green.one", 1);
        assert_eq!(held(&outbox, "green.one"), 1);
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_namespace_that_holds_most_loses_one() {
        let (outbox, _waiting) = outbox();
        let send = |client: &str, count| (0..count).for_each(|_| outbox.send(notice(client)));
        for client in ["blue.one", "blue.two", "red.one", "red.two"] {
            send(client, WAITING[2]);
        }
        send("green.one", 5);
        assert_eq!(held(&outbox, "green.one"), 5);
        assert_eq!(lock(&outbox.lines).waiting.len(), WAITING[0]);
    }

    /// Never answers some clients.
    struct Silent(Mutex<Vec<String>>);

    impl Messenger for Silent {
        fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
            let client = notice.client.id.clone();
            let is_silent = client.starts_with("blue.");
            self.0.lock().unwrap().push(client);
            Box::pin(async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                Told::Done
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_do_not_answer_hold_up_no_others() {
        let (outbox, waiting) = outbox();
        for client in ["blue.one", "blue.two", "blue.three"] {
            (0..100).for_each(|_| outbox.send(notice(client)));
        }
        outbox.send(notice("green.one"));
        let silent = Arc::new(Silent(Mutex::default()));
        let carried = tokio::spawn(waiting.deliver(Arc::<Silent>::clone(&silent)));
        tokio::time::sleep(Duration::from_hours(2)).await;
        let told = silent.0.lock().unwrap().clone();
        let count = |client: &str| told.iter().filter(|it| *it == client).count();
        assert_eq!(count("green.one"), 1);
        let blue = ["blue.one", "blue.two", "blue.three"].map(count);
        assert!(
            blue.iter().all(|count| (1..=AT_ONCE[2]).contains(count)),
            "{blue:?}"
        );
        assert_eq!(blue.iter().sum::<usize>(), AT_ONCE[1]);
        carried.abort();
    }
}
