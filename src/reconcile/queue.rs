//! What is to be looked at: each key once, one pass at a time for each, later ones at their time.
//!
//! A key that is added while its pass runs is passed again afterwards. A pass that fails comes again
//! after a time that doubles. Absent: what a pass does, and who works: workers ask [`Queue::next`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::tokens::{Entropy, SystemEntropy};

/// After a first failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// After many.
const LAST_BACKOFF: Duration = Duration::from_mins(5);
/// Versions that are kept apart for one key: beyond them it is looked at anyway.
const MOST_VERSIONS: usize = 8;

/// Why a key is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something changed, or it is time.
    Must,
    /// Something changed that may not concern it.
    Perhaps,
    /// An object has this version now: no news to whoever wrote it.
    Version(Box<str>),
}

/// All reasons for one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Whether there was a [`Why::Must`].
    pub must: bool,
    /// Whether there was a [`Why::Perhaps`].
    pub perhaps: bool,
    /// The versions that were seen.
    pub versions: Vec<Box<str>>,
}

impl Reasons {
    fn add(&mut self, why: Why) {
        match why {
            Why::Must => self.must = true,
            Why::Perhaps => self.perhaps = true,
            Why::Version(_) if self.versions.len() == MOST_VERSIONS => self.must = true,
            Why::Version(version) => self.versions.push(version),
        }
    }
}

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more to do until something changes.
    Idle,
    /// Again at a moment.
    At(Instant),
    /// Again after a time that grows with each failure in a row.
    Failed,
}

/// The queue.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    /// Rings when there may be work, or an earlier timer.
    bell: Notify,
}

#[derive(Debug)]
struct State<K> {
    /// With the moment since when each is due.
    ready: VecDeque<(K, Instant)>,
    /// Taken when nothing is ready, at most one each `slow_pace`.
    slow: VecDeque<K>,
    next_slow: Instant,
    timers: BTreeSet<(Instant, K)>,
    keys: HashMap<K, Key>,
    running: usize,
}

#[derive(Debug, Default)]
struct Key {
    phase: Phase,
    reasons: Reasons,
    timer: Option<Instant>,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// In `ready`.
    Ready,
    /// In `slow`.
    Slow,
    Running,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// To be looked at now.
    pub ready: usize,
    /// To be looked at when there is time.
    pub slow: usize,
    /// Being looked at.
    pub running: usize,
    /// To be looked at later.
    pub later: usize,
    /// How long the first of `ready` has waited.
    pub waited: Duration,
}

impl Depth {
    /// Whether nothing urgent is left: what waits is to be looked at later, or without haste.
    pub const fn is_calm(&self) -> bool {
        self.ready == 0 && self.running == 0
    }
}

