//! The operator's queue: each key once, one pass at a time per key, later keys at their time.
//!
//! A key that is added during its pass gets another pass. A pass that fails is retried after a time that doubles.
//! Not here: what a pass does, and the workers, which call [`Queue::next`].
//!
//! Namespaces take turns, so that thousands of keys of one tenant delay another tenant by one turn. There are three
//! lanes, in this order: work that someone waits for, work that follows from a change of another object, and slow work.
//! Each lane has a share, so that none starves. A namespace occupies at most three workers for each free one
//! ([`may_run`]), so that slow passes of one tenant leave workers for others.
//!
//! Written by hand, because the queues of controller libraries know neither turns nor lanes.

mod lane;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::lane::{Lane, LanePosition};

use crate::lock::lock;
use crate::tokens::{Entropy, SystemEntropy};

/// The back-off after a first failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// The longest back-off.
const LAST_BACKOFF: Duration = Duration::from_mins(5);
/// The maximum number of versions that are kept for one key. With more, the key is reconciled in any case.
const MAX_VERSIONS: usize = 8;

/// After this many consecutive passes of the ready lane, the following lane gets one.
const FOLLOWING_SHARE: u32 = 4;
/// After this many consecutive passes of these two lanes, the slow lane gets one.
const SLOW_SHARE: u32 = 64;
/// The number of concurrent passes that a namespace may have for each free worker.
const PER_FREE_WORKER: usize = 3;

/// A key that belongs to a namespace. Namespaces take turns.
pub trait Whose {
    /// Returns the namespace of the tenant that the pass is for.
    fn whose(&self) -> Arc<str>;
}

/// Why a key is to be reconciled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something changed, or its time has come.
    Must,
    /// Something changed that may not concern it.
    Perhaps,
    /// An object has this version now. That is news unless the operator wrote it itself.
    Version(Box<str>),
}

/// All reasons for one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Whether there was a [`Why::Must`].
    pub must: bool,
    /// Whether there was a [`Why::Perhaps`].
    pub perhaps: bool,
    /// The versions that were reported.
    pub versions: Vec<Box<str>>,
}

impl Reasons {
    fn add(&mut self, why: Why) {
        match why {
            Why::Must => self.must = true,
            Why::Perhaps => self.perhaps = true,
            Why::Version(_) if self.versions.len() == MAX_VERSIONS => self.must = true,
            Why::Version(version) => self.versions.push(version),
        }
    }
}

/// What follows a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until something changes.
    Idle,
    /// Another pass at this time.
    At(Instant),
    /// Another pass at this time, as a check that no one waits for.
    Resync(Instant),
    /// A retry after a time that grows with each consecutive failure.
    Failed,
}

/// The queue.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    /// Wakes a worker when there may be work, or an earlier timer.
    bell: Notify,
}

#[derive(Debug)]
struct State<K> {
    /// Work that someone waits for.
    ready: Lane<K>,
    /// Work that follows from a change of another object.
    following: Lane<K>,
    /// Checks of what is probably as it should be. Taken when nothing else is ready, at most one per `SLOW_PACE`.
    slow: Lane<K>,
    next_slow: Instant,
    /// The passes taken of `ready` since the last of `following`, and of both since the last of `slow`.
    in_a_row: (u32, u32),
    timers: BTreeSet<(Instant, K)>,
    keys: HashMap<K, Key>,
    /// The passes in progress, in total and by namespace.
    running: usize,
    running_of: HashMap<Arc<str>, usize>,
    workers: usize,
}

#[derive(Debug, Default)]
struct Key {
    phase: Phase,
    /// Its place in the lane of its phase.
    place: LanePosition,
    reasons: Reasons,
    timer: Option<Instant>,
    /// Whether its timer puts it into the ready lane.
    is_awaited: bool,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// In `ready`.
    Ready,
    /// In `following`.
    Following,
    /// In `slow`.
    Slow,
    Running,
}

