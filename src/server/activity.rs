//! What a connection is doing, and the memory that its peer makes the server hold.
//!
//! A connection's own tasks write it with a few atomic operations a request; its watchdog and the port read it. An answer
//! counts until its bytes have been handed to the socket, however long the peer takes to read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Limits;

/// How many looks at a connection an answer may wait to be taken: in an own slot for each.
pub(super) const AGES: usize = 5;
/// A peer that has taken nothing of an answer for so long may lose its connection to another.
const STALL: Duration = Duration::from_secs(1);
/// What an answer costs beside its bytes: its task, and its head until that is written.
const PER_ANSWER: usize = 2 << 10;
/// What a waiting request costs beside its head and body.
const PER_WAITING: usize = 2 << 10;
/// Bytes for each request of the most that an HTTP/2 connection ever had at once. They stay charged until it ends, because
/// its tables of streams and frames do not shrink.
const PER_STREAM: usize = 640;
/// What a socket costs whose peer does not read: the kernel's two buffers, full.
const PER_BLOCKED: usize = 64 << 10;
/// If a connection holds more bytes than this, each answer keeps its turn until the peer reads it.
const MOST_ANSWERED: usize = 512 << 10;
/// If the port holds too much, it refuses further requests of a connection that holds more bytes than this in answers and
/// requests.
const LEAST_EXCESSIVE: usize = 16 << 10;
/// Bytes that HTTP/2 may take from the socket before requests among them are handed over: a read of 8 KiB can bring
/// hundreds, and what holds them would grow for all.
const READ_AT_ONCE: usize = 512;
/// What HTTP/2's table of header fields may pin of what was read: an entry keeps the buffer of 8 KiB alive that it came
/// in. A connection that may have pinned so much is asked to end, and its client opens another: no honest client notices.
const MOST_PINNED: usize = 256 << 10;
/// Entries that the table may have: 4 KiB of at least 33 bytes (RFC 7541 section 4.1). What came before so many requests
/// may be pinned still, where those since brought no entry; a request beyond them pins what it brings more than they did.
const ENTRIES: usize = 124;
/// The mark of a handshake whose peer has sent something.
const HEARD: u64 = 1 << 63;

/// What a connection speaks, once its first request has come.
const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

/// Memory that peers make a port hold.
#[derive(Debug)]
pub(super) struct Load {
    started: Instant,
    /// How long a handler may be at work before its peer is held responsible, in milliseconds.
    patience: u64,
    most: usize,
    /// Turns of each connection.
    turns: usize,
    charged: AtomicUsize,
    /// There is more than `most`.
    pub(super) exceeded: Notify,
}

impl Load {
    pub fn new(limits: &Limits) -> Self {
        Self {
            started: Instant::now(),
            patience: millis(limits.revocation + STALL),
            most: limits.held_bytes,
            turns: limits.turns,
            charged: AtomicUsize::new(0),
            exceeded: Notify::new(),
        }
    }

    /// Milliseconds since the port opened.
    pub fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Bytes beyond the limit.
    pub fn excess(&self) -> usize {
        self.charged
            .load(Ordering::Relaxed)
            .saturating_sub(self.most)
    }

    fn charge(&self, bytes: usize) {
        let charged = self.charged.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if charged > self.most {
            self.exceeded.notify_one();
        }
    }

