//! A table of objects by namespace and name that stays fast with very many objects.
//!
//! The order is by a fingerprint of the key first. The fingerprint is stored in the nodes of the tree, so that a
//! look-up compares adjacent numbers and follows one pointer at its end; an order by text would follow two pointers
//! at every comparison. Objects with equal fingerprints are told apart by their keys: a collision costs a comparison
//! and never changes an answer, so the hash needs no secret.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use equivalent::Comparable;
use imbl::OrdSet;

use super::record::{CredentialRecord, Object};
use crate::directory::ObjectKey;

/// An object with a key.
pub(in crate::directory) trait Keyed {
    /// Returns namespace and name.
    fn key(&self) -> &ObjectKey;
}

impl<T> Keyed for Object<T> {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
}

impl Keyed for CredentialRecord {
    fn key(&self) -> &ObjectKey {
        &self.key
    }
}

/// Returns a number for a value; different values nearly always have different numbers.
pub(super) fn fingerprint(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Objects by key, in no meaningful order. A copy is cheap.
pub(in crate::directory) struct Table<T>(OrdSet<Slot<T>>);

struct Slot<T> {
    fingerprint: u64,
    object: Arc<T>,
}

/// The key of a look-up.
struct Probe<'a> {
    fingerprint: u64,
    key: &'a ObjectKey,
}

impl<'a> Probe<'a> {
    fn new(key: &'a ObjectKey) -> Self {
        Self {
            fingerprint: fingerprint(key),
            key,
        }
    }
}

impl<T: Keyed> Table<T> {
    pub(in crate::directory) fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.0.get(&Probe::new(key)).map(|slot| &slot.object)
    }

    pub(in crate::directory) fn contains_key(&self, key: &ObjectKey) -> bool {
        self.get(key).is_some()
    }

    /// Inserts an object and replaces the one with its key, if there is one.
    pub(super) fn insert(&mut self, object: Arc<T>) {
        let fingerprint = fingerprint(object.key());
        self.0.insert(Slot {
            fingerprint,
            object,
        });
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        self.0.remove(&Probe::new(key)).map(|slot| slot.object)
    }

    pub(in crate::directory) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.iter().map(|slot| &slot.object)
    }

    pub(in crate::directory) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Keyed> Ord for Slot<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_number = self.fingerprint.cmp(&other.fingerprint);
        by_number.then_with(|| self.object.key().cmp(other.object.key()))
    }
}

impl<T: Keyed> Comparable<Slot<T>> for Probe<'_> {
    fn compare(&self, slot: &Slot<T>) -> std::cmp::Ordering {
        let by_number = self.fingerprint.cmp(&slot.fingerprint);
        by_number.then_with(|| self.key.cmp(slot.object.key()))
    }
}

impl<T: Keyed> equivalent::Equivalent<Slot<T>> for Probe<'_> {
    fn equivalent(&self, slot: &Slot<T>) -> bool {
        self.compare(slot).is_eq()
    }
}

impl<T: Keyed> PartialOrd for Slot<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Keyed> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Keyed> Eq for Slot<T> {}

// Not derived: a derive would require `T: Clone`.
impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self {
            fingerprint: self.fingerprint,
            object: Arc::clone(&self.object),
        }
    }
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Keyed> Default for Table<T> {
    fn default() -> Self {
        Self(OrdSet::default())
    }
}

impl<T: Keyed + fmt::Debug> fmt::Debug for Table<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(ObjectKey, u32);

    impl Keyed for Thing {
        fn key(&self) -> &ObjectKey {
            &self.0
        }
    }

    fn thing(name: &str, value: u32) -> Arc<Thing> {
        Arc::new(Thing(ObjectKey::new("ns", name), value))
    }

    #[test]
    fn one_object_stands_under_a_key() {
        let mut table = Table::default();
        table.insert(thing("a", 1));
        table.insert(thing("b", 2));
        let before = table.clone();
        table.insert(thing("a", 3));
        let key = ObjectKey::new("ns", "a");
        assert_eq!(table.get(&key), Some(&thing("a", 3)));
        assert_eq!((table.len(), table.values().count()), (2, 2));
        assert_eq!(table.remove(&key), Some(thing("a", 3)));
        assert_eq!(table.get(&key), None);
        assert_eq!(
            before.get(&key),
            Some(&thing("a", 1)),
            "a copy stays as it was"
        );
        assert_eq!(table.get(&ObjectKey::new("ns", "c")), None);
    }

    #[test]
    fn objects_whose_fingerprints_meet_are_told_apart() {
        let slot = |object| Slot {
            fingerprint: 1,
            object,
        };
        let table = Table(
            ["a", "b", "c"]
                .map(|name| slot(thing(name, 0)))
                .into_iter()
                .collect(),
        );
        for name in ["a", "b", "c"] {
            let key = ObjectKey::new("ns", name);
            let probe = Probe {
                fingerprint: 1,
                key: &key,
            };
            assert_eq!(
                table.0.get(&probe).map(|slot| &slot.object),
                Some(&thing(name, 0))
            );
        }
    }
}
