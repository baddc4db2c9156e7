//! When the next signing key of each Identity begins to sign, as the last pass over its keys saw it. For metrics.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Controller, lock, now};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::report::Reports;

/// The times by Identity. A pass that cannot tell leaves the known time: once it has passed, the metric shows that.
pub(super) type Rotations = BTreeMap<ObjectKey, Timestamp>;

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Returns the time until the next signing key of each Identity begins to sign; negative if that is overdue.
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
