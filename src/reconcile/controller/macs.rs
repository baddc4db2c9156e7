//! A cache of mac keys, valid until they change.

use std::collections::HashMap;
use std::sync::Arc;

use crate::directory::ObjectKey;
use crate::tokens::MacKey;

/// Keys by Identity. A key that was read before a change and arrives after it is not kept.
#[derive(Debug, Default)]
pub(super) struct Macs {
    known: HashMap<ObjectKey, Arc<MacKey>>,
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
}
