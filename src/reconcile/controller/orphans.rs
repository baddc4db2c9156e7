//! The memory of objects whose owner or Identity may be gone. `orphan` decides what happens to them.

use std::collections::BTreeSet;

use crate::directory::ObjectKey;
use crate::reconcile::sweep::Sweep;

/// The Credentials and key Secrets that may be orphans.
#[derive(Default)]
pub(super) struct Orphans {
    /// Credentials whose owner or Identity seems to be gone.
    pub(super) sweep: Sweep,
    /// Secrets of the operator that are named like key Secrets and have no controller.
    key_secrets: BTreeSet<ObjectKey>,
}

impl Orphans {
    /// Notes whether a Secret that is named like a key Secret exists.
    pub(super) fn saw_key_secret(&mut self, key: &ObjectKey, exists: bool) {
        if exists {
            self.key_secrets.insert(key.clone());
        } else {
            self.key_secrets.remove(key);
        }
    }

    /// Returns the Secrets that are named like key Secrets.
    pub(super) fn key_secrets(&self) -> BTreeSet<ObjectKey> {
        self.key_secrets.clone()
    }
}
