//! What becomes of an Identity's signing keys, and when: publish, then use, then retire. Pure.
//!
//! ```text
//!  made                activeFrom               the next one's activeFrom          retiredAt
//!   |---- Published ----|-------- Active --------|---------- Retiring ---------------|
//!       publishAhead           rotateEvery         longest token + lateness + MARGIN
//! ```
//!
//! A key signs only after it was published for `publish_ahead`, but for the very first, for one that takes the place of
//! a distrusted one, and after an emergency. It stays published until the longest-lived token that it may have
//! signed is over. What it depends on beside the key set is a [`Memory`], kept where the set is kept. The plan only
//! ever moves ends later, so that neither another leader's clock nor one that goes back makes it flap.
//! Absent: making keys, writing them anywhere, and the clock.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Algorithm, KeyRecord, KeySet, KeySetError, SigningKey};

/// Clocks may differ by so much.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// However stale a server may become, its last key is not kept for it longer than this.
const MOST_LATENESS: SignedDuration = SignedDuration::from_hours(24);
/// Keys of one algorithm at once: a schedule that would need more waits.
pub const MOST_KEYS: usize = 8;

/// How an Identity wants its keys.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What is signed with.
    pub algorithms: Vec<Algorithm>,
    /// How long one key signs.
    pub rotate_every: SignedDuration,
    /// How long it is published before; shorter than `rotate_every`.
    pub publish_ahead: SignedDuration,
    /// The longest life of a token.
    pub longest_token: SignedDuration,
    /// How long a server goes by what it last saw.
    pub staleness: SignedDuration,
    /// Names of keys that are as if they had never been.
    pub distrusted: Vec<String>,
    /// Each new value asks once for all keys to be replaced at once.
    pub emergency: Option<String>,
}

impl Wish {
    /// How long a key stays published after it has stopped to sign.
    fn linger(&self) -> SignedDuration {
        let lateness = self.staleness.clamp(SignedDuration::ZERO, MOST_LATENESS);
        sum(sum(self.longest_token, lateness), MARGIN)
    }
}

/// What must not be forgotten between one plan and the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Seconds: the longest life of a token when it was last looked at.
    longest_token: i64,
    /// Until then tokens are good that were signed while longer lives were allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longer_tokens_until: Option<Timestamp>,
    /// The emergency that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emergency: Option<String>,
}

impl Memory {
    fn of(wish: &Wish) -> Self {
        Self {
            longest_token: wish.longest_token.as_secs(),
            longer_tokens_until: None,
            emergency: None,
        }
    }

    fn is_emergency(&self, wish: &Wish) -> bool {
        wish.emergency.is_some() && wish.emergency != self.emergency
    }

    fn next(&self, wish: &Wish, now: Timestamp) -> Self {
        let longest_token = wish.longest_token.as_secs();
        let ended = (longest_token < self.longest_token)
            .then(|| later(now, SignedDuration::from_secs(self.longest_token)));
        Self {
            longest_token,
            longer_tokens_until: self.longer_tokens_until.max(ended),
            // An annotation that somebody took off and puts on again with the same value is none the less old.
            emergency: wish.emergency.clone().or_else(|| self.emergency.clone()),
        }
    }
}

/// One key as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// `None`: to be made.
    kid: Option<String>,
    algorithm: Algorithm,
    created_at: Timestamp,
    active_from: Timestamp,
    retired_at: Option<Timestamp>,
}

impl Slot {
    fn of(record: &KeyRecord) -> Self {
        Self {
            kid: Some(record.key.kid().to_owned()),
            algorithm: record.key.algorithm(),
            created_at: record.created_at,
            active_from: record.active_from,
            retired_at: record.retired_at,
        }
    }

    /// It stays published until then at least.
    fn keep_until(&mut self, end: Timestamp) {
        self.retired_at = self.retired_at.max(Some(end));
    }
}