/// The size of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Keys to reconcile now.
    pub ready: usize,
    /// Keys to reconcile when there is time.
    pub slow: usize,
    /// Keys that are being reconciled.
    pub running: usize,
    /// Keys to reconcile at a later time.
    pub later: usize,
    /// How long the first key of `ready` has waited.
    pub waited: Duration,
}

impl Depth {
    /// Whether nothing urgent is left: all remaining work is for later or slow.
    pub const fn is_calm(&self) -> bool {
        self.ready == 0 && self.running == 0
    }
}

/// The time between two slow passes.
const SLOW_PACE: Duration = Duration::from_millis(10);

impl<K: Clone + Eq + Hash + Ord + Whose> Queue<K> {
    /// Creates a queue for this many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ready: Lane::default(),
                following: Lane::default(),
                slow: Lane::default(),
                next_slow: Instant::now(),
                in_a_row: (0, 0),
                timers: BTreeSet::new(),
                keys: HashMap::new(),
                running: 0,
                running_of: HashMap::new(),
                workers,
            }),
            bell: Notify::new(),
        }
    }

    /// Adds a key to reconcile now. [`Why::Perhaps`] comes after work that someone waits for.
    pub fn add(&self, key: K, why: Why) {
        let lane = match why {
            Why::Must | Why::Version(_) => Phase::Ready,
            Why::Perhaps => Phase::Following,
        };
        self.state().add(key, why, lane, Instant::now());
        self.bell.notify_one();
    }

    /// Adds a key to reconcile when there is time.
    pub fn add_slow(&self, key: K) {
        self.add_slow_for(key, Why::Must);
    }

    /// Does the same for a reason that may have become irrelevant by then.
    pub fn add_slow_for(&self, key: K, why: Why) {
        self.state().add(key, why, Phase::Slow, Instant::now());
        self.bell.notify_one();
    }

    /// Waits for the next key. [`Queue::done`] must follow.
    pub async fn next(&self) -> (K, Reasons) {
        loop {
            // Register before checking, so that no wake-up is missed.
            let bell = self.bell.notified();
            let wake = match self.state().take(Instant::now()) {
                Ok(taken) => {
                    // There may be more work for another worker.
                    self.bell.notify_one();
                    return taken;
                }
                Err(wake) => wake,
            };
            match wake {
                Some(wake) => drop(tokio::time::timeout_at(wake, bell).await),
                None => bell.await,
            }
        }
    }

    /// Ends the pass of a key.
    pub fn done(&self, key: &K, next: Next) {
        self.state()
            .done(key, next, Instant::now(), &mut SystemEntropy);
        self.bell.notify_one();
    }

    /// Returns the size of the queue.
    pub fn depth(&self) -> Depth {
        let state = self.state();
        Depth {
            ready: state.ready.len() + state.following.len(),
            slow: state.slow.len(),
            running: state.running,
            later: state.timers.len(),
            waited: [state.ready.oldest(), state.following.oldest()]
                .into_iter()
                .flatten()
                .min()
                .map(|since| since.elapsed())
                .unwrap_or_default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        lock(&self.state)
    }
}

impl<K: Clone + Eq + Hash + Ord + Whose> State<K> {
    fn lane(&mut self, phase: Phase) -> Option<&mut Lane<K>> {
        match phase {
            Phase::Ready => Some(&mut self.ready),
            Phase::Following => Some(&mut self.following),
            Phase::Slow => Some(&mut self.slow),
            Phase::Idle | Phase::Running => None,
        }
    }

    fn add(&mut self, key: K, why: Why, lane: Phase, now: Instant) {
        let entry = self.keys.entry(key.clone()).or_default();
        let is_waited_out = entry.failures > 0 && entry.timer.is_some() && why != Why::Must;
        entry.reasons.add(why);
        if !is_waited_out {
            self.put(key, lane, now);
        }
    }

