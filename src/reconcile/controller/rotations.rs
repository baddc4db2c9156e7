//! When a signing key of each Identity begins to sign next, as the last look at its keys had it. For metrics.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Controller, lock, now};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::report::Reports;

/// By Identity. What was known stays where a look could not tell: the moment passes, and that is told.
pub(super) type Rotations = BTreeMap<ObjectKey, Timestamp>;

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// How long it is until a signing key of each Identity begins to sign: less than nothing where that is overdue.
    pub fn key_rotations(&self) -> Vec<(String, SignedDuration)> {
        let now = now();
        let rotations = lock(&self.rotations);
        let told = rotations.iter();
        told.map(|(identity, at)| (identity.to_string(), at.duration_since(now)))
            .collect()
    }

    pub(super) fn note_rotation(&self, identity: &ObjectKey, at: Option<Timestamp>) {
        match at {
            Some(at) => lock(&self.rotations).insert(identity.clone(), at),
            None => lock(&self.rotations).remove(identity),
        };
    }
}
