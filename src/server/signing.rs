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
//! The tables have a fixed size, and a request that need not wait costs a few atomic operations. Two clients whose hashes
//! collide count as one. The hash is keyed, so that no caller can choose to collide with another.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::directory::ObjectKey;

const BUCKETS: usize = 1024;

/// The signatures under way, by client and by namespace.
#[derive(Debug)]
pub(super) struct Signing {
    /// The most requests of one client, and of one namespace, that sign or are about to.
    most: usize,
    /// The most requests of the clients of one namespace that wait.
    most_waiting: usize,
    clients: Box<[Bucket]>,
    namespaces: Box<[Bucket]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Bucket {
    signing: AtomicUsize,
    /// The requests that wait for this bucket.
    waiting: AtomicUsize,
    /// The requests that wait for this bucket or for that of their client. Only used for namespaces.
    in_line: AtomicUsize,
    /// Notified when a request has signed and another one waits.
    freed: Notify,
}

/// The right to sign now. Dropping it gives it to the next request.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    _client: Taken<'a>,
    _namespace: Taken<'a>,
}

/// A request that must wait before it may sign.
#[derive(Debug)]
pub(super) struct InLine<'a> {
    signing: &'a Signing,
    client: &'a Bucket,
    namespace: &'a Bucket,
}

/// A place in a bucket. Dropping it frees the place.
#[derive(Debug)]
struct Taken<'a>(&'a Bucket);

/// A request that waits for a place in a bucket. It stops counting when this is dropped.
struct Waiting<'a>(&'a Bucket);

impl Signing {
    /// Creates the tables for this number of `processors` and of `requests` in progress.
    pub fn new(processors: usize, requests: usize) -> Self {
        let buckets = || (0..BUCKETS).map(|_| Bucket::default()).collect();
        Self {
            // A request may be about to sign while another one does, so that no processor has to wait.
            most: 2 * processors,
            most_waiting: (requests / 4).max(1),
            clients: buckets(),
            namespaces: buckets(),
            hasher: RandomState::new(),
        }
    }

    /// Returns the right to sign now, if the client need not wait.
    pub fn try_begin(&self, client: &ObjectKey) -> Option<Slot<'_>> {
        let (client, namespace) = self.buckets(client)?;
        Some(Slot {
            _client: client.take(self.most)?,
            _namespace: namespace.take(self.most)?,
        })
    }

    /// Lines up a request that must wait. Returns `None` if too many requests of its namespace wait.
    pub fn line_up(&self, client: &ObjectKey) -> Option<InLine<'_>> {
        let (client, namespace) = self.buckets(client)?;
        let in_line = InLine {
            signing: self,
            client,
            namespace,
        };
        let before = namespace.in_line.fetch_add(1, Ordering::Relaxed);
        (before < self.most_waiting).then_some(in_line)
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

impl<'a> InLine<'a> {
    /// Waits until the request may sign.
    pub async fn wait(self) -> Slot<'a> {
        let most = self.signing.most;
        Slot {
            _client: self.client.wait(most).await,
            _namespace: self.namespace.wait(most).await,
        }
    }
}

impl Bucket {
    /// Takes a place if one is free and no request waits for it.
    fn take(&self, most: usize) -> Option<Taken<'_>> {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        self.take_freed(most)
    }

    fn take_freed(&self, most: usize) -> Option<Taken<'_>> {
        let is_free = |taken| (taken < most).then_some(taken + 1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        let taken = self.signing.fetch_update(set, fetch, is_free);
        taken.is_ok().then(|| Taken(self))
    }

    /// Waits for a place.
    async fn wait(&self, most: usize) -> Taken<'_> {
        if let Some(taken) = self.take(most) {
            return taken;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self);
        loop {
            if let Some(taken) = self.take_freed(most) {
                return taken;
            }
            self.freed.notified().await;
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // A request counts as waiting before it looks for a free place: it sees this one, or it is counted here.
        self.0.signing.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
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
        drop(held.into_iter().next());
        assert!(signing.try_begin(&client).is_none(), "others wait");
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut first).now_or_never().is_some());
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
                            std::task::Poll::Ready(slot) => slot,
                            std::task::Poll::Pending if number.is_multiple_of(3) => return,
                            std::task::Poll::Pending => waiting.await,
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
