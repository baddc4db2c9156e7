//! What a connection is doing, and its part of the memory that peers make the server hold ([`Load`]).
//!
//! The connection's own tasks record this with a few atomic operations a request; its watchdog and the port read it. An
//! answer counts until the socket has taken its bytes, however long the peer delays that.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::charges::{
    AGES, CALM, FLOOR, LEAST_EXCESSIVE, MAX_ANSWERED, MAX_BUFFERED, MAX_ENCRYPTED,
    MAX_READ_BLOCKED, MAX_SUSPECTED, PER_ANSWER, PER_BLOCKED, PER_EMPTY, PER_STREAM, PER_WAITING,
    READ_AT_ONCE, USUAL_ANSWER_HEAD, USUAL_BUFFERED, USUAL_ENCRYPTED,
};
use super::load::{Load, STALL, millis};
use crate::lock::lock;

/// Marks a handshake whose peer has sent something, in [`Activity::handshake_order`].
const HEARD: u64 = 1 << 63;

/// The protocol of a connection, known when its first request has come.
const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    load: Arc<Load>,
    pub(super) requests: AtomicU64,
    pub(super) answered: AtomicU64,
    /// Whether bytes have come that belong to no known request yet.
    pub(super) reading: AtomicBool,
    version: AtomicU8,
    /// The bytes from the peer: in total, and since its last request.
    received: AtomicU64,
    read: AtomicUsize,
    /// The bytes that may be read before the connection's task must run again.
    may_read: AtomicUsize,
    /// Whether the peer has sent something during the handshake.
    heard: AtomicBool,
    /// The encrypted bytes that came since TLS last handed bytes over. TLS keeps them until they are a whole message.
    encrypted: AtomicUsize,
    /// The bytes that the socket has taken.
    pub(super) written: AtomicU64,
    /// When bytes last came or went, by [`Load::now`].
    touched: AtomicU64,
    /// The requests that wait for their turn.
    waiting: AtomicU32,
    /// The most requests that the connection ever had at once over HTTP/2.
    most_streams: AtomicU32,
    /// The answers that wait for the socket: in total, and by the check since which they wait.
    unsent: AtomicU32,
    by_age: [AtomicU32; AGES],
    age: AtomicUsize,
    /// Since when at least one answer has been waiting without a break.
    unsent_since: AtomicU64,
    /// The answers that the peer has taken, and those that it gave up before.
    pub(super) taken: AtomicU64,
    pub(super) given_up: AtomicU64,
    /// Whether the socket takes no more bytes at present.
    pub(super) blocked: AtomicBool,
    /// Whether there are written bytes that the socket has not taken.
    unflushed: AtomicBool,
    /// The bytes charged for answers without a body since the socket last took everything. They are in no [`Unsent`].
    queued: AtomicUsize,
    /// The turns of those of them with large heads.
    kept_turns: Mutex<Vec<Turn>>,
    unflushed_since: AtomicU64,
    /// The bytes from the peer since the socket last took bytes, while it takes no more.
    read_blocked: AtomicUsize,
    /// The turns for requests of HTTP/2.
    turns: Arc<Semaphore>,
    /// The bytes of this connection in the port's load, and those of them that its read buffers keep.
    charged: AtomicUsize,
    pinned: AtomicUsize,
    /// The number of the header block that has begun and not ended, over HTTP/2; 0: none.
    pub(super) open_block: AtomicU64,
    /// Notified when the connection must end to make room.
    ended: Notify,
}

/// The right of an HTTP/2 request to be answered now. It ends with its answer, or when the peer has taken the answer.
pub(super) type Turn = OwnedSemaphorePermit;

/// A request that is being answered.
pub(super) struct Answering(Arc<Activity>);

/// The memory charge of an answer that the socket has not taken completely.
#[derive(Debug)]
pub(super) struct Unsent {
    activity: Arc<Activity>,
    age: usize,
    bytes: usize,
    is_taken: bool,
    turn: Option<Turn>,
}

/// The memory charge of a request that waits for its turn.
#[derive(Debug)]
pub(super) struct Held {
    activity: Arc<Activity>,
    bytes: usize,
}