    /// Puts a key into a lane, unless it is running, or waits in that lane or a better one.
    fn put(&mut self, key: K, lane: Phase, since: Instant) {
        let entry = self.keys.entry(key.clone()).or_default();
        let (before, place) = (entry.phase, entry.place);
        let is_better = match before {
            Phase::Idle => true,
            Phase::Slow => lane != Phase::Slow,
            Phase::Following => lane == Phase::Ready,
            Phase::Ready | Phase::Running => false,
        };
        if !is_better {
            return;
        }
        let namespace = key.whose();
        if let Some(left) = self.lane(before) {
            left.remove(&namespace, place);
        }
        let place = self
            .lane(lane)
            .map(|lane| lane.push(&namespace, key.clone(), since));
        if let Some(entry) = self.keys.get_mut(&key) {
            entry.phase = lane;
            entry.place = place.unwrap_or_default();
        }
    }

    /// Takes the next key; otherwise returns when to check again.
    fn take(&mut self, now: Instant) -> Result<(K, Reasons), Option<Instant>> {
        self.ring(now);
        let (ready, both) = self.in_a_row;
        if both >= SLOW_SHARE
            && now >= self.next_slow
            && let Some(key) = self.take_of(Phase::Slow)
        {
            self.next_slow = now + SLOW_PACE;
            return Ok(self.start(key));
        }
        let lanes = if ready >= FOLLOWING_SHARE {
            [Phase::Following, Phase::Ready]
        } else {
            [Phase::Ready, Phase::Following]
        };
        for lane in lanes {
            if let Some(key) = self.take_of(lane) {
                return Ok(self.start(key));
            }
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        if self.slow.len() == 0 {
            return Err(timer);
        }
        if now < self.next_slow {
            let earlier = timer.map_or(self.next_slow, |timer| timer.min(self.next_slow));
            return Err(Some(earlier));
        }
        match self.take_of(Phase::Slow) {
            Some(key) => {
                self.next_slow = now + SLOW_PACE;
                Ok(self.start(key))
            }
            // The end of a pass wakes a worker.
            None => Err(timer),
        }
    }

    /// Queues the keys whose timers are due.
    fn ring(&mut self, now: Instant) {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            let Some((due, key)) = self.timers.pop_first() else {
                return;
            };
            let mut lane = Phase::Ready;
            if let Some(entry) = self.keys.get_mut(&key) {
                entry.timer = None;
                if !entry.is_awaited {
                    lane = Phase::Following;
                }
            }
            self.add(key, Why::Must, lane, due);
        }
    }

    /// Takes the next key of a lane whose namespace may have another pass.
    fn take_of(&mut self, phase: Phase) -> Option<K> {
        let (running, workers) = (self.running, self.workers);
        let running_of = std::mem::take(&mut self.running_of);
        let may = |namespace: &str| {
            let of_namespace = running_of.get(namespace).copied().unwrap_or_default();
            may_run(of_namespace, workers.saturating_sub(running))
        };
        let taken = self.lane(phase).and_then(|lane| lane.take(may));
        self.running_of = running_of;
        if taken.is_some() {
            let (ready, both) = self.in_a_row;
            self.in_a_row = match phase {
                Phase::Slow => (ready, 0),
                Phase::Ready => (ready.saturating_add(1), both.saturating_add(1)),
                _ => (0, both.saturating_add(1)),
            };
        }
        taken
    }

    fn start(&mut self, key: K) -> (K, Reasons) {
        self.running += 1;
        *self.running_of.entry(key.whose()).or_default() += 1;
        let entry = self.keys.entry(key.clone()).or_default();
        entry.phase = Phase::Running;
        let reasons = std::mem::take(&mut entry.reasons);
        // Its timer is no longer needed, because the key is reconciled now.
        if let Some(timer) = entry.timer.take() {
            self.timers.remove(&(timer, key.clone()));
        }
        (key, reasons)
    }

