//! A lane of waiting keys. Namespaces take turns, so that a namespace with thousands of keys delays another by one key
//! at a time.
//!
//! Within a namespace, keys are taken in order. Every operation takes time logarithmic in the number of keys and
//! namespaces. Not here: time, and the meaning of keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

/// The place of a key in a lane, for finding it again.
pub(super) type LanePosition = u64;

/// The waiting keys.
#[derive(Debug)]
pub(super) struct Lane<K> {
    namespaces: HashMap<Arc<str>, Waiting<K>>,
    /// The namespaces with keys, in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
    next: u64,
    length: usize,
}

#[derive(Debug)]
struct Waiting<K> {
    turn: u64,
    /// Each key with the time since when it is due.
    keys: BTreeMap<LanePosition, (K, Instant)>,
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self {
            namespaces: HashMap::new(),
            turns: BTreeMap::new(),
            next: 0,
            length: 0,
        }
    }
}

impl<K> Lane<K> {
    /// Returns the number of waiting keys.
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    /// Returns since when the key that has waited longest is due.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let waiting = self.namespaces.values();
        let first = waiting.filter_map(|it| it.keys.first_key_value());
        first.map(|(_, (_, since))| *since).min()
    }

    /// Adds a key after the others of its namespace. A namespace that had none gets the last turn.
    pub(super) fn push(&mut self, namespace: &Arc<str>, key: K, since: Instant) -> LanePosition {
        let place = self.number();
        if !self.namespaces.contains_key(namespace) {
            let turn = self.number();
            self.turns.insert(turn, namespace.clone());
            let keys = BTreeMap::new();
            self.namespaces
                .insert(namespace.clone(), Waiting { turn, keys });
        }
        if let Some(waiting) = self.namespaces.get_mut(namespace) {
            waiting.keys.insert(place, (key, since));
            self.length += 1;
        }
        place
    }

    /// Removes a key that has moved elsewhere.
    pub(super) fn remove(&mut self, namespace: &str, place: LanePosition) {
        if let Some(waiting) = self.namespaces.get_mut(namespace)
            && waiting.keys.remove(&place).is_some()
        {
            self.length -= 1;
            if waiting.keys.is_empty() {
                let turn = waiting.turn;
                self.turns.remove(&turn);
                self.namespaces.remove(namespace);
            }
        }
    }

    /// Takes the first key of the first namespace in turn that may have another pass.
    pub(super) fn take(&mut self, may: impl Fn(&str) -> bool) -> Option<K> {
        let (turn, namespace) = self.turns.iter().find(|(_, namespace)| may(namespace))?;
        let (turn, namespace) = (*turn, namespace.clone());
        self.turns.remove(&turn);
        let next = self.number();
        let waiting = self.namespaces.get_mut(&namespace)?;
        let (_, (key, _)) = waiting.keys.pop_first()?;
        self.length -= 1;
        if waiting.keys.is_empty() {
            self.namespaces.remove(&namespace);
        } else {
            waiting.turn = next;
            self.turns.insert(next, namespace);
        }
        Some(key)
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(keys: &[(&'static str, u32)]) -> Lane<u32> {
        let mut lane = Lane::default();
        for (namespace, key) in keys {
            lane.push(&Arc::from(*namespace), *key, Instant::now());
        }
        lane
    }

    fn all(lane: &mut Lane<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lane.take(|_| true)).collect()
    }

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_order() {
        let mut lane = lane(&[
            ("a", 1),
            ("a", 2),
            ("a", 3),
            ("b", 11),
            ("c", 21),
            ("c", 22),
        ]);
        assert_eq!(all(&mut lane), [1, 11, 21, 2, 22, 3]);
        assert!(lane.len() == 0 && lane.turns.is_empty() && lane.namespaces.is_empty());
    }

    #[test]
    fn a_new_namespace_has_its_turn_after_the_present_ones() {
        let mut lane = lane(&[("a", 1), ("a", 2), ("a", 3)]);
        assert_eq!(lane.take(|_| true), Some(1));
        lane.push(&Arc::from("b"), 11, Instant::now());
        assert_eq!(all(&mut lane), [2, 11, 3]);
    }

    #[test]
    fn a_blocked_namespace_is_skipped_and_keeps_its_turn() {
        let mut lane = lane(&[("a", 1), ("b", 11), ("c", 21)]);
        assert_eq!(lane.take(|namespace| namespace != "a"), Some(11));
        assert_eq!(lane.take(|_| false), None);
        assert_eq!(all(&mut lane), [1, 21]);
    }

    #[test]
    fn a_removed_key_is_gone() {
        let mut lane = lane(&[("a", 1)]);
        let place = lane.push(&Arc::from("a"), 2, Instant::now());
        lane.push(&Arc::from("a"), 3, Instant::now());
        lane.remove("a", place);
        lane.remove("a", place);
        lane.remove("b", 1);
        assert_eq!((lane.len(), all(&mut lane)), (2, vec![1, 3]));
    }
}
