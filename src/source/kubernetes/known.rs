//! The set of objects that a watch has reported. There may be hundreds of thousands, and the set is read only when the
//! watch lists again. So it is stored for size, not for speed: as one text of additions and removals.

use crate::directory::ObjectKey;

const CAME: u8 = b'+';
const WENT: u8 = b'-';
/// Ends a namespace and a name, which never contain this character.
const END: char = '\0';
/// A log of at most this number of bytes is not compacted.
const SMALL: usize = 4096;

/// A set of objects.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Entries of sign, namespace, end, name, end. The last entry of an object counts.
    log: String,
    tidy_at: usize,
}

impl Known {
    pub(super) fn add(&mut self, key: &ObjectKey) {
        self.note(CAME, key);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        self.note(WENT, key);
    }

    /// Adds and removes the objects that were added to and removed from `later`.
    pub(super) fn append(&mut self, later: &Self) {
        self.log.push_str(&later.log);
    }

    /// Returns the objects that are here and not in `other`.
    pub(super) fn without(&self, other: &Self) -> Vec<ObjectKey> {
        if self.log.is_empty() {
            return Vec::new();
        }
        let (mine, theirs) = (self.keys(), other.keys());
        let gone = mine
            .into_iter()
            .filter(|key| theirs.binary_search(key).is_err());
        gone.map(|(namespace, name)| ObjectKey::new(namespace, name))
            .collect()
    }

    /// Frees unused memory, since few additions are expected.
    pub(super) fn settle(&mut self) {
        self.log.shrink_to_fit();
        self.tidy_at = self.log.len() * 2 + SMALL;
    }

    /// Drops entries that no longer count, once they may be half of the log.
    pub(super) fn tidy(&mut self) {
        if self.log.len() < self.tidy_at.max(SMALL) {
            return;
        }
        let mut tidied = Self::default();
        for (namespace, name) in self.keys() {
            tidied.push(CAME, namespace, name);
        }
        tidied.settle();
        *self = tidied;
    }

    fn note(&mut self, sign: u8, key: &ObjectKey) {
        self.push(sign, &key.namespace, &key.name);
    }

    fn push(&mut self, sign: u8, namespace: &str, name: &str) {
        self.log.push(char::from(sign));
        for part in [namespace, name] {
            self.log.push_str(part);
            self.log.push(END);
        }
    }

    /// Returns the keys in order.
    fn keys(&self) -> Vec<(&str, &str)> {
        let mut parts = self.log.split_terminator(END);
        let mut notes = Vec::new();
        while let (Some(first), Some(name)) = (parts.next(), parts.next()) {
            let (sign, namespace) = first.split_at(1);
            notes.push(((namespace, name), sign.as_bytes() == [CAME]));
        }
        // The sort is stable: the latest entry of a key stays last.
        notes.sort_by_key(|(key, _)| *key);
        let last = notes
            .chunk_by(|(a, _), (b, _)| a == b)
            .filter_map(|of_one| of_one.last());
        last.filter(|(_, is_there)| *is_there)
            .map(|(key, _)| *key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Add(ObjectKey),
        Remove(ObjectKey),
        Tidy,
        Settle,
    }

    fn step() -> impl Strategy<Value = Operation> {
        let key = || {
            let names = ("[ab]{0,2}", "[abc]{1,2}");
            names.prop_map(|(namespace, name)| ObjectKey::new(&namespace, &name))
        };
        prop_oneof![
            key().prop_map(Operation::Add),
            key().prop_map(Operation::Remove),
            Just(Operation::Tidy),
            Just(Operation::Settle),
        ]
    }

    fn take(steps: &[Operation], known: &mut Known, set: &mut BTreeSet<ObjectKey>) {
        for step in steps {
            match step {
                Operation::Add(key) => {
                    known.add(key);
                    set.insert(key.clone());
                }
                Operation::Remove(key) => {
                    known.remove(key);
                    set.remove(key);
                }
                Operation::Tidy => {
                    known.tidy_at = 0;
                    known.tidy();
                }
                Operation::Settle => known.settle(),
            }
        }
    }

    proptest! {
        #[test]
        fn known_behaves_like_a_set(
            mine in proptest::collection::vec(step(), 0..60),
            later in proptest::collection::vec(step(), 0..60),
            theirs in proptest::collection::vec(step(), 0..60),
        ) {
            let (mut known, mut set) = (Known::default(), BTreeSet::new());
            take(&mine, &mut known, &mut set);
            // An appended log contains additions only: it never removes what it did not add.
            let additions: Vec<Operation> = later.into_iter().filter(|it| matches!(it, Operation::Add(_))).collect();
            let mut appended = Known::default();
            take(&additions, &mut appended, &mut set);
            known.append(&appended);
            let (mut other, mut others) = (Known::default(), BTreeSet::new());
            take(&theirs, &mut other, &mut others);
            prop_assert_eq!(known.without(&other), set.difference(&others).cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn repeated_additions_do_not_grow_the_log() {
        let mut known = Known::default();
        for number in 0..10_000 {
            known.add(&ObjectKey::new("team", &format!("worker-{}", number % 10)));
            known.tidy();
        }
        assert!(known.log.len() <= 2 * SMALL, "{}", known.log.len());
        assert_eq!(known.without(&Known::default()).len(), 10);
    }
}