    fn done(&mut self, key: &K, next: Next, now: Instant, entropy: &mut dyn Entropy) {
        self.running = self.running.saturating_sub(1);
        let namespace = key.whose();
        if let Some(running) = self.running_of.get_mut(&namespace) {
            *running -= 1;
            if *running == 0 {
                self.running_of.remove(&namespace);
            }
        }
        let Some(entry) = self.keys.get_mut(key) else {
            return;
        };
        entry.phase = Phase::Idle;
        entry.timer = match next {
            Next::Idle => None,
            Next::At(moment) | Next::Resync(moment) => Some(moment),
            Next::Failed => Some(now + backoff(entry.failures, entropy)),
        };
        entry.is_awaited = !matches!(next, Next::Resync(_));
        entry.failures = if next == Next::Failed {
            entry.failures.saturating_add(1)
        } else {
            0
        };
        let lane = if entry.reasons.must || !entry.reasons.versions.is_empty() {
            Phase::Ready
        } else {
            Phase::Following
        };
        // The pass may have seen the change but not a later one that reverted it. Then the judgements before and after
        // are equal, and the pass's result would stay.
        entry.reasons.must |= entry.reasons.perhaps && next != Next::Failed;
        // The back-off of a failure is kept unless someone acted: a failing pass often causes watch events itself.
        let has_news = match next {
            Next::Failed => entry.reasons.must,
            _ => entry.reasons != Reasons::default(),
        };
        let timer = entry.timer;
        if let Some(moment) = timer {
            self.timers.insert((moment, key.clone()));
        }
        if has_news {
            self.put(key.clone(), lane, now);
        } else if timer.is_none() {
            self.keys.remove(key);
        }
    }
}

/// Whether a namespace with this many passes may start another, with this many free workers. Of 32 workers, a single
/// busy namespace gets 24, and a second one gets 6 of the rest.
const fn may_run(of_namespace: usize, free: usize) -> bool {
    of_namespace < free.saturating_mul(PER_FREE_WORKER)
}

