//! Plans an Identity's signing keys: publish, then use, then retire. Pure.
//!
//! ```text
//!  created             activeFrom               the next key's activeFrom          retiredAt
//!   |---- Published ----|-------- Active --------|---------- Retiring ---------------|
//!       publishAhead           rotateEvery         longest token + staleness + MARGIN
//! ```
//!
//! A key signs only after it was published for `publish_ahead`. Exceptions: the very first key, a key that replaces a
//! distrusted one, and an emergency. A key stays published until the longest-lived token that it may have signed has
//! expired. Beside the key set, the plan depends on a [`Memory`], which is stored with the set. The plan only moves
//! `retiredAt` later, never earlier, so that neither another leader's clock nor a clock set back makes it flap. Not
//! here: making keys, writing them, and the clock.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Algorithm, KeyRecord, KeySet, KeySetError, SigningKey};

/// The largest difference between two clocks.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// The longest staleness that keeps a replaced key published, however stale a server may become.
const MAX_LATENESS: SignedDuration = SignedDuration::from_hours(24);
/// The most keys of one algorithm at once: a schedule that needs more waits.
pub const MAX_KEYS: usize = 8;

/// The key settings of an Identity.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The algorithms to sign with.
    pub algorithms: Vec<Algorithm>,
    /// How long one key signs.
    pub rotate_every: SignedDuration,
    /// How long a key is published before it signs; shorter than `rotate_every`.
    pub publish_ahead: SignedDuration,
    /// The longest lifetime of a token.
    pub longest_token: SignedDuration,
    /// How long a server may keep using outdated data.
    pub staleness: SignedDuration,
    /// The `kid`s of keys to remove from the set at once.
    pub distrusted: Vec<String>,
    /// Each new value replaces all keys immediately, one time.
    pub emergency: Option<String>,
}

impl KeySettings {
    /// How long a key stays published after it stops signing.
    fn linger(&self) -> SignedDuration {
        let lateness = self.staleness.clamp(SignedDuration::ZERO, MAX_LATENESS);
        sum(sum(self.longest_token, lateness), MARGIN)
    }
}

/// What one plan must remember for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The longest lifetime of a token at the last plan, in seconds.
    longest_token: i64,
    /// When the last token signed under a longer limit expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longer_tokens_until: Option<Timestamp>,
    /// The emergency value that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emergency: Option<String>,
}

impl Memory {
    fn of(settings: &KeySettings) -> Self {
        Self {
            longest_token: settings.longest_token.as_secs(),
            longer_tokens_until: None,
            emergency: None,
        }
    }

    fn is_emergency(&self, settings: &KeySettings) -> bool {
        settings.emergency.is_some() && settings.emergency != self.emergency
    }

    fn next(&self, settings: &KeySettings, now: Timestamp) -> Self {
        let longest_token = settings.longest_token.as_secs();
        let ended = (longest_token < self.longest_token)
            .then(|| later(now, SignedDuration::from_secs(self.longest_token)));
        Self {
            longest_token,
            longer_tokens_until: self.longer_tokens_until.max(ended),
            // If the annotation is removed and later set to the same value, it is not a new emergency.
            emergency: settings
                .emergency
                .clone()
                .or_else(|| self.emergency.clone()),
        }
    }
}

/// The intended state of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// `None` if the key must be made.
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

    /// Keeps the key published at least until `end`.
    fn keep_until(&mut self, end: Timestamp) {
        self.retired_at = self.retired_at.max(Some(end));
    }
}

/// What to do about a key set.
#[derive(Clone, Debug)]
pub struct Plan {
    slots: Vec<Slot>,
    /// The memory to store with the set.
    pub memory: Memory,
    /// When to plan again if nothing else changes.
    pub next: Option<Timestamp>,
    /// Whether the set or the memory must be written.
    pub is_change: bool,
    /// Whether all keys are replaced at once.
    pub is_emergency: bool,
}

impl Plan {
    /// Returns the algorithms of the keys to make, in the order in which [`Plan::apply`] takes the keys.
    pub fn makes(&self) -> Vec<Algorithm> {
        let made = self.slots.iter().filter(|slot| slot.kid.is_none());
        made.map(|slot| slot.algorithm).collect()
    }