/// What is to be done about a key set.
#[derive(Clone, Debug)]
pub struct Plan {
    slots: Vec<Slot>,
    /// What is to be kept with the set.
    pub memory: Memory,
    /// When to plan again, if nothing else happens.
    pub next: Option<Timestamp>,
    /// Whether set or memory are to be written.
    pub is_change: bool,
    /// Whether all keys are replaced at once.
    pub is_emergency: bool,
}

impl Plan {
    /// The algorithms of the keys that must be made, in the order in which [`Plan::apply`] takes them.
    pub fn makes(&self) -> Vec<Algorithm> {
        let made = self.slots.iter().filter(|slot| slot.kid.is_none());
        made.map(|slot| slot.algorithm).collect()
    }

    /// The key set as it should be.
    ///
    /// # Errors
    /// [`KeySetError::Duplicate`] if a key in `made` is no new one.
    pub fn apply(
        &self,
        set: &KeySet,
        made: impl IntoIterator<Item = SigningKey>,
    ) -> Result<KeySet, KeySetError> {
        let mut made = made.into_iter();
        let key = |slot: &Slot, made: &mut dyn Iterator<Item = SigningKey>| match &slot.kid {
            None => made.next().map(Into::into),
            Some(kid) => {
                let mut records = set.records().iter();
                let record = records.find(|record| record.key.kid() == kid)?;
                Some(record.key.clone())
            }
        };
        let records: Vec<KeyRecord> = self
            .slots
            .iter()
            .filter_map(|slot| {
                Some(KeyRecord {
                    key: key(slot, &mut made)?,
                    created_at: slot.created_at,
                    active_from: slot.active_from,
                    retired_at: slot.retired_at,
                })
            })
            .collect();
        KeySet::from_records(records)
    }
}

/// Plans what becomes of `set`; without a `memory` it is one that nobody planned for yet.
pub fn plan(set: &KeySet, memory: Option<&Memory>, wish: &Wish, now: Timestamp) -> Plan {
    // Times that people read.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let known = memory.cloned().unwrap_or_else(|| Memory::of(wish));
    let is_emergency = known.is_emergency(wish);
    let trusted = if is_emergency {
        KeySet::default()
    } else {
        set.without(&wish.distrusted, now)
    };
    let over = set.records().iter().filter(|it| set.is_over(it, now));
    let mut planner = Planner {
        slots: trusted.published(now).map(Slot::of).collect(),
        over: over.map(|it| it.key.kid().to_owned()).collect(),
        memory: known.next(wish, now),
        wish,
        now,
    };
    let mut able = planner.slots.iter().filter(|slot| !planner.is_over(slot));
    let nobody_signs = !able.any(|slot| slot.active_from <= now);
    for algorithm in planner.to_provide() {
        // The one that signed is distrusted.
        let is_bereft = set.signs_since(algorithm, now).is_some();
        if nobody_signs {
            planner.promote(algorithm);
        }
        planner.succeed(algorithm, nobody_signs || is_bereft);
    }
    planner.retire_replaced();
    planner.retire_unwanted();
    if known.longest_token < planner.memory.longest_token {
        planner.keep_for_longer_tokens();
    }
    planner.keep_followers();
    let before: Vec<Slot> = set.records().iter().map(Slot::of).collect();
    planner.slots.sort_by(|a, b| order(a).cmp(&order(b)));
    Plan {
        next: planner.next(),
        is_change: planner.slots != before || memory != Some(&planner.memory),
        memory: planner.memory,
        slots: planner.slots,
        is_emergency,
    }
}

/// As [`KeySet`] orders its records.
fn order(slot: &Slot) -> (Algorithm, Timestamp, Option<&str>) {
    (slot.algorithm, slot.active_from, slot.kid.as_deref())
}

/// Each once.
fn wanted(wish: &Wish) -> Vec<Algorithm> {
    let all = Algorithm::ALL.into_iter();
    all.filter(|algorithm| wish.algorithms.contains(algorithm))
        .collect()
}

struct Planner<'a> {
    slots: Vec<Slot>,
    /// Names of the keys that never sign again.
    over: Vec<String>,
    memory: Memory,
    wish: &'a Wish,
    now: Timestamp,
}

