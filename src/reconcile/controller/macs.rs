//! A cache of mac keys, valid until they change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::directory::ObjectKey;
use crate::tokens::MacKey;

/// Keys by Identity. A key that was read before a change and arrives after it is not kept.
#[derive(Debug, Default)]
pub(super) struct Macs {
    known: HashMap<ObjectKey, Arc<MacKey>>,
    /// The Identities without a key whose Secrets the API server refused in the last pass.
    refused: HashSet<ObjectKey>,
    changes: u64,
}

/// The time at which a read began.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsOf(u64);

impl Macs {
    pub(super) fn get(&self, identity: &ObjectKey) -> Option<Arc<MacKey>> {
        self.known.get(identity).cloned()
    }

    /// Call this before a read.
    pub(super) const fn as_of(&self) -> AsOf {
        AsOf(self.changes)
    }

    /// Keeps a key that was read. Returns whether there was none before.
    pub(super) fn keep(
        &mut self,
        identity: &ObjectKey,
        mac: Arc<MacKey>,
        AsOf(read): AsOf,
    ) -> bool {
        read == self.changes && self.known.insert(identity.clone(), mac).is_none()
    }

    /// Notes whether the API server refuses the Secrets of an Identity. Returns whether it did before.
    pub(super) fn note_refused(&mut self, identity: &ObjectKey, is_refused: bool) -> bool {
        if is_refused {
            !self.refused.insert(identity.clone())
        } else {
            self.refused.remove(identity)
        }
    }

    /// Returns whether an Identity has no key because the API server refuses its Secrets.
    pub(super) fn is_refused(&self, identity: &ObjectKey) -> bool {
        self.refused.contains(identity) && !self.known.contains_key(identity)
    }

    /// Forgets the key, because its Secret was replaced or deleted.
    pub(super) fn forget(&mut self, identity: &ObjectKey) {
        self.known.remove(identity);
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Arc<MacKey> {
        Arc::new(MacKey::from_bytes(&[byte; 32]).unwrap())
    }

    #[test]
    fn a_key_read_before_a_change_does_not_outlive_it() {
        let (mut macs, identity) = (Macs::default(), ObjectKey::new("platform", "main"));
        let before = macs.as_of();
        macs.forget(&identity);
        assert!(!macs.keep(&identity, key(1), before));
        assert!(macs.get(&identity).is_none());
        let after = macs.as_of();
        assert!(macs.keep(&identity, key(2), after), "this is the first key");
        assert!(!macs.keep(&identity, key(2), after));
        assert!(macs.get(&identity).is_some());
    }

    #[test]
    fn an_identity_with_a_key_does_not_count_as_refused() {
        let (mut macs, identity) = (Macs::default(), ObjectKey::new("platform", "main"));
        assert!(!macs.is_refused(&identity));
        assert!(!macs.note_refused(&identity, true), "the first time");
        assert!(macs.note_refused(&identity, true));
        assert!(macs.is_refused(&identity));
        let now = macs.as_of();
        macs.keep(&identity, key(1), now);
        assert!(!macs.is_refused(&identity), "its owners need no other key");
        assert!(macs.note_refused(&identity, false));
        assert!(!macs.note_refused(&identity, false));
    }
}