    /// Builds the planned key set from `set` and the new keys in `made`.
    ///
    /// # Errors
    /// [`KeySetError::Duplicate`] if a key in `made` is already in the set.
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

/// Plans the next state of `set`. Without a `memory`, this is the set's first plan.
pub fn plan(set: &KeySet, memory: Option<&Memory>, settings: &KeySettings, now: Timestamp) -> Plan {
    // Whole seconds, since people read these times.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let known = memory.cloned().unwrap_or_else(|| Memory::of(settings));
    let is_emergency = known.is_emergency(settings);
    let trusted = if is_emergency {
        KeySet::default()
    } else {
        set.without(&settings.distrusted, now)
    };
    let over = set.records().iter().filter(|it| set.is_over(it, now));
    let mut planner = Planner {
        slots: trusted.published(now).map(Slot::of).collect(),
        over: over.map(|it| it.key.kid().to_owned()).collect(),
        memory: known.next(settings, now),
        settings,
        now,
    };
    let mut able = planner.slots.iter().filter(|slot| !planner.is_over(slot));
    let nobody_signs = !able.any(|slot| slot.active_from <= now);
    for algorithm in planner.to_provide() {
        // The signer of this algorithm is distrusted.
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

/// The order of records in a [`KeySet`].
fn order(slot: &Slot) -> (Algorithm, Timestamp, Option<&str>) {
    (slot.algorithm, slot.active_from, slot.kid.as_deref())
}

/// The algorithms of `settings`, each once.
fn wanted(settings: &KeySettings) -> Vec<Algorithm> {
    let all = Algorithm::ALL.into_iter();
    all.filter(|algorithm| settings.algorithms.contains(algorithm))
        .collect()
}

struct Planner<'a> {
    slots: Vec<Slot>,
    /// The `kid`s of superseded keys, which never sign again.
    over: Vec<String>,
    memory: Memory,
    settings: &'a KeySettings,
    now: Timestamp,
}

impl Planner<'_> {
    fn is_over(&self, slot: &Slot) -> bool {
        slot.kid.as_ref().is_some_and(|kid| self.over.contains(kid))
    }

    /// Returns the algorithms that need a key that signs now or later: the wanted ones, and those left with only
    /// superseded keys because the successor is distrusted. Only a later key in the set marks the earlier ones as
    /// superseded.
    fn to_provide(&self) -> Vec<Algorithm> {
        let wanted = wanted(self.settings);
        let is_left_over = |algorithm: &Algorithm| {
            let own = self.of(*algorithm);
            !own.is_empty() && own.iter().all(|slot| self.is_over(slot))
        };
        let all = Algorithm::ALL.into_iter();
        all.filter(|it| wanted.contains(it) || is_left_over(it))
            .collect()
    }

    /// Activates the first published key of an algorithm at once: no other key can sign.
    fn promote(&mut self, algorithm: Algorithm) {
        let now = self.now;
        let over = self.over.clone();
        let is_able = |slot: &&mut Slot| !slot.kid.as_ref().is_some_and(|kid| over.contains(kid));
        if let Some(first) = self.of_mut(algorithm).into_iter().find(is_able) {
            first.active_from = first.active_from.min(now);
        }
    }

    /// Adds the next key of an algorithm if it has none, or if the last one is due for rotation.
    fn succeed(&mut self, algorithm: Algorithm, at_once: bool) {
        let (now, settings) = (self.now, self.settings);
        let ahead = later(now, settings.publish_ahead);
        let own = self.of(algorithm);
        let last = own.last().filter(|last| !self.is_over(last));
        let active_from = match last {
            None if at_once => now,
            None => ahead,
            Some(last) if last.active_from <= now && own.len() < MAX_KEYS => {
                let end = later(last.active_from, settings.rotate_every);
                if now < earlier(end, settings.publish_ahead) {
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

    /// Retires each replaced key once its last tokens have expired. The last key of a wanted algorithm has no end, even
    /// if it had one when the algorithm was not wanted.
    fn retire_replaced(&mut self) {
        let linger = self.settings.linger();
        let longer = self.longer_tokens();
        for algorithm in wanted(self.settings) {
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

    /// Retires the keys of algorithms that are no longer wanted: they sign until a key of a wanted algorithm does.
    fn retire_unwanted(&mut self) {
        let (now, linger, longer) = (self.now, self.settings.linger(), self.longer_tokens());
        let wanted = wanted(self.settings);
        let is_wanted = |slot: &Slot| wanted.contains(&slot.algorithm);
        let successor = self.slots.iter().filter(|slot| is_wanted(slot));
        let Some(replaced_from) = successor.map(|slot| slot.active_from).min() else {
            return;
        };
        for slot in self.slots.iter_mut().filter(|slot| !is_wanted(slot)) {
            // Once the key has an end, only a successor that is not active yet may move it.
            if slot.retired_at.is_none() || replaced_from > now {
                let end = later(replaced_from.max(now), linger);
                slot.keep_until(longer.map_or(end, |longer| longer.max(end)));
            }
        }
    }

    /// Keeps each key at least as long as its predecessors, which would sign again without it.
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

    /// Keeps retiring keys longer if the token limit was raised, since tokens issued just before this plan may already
    /// live longer.
    fn keep_for_longer_tokens(&mut self) {
        let end = later(self.now, self.settings.linger());
        for slot in &mut self.slots {
            if slot.retired_at.is_some() {
                slot.keep_until(end);
            }
        }
    }

    /// Returns when the last token signed under a longer limit has expired at every server.
    fn longer_tokens(&self) -> Option<Timestamp> {
        let lateness = self
            .settings
            .linger()
            .checked_sub(self.settings.longest_token)?;
        Some(later(self.memory.longer_tokens_until?, lateness))
    }

    fn next(&self) -> Option<Timestamp> {
        let times = self
            .slots
            .iter()
            .flat_map(|slot| [Some(slot.active_from), slot.retired_at]);
        let dues = wanted(self.settings).into_iter().map(|algorithm| {
            let own = self.of(algorithm);
            let end = later(own.last()?.active_from, self.settings.rotate_every);
            Some(earlier(end, self.settings.publish_ahead))
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

/// Returns when the next wanted key becomes active: a published key, or else the key that is due after the last one.
/// The time is in the past if that key is overdue; `None` if there is no key yet.
pub fn rotates_at(set: &KeySet, settings: &KeySettings, now: Timestamp) -> Option<Timestamp> {
    let of_one = |algorithm: Algorithm| {
        let own = set.published(now);
        let own = own.filter(|it| it.key.algorithm() == algorithm && !set.is_over(it, now));
        let starts: Vec<Timestamp> = own.map(|it| it.active_from).collect();
        let published = starts.iter().filter(|start| **start > now).min();
        let due = starts.iter().max();
        published
            .copied()
            .or_else(|| Some(later(*due?, settings.rotate_every)))
    };
    wanted(settings).into_iter().filter_map(of_one).min()
}

/// The role of a key in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Will sign.
    Published,
    /// Signs.
    Active,
    /// Has signed, still verifies.
    Retiring,
}

/// Returns the published keys of a set with the phase of each at `now`, given the wanted `algorithms`.
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
            // A key that is not active yet signs only for callers that ask for its algorithm.
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
