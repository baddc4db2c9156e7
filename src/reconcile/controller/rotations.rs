//! When the next signing key of each Identity begins to sign, as the last pass over its keys saw it. For metrics.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::directory::ObjectKey;

/// The times by Identity. A pass that cannot determine the time keeps the known one. Once that time has passed, the
/// metric becomes negative.
#[derive(Default)]
pub(super) struct Rotations(BTreeMap<ObjectKey, Timestamp>);

impl Rotations {
    /// Returns the time from `now` until the next signing key of each Identity begins to sign; negative if that is
    /// overdue.
    pub(super) fn remaining(&self, now: Timestamp) -> Vec<(String, SignedDuration)> {
        let all = self.0.iter();
        all.map(|(identity, at)| (identity.to_string(), at.duration_since(now)))
            .collect()
    }

    /// Records when the next key begins to sign; `None` if the Identity is gone.
    pub(super) fn note(&mut self, identity: &ObjectKey, at: Option<Timestamp>) {
        match at {
            Some(at) => self.0.insert(identity.clone(), at),
            None => self.0.remove(identity),
        };
    }
}