    fn release(&self, bytes: usize) {
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    load: Arc<Load>,
    pub(super) requests: AtomicU64,
    pub(super) answered: AtomicU64,
    /// Bytes came that no request has been made of yet.
    pub(super) reading: AtomicBool,
    version: AtomicU8,
    /// Requests that came, answered or not.
    came: AtomicUsize,
    /// Bytes from the peer since its last request.
    read: AtomicUsize,
    /// Bytes that may be read before the connection's task goes on.
    may_read: AtomicUsize,
    /// The peer has sent something.
    heard: AtomicBool,
    /// Bytes to the peer.
    pub(super) written: AtomicU64,
    /// When bytes last came or went.
    touched: AtomicU64,
    /// Requests that wait for their turn.
    waiting: AtomicU32,
    /// The most requests that HTTP/2 had at once.
    most_streams: AtomicU32,
    /// Answers that were made and not handed over, in all and by the look since which they wait.
    unsent: AtomicU32,
    by_age: [AtomicU32; AGES],
    age: AtomicUsize,
    /// Since when some answer has waited, whichever it was.
    unsent_since: AtomicU64,
    /// Answers that the peer has taken, and answers that it gave up before it had taken them.
    pub(super) taken: AtomicU64,
    pub(super) given_up: AtomicU64,
    /// The socket takes no more.
    pub(super) blocked: AtomicBool,
    /// The socket has not taken all that was written, and since when.
    unflushed: AtomicBool,
    unflushed_since: AtomicU64,
    /// Requests of HTTP/2 that may be answered at once.
    turns: Arc<Semaphore>,
    /// Bytes of this connection in the port's load; of them what a table of header fields may pin.
    charged: AtomicUsize,
    pinned: AtomicUsize,
    /// Told when the connection has to end for another.
    ended: Notify,
}

/// The turn of a request of HTTP/2: it ends with its answer, or when the peer has taken that.
pub(super) type Turn = OwnedSemaphorePermit;

/// One request of a connection being answered.
pub(super) struct Answering(Arc<Activity>);

/// One answer that has not been handed over.
#[derive(Debug)]
pub(super) struct Unsent {
    activity: Arc<Activity>,
    age: usize,
    bytes: usize,
    is_taken: bool,
    turn: Option<Turn>,
}

/// Memory that a request holds while it waits for its turn.
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
            came: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            may_read: AtomicUsize::new(READ_AT_ONCE),
            heard: AtomicBool::new(false),
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
            unflushed_since: AtomicU64::new(now),
            turns,
            charged: AtomicUsize::new(0),
            pinned: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// A request came.
    pub fn came(&self, is_http2: bool) {
        self.reading.store(false, Ordering::Relaxed);
        self.came.fetch_add(1, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
        if is_http2 {
            self.version.store(HTTP_2, Ordering::Relaxed);
            self.widen();
        } else if self.version.swap(HTTP_1, Ordering::Relaxed) != HTTP_1 {
            self.release(self.pinned.swap(0, Ordering::Relaxed));
        }
    }

    /// Charges what one more request of HTTP/2 takes, if there were never as many at once.
    fn widen(&self) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let under_way = of(&self.requests).saturating_sub(of(&self.answered));
        let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
        let waiting = self.waiting.load(Ordering::Relaxed);
        let unsent = self.unsent.load(Ordering::Relaxed);
        let streams = 1 + waiting + under_way + unsent;
        // Only the connection's own task does this.
        if streams > self.most_streams.load(Ordering::Relaxed) {
            self.most_streams.fetch_add(1, Ordering::Relaxed);
            self.charge(PER_STREAM);
        }
    }

    /// A request that came is answered from now on. One that waits for its turn is not: its peer could keep it waiting.
    pub fn begin(self: &Arc<Self>) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// A turn, if there is one now.
    pub fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// Waits for a turn. Requests have theirs in the order in which they came.
    pub async fn turn(&self) -> Option<Turn> {
        // It is never closed.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// A request with a head of `bytes` waits for its turn.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let bytes = bytes + PER_WAITING;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.charge(bytes);
        Held {
            activity: Arc::clone(self),
            bytes,
        }
    }

