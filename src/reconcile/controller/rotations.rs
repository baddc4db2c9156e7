//! When the next signing key of each Identity begins to sign, as the last pass over its keys saw it. For metrics.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use crate::directory::ObjectKey;
use crate::reconcile::lock::lock;

/// The times by Identity. A pass that cannot tell leaves the known time: once it has passed, the metric shows that.
#[derive(Default)]
pub(super) struct Rotations(Mutex<BTreeMap<ObjectKey, Timestamp>>);

impl Rotations {
    /// Returns the time from `now` until the next signing key of each Identity begins to sign; negative if that is
    /// overdue.
    pub(super) fn remaining(&self, now: Timestamp) -> Vec<(String, SignedDuration)> {
        let rotations = lock(&self.0);
        let all = rotations.iter();
        all.map(|(identity, at)| (identity.to_string(), at.duration_since(now)))
            .collect()
    }

    /// Records when the next key begins to sign; `None` if the Identity is gone.
    pub(super) fn note(&self, identity: &ObjectKey, at: Option<Timestamp>) {
        match at {
            Some(at) => lock(&self.0).insert(identity.clone(), at),
            None => lock(&self.0).remove(identity),
        };
    }
}