impl Activity {
    pub fn new(load: Arc<Load>) -> Self {
        let now = load.now();
        let turns = Arc::new(Semaphore::new(load.turns));
        Self {
            load,
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            version: AtomicU8::new(UNKNOWN),
            received: AtomicU64::new(0),
            read: AtomicUsize::new(0),
            may_read: AtomicUsize::new(READ_AT_ONCE),
            heard: AtomicBool::new(false),
            encrypted: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            touched: AtomicU64::new(now),
            waiting: AtomicU32::new(0),
            most_streams: AtomicU32::new(0),
            unsent: AtomicU32::new(0),
            by_age: std::array::from_fn(|_| AtomicU32::new(0)),
            age: AtomicUsize::new(0),
            unsent_since: AtomicU64::new(now),
            taken: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            kept_turns: Mutex::default(),
            unflushed_since: AtomicU64::new(now),
            read_blocked: AtomicUsize::new(0),
            turns,
            charged: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            open_block: AtomicU64::new(0),
            ended: Notify::new(),
        }
    }

    /// Records that a request came.
    pub fn came(&self, is_http2: bool) {
        self.reading.store(false, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
        if is_http2 {
            self.version.store(HTTP_2, Ordering::Relaxed);
            self.widen();
        } else {
            self.version.store(HTTP_1, Ordering::Relaxed);
        }
    }

    /// Charges a further HTTP/2 stream if the connection never had as many at once.
    fn widen(&self) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let under_way = of(&self.requests).saturating_sub(of(&self.answered));
        let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
        let waiting = self.waiting.load(Ordering::Relaxed);
        let unsent = self.unsent.load(Ordering::Relaxed);
        let streams = 1 + waiting + under_way + unsent;
        // Only the connection's own task does this, so the two operations need not be one.
        if streams > self.most_streams.load(Ordering::Relaxed) {
            self.most_streams.fetch_add(1, Ordering::Relaxed);
            self.charge(PER_STREAM);
        }
    }

    /// Records that the server begins to answer a request. A request that waits for its turn does not count as being
    /// answered, since its peer can keep it waiting.
    pub fn begin(self: &Arc<Self>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Takes a turn if one is free.
    pub fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// Waits for a turn. Requests get turns in the order in which they came.
    pub async fn turn(&self) -> Option<Turn> {
        // The semaphore is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Charges a request with a head of `bytes` that waits for its turn.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let bytes = bytes + PER_WAITING;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.charge(bytes);
        Held {
            activity: Arc::clone(self),
            bytes,
        }
    }

    /// Charges an answer with a body of `bytes`.
    pub fn made(self: &Arc<Self>, bytes: usize) -> Unsent {
        if self.unsent.fetch_add(1, Ordering::Relaxed) == 0 {
            let now = self.touched.load(Ordering::Relaxed);
            self.unsent_since.store(now, Ordering::Relaxed);
        }
        let age = self.age.load(Ordering::Relaxed) % AGES;
        if let Some(slot) = self.by_age.get(age) {
            slot.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = bytes + PER_ANSWER;
        self.charge(bytes);
        Unsent {
            activity: Arc::clone(self),
            age,
            bytes,
            is_taken: false,
            turn: None,
        }
    }

    /// Returns whether the connection speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.version.load(Ordering::Relaxed) == HTTP_2
    }

    /// Returns whether the port holds too much and this connection contributes to it by its present requests and
    /// answers.
    pub fn is_excessive(&self) -> bool {
        let lasting = self.pinned.load(Ordering::Relaxed) + self.slots();
        self.load.excess() > 0 && self.weight().saturating_sub(lasting) > LEAST_EXCESSIVE
    }

    /// Returns the bytes of the tables for its streams.
    fn slots(&self) -> usize {
        let most = self.most_streams.load(Ordering::Relaxed);
        usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_mul(PER_STREAM)
    }

    /// Returns whether the peer must take answers before it gets more.
    fn is_laden(&self) -> bool {
        let lasting = self.pinned.load(Ordering::Relaxed);
        let unread = self.weight().saturating_sub(lasting);
        self.blocked.load(Ordering::Relaxed) || unread > MAX_ANSWERED
    }

    /// Allows the connection's task, which runs again, to read on.
    pub fn go_on(&self) {
        self.may_read.store(READ_AT_ONCE, Ordering::Relaxed);
    }

    /// Returns how many bytes may be read before the connection's task must run again; `None` means any number.
    pub fn may_read(&self) -> Option<usize> {
        let is_http1 = self.version.load(Ordering::Relaxed) == HTTP_1;
        (!is_http1).then(|| self.may_read.load(Ordering::Relaxed))
    }

    /// Returns whether the server reads nothing until the peer has taken answers.
    pub fn is_paused(&self) -> bool {
        self.read_blocked.load(Ordering::Relaxed) > MAX_READ_BLOCKED
    }

    /// Records bytes from the peer.
    pub fn has_read(&self, bytes: usize) {
        self.has_decrypted();
        self.reading.store(true, Ordering::Relaxed);
        self.touched.store(self.load.now(), Ordering::Relaxed);
        let received = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received.fetch_add(received, Ordering::Relaxed);
        if self.version.load(Ordering::Relaxed) == HTTP_1 {
            return;
        }
        if self.blocked.load(Ordering::Relaxed) {
            self.read_blocked.fetch_add(bytes, Ordering::Relaxed);
        }
        // Only the connection's own task reads, so load and store need not be one operation.
        let rest = self.may_read.load(Ordering::Relaxed);
        self.may_read
            .store(rest.saturating_sub(bytes), Ordering::Relaxed);
    }

    /// Records bytes that are not HTTP/2. They fill a buffer until their request has come.
    pub fn buffers(&self, bytes: usize) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let buffered = read.min(MAX_BUFFERED);
        if buffered > USUAL_BUFFERED.max(self.pinned.load(Ordering::Relaxed)) {
            self.pins(buffered);
        }
    }