    /// An answer of `bytes` was made.
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

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.version.load(Ordering::Relaxed) == HTTP_2
    }

    /// Whether the port holds too much, and this connection's peer has part in it by what it does now.
    pub fn is_excessive(&self) -> bool {
        let lasting = self.pinned.load(Ordering::Relaxed) + self.slots();
        self.load.excess() > 0 && self.weight().saturating_sub(lasting) > LEAST_EXCESSIVE
    }

    /// Bytes of the tables for its requests.
    fn slots(&self) -> usize {
        let most = self.most_streams.load(Ordering::Relaxed);
        usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_mul(PER_STREAM)
    }

    /// Whether the peer has to take answers before it is given more.
    fn is_laden(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) || self.weight() > MOST_ANSWERED
    }

    /// The connection's task goes on: it may read again.
    pub fn go_on(&self) {
        self.may_read.store(READ_AT_ONCE, Ordering::Relaxed);
    }

    /// How many bytes may be read before the connection's task goes on; `None`: any.
    pub fn may_read(&self) -> Option<usize> {
        let is_http1 = self.version.load(Ordering::Relaxed) == HTTP_1;
        (!is_http1).then(|| self.may_read.load(Ordering::Relaxed))
    }

    /// Bytes came.
    pub fn has_read(&self, bytes: usize) {
        self.reading.store(true, Ordering::Relaxed);
        self.touched.store(self.load.now(), Ordering::Relaxed);
        if self.version.load(Ordering::Relaxed) == HTTP_1 {
            return;
        }
        // Only the connection's own task reads, so that these need not happen at once.
        let rest = self.may_read.load(Ordering::Relaxed);
        self.may_read
            .store(rest.saturating_sub(bytes), Ordering::Relaxed);
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let pinned = self.pinned.load(Ordering::Relaxed);
        let usual = if self.came.load(Ordering::Relaxed) < ENTRIES {
            0
        } else {
            pinned / ENTRIES
        };
        let unusual = bytes.min(read.saturating_sub(usual));
        let pins = unusual.min(MOST_PINNED - pinned);
        if pins > 0 {
            self.pinned.store(pinned + pins, Ordering::Relaxed);
            self.charge(pins);
        }
    }

    /// Bytes of a handshake came.
    pub fn has_heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
        self.touched.store(self.load.now(), Ordering::Relaxed);
    }

    /// In which order handshakes are given up: those whose peers have sent nothing, then those of which nothing came for
    /// longest.
    pub fn handshake_order(&self) -> u64 {
        let touched = self.touched.load(Ordering::Relaxed);
        if self.heard.load(Ordering::Relaxed) {
            touched | HEARD
        } else {
            touched
        }
    }

    /// Whether its table of header fields may pin as much as a connection may.
    pub fn is_used_up(&self) -> bool {
        self.pinned.load(Ordering::Relaxed) >= MOST_PINNED
    }

    /// Bytes went.
    pub fn has_written(&self, bytes: usize) {
        self.touched.store(self.load.now(), Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.unblock();
    }

    /// The socket takes no more.
    pub fn cannot_write(&self) {
        if !self.unflushed.swap(true, Ordering::Relaxed) {
            let now = self.load.now();
            self.unflushed_since.store(now, Ordering::Relaxed);
        }
        if !self.blocked.swap(true, Ordering::Relaxed) {
            self.charge(PER_BLOCKED);
        }
    }

    /// The socket has taken all that was written.
    pub fn has_flushed(&self) {
        self.unflushed.store(false, Ordering::Relaxed);
        self.unblock();
    }

    fn unblock(&self) {
        if self.blocked.load(Ordering::Relaxed) {
            self.blocked.store(false, Ordering::Relaxed);
            self.release(PER_BLOCKED);
        }
    }

    /// Whether some answer waits to be taken.
    pub fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) > 0
    }

    /// Another look's time has passed. Whether some answer has waited for all of them.
    pub fn grow_older(&self) -> bool {
        let next = (self.age.load(Ordering::Relaxed) + 1) % AGES;
        let oldest = self.by_age.get(next);
        if oldest.is_some_and(|oldest| oldest.load(Ordering::Relaxed) > 0) {
            return true;
        }
        self.age.store(next, Ordering::Relaxed);
        false
    }

    /// Since when the connection is of no use, by [`Load::now`]; `None`: a request is under way and its peer has part in
    /// it. A peer that has not caught up with its answers for [`STALL`] is of none, whatever it takes or gives up of them
    /// and whatever else it asks.
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

    /// Since when it may be given up to a caller that holds less, though its peer may be taking answers: it has answered
    /// all requests. A peer that takes an answer and asks again at once looks as if it kept up.
    pub fn answered_since(&self) -> Option<u64> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let is_answered = of(&self.requests) == of(&self.answered);
        let since = self.behind_since().unwrap_or_else(|| of(&self.touched));
        is_answered.then_some(since)
    }

    /// Since when the peer has not taken all of its answers.
    fn behind_since(&self) -> Option<u64> {
        let unsent = self.has_unsent().then_some(&self.unsent_since);
        let is_unflushed = self.unflushed.load(Ordering::Relaxed);
        let unflushed = is_unflushed.then_some(&self.unflushed_since);
        let times = unsent.into_iter().chain(unflushed);
        times.map(|time| time.load(Ordering::Relaxed)).min()
    }

    /// Bytes that it makes the port hold.
    pub fn weight(&self) -> usize {
        self.charged.load(Ordering::Relaxed)
    }

    /// Tells the connection to end at once.
    pub fn end(&self) {
        self.ended.notify_one();
    }

    /// Waits until it is told to end.
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
    /// The same, keeping the turn of its request where the peer has to take answers before it is given more.
    pub fn with(mut self, turn: Option<Turn>) -> Self {
        self.turn = turn.filter(|_| self.activity.is_laden());
        self
    }

    /// The socket has taken all of it.
    pub fn is_taken(&mut self) {
        self.is_taken = true;
    }
}

