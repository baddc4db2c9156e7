//! Shares the processors between the clients that request signatures.
//!
//! An RSA signature takes about a millisecond, far longer than the rest of a request, and it runs on the thread that serves
//! the connection. If every request of a client with hundreds of connections could sign at once, the requests of others would
//! wait behind all of them. So only a few requests of one client, and of all clients of one namespace, sign or are about to.
//! The others wait, in the order in which they came. Only requests with valid credentials get this far, so that no one can
//! use up the turns of another client.
//!
//! Requests run to their end one after the other on each thread, so a request that signs slowly first lets the others run
//! while it holds its slot: they see the slot, and line up behind it.
//!
//! The tables have a fixed size, and a request that need not wait costs four short operations. Two clients whose hashes
//! collide count as one. The hash is keyed, so that no caller can choose to collide with another.

use std::hash::{BuildHasher as _, Hash};
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::directory::ObjectKey;
use crate::lock::lock;
use crate::shares::Keyed;

const BUCKETS: usize = 4096;

/// The signatures under way, by client and by namespace.
#[derive(Debug)]
pub(super) struct Signing {
    /// The most requests of the clients of one namespace that wait.
    most_waiting: usize,
    clients: Box<[Bucket]>,
    namespaces: Box<[Bucket]>,
    hasher: Keyed,
}

#[derive(Debug)]
struct Bucket {
    /// One permit for each request that may sign or be about to. It is fair: a freed permit goes to the request that has
    /// waited longest.
    slots: Semaphore,
    /// The requests that wait for this bucket or for that of their client. Only used for namespaces.
    in_line: AtomicUsize,
}

/// The right to sign now. Dropping it gives it to the next request.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _client: SemaphorePermit<'a>,
    _namespace: SemaphorePermit<'a>,
}

/// A request that must wait before it may sign.
#[derive(Debug)]
pub(super) struct InLine<'a> {
    client: &'a Bucket,
    namespace: &'a Bucket,
}

impl Signing {
    /// Creates the tables for this number of `processors` and of `requests` in progress.
    pub fn new(processors: usize, requests: usize) -> Self {
        // A request may be about to sign while another one does, so that no processor has to wait.
        let most = 2 * processors;
        let buckets = || (0..BUCKETS).map(|_| Bucket::of(most)).collect();
        Self {
            most_waiting: (requests / 4).max(1),
            clients: buckets(),
            namespaces: buckets(),
            hasher: Keyed::default(),
        }
    }

    /// Returns the right to sign now, if the client need not wait.
    pub fn try_begin(&self, client: &ObjectKey) -> Option<Slot<'_>> {
        let (client, namespace) = self.buckets(client)?;
        Some(Slot {
            _client: client.slots.try_acquire().ok()?,
            _namespace: namespace.slots.try_acquire().ok()?,
        })
    }

    /// Lines up a request that must wait. Returns `None` if too many requests of its namespace wait.
    pub fn line_up(&self, client: &ObjectKey) -> Option<InLine<'_>> {
        let (client, namespace) = self.buckets(client)?;
        let in_line = InLine { client, namespace };
        let before = namespace.in_line.fetch_add(1, Ordering::Relaxed);
        (before < self.most_waiting).then_some(in_line)
    }

    /// Returns how many requests of the client's namespace wait.
    #[cfg(test)]
    pub fn in_line(&self, client: &ObjectKey) -> usize {
        let namespace = self.buckets(client).map(|(_, namespace)| namespace);
        namespace.map_or(0, |it| it.in_line.load(Ordering::Relaxed))
    }

    fn buckets(&self, client: &ObjectKey) -> Option<(&Bucket, &Bucket)> {
        let of_client = self.bucket(&self.clients, client)?;
        let of_namespace = self.bucket(&self.namespaces, &client.namespace)?;
        Some((of_client, of_namespace))
    }

    /// Returns the bucket of a key. There is always one.
    fn bucket<'a>(&'a self, buckets: &'a [Bucket], key: impl Hash) -> Option<&'a Bucket> {
        let hash = usize::try_from(self.hasher.hash_one(key)).unwrap_or(usize::MAX);
        buckets.get(hash % BUCKETS)
    }
}

impl Bucket {
    const fn of(most: usize) -> Self {
        Self {
            slots: Semaphore::const_new(most),
            in_line: AtomicUsize::new(0),
        }
    }
}

impl<'a> InLine<'a> {
    /// Waits until the request may sign. There is always a slot in the end.
    pub async fn wait(self) -> Option<Slot<'a>> {
        Some(Slot {
            _client: self.client.slots.acquire().await.ok()?,
            _namespace: self.namespace.slots.acquire().await.ok()?,
        })
    }
}

/// The turn of a request that reads the store before it signs, and writes to it afterwards. It has a slot while it signs,
/// so that no one waits for the database in a slot: machine clients do not depend on it.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    signing: &'a Signing,
    client: ObjectKey,
    signs_slowly: bool,
    /// The slot of a request that has waited in line.
    held: Mutex<Option<Slot<'a>>>,
}