impl Planner<'_> {
    fn is_over(&self, slot: &Slot) -> bool {
        slot.kid.as_ref().is_some_and(|kid| self.over.contains(kid))
    }

    /// The algorithms that must have a key that signs or will: those that are wanted, and those with nothing but keys
    /// that are over, where the one that followed is distrusted. What tells that they are over is the key after them.
    fn to_provide(&self) -> Vec<Algorithm> {
        let wanted = wanted(self.wish);
        let is_left_over = |algorithm: &Algorithm| {
            let own = self.of(*algorithm);
            !own.is_empty() && own.iter().all(|slot| self.is_over(slot))
        };
        let all = Algorithm::ALL.into_iter();
        all.filter(|it| wanted.contains(it) || is_left_over(it))
            .collect()
    }

    /// The first key of an algorithm need not wait any longer: no other could sign.
    fn promote(&mut self, algorithm: Algorithm) {
        let now = self.now;
        let over = self.over.clone();
        let is_able = |slot: &&mut Slot| !slot.kid.as_ref().is_some_and(|kid| over.contains(kid));
        if let Some(first) = self.of_mut(algorithm).into_iter().find(is_able) {
            first.active_from = first.active_from.min(now);
        }
    }

    /// Makes the next key of an algorithm if there is none, or if the last one's time is nearly over.
    fn succeed(&mut self, algorithm: Algorithm, at_once: bool) {
        let (now, wish) = (self.now, self.wish);
        let ahead = later(now, wish.publish_ahead);
        let own = self.of(algorithm);
        let last = own.last().filter(|last| !self.is_over(last));
        let active_from = match last {
            None if at_once => now,
            None => ahead,
            Some(last) if last.active_from <= now && own.len() < MOST_KEYS => {
                let end = later(last.active_from, wish.rotate_every);
                if now < earlier(end, wish.publish_ahead) {
                    return;
                }
                ahead.max(end)
            }
            Some(_) => return,
        };
        self.slots.push(Slot {
            kid: None,
            algorithm,
            created_at: now,
            active_from,
            retired_at: None,
        });
    }

    /// Each key that has a successor ends when the successor has signed for as long as a token lives; the last one of an
    /// algorithm has no end, even if it had one: the algorithm was away and is wanted again.
    fn retire_replaced(&mut self) {
        let linger = self.wish.linger();
        let longer = self.longer_tokens();
        for algorithm in wanted(self.wish) {
            let mut successor = None;
            for slot in self.of_mut(algorithm).into_iter().rev() {
                match successor {
                    None => slot.retired_at = None,
                    Some(active_from) => {
                        let end = later(active_from, linger);
                        slot.keep_until(longer.map_or(end, |longer| longer.max(end)));
                    }
                }
                successor = Some(slot.active_from);
            }
        }
    }

    /// The keys of an algorithm that is not wanted any more sign until one that is wanted does.
    fn retire_unwanted(&mut self) {
        let (now, linger, longer) = (self.now, self.wish.linger(), self.longer_tokens());
        let wanted = wanted(self.wish);
        let is_wanted = |slot: &Slot| wanted.contains(&slot.algorithm);
        let successor = self.slots.iter().filter(|slot| is_wanted(slot));
        let Some(replaced_from) = successor.map(|slot| slot.active_from).min() else {
            return;
        };
        for slot in self.slots.iter_mut().filter(|slot| !is_wanted(slot)) {
            // Once it has an end, only a successor that is still to come may move it.
            if slot.retired_at.is_none() || replaced_from > now {
                let end = later(replaced_from.max(now), linger);
                slot.keep_until(longer.map_or(end, |longer| longer.max(end)));
            }
        }
    }

    /// A key stays for as long as those before it, which would come back to sign without it.
    fn keep_followers(&mut self) {
        for algorithm in Algorithm::ALL {
            let mut before = None;
            for slot in self.of_mut(algorithm) {
                slot.retired_at = slot
                    .retired_at
                    .map(|end| before.max(Some(end)).unwrap_or(end));
                before = before.max(slot.retired_at);
            }
        }
    }

    /// Tokens may live longer than before: those that were signed before this was noticed, too.
    fn keep_for_longer_tokens(&mut self) {
        let end = later(self.now, self.wish.linger());
        for slot in &mut self.slots {
            if slot.retired_at.is_some() {
                slot.keep_until(end);
            }
        }
    }

    /// When the last token is over that was signed under more generous limits.
    fn longer_tokens(&self) -> Option<Timestamp> {
        let lateness = self.wish.linger().checked_sub(self.wish.longest_token)?;
        Some(later(self.memory.longer_tokens_until?, lateness))
    }

    fn next(&self) -> Option<Timestamp> {
        let times = self
            .slots
            .iter()
            .flat_map(|slot| [Some(slot.active_from), slot.retired_at]);
        let dues = wanted(self.wish).into_iter().map(|algorithm| {
            let own = self.of(algorithm);
            let end = later(own.last()?.active_from, self.wish.rotate_every);
            Some(earlier(end, self.wish.publish_ahead))
        });
        let times = times.chain(dues).flatten();
        times.filter(|time| *time > self.now).min()
    }

    fn of(&self, algorithm: Algorithm) -> Vec<&Slot> {
        let own = self.slots.iter();
        let mut own: Vec<_> = own.filter(|slot| slot.algorithm == algorithm).collect();
        own.sort_by(|a, b| order(a).cmp(&order(b)));
        own
    }

    fn of_mut(&mut self, algorithm: Algorithm) -> Vec<&mut Slot> {
        let own = self.slots.iter_mut();
        let mut own: Vec<_> = own.filter(|slot| slot.algorithm == algorithm).collect();
        own.sort_by(|a, b| order(a).cmp(&order(b)));
        own
    }
}