impl Held {
    /// So many bytes of the body came.
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
        Self::new(Arc::new(Load::new(&Limits::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: u64 = 1_000_000;

    #[test]
    fn a_connection_without_a_request_is_of_no_use_since_it_was_last_heard_of() {
        let activity = Arc::new(Activity::default());
        activity.touched.store(7, Ordering::Relaxed);
        assert_eq!(activity.idle_since(7), Some(7));
        let answering = activity.begin();
        assert_eq!(activity.idle_since(8), None, "a request is under way");
        assert_eq!(
            activity.idle_since(LONG),
            Some(7),
            "whose peer sends nothing"
        );
        drop(answering);
        assert_eq!(activity.idle_since(8), Some(7));
    }

    #[test]
    fn a_peer_that_takes_no_answer_or_no_bytes_is_told_from_one_that_reads() {
        let activity = Arc::new(Activity::default());
        let (first, second) = (activity.made(10), activity.made(10));
        assert!(activity.answered_since().is_some());
        activity.unsent_since.store(100, Ordering::Relaxed);
        assert_eq!(activity.idle_since(1099), None);
        assert_eq!(activity.idle_since(1100), Some(100));
        drop((first, second));
        activity.touched.store(1000, Ordering::Relaxed);
        let _third = activity.made(10);
        assert_eq!(activity.idle_since(1999), None, "it has caught up");
        assert_eq!(activity.idle_since(2000), Some(1000));
    }

    #[test]
    fn a_peer_that_gives_up_or_takes_one_answer_while_another_waits_has_not_caught_up() {
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
            "a request under way does not help"
        );
        assert_eq!(activity.answered_since(), None);
        waiting.is_taken();
        drop(waiting);
        assert_eq!(activity.taken.load(Ordering::Relaxed), 1);
        assert_eq!(activity.idle_since(1500), None);
    }

    #[test]
    fn a_socket_that_takes_a_little_is_behind_until_it_has_taken_all() {
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
        assert_eq!(activity.idle_since(1100), Some(1100), "it is idle");
    }

    #[test]
    fn a_waiting_request_is_charged_with_what_came_of_it() {
        let activity = Arc::new(Activity::default());
        let mut held = activity.hold(10);
        held.grow(100);
        assert_eq!(activity.weight(), PER_WAITING + 110);
        drop(held);
        assert_eq!(activity.weight(), 0);
    }

    #[test]
    fn an_answer_ends_the_turn_of_its_request_unless_its_peer_holds_much() {
        let limits = Limits {
            turns: 1,
            ..Limits::default()
        };
        let activity = Arc::new(Activity::new(Arc::new(Load::new(&limits))));
        let _small = activity.made(10).with(activity.try_turn());
        assert!(activity.try_turn().is_some());
        let large = activity.made(MOST_ANSWERED).with(activity.try_turn());
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
        // One is under way, and one waits to be taken.
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
    fn handshakes_are_given_up_whose_peers_say_nothing_and_then_those_longest_unheard_of() {
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
    fn as_much_is_read_at_once_as_makes_few_requests_unless_it_is_http_1() {
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
    fn an_answer_that_waits_for_all_looks_is_told_whatever_else_is_taken() {
        let activity = Arc::new(Activity::default());
        let _old = activity.made(1);
        for _ in 1..AGES {
            drop(activity.made(1));
            assert!(!activity.grow_older());
        }
        assert!(activity.grow_older());
    }

    #[test]
    fn what_a_peer_makes_the_port_hold_is_charged_until_it_is_given_back() {
        let limits = Limits {
            held_bytes: 3 << 20,
            ..Limits::default()
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
        assert!(!other.is_excessive(), "it has no part in it");
        drop((large, small, activity, other));
        assert_eq!(load.charged.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_header_tables_may_pin_is_charged_and_bounded() {
        let activity = Activity::default();
        activity.has_read(5000);
        assert_eq!(activity.weight(), 5000, "nothing says that it is HTTP/1");
        activity.came(false);
        activity.has_read(5 << 20);
        assert_eq!(activity.weight(), 0, "HTTP/1 pins nothing");

        let activity = Activity::default();
        let weight = || activity.weight() - PER_STREAM;
        let ask = |bytes| {
            activity.has_read(bytes);
            activity.came(true);
        };
        for _ in 0..ENTRIES {
            ask(1000);
        }
        assert_eq!(weight(), 124_000, "the table may have an entry of each");
        for _ in 0..10_000 {
            ask(1000);
        }
        assert_eq!(weight(), 124_000, "further ones replace earlier ones");
        ask(1500);
        assert_eq!(weight(), 124_500);
        assert!(!activity.is_used_up());
        ask(5 << 20);
        assert_eq!(weight(), MOST_PINNED);
        assert!(activity.is_used_up());
    }
}