/// How long a request that has waited in line keeps its slot while it reads the store again.
const SHORTLY: Duration = Duration::from_millis(100);

impl<'a> Turn<'a> {
    /// Creates the turn of a request of `client`, which has a slot if it has waited for one.
    pub fn new(
        signing: &'a Signing,
        client: ObjectKey,
        signs_slowly: bool,
        held: Option<Slot<'a>>,
    ) -> Self {
        Self {
            signing,
            client,
            signs_slowly,
            held: Mutex::new(held),
        }
    }

    /// Returns the right to sign now; `None` if the request must line up.
    pub async fn slot(&self) -> Option<Slot<'a>> {
        let held = lock(&self.held).take();
        if held.is_some() {
            return held;
        }
        let slot = self.signing.try_begin(&self.client)?;
        if self.signs_slowly {
            tokio::task::yield_now().await;
        }
        Some(slot)
    }

    /// Does the work that signs in this turn. If it does not come to that soon, it loses its slot.
    pub async fn hold_shortly<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let has_slot = lock(&self.held).is_some();
        if has_slot {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SHORTLY) => drop(lock(&self.held).take()),
            }
        }
        work.await
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.namespace.in_line.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn client(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    #[test]
    fn a_client_signs_only_a_few_requests_at_once_and_other_namespaces_need_not_wait() {
        let signing = Signing::new(2, 100);
        let begin = |namespace: &str, name: &str| signing.try_begin(&client(namespace, name));
        let held: Vec<_> = (0..9).map_while(|_| begin("blue", "a")).collect();
        assert_eq!(held.len(), 4);
        assert!(begin("blue", "b").is_none(), "of the same namespace");
        assert!(begin("red", "a").is_some());
        drop(held);
        assert!(begin("blue", "b").is_some());
    }

    #[test]
    fn requests_that_wait_sign_in_the_order_in_which_they_came() {
        let signing = Signing::new(1, 100);
        let client = client("blue", "a");
        let held = [signing.try_begin(&client), signing.try_begin(&client)];
        let wait = || Box::pin(signing.line_up(&client).unwrap().wait());
        let (mut first, mut given_up, mut second) = (wait(), wait(), wait());
        for waiting in [&mut first, &mut given_up, &mut second] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(given_up);
        let [one, other] = held;
        drop(one);
        // The first has not been polled since, and no request overtakes it.
        assert!(signing.try_begin(&client).is_none());
        let mut last = wait();
        assert!((&mut last).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        let first = (&mut first).now_or_never();
        assert!(matches!(first, Some(Some(_))));
        drop(other);
        assert!((&mut last).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_some());
    }

    #[tokio::test]
    async fn every_waiting_request_signs_though_others_give_up() {
        let signing = Signing::new(1, 10_000);
        let client = client("blue", "a");
        let ask = |number: usize| {
            let (signing, client) = (&signing, &client);
            async move {
                let slot = match signing.try_begin(client) {
                    Some(slot) => slot,
                    None => {
                        let waiting = signing.line_up(client).unwrap().wait();
                        let mut waiting = std::pin::pin!(waiting);
                        let polled = futures::poll!(waiting.as_mut());
                        match polled {
                            std::task::Poll::Ready(slot) => slot.unwrap(),
                            std::task::Poll::Pending if number.is_multiple_of(3) => return,
                            std::task::Poll::Pending => waiting.await.unwrap(),
                        }
                    }
                };
                tokio::task::yield_now().await;
                drop(slot);
            }
        };
        futures::future::join_all((0..1000).map(ask)).await;
        let held: Vec<_> = (0..9).map_while(|_| signing.try_begin(&client)).collect();
        assert_eq!(held.len(), 2, "nothing is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_the_database_gives_the_slot_back_that_it_waited_for() {
        let signing = Signing::new(1, 100);
        let client = client("blue", "a");
        let held = signing.try_begin(&client);
        let turn = Turn::new(&signing, client.clone(), false, held);
        let mut work = Box::pin(turn.hold_shortly(std::future::pending::<()>()));
        assert!((&mut work).now_or_never().is_none());
        let free = || {
            let free: Vec<_> = (0..9).map_while(|_| signing.try_begin(&client)).collect();
            free.len()
        };
        assert_eq!(free(), 1);
        tokio::time::sleep(SHORTLY).await;
        assert!((&mut work).now_or_never().is_none());
        assert_eq!(free(), 2);
        assert!(turn.slot().await.is_some(), "it takes another one");
    }

    #[test]
    fn the_requests_of_a_namespace_that_wait_are_bounded() {
        let signing = Signing::new(1, 12);
        let (a, b) = (client("blue", "a"), client("blue", "b"));
        let held = [
            signing.line_up(&a),
            signing.line_up(&b),
            signing.line_up(&b),
        ];
        assert!(held.iter().all(Option::is_some));
        assert!(signing.line_up(&a).is_none());
        assert!(signing.line_up(&client("red", "a")).is_some());
        drop(held);
        assert!(signing.line_up(&a).is_some());
    }
}