    /// Charges the bytes that read buffers keep after their requests, instead of those charged before.
    pub fn pins(&self, bytes: usize) {
        let before = self.pinned.swap(bytes, Ordering::Relaxed);
        if bytes > before {
            self.charge(bytes - before);
        } else if bytes < before {
            self.release(before - bytes);
        }
    }

    /// Records encrypted bytes. Ends the connection if TLS keeps too many.
    pub fn has_heard(&self, bytes: usize) {
        self.heard.store(true, Ordering::Relaxed);
        self.touched.store(self.load.now(), Ordering::Relaxed);
        let before = self.encrypted.fetch_add(bytes, Ordering::Relaxed);
        let after = before + bytes;
        if after > USUAL_ENCRYPTED {
            self.charge(unusual(after) - unusual(before));
        }
        if after > MAX_ENCRYPTED {
            self.end();
        }
    }

    /// Records that TLS has handed bytes over. It refuses other messages while it keeps a part of one, so it keeps at
    /// most the rest of the last read (see `one_message`).
    fn has_decrypted(&self) {
        if self.encrypted.load(Ordering::Relaxed) == 0 {
            return;
        }
        let kept = self.encrypted.swap(0, Ordering::Relaxed);
        if kept > USUAL_ENCRYPTED {
            self.release(unusual(kept));
        }
    }

    /// Returns whether the peer has begun a message of TLS that is longer than usual, and has not completed it.
    pub fn has_partial_message(&self) -> bool {
        self.encrypted.load(Ordering::Relaxed) > USUAL_ENCRYPTED
    }

    /// Returns the place in the order in which handshakes are ended: first those whose peers have sent nothing, then
    /// those whose peers have been silent for longest.
    pub fn handshake_order(&self) -> u64 {
        let touched = self.touched.load(Ordering::Relaxed);
        if self.heard.load(Ordering::Relaxed) {
            touched | HEARD
        } else {
            touched
        }
    }

    /// Records bytes that the socket has taken.
    pub fn has_written(&self, bytes: usize) {
        self.touched.store(self.load.now(), Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.unblock();
    }

    /// Records that the socket takes no more bytes.
    pub fn cannot_write(&self) {
        if !self.unflushed.swap(true, Ordering::Relaxed) {
            let now = self.load.now();
            self.unflushed_since.store(now, Ordering::Relaxed);
        }
        if !self.blocked.swap(true, Ordering::Relaxed) {
            self.charge(PER_BLOCKED);
        }
    }

    /// Charges an answer without a body, with a head of `bytes`. A usual head counts only while the socket takes no more
    /// bytes. A large one counts from the start, and keeps the turn of its request until the socket has taken it.
    pub fn made_empty(&self, bytes: usize, turn: Option<Turn>) {
        let is_large = bytes > USUAL_ANSWER_HEAD;
        if !is_large && !self.unflushed.load(Ordering::Relaxed) {
            return;
        }
        if let Some(turn) = turn.filter(|_| is_large) {
            lock(&self.kept_turns).push(turn);
        }
        let bytes = bytes + PER_EMPTY;
        // In this order, so that a release never exceeds the charge.
        self.charge(bytes);
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records that the socket has taken everything that was written.
    pub fn has_flushed(&self) {
        self.unflushed.store(false, Ordering::Relaxed);
        self.unblock();
    }

    /// Records that the connection's task has written what it could. If the socket has taken all of it, no head of an
    /// answer waits.
    pub fn settle(&self) {
        let is_waiting = self.queued.load(Ordering::Relaxed) > 0;
        if is_waiting && !self.unflushed.load(Ordering::Relaxed) {
            self.release(self.queued.swap(0, Ordering::Relaxed));
            lock(&self.kept_turns).clear();
        }
    }

    fn unblock(&self) {
        if self.blocked.load(Ordering::Relaxed) {
            self.blocked.store(false, Ordering::Relaxed);
            self.read_blocked.store(0, Ordering::Relaxed);
            self.release(PER_BLOCKED);
        }
    }

    /// Returns whether an answer waits for the socket.
    pub fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) > 0
    }