/// When the next key of those that are wanted is to begin to sign: one that is published already, or the one that is
/// due after the last. It is past where that one is overdue, and unknown where there is none to follow.
pub fn rotates_at(set: &KeySet, wish: &Wish, now: Timestamp) -> Option<Timestamp> {
    let of_one = |algorithm: Algorithm| {
        let own = set.published(now);
        let own = own.filter(|it| it.key.algorithm() == algorithm && !set.is_over(it, now));
        let starts: Vec<Timestamp> = own.map(|it| it.active_from).collect();
        let published = starts.iter().filter(|start| **start > now).min();
        let due = starts.iter().max();
        published
            .copied()
            .or_else(|| Some(later(*due?, wish.rotate_every)))
    };
    wanted(wish).into_iter().filter_map(of_one).min()
}

/// What a key of a set does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It will sign.
    Published,
    /// It signs.
    Active,
    /// It signed.
    Retiring,
}

/// The published keys of a set, what each does at `now` for who wants `algorithms`.
pub fn phases<'a>(
    set: &'a KeySet,
    algorithms: &[Algorithm],
    now: Timestamp,
) -> Vec<(&'a KeyRecord, Phase)> {
    let default = set.default_algorithm(algorithms, now);
    let phase = |record: &KeyRecord| {
        let algorithm = record.key.algorithm();
        let signs = algorithms.contains(&algorithm) || default == Some(algorithm);
        let signer = set.active(algorithm, now);
        if signs && signer.is_some_and(|signer| signer.key.kid() == record.key.kid()) {
            // A key that nobody has signed with yet is used by those alone who ask for its algorithm.
            let is_early = record.active_from > now && default != Some(algorithm);
            if is_early {
                Phase::Published
            } else {
                Phase::Active
            }
        } else if record.active_from > now && record.retired_at.is_none() {
            Phase::Published
        } else {
            Phase::Retiring
        }
    };
    let published = set.published(now);
    published.map(|record| (record, phase(record))).collect()
}

fn sum(a: SignedDuration, b: SignedDuration) -> SignedDuration {
    a.saturating_add(b)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
