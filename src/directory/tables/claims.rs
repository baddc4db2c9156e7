//! Which object claims which name, oldest first within a namespace.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdSet;
use jiff::Timestamp;

use super::record::{ClientRecord, Object, ScopeRecord};
use super::table::fingerprint;
use crate::directory::ObjectKey;

/// A record that claims a name at an Identity.
pub(in crate::directory) trait Claiming {
    /// Returns the Identity and the name; `None` if the object names no Identity.
    fn claimed(&self) -> Option<(&ObjectKey, &str)>;
}

impl Claiming for ClientRecord {
    fn claimed(&self) -> Option<(&ObjectKey, &str)> {
        Some((self.identity.as_ref()?, &self.client_id))
    }
}

impl Claiming for ScopeRecord {
    fn claimed(&self) -> Option<(&ObjectKey, &str)> {
        Some((self.identity.as_ref()?, &self.value))
    }
}

/// All valid objects of a kind by the name that they claim. A copy is cheap.
pub(in crate::directory) struct Claims<T>(OrdSet<Claim<T>>);

/// A claim. In this order the claims of one namespace on one name form a range. A fingerprint of the name comes
/// first, for the reason that `Table` gives.
struct Claim<T> {
    fingerprint: u64,
    object: Arc<Object<T>>,
}

/// Sorts before the first claim of a namespace on a name.
struct Before<'a> {
    fingerprint: u64,
    claimed: (&'a ObjectKey, &'a str),
    namespace: &'a str,
}

impl<T: Claiming> Claims<T> {
    /// Adds the claim of an object, if it makes one.
    pub(super) fn insert(&mut self, object: &Arc<Object<T>>) {
        self.0.extend(Claim::of(object));
    }

    /// Removes the claim of an object.
    pub(super) fn remove(&mut self, object: &Arc<Object<T>>) {
        if let Some(claim) = Claim::of(object) {
            self.0.remove(&claim);
        }
    }

    /// Returns the oldest object of a namespace that claims a name.
    pub(in crate::directory) fn oldest(
        &self,
        identity: &ObjectKey,
        name: &str,
        namespace: &str,
    ) -> Option<&Arc<Object<T>>> {
        let claimed = (identity, name);
        let before = Before {
            fingerprint: fingerprint(&claimed),
            claimed,
            namespace,
        };
        let Claim { object, .. } = self.0.get_next(&before)?;
        (claimed_by(object) == Some(claimed) && *object.key.namespace == *namespace)
            .then_some(object)
    }
}

fn claimed_by<T: Claiming>(object: &Object<T>) -> Option<(&ObjectKey, &str)> {
    object.record().and_then(T::claimed)
}

impl<T: Claiming> Claim<T> {
    fn of(object: &Arc<Object<T>>) -> Option<Self> {
        Some(Self {
            fingerprint: fingerprint(&claimed_by(object)?),
            object: Arc::clone(object),
        })
    }

    fn order(&self) -> (Option<(&ObjectKey, &str)>, &str, Timestamp, &str) {
        let key = &self.object.key;
        (
            claimed_by(&self.object),
            &key.namespace,
            self.object.created,
            &key.name,
        )
    }
}

impl<T: Claiming> Ord for Claim<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_number = self.fingerprint.cmp(&other.fingerprint);
        by_number.then_with(|| self.order().cmp(&other.order()))
    }
}

impl<T: Claiming> Comparable<Claim<T>> for Before<'_> {
    fn compare(&self, claim: &Claim<T>) -> Ordering {
        let wanted = (Some(self.claimed), self.namespace);
        let there = || (claimed_by(&claim.object), &*claim.object.key.namespace);
        let by_number = self.fingerprint.cmp(&claim.fingerprint);
        by_number
            .then_with(|| wanted.cmp(&there()))
            .then(Ordering::Less)
    }
}

impl<T: Claiming> Equivalent<Claim<T>> for Before<'_> {
    fn equivalent(&self, _: &Claim<T>) -> bool {
        false
    }
}

impl<T: Claiming> PartialOrd for Claim<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Claiming> PartialEq for Claim<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Claiming> Eq for Claim<T> {}

// Not derived: a derive would require `T: Clone`.
impl<T> Clone for Claim<T> {
    fn clone(&self) -> Self {
        Self {
            fingerprint: self.fingerprint,
            object: Arc::clone(&self.object),
        }
    }
}

impl<T> Clone for Claims<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Claiming> Default for Claims<T> {
    fn default() -> Self {
        Self(OrdSet::default())
    }
}

impl<T: Claiming> fmt::Debug for Claims<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self
            .0
            .iter()
            .map(|claim| (claimed_by(&claim.object), &claim.object.key));
        out.debug_list().entries(claims).finish()
    }
}