    /// Records that the time of a further check has passed. Returns whether an answer has waited for all [`AGES`]
    /// checks.
    pub fn grow_older(&self) -> bool {
        let next = (self.age.load(Ordering::Relaxed) + 1) % AGES;
        let oldest = self.by_age.get(next);
        if oldest.is_some_and(|oldest| oldest.load(Ordering::Relaxed) > 0) {
            return true;
        }
        self.age.store(next, Ordering::Relaxed);
        false
    }

    /// Returns since when the connection has been idle, by [`Load::now`]; `None` means that it is in use: a request is
    /// under way, or the peer is taking answers. A peer that has been behind with its answers for [`STALL`] counts as
    /// idle, whatever it takes or gives up meanwhile and whatever else it requests.
    pub fn idle_since(&self, now: u64) -> Option<u64> {
        let of = |time: &AtomicU64| time.load(Ordering::Relaxed);
        let is_over = |since: u64, patience| now.saturating_sub(since) >= patience;
        let behind = self.behind_since();
        if let Some(since) = behind.filter(|since| is_over(*since, millis(STALL))) {
            return Some(since);
        }
        let patience = if of(&self.requests) != of(&self.answered) {
            self.load.patience
        } else if behind.is_some() {
            return None;
        } else {
            0
        };
        let since = of(&self.touched);
        is_over(since, patience).then_some(since)
    }

    /// Returns since when the connection may be ended for a caller that holds less, although its peer may be taking
    /// answers; `None` while a request is not answered. A peer that takes one answer and at once requests another only
    /// seems to keep up.
    pub fn answered_since(&self) -> Option<u64> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let is_answered = of(&self.requests) == of(&self.answered);
        let since = self.behind_since().unwrap_or_else(|| of(&self.touched));
        is_answered.then_some(since)
    }

    /// Returns since when the peer has not taken all of its answers.
    fn behind_since(&self) -> Option<u64> {
        let unsent = self.has_unsent().then_some(&self.unsent_since);
        let is_unflushed = self.unflushed.load(Ordering::Relaxed);
        let unflushed = is_unflushed.then_some(&self.unflushed_since);
        let times = unsent.into_iter().chain(unflushed);
        times.map(|time| time.load(Ordering::Relaxed)).min()
    }

    /// Returns the bytes that the connection makes the port hold.
    pub fn weight(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }

    /// Estimates the bytes that the connection may make the server hold in ways that no account charges. Every such way
    /// needs bytes from the peer. A connection on which nothing is under way hardly counts, however much it has sent.
    pub fn suspected(&self) -> usize {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let received = usize::try_from(of(&self.received).min(MAX_SUSPECTED)).unwrap_or(usize::MAX);
        let is_reading = self.reading.load(Ordering::Relaxed) || self.has_partial_message();
        let is_calm = !is_reading && of(&self.requests) == of(&self.answered);
        if is_calm && self.behind_since().is_none() {
            // At least 1: if all connections are calm, the caller with the most connections loses some first.
            (self.weight() / CALM + received / CALM).max(1)
        } else {
            self.weight() + received + FLOOR
        }
    }

    /// Tells the connection to end immediately.
    pub fn end(&self) {
        self.ended.notify_one();
    }

    /// Waits until the connection is told to end.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    fn charge(&self, bytes: usize) {
        self.charged.fetch_add(bytes, Ordering::Relaxed);
        self.load.charge(bytes);
    }

    fn release(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
        self.load.release(bytes);
    }
}