/// Between two slow ones: what is probably as it should be is checked without haste.
const SLOW_PACE: Duration = Duration::from_millis(10);

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                slow: VecDeque::new(),
                next_slow: Instant::now(),
                timers: BTreeSet::new(),
                keys: HashMap::new(),
                running: 0,
            }),
            bell: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Has a key looked at now.
    pub fn add(&self, key: K, why: Why) {
        self.lock().add(key, why, Phase::Ready, Instant::now());
        self.bell.notify_one();
    }

    /// Has a key looked at when there is nothing better to do.
    pub fn add_slow(&self, key: K) {
        self.add_slow_for(key, Why::Must);
    }

    /// The same, for a reason that may be none by then.
    pub fn add_slow_for(&self, key: K, why: Why) {
        self.lock().add(key, why, Phase::Slow, Instant::now());
        self.bell.notify_one();
    }

    /// The next key to look at; [`Queue::done`] must follow.
    pub async fn next(&self) -> (K, Reasons) {
        loop {
            // Registered before looking, so that no bell is missed.
            let bell = self.bell.notified();
            let wake = match self.lock().take(Instant::now()) {
                Ok(taken) => {
                    // There may be more for others.
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

    /// Ends the look at a key.
    pub fn done(&self, key: &K, next: Next) {
        self.lock()
            .done(key, next, Instant::now(), &mut SystemEntropy);
        self.bell.notify_one();
    }

    /// How full it is.
    pub fn depth(&self) -> Depth {
        let state = self.lock();
        Depth {
            ready: state.ready.len(),
            slow: state.slow.len(),
            running: state.running,
            later: state.timers.len(),
            waited: state
                .ready
                .front()
                .map(|(_, since)| since.elapsed())
                .unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn add(&mut self, key: K, why: Why, lane: Phase, now: Instant) {
        let entry = self.keys.entry(key.clone()).or_default();
        let is_waited_out = entry.failures > 0 && entry.timer.is_some() && why != Why::Must;
        entry.reasons.add(why);
        if is_waited_out {
            return;
        }
        match (entry.phase, lane) {
            (Phase::Idle, Phase::Slow) => {
                entry.phase = Phase::Slow;
                self.slow.push_back(key);
            }
            // One that waits in the slow lane is found there as taken already.
            (Phase::Idle | Phase::Slow, Phase::Ready) => {
                entry.phase = Phase::Ready;
                self.ready.push_back((key, now));
            }
            _ => {}
        }
    }

    /// The next key, or when to look again.
    fn take(&mut self, now: Instant) -> Result<(K, Reasons), Option<Instant>> {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((due, key)) = self.timers.pop_first() {
                if let Some(entry) = self.keys.get_mut(&key) {
                    entry.timer = None;
                }
                self.add(key, Why::Must, Phase::Ready, due);
            }
        }
        if let Some((key, _)) = self.ready.pop_front() {
            return Ok(self.start(key));
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        while let Some(key) = self.slow.front() {
            if self
                .keys
                .get(key)
                .is_none_or(|entry| entry.phase != Phase::Slow)
            {
                self.slow.pop_front();
                continue;
            }
            if now < self.next_slow {
                return Err(Some(
                    timer.map_or(self.next_slow, |timer| timer.min(self.next_slow)),
                ));
            }
            self.next_slow = now + SLOW_PACE;
            if let Some(key) = self.slow.pop_front() {
                return Ok(self.start(key));
            }
        }
        Err(timer)
    }

    fn start(&mut self, key: K) -> (K, Reasons) {
        self.running += 1;
        let entry = self.keys.entry(key.clone()).or_default();
        entry.phase = Phase::Running;
        let reasons = std::mem::take(&mut entry.reasons);
        // Whatever it was waiting for, it is looked at now.
        if let Some(timer) = entry.timer.take() {
            self.timers.remove(&(timer, key.clone()));
        }
        (key, reasons)
    }

    fn done(&mut self, key: &K, next: Next, now: Instant, entropy: &mut dyn Entropy) {
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.keys.get_mut(key) else {
            return;
        };
        entry.phase = Phase::Idle;
        entry.timer = match next {
            Next::Idle => None,
            Next::At(moment) => Some(moment),
            Next::Failed => Some(now + backoff(entry.failures, entropy)),
        };
        entry.failures = if next == Next::Failed {
            entry.failures.saturating_add(1)
        } else {
            0
        };
        // The pass may have seen the change and not a later one that took it back: then what was before it and what is
        // after it compare as equal, and what it wrote would stay.
        entry.reasons.must |= entry.reasons.perhaps && next != Next::Failed;
        // A failure is waited out unless somebody did something about it: what fails often makes news itself.
        let has_news = match next {
            Next::Failed => entry.reasons.must,
            _ => entry.reasons != Reasons::default(),
        };
        if has_news {
            entry.phase = Phase::Ready;
            self.ready.push_back((key.clone(), now));
        }
        match entry.timer {
            Some(moment) => drop(self.timers.insert((moment, key.clone()))),
            None if entry.phase == Phase::Idle => drop(self.keys.remove(key)),
            None => {}
        }
    }
}

/// Doubling, with a random half, so that what failed together does not come again together.
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

    fn queue() -> State<&'static str> {
        Queue::default().state.into_inner().unwrap()
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
    fn news_during_a_pass_is_passed_afterwards() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["a"]);
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert!(keys_at(&mut state, now).is_empty(), "one at a time");
        done(&mut state, "a", Next::Idle, now);
        assert_eq!(keys_at(&mut state, now), ["a"]);
    }

    #[test]
    fn what_may_have_changed_during_a_pass_must_be_looked_at_after_it() {
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
    fn what_is_idle_costs_nothing() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        keys_at(&mut state, now);
        done(&mut state, "a", Next::Idle, now);
        assert!(state.keys.is_empty() && state.take(now) == Err(None));
    }

    #[test]
    fn a_timer_rings_once_and_is_forgotten_when_the_key_is_looked_at_before() {
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
    fn only_a_person_breaks_the_wait_after_a_failure() {
        let (mut state, now) = (queue(), Instant::now());
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        keys_at(&mut state, now);
        done(&mut state, "a", Next::Failed, now);
        state.add("a", Why::Version("2".into()), Phase::Ready, Instant::now());
        assert!(keys_at(&mut state, now).is_empty(), "the fault's own news");
        state.add("a", Why::Must, Phase::Ready, Instant::now());
        assert_eq!(keys_at(&mut state, now), ["a"]);
    }

    #[test]
    fn the_slow_lane_waits_for_the_other_and_keeps_its_pace() {
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
        let queue = std::sync::Arc::new(Queue::default());
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
}
