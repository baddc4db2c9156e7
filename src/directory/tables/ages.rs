//! Which objects are among the oldest: the order in which objects that share a quota count.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use jiff::Timestamp;

use super::record::Object;

/// Creation time and name. Objects created in the same second are ordered by name.
type Place = (Timestamp, Arc<str>);

/// Objects that share a quota, oldest first. A group is the key of a quota.
#[derive(Clone, Debug)]
pub(super) struct Ages<G: Ord>(OrdMap<G, Vector<Place>>);

impl<G: Ord + Clone> Default for Ages<G> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<G: Ord + Clone> Ages<G> {
    pub(super) fn insert<T>(&mut self, group: G, object: &Object<T>) {
        self.add(group, place(object));
    }

    pub(super) fn remove<T>(&mut self, group: &G, object: &Object<T>) {
        self.take(group, &place(object));
    }

    /// Returns whether the object is among the `limit` oldest of its group. This runs at every use of a token and
    /// costs one binary search, whatever the number of objects and the limit.
    pub(super) fn is_within<T>(&self, group: &G, object: &Object<T>, limit: usize) -> bool {
        self.has_within(group, &place(object), limit)
    }

    fn add(&mut self, group: G, place: Place) {
        let places = self.0.entry(group).or_default();
        if let Err(at) = places.binary_search(&place) {
            places.insert(at, place);
        }
    }

    fn take(&mut self, group: &G, place: &Place) {
        let Some(places) = self.0.get_mut(group) else {
            return;
        };
        if let Ok(at) = places.binary_search(place) {
            places.remove(at);
        }
        if places.is_empty() {
            self.0.remove(group);
        }
    }

    fn has_within(&self, group: &G, place: &Place, limit: usize) -> bool {
        self.0.get(group).is_none_or(|places| {
            places.len() <= limit || places.binary_search(place).unwrap_or_else(|at| at) < limit
        })
    }
}

fn place<T>(object: &Object<T>) -> Place {
    (object.created, object.key.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn place(second: i64, name: u32) -> Place {
        let created = Timestamp::from_second(second).unwrap();
        (created, name.to_string().into())
    }

    proptest! {
        /// After any changes in any order, the oldest objects are the first of a sorted set.
        #[test]
        fn exactly_the_oldest_are_within_the_limit(
            changes in prop::collection::vec((any::<bool>(), 0u8..2, 0i64..40, 0u32..40), 0..600),
            limit in 0usize..80,
        ) {
            let (mut ages, mut sets) = (Ages::default(), [const { BTreeSet::new() }; 2]);
            for (comes, group, second, name) in changes {
                let (set, place) = (&mut sets[usize::from(group)], place(second, name));
                if comes {
                    ages.add(group, place.clone());
                    set.insert(place);
                } else {
                    ages.take(&group, &place);
                    set.remove(&place);
                }
            }
            for (group, set) in (0u8..).zip(&sets) {
                for (at, place) in set.iter().enumerate() {
                    prop_assert_eq!(ages.has_within(&group, place, limit), at < limit);
                }
            }
            prop_assert_eq!(ages.0.len(), sets.iter().filter(|set| !set.is_empty()).count());
        }
    }

    /// Adds many objects of one namespace in no order of age; a copy taken in between does not change.
    #[test]
    fn many_in_any_order_keep_their_place_and_copies_stay() {
        const MANY: u32 = 20_000;
        let mut ages = Ages::default();
        let mut copy = Ages::default();
        for step in 0..MANY {
            // Steps of a large prime reach each number once.
            let number = step * 7919 % MANY;
            ages.add((), place(i64::from(number / 3), number));
            if step == MANY / 2 {
                copy = ages.clone();
            }
        }
        let limit = MANY as usize / 2;
        let within = |of: &Ages<()>| {
            let places = of.0[&()].iter();
            places
                .filter(|place| of.has_within(&(), place, limit))
                .count()
        };
        assert_eq!((within(&ages), ages.0[&()].len()), (limit, MANY as usize));
        assert_eq!((within(&copy), copy.0[&()].len()), (limit, limit + 1));
    }
}
