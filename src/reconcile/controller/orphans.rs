//! The memory of objects whose owner or Identity may be gone. `orphan` decides what happens to them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::directory::ObjectKey;
use crate::reconcile::sweep::{SEEN_FOR, Sweep};

/// The Credentials and key Secrets that may be orphans.
#[derive(Default)]
pub(super) struct Orphans {
    /// Credentials whose owner or Identity seems to be gone.
    pub(super) sweep: Sweep,
    /// Secrets of the operator that are named like key Secrets and have no controller.
    key_secrets: BTreeSet<ObjectKey>,
    /// When Identities were last known to exist. A mark that is older does not count.
    identities: BTreeMap<ObjectKey, Timestamp>,
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

    /// Notes that an Identity existed at `now`, or until then.
    pub(super) fn saw_identity(&mut self, key: &ObjectKey, now: Timestamp) {
        self.identities.insert(key.clone(), now);
    }

    /// Returns when an Identity is last known to have existed, if this process knows.
    pub(super) fn last_seen(&self, identity: &ObjectKey) -> Option<Timestamp> {
        self.identities.get(identity).copied()
    }

    /// Forgets Identities whose older marks are void by now in any case.
    pub(super) fn forget_identities(&mut self, now: Timestamp) {
        self.identities
            .retain(|_, seen| now.duration_since(*seen) <= SEEN_FOR);
    }

    /// Returns the Secrets that are named like key Secrets.
    pub(super) fn key_secrets(&self) -> BTreeSet<ObjectKey> {
        self.key_secrets.clone()
    }
}