/// Returns the bytes that are charged for encrypted ones: TLS has room for a further read besides.
const fn unusual(encrypted: usize) -> usize {
    if encrypted > USUAL_ENCRYPTED {
        encrypted + USUAL_ENCRYPTED
    } else {
        0
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.load.release(*self.charged.get_mut());
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.reading.store(false, Ordering::Relaxed);
    }
}

impl Unsent {
    /// Keeps the turn of the request if the peer must take answers before it gets more; otherwise ends the turn.
    pub fn with(mut self, turn: Option<Turn>) -> Self {
        self.turn = turn.filter(|_| self.activity.is_laden());
        self
    }

    /// Records that the socket has taken the whole answer.
    pub fn is_taken(&mut self) {
        self.is_taken = true;
    }
}

impl Held {
    /// Charges further bytes of the body.
    pub fn grow(&mut self, bytes: usize) {
        self.activity.charge(bytes);
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.activity.waiting.fetch_sub(1, Ordering::Relaxed);
        self.activity.release(self.bytes);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.unsent.fetch_sub(1, Ordering::Relaxed);
        if let Some(slot) = activity.by_age.get(self.age) {
            slot.fetch_sub(1, Ordering::Relaxed);
        }
        let count = if self.is_taken {
            &activity.taken
        } else {
            &activity.given_up
        };
        count.fetch_add(1, Ordering::Relaxed);
        activity.release(self.bytes);
    }
}