/// Returns the back-off: it doubles, and half of it is random, so that keys that failed together are not retried
/// together.
fn backoff(failures: u32, entropy: &mut dyn Entropy) -> Duration {
    let full = FIRST_BACKOFF
        .saturating_mul(1 << failures.min(20))
        .min(LAST_BACKOFF);
    let mut byte = [0];
    entropy.fill(&mut byte);
    full.mul_f64(0.5 + 0.5 * f64::from(byte[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::SeededEntropy;

    /// Parses `namespace/name`; a key without a slash belongs to no namespace.
    impl Whose for &'static str {
        fn whose(&self) -> Arc<str> {
            self.split_once('/')
                .map_or("", |(namespace, _)| namespace)
                .into()
        }
    }

    fn queue() -> State<&'static str> {
        queue_of(usize::MAX)
    }

    fn queue_of(workers: usize) -> State<&'static str> {
        Queue::new(workers).state.into_inner().unwrap()
    }

    fn keys_at(state: &mut State<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| state.take(now).ok().map(|(key, _)| key)).collect()
    }

    fn done(state: &mut State<&'static str>, key: &'static str, next: Next, now: Instant) {
        state.done(&key, next, now, &mut SeededEntropy::new(1));
    }

    #[test]
    fn a_key_is_taken_once_with_all_its_reasons() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Perhaps, Phase::Ready, Instant::now());
        state.add("b", Why::Must, Phase::Ready, Instant::now());
        state.add("a", Why::Version("7".into()), Phase::Ready, Instant::now());
        let (key, reasons) = state.take(now).unwrap();
        assert_eq!(
            (key, reasons),
            (
                "a",
                Reasons {
                    must: false,
                    perhaps: true,
                    versions: vec!["7".into()]
                }
            )
        );
        assert_eq!(keys_at(&mut state, now), ["b"]);
    }

    #[test]
    fn a_key_added_during_its_pass_gets_another_pass() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["a"]);
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert!(keys_at(&mut state, now).is_empty(), "one at a time");
        done(&mut state, "a", Next::Idle, now);
        assert_eq!(keys_at(&mut state, now), ["a"]);
    }

    #[test]
    fn a_possible_change_during_a_pass_requires_another_pass() {
        let (mut state, now) = (queue(), Instant::now());
        for (next, must) in [(Next::Idle, true), (Next::Failed, false)] {
            state.add("a", Why::Must, Phase::Ready, now);
            keys_at(&mut state, now);
            state.add("a", Why::Perhaps, Phase::Ready, now);
            done(&mut state, "a", next, now);
            assert_eq!(state.keys["a"].reasons.must, must, "{next:?}");
            keys_at(&mut state, now);
            done(&mut state, "a", Next::Idle, now);
        }
    }

    #[test]
    fn idle_keys_are_removed() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        keys_at(&mut state, now);
        done(&mut state, "a", Next::Idle, now);
        assert!(state.keys.is_empty() && state.take(now) == Err(None));
    }

    #[test]
    fn a_timer_fires_once_and_is_dropped_by_an_earlier_pass() {
        let (mut state, now) = (queue(), Instant::now());
        let later = now + Duration::from_secs(10);
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        keys_at(&mut state, now);
        done(&mut state, "a", Next::At(later), now);
        assert_eq!(state.take(now), Err(Some(later)));
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["a"]);
        done(&mut state, "a", Next::Idle, now);
        assert!(keys_at(&mut state, later).is_empty());
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let (mut state, mut now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        let mut waits = Vec::new();
        for _ in 0..14 {
            assert_eq!(keys_at(&mut state, now), ["a"]);
            state.add("a", Why::Version("1".into()), Phase::Ready, Instant::now());
            done(&mut state, "a", Next::Failed, now);
            let due = state.take(now).unwrap_err().unwrap();
            waits.push(due - now);
            now = due;
        }
        assert!(
            waits[0] <= FIRST_BACKOFF && waits[13] <= LAST_BACKOFF && waits[13] >= LAST_BACKOFF / 2,
            "{waits:?}"
        );
        assert!(
            waits
                .windows(4)
                .all(|four| four[3] > four[0] || four[3] >= LAST_BACKOFF / 2)
        );
    }

    #[test]
    fn only_a_user_action_ends_the_back_off() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        keys_at(&mut state, now);
        done(&mut state, "a", Next::Failed, now);
        state.add("a", Why::Version("2".into()), Phase::Ready, Instant::now());
        assert!(
            keys_at(&mut state, now).is_empty(),
            "caused by the failing pass itself"
        );
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["a"]);
    }

    #[test]
    fn the_slow_lane_waits_for_the_others_and_keeps_its_pace() {
        let (mut state, now) = (queue(), Instant::now());
        for key in ["a", "b", "c"] {
            state.add(key, Why::Must, Phase::Slow, Instant::now());
        }
        state.add("c", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["c", "a"]);
        assert_eq!(keys_at(&mut state, now + SLOW_PACE), ["b"]);
        assert!(keys_at(&mut state, now + 2 * SLOW_PACE).is_empty());
    }

    #[tokio::test]
    async fn workers_are_woken() {
        let queue = std::sync::Arc::new(Queue::new(1));
        let worker = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await.0 }
        });
        tokio::task::yield_now().await;
        queue.add("a", Why::Must);
        assert_eq!(worker.await.unwrap(), "a");
        assert_eq!(
            queue.depth(),
            Depth {
                running: 1,
                ..Depth::default()
            }
        );
    }

    #[test]
    fn ready_work_precedes_following_work_and_both_get_passes() {
        let (mut state, now) = (queue(), Instant::now());
        let following = ["a/1", "a/2", "a/3"];
        for key in following {
            state.add(key, Why::Perhaps, Phase::Following, now);
        }
        let awaited = [
            "b/1", "b/2", "b/3", "b/4", "b/5", "b/6", "b/7", "b/8", "b/9",
        ];
        for key in awaited {
            state.add(key, Why::Must, Phase::Ready, now);
        }
        let taken = keys_at(&mut state, now);
        let places: Vec<usize> = following
            .iter()
            .map(|key| taken.iter().position(|it| it == key).unwrap())
            .collect();
        assert_eq!(places, [4, 9, 11], "{taken:?}");
    }

    #[test]
    fn following_work_becomes_ready_once_someone_waits_for_it() {
        let (mut state, now) = (queue(), Instant::now());
        for key in ["a/1", "a/2", "a/3"] {
            state.add(key, Why::Perhaps, Phase::Following, now);
        }
        state.add("a/3", Why::Must, Phase::Ready, now);
        state.add("a/3", Why::Perhaps, Phase::Following, now);
        assert_eq!(keys_at(&mut state, now), ["a/3", "a/1", "a/2"]);
    }

    #[test]
    fn the_slow_lane_has_a_share_too() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("s/1", Why::Must, Phase::Slow, now);
        let mut taken = 0;
        // A tenant keeps adding work.
        while state.keys.contains_key("s/1") && state.keys["s/1"].phase != Phase::Running {
            state.add("a/1", Why::Must, Phase::Ready, now);
            let key = state.take(now + SLOW_PACE).unwrap().0;
            done(&mut state, key, Next::Idle, now);
            taken += 1;
            assert!(taken <= SLOW_SHARE + 2);
        }
    }

    #[test]
    fn a_resync_is_not_waited_for() {
        let (mut state, now) = (queue(), Instant::now());
        let later = now + Duration::from_secs(10);
        for (key, next) in [("a/1", Next::Resync(later)), ("a/2", Next::At(later))] {
            state.add(key, Why::Must, Phase::Ready, now);
            keys_at(&mut state, now);
            done(&mut state, key, next, now);
        }
        assert_eq!(keys_at(&mut state, later), ["a/2", "a/1"]);
    }

    /// A namespace whose passes never end leaves workers to others, and gets most of them while it is alone.
    #[test]
    fn no_namespace_takes_all_workers() {
        const NAMES: [&str; 40] = {
            [
                "a/0", "a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "a/7", "a/8", "a/9", "a/10",
                "a/11", "a/12", "a/13", "a/14", "a/15", "a/16", "a/17", "a/18", "a/19", "a/20",
                "a/21", "a/22", "a/23", "a/24", "a/25", "a/26", "a/27", "a/28", "a/29", "b/0",
                "b/1", "b/2", "b/3", "b/4", "b/5", "b/6", "b/7", "b/8", "b/9",
            ]
        };
        let (mut state, now) = (queue_of(32), Instant::now());
        for key in &NAMES[..30] {
            state.add(key, Why::Must, Phase::Ready, now);
        }
        assert_eq!(keys_at(&mut state, now).len(), 24);
        for key in &NAMES[30..] {
            state.add(key, Why::Must, Phase::Ready, now);
        }
        assert_eq!(keys_at(&mut state, now).len(), 6);
        state.add("c/1", Why::Perhaps, Phase::Following, now);
        assert_eq!(keys_at(&mut state, now), ["c/1"]);
        // A free worker goes to a namespace without one.
        done(&mut state, "a/0", Next::Idle, now);
        state.add("d/1", Why::Must, Phase::Ready, now);
        assert_eq!(keys_at(&mut state, now), ["d/1"]);
        for workers in 1..4 {
            let mut state = queue_of(workers);
            state.add("a/1", Why::Must, Phase::Ready, now);
            assert_eq!(
                keys_at(&mut state, now),
                ["a/1"],
                "a single worker works too"
            );
        }
    }

    use proptest::prelude::*;

    const KEYS: [&str; 12] = [
        "a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "b/1", "b/2", "b/3", "c/1", "c/2", "d/1",
    ];

    #[derive(Clone, Debug)]
    enum Op {
        Add(usize, u8),
        Take,
        Done(usize, u8),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (0..KEYS.len(), 0..4u8).prop_map(|(key, why)| Op::Add(key, why)),
            2 => Just(Op::Take),
            1 => (0..KEYS.len(), 0..4u8).prop_map(|(nth, next)| Op::Done(nth, next)),
        ];
        prop::collection::vec(op, 0..200)
    }

    /// Checks that the lanes and places match the keys, and that nothing is left over.
    fn is_sound(state: &State<&'static str>, running: &[&'static str]) {
        let count = |phase: Phase| state.keys.values().filter(|it| it.phase == phase).count();
        assert_eq!(state.ready.len(), count(Phase::Ready));
        assert_eq!(state.following.len(), count(Phase::Following));
        assert_eq!(state.slow.len(), count(Phase::Slow));
        assert_eq!(
            (state.running, count(Phase::Running)),
            (running.len(), running.len())
        );
        assert_eq!(state.running_of.values().sum::<usize>(), running.len());
        assert_eq!(
            state.timers.len(),
            state.keys.values().filter(|it| it.timer.is_some()).count()
        );
        let idle = state.keys.values().filter(|it| it.phase == Phase::Idle);
        assert!(
            idle.clone().all(|it| it.timer.is_some()),
            "idle keys are removed"
        );
    }

    proptest! {
        #[test]
        fn each_key_is_queued_once_runs_once_and_gets_its_pass(ops in ops(), workers in 1..6usize) {
            let (mut state, mut now) = (queue_of(workers), Instant::now());
            let mut running: Vec<&'static str> = Vec::new();
            for op in ops {
                now += Duration::from_millis(1);
                match op {
                    Op::Add(key, why) => {
                        let (why, lane) = match why {
                            0 => (Why::Must, Phase::Ready),
                            1 => (Why::Version("1".into()), Phase::Ready),
                            2 => (Why::Perhaps, Phase::Following),
                            _ => (Why::Must, Phase::Slow),
                        };
                        state.add(KEYS[key], why, lane, now);
                    }
                    Op::Take if running.len() < workers => {
                        if let Ok((key, reasons)) = state.take(now) {
                            prop_assert!(!running.contains(&key), "one pass at a time");
                            prop_assert!(reasons != Reasons::default());
                            running.push(key);
                        }
                    }
                    Op::Take => {}
                    Op::Done(_, _) if running.is_empty() => {}
                    Op::Done(nth, next) => {
                        let key = running.remove(nth % running.len());
                        let next = match next {
                            0 => Next::Idle,
                            1 => Next::At(now + Duration::from_millis(5)),
                            2 => Next::Resync(now + Duration::from_millis(5)),
                            _ => Next::Failed,
                        };
                        done(&mut state, key, next, now);
                    }
                }
                is_sound(&state, &running);
            }
            // All keys get their passes, in whatever lane they are.
            while let Some(key) = running.pop() {
                done(&mut state, key, Next::Idle, now);
            }
            for _ in 0..1000 {
                now += Duration::from_secs(400);
                match state.take(now) {
                    Ok((key, _)) => done(&mut state, key, Next::Idle, now),
                    Err(_) => break,
                }
            }
            prop_assert!(state.keys.is_empty(), "{:?}", state.keys);
            is_sound(&state, &[]);
        }

        /// The first key of a new namespace is taken after one turn of each other namespace and the share of the other
        /// lane, no matter how much the others have queued.
        #[test]
        fn a_newcomer_waits_for_a_turn_of_each_namespace(
            others in prop::collection::vec((0..KEYS.len() - 1, any::<bool>()), 0..200),
            taken_before in 0..20usize,
        ) {
            let (mut state, now) = (queue(), Instant::now());
            for (key, is_awaited) in others {
                let lane = if is_awaited { Phase::Ready } else { Phase::Following };
                state.add(KEYS[key], Why::Must, lane, now);
            }
            for _ in 0..taken_before {
                let _ = state.take(now);
            }
            let namespaces = 3;
            state.add("d/1", Why::Must, Phase::Ready, now);
            let turn = keys_at(&mut state, now).iter().position(|key| *key == "d/1").unwrap();
            let shares = 1 + namespaces / FOLLOWING_SHARE as usize;
            prop_assert!(turn <= namespaces + shares, "{turn}");
        }

        #[test]
        fn a_namespace_keeps_its_order(keys in Just(KEYS.to_vec()).prop_shuffle()) {
            let (mut state, now) = (queue(), Instant::now());
            for key in &keys {
                state.add(key, Why::Must, Phase::Ready, now);
            }
            let taken = keys_at(&mut state, now);
            for namespace in ["a/", "b/", "c/", "d/"] {
                let of = |keys: &[&'static str]| -> Vec<&'static str> {
                    keys.iter().copied().filter(|key| key.starts_with(namespace)).collect()
                };
                prop_assert_eq!(of(&taken), of(&keys));
            }
        }
    }
}