#[cfg(test)]
impl Default for Activity {
    fn default() -> Self {
        Self::new(Arc::new(Load::new(&super::ServerLimits::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::ServerLimits;

    const LONG: u64 = 1_000_000;

    #[test]
    fn answers_without_a_body_count_while_the_socket_is_blocked() {
        let activity = Activity::default();
        activity.made_empty(300, None);
        assert_eq!(activity.weight(), 0);
        activity.cannot_write();
        let blocked = activity.weight();
        activity.made_empty(300, None);
        activity.made_empty(400, None);
        activity.has_written(100);
        activity.settle();
        let waiting = 700 + 2 * PER_EMPTY;
        assert_eq!(activity.weight(), blocked - PER_BLOCKED + waiting);
        activity.has_flushed();
        activity.settle();
        assert_eq!(activity.weight(), 0);
    }

    #[test]
    fn a_large_head_of_an_answer_counts_and_keeps_its_turn_until_the_socket_takes_it() {
        let limits = ServerLimits {
            turns: 1,
            ..ServerLimits::default()
        };
        let activity = Activity::new(Arc::new(Load::new(&limits)));
        activity.made_empty(300, activity.try_turn());
        assert_eq!(activity.weight(), 0);
        activity.made_empty(8000, activity.try_turn());
        assert_eq!(activity.weight(), 8000 + PER_EMPTY);
        assert!(activity.try_turn().is_none());
        activity.cannot_write();
        activity.settle();
        assert!(activity.try_turn().is_none());
        activity.has_flushed();
        activity.settle();
        assert_eq!(activity.weight(), 0);
        assert!(activity.try_turn().is_some());
    }

    #[test]
    fn encrypted_bytes_count_until_tls_hands_bytes_over() {
        let activity = Activity::default();
        activity.has_heard(USUAL_ENCRYPTED);
        assert_eq!(activity.weight(), 0, "a usual request");
        assert!(!activity.has_partial_message());
        activity.has_heard(100);
        activity.has_heard(20 << 10);
        assert_eq!(activity.weight(), 2 * USUAL_ENCRYPTED + 100 + (20 << 10));
        assert!(activity.has_partial_message());
        activity.has_read(1);
        assert_eq!(activity.weight(), 0);
        assert!(!activity.has_partial_message());
    }

    #[tokio::test]
    async fn a_connection_ends_before_tls_keeps_more_than_a_record() {
        let activity = Activity::default();
        activity.has_heard(MAX_ENCRYPTED);
        let is_ended = || futures::FutureExt::now_or_never(activity.ended()).is_some();
        assert!(!is_ended());
        activity.has_heard(1);
        assert!(is_ended());
    }

    #[test]
    fn a_caller_with_many_calm_connections_is_more_suspect_than_one_with_few() {
        let calm = |bytes| {
            let activity = Arc::new(Activity::default());
            activity.came(false);
            activity.has_read(bytes);
            drop(activity.begin());
            activity.suspected()
        };
        assert!(1000 * calm(30) > 50 * calm(1000));
    }

    #[test]
    fn a_calm_connection_is_hardly_suspected() {
        let calm = Arc::new(Activity::default());
        calm.came(true);
        calm.has_read(10 << 20);
        drop(calm.begin());
        let holding = Arc::new(Activity::default());
        holding.came(true);
        holding.has_read(100);
        let _unread = holding.made(10);
        assert!(holding.suspected() > 32 * calm.suspected());
    }

    #[test]
    fn a_connection_without_a_request_is_idle_since_its_last_bytes() {
        let activity = Arc::new(Activity::default());
        activity.touched.store(7, Ordering::Relaxed);
        assert_eq!(activity.idle_since(7), Some(7));
        let answering = activity.begin();
        assert_eq!(activity.idle_since(8), None, "a request is under way");
        assert_eq!(
            activity.idle_since(LONG),
            Some(7),
            "a request takes too long"
        );
        drop(answering);
        assert_eq!(activity.idle_since(8), Some(7));
    }

    #[test]
    fn a_peer_that_takes_no_answer_is_idle_and_one_that_reads_is_not() {
        let activity = Arc::new(Activity::default());
        let (first, second) = (activity.made(10), activity.made(10));
        assert!(activity.answered_since().is_some());
        activity.unsent_since.store(100, Ordering::Relaxed);
        assert_eq!(activity.idle_since(1099), None);
        assert_eq!(activity.idle_since(1100), Some(100));
        drop((first, second));
        activity.touched.store(1000, Ordering::Relaxed);
        let _third = activity.made(10);
        assert_eq!(activity.idle_since(1999), None, "the peer has caught up");
        assert_eq!(activity.idle_since(2000), Some(1000));
    }

    #[test]
    fn a_peer_has_not_caught_up_while_any_answer_waits_whatever_it_takes_or_gives_up() {
        let activity = Arc::new(Activity::default());
        let mut waiting = activity.made(10);
        activity.unsent_since.store(100, Ordering::Relaxed);
        for now in [500, 1000, 1500] {
            activity.touched.store(now, Ordering::Relaxed);
            waiting = activity.made(10);
        }
        assert_eq!(activity.given_up.load(Ordering::Relaxed), 3);
        assert_eq!(activity.idle_since(1500), Some(100));
        let _answering = activity.begin();
        assert_eq!(
            activity.idle_since(1500),
            Some(100),
            "a request under way changes nothing"
        );
        assert_eq!(activity.answered_since(), None);
        waiting.is_taken();
        drop(waiting);
        assert_eq!(activity.taken.load(Ordering::Relaxed), 1);
        assert_eq!(activity.idle_since(1500), None);
    }

    #[test]
    fn a_peer_that_takes_a_few_bytes_is_behind_until_it_has_taken_all() {
        let activity = Arc::new(Activity::default());
        activity.cannot_write();
        activity.unflushed_since.store(100, Ordering::Relaxed);
        activity.has_written(1);
        assert_eq!(activity.idle_since(1099), None);
        activity.cannot_write();
        assert_eq!(activity.idle_since(1100), Some(100));
        activity.has_flushed();
        assert_eq!(activity.weight(), 0);
        activity.touched.store(1100, Ordering::Relaxed);
        assert_eq!(activity.idle_since(1100), Some(1100), "idle");
    }

    #[test]
    fn a_waiting_request_is_charged_for_its_head_and_the_body_so_far() {
        let activity = Arc::new(Activity::default());
        let mut held = activity.hold(10);
        held.grow(100);
        assert_eq!(activity.weight(), PER_WAITING + 110);
        drop(held);
        assert_eq!(activity.weight(), 0);
    }

    #[test]
    fn an_answer_ends_the_turn_of_its_request_unless_its_peer_must_take_answers_first() {
        let limits = ServerLimits {
            turns: 1,
            ..ServerLimits::default()
        };
        let activity = Arc::new(Activity::new(Arc::new(Load::new(&limits))));
        let _small = activity.made(10).with(activity.try_turn());
        assert!(activity.try_turn().is_some());
        let large = activity.made(MAX_ANSWERED).with(activity.try_turn());
        assert!(activity.try_turn().is_none());
        drop(large);
        activity.cannot_write();
        let small = activity.made(10).with(activity.try_turn());
        assert!(activity.try_turn().is_none(), "the socket takes no more");
        drop(small);
        assert!(activity.try_turn().is_some());
    }

    #[test]
    fn the_most_requests_at_once_are_charged_until_the_connection_ends() {
        let activity = Arc::new(Activity::default());
        let ask = || {
            activity.came(true);
            (activity.begin(), activity.made(0))
        };
        // The request is under way, and its answer waits.
        let first = ask();
        assert_eq!(activity.weight(), PER_STREAM + PER_ANSWER);
        activity.came(true);
        let held = activity.hold(0);
        activity.came(true);
        drop((first, held));
        assert_eq!(activity.weight(), 3 * PER_STREAM);
        for _ in 0..100 {
            drop(ask());
        }
        assert_eq!(activity.weight(), 3 * PER_STREAM);
    }

    #[test]
    fn handshakes_of_peers_that_sent_nothing_end_first_and_then_those_silent_for_longest() {
        let handshake = |touched, heard| {
            let activity = Activity::default();
            activity.touched.store(touched, Ordering::Relaxed);
            activity.heard.store(heard, Ordering::Relaxed);
            activity.handshake_order()
        };
        let in_order = [
            handshake(1, false),
            handshake(9, false),
            handshake(2, true),
            handshake(3, true),
        ];
        assert!(in_order.is_sorted());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_read_only_for_a_while() {
        let activity = Activity::default();
        activity.has_read(MAX_READ_BLOCKED + 1);
        assert!(!activity.is_paused(), "the socket takes bytes");
        activity.cannot_write();
        activity.has_read(MAX_READ_BLOCKED);
        assert!(!activity.is_paused());
        activity.has_read(1);
        assert!(activity.is_paused());
        activity.has_written(1);
        assert!(!activity.is_paused());
    }

    #[test]
    fn http_2_reads_few_bytes_at_once_and_http_1_any_number() {
        let activity = Activity::default();
        activity.has_read(READ_AT_ONCE - 1);
        assert_eq!(activity.may_read(), Some(1));
        activity.has_read(1);
        assert_eq!(activity.may_read(), Some(0));
        activity.go_on();
        assert_eq!(activity.may_read(), Some(READ_AT_ONCE));
        activity.came(false);
        assert_eq!(activity.may_read(), None);
    }

    #[test]
    fn an_answer_that_waits_for_all_checks_is_noticed_whatever_else_is_taken() {
        let activity = Arc::new(Activity::default());
        let _old = activity.made(1);
        for _ in 1..AGES {
            drop(activity.made(1));
            assert!(!activity.grow_older());
        }
        assert!(activity.grow_older());
    }

    #[test]
    fn memory_that_a_peer_makes_the_port_hold_is_charged_until_it_is_freed() {
        let limits = ServerLimits {
            held_bytes: 3 << 20,
            ..ServerLimits::default()
        };
        let load = Arc::new(Load::new(&limits));
        let activity = Arc::new(Activity::new(load.clone()));
        let unsent = activity.made(1000);
        assert_eq!(activity.weight(), 1000 + PER_ANSWER);
        activity.cannot_write();
        activity.cannot_write();
        assert_eq!(activity.weight(), 1000 + PER_ANSWER + PER_BLOCKED);
        activity.has_written(1);
        drop(unsent);
        assert_eq!(activity.weight(), 0);
        assert_eq!(load.excess(), 0);
        let large = activity.made(3 << 20);
        assert!(load.excess() > 0 && activity.is_excessive());
        let other = Arc::new(Activity::new(load.clone()));
        let small = other.made(1000);
        assert!(!other.is_excessive(), "it holds little");
        drop((large, small, activity, other));
        assert_eq!(load.charged.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_read_buffer_of_http_1_is_charged_once_it_has_grown() {
        let activity = Activity::default();
        let head = |bytes| {
            activity.buffers(bytes);
            let weight = activity.weight();
            activity.came(false);
            weight
        };
        assert_eq!(head(500), 0);
        assert_eq!(head(20_000), 20_000);
        assert_eq!(head(500), 20_000, "the buffer does not shrink");
        assert_eq!(head(5 << 20), MAX_BUFFERED);
    }

    #[test]
    fn what_read_buffers_keep_is_charged_as_it_is() {
        let activity = Activity::default();
        for bytes in [1000, 90_000, 400, 0] {
            activity.pins(bytes);
            assert_eq!(activity.weight(), bytes);
        }
    }
}
