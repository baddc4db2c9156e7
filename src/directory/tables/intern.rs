//! Keeps one copy of each text in memory, however many records hold it.
//!
//! Names, namespaces, uids and scope values occur in many records: a client's uid is in the client and in every
//! Credential of its tokens. Sharing takes a third of the memory, and equal texts are compared by pointer. The pool
//! has no other effect.
//!
//! Texts that no record holds stay until the next sweep. The pool sweeps by bytes and not by number: the owner of one
//! object could otherwise fill it with a few long texts, by writing other ones again and again. A long text that no
//! other object has, such as a redirect URI, is not for the pool.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::directory::ObjectKey;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(|| Mutex::new(Pool::sweeping_after(LEAST)));

/// The smallest number of bytes that is worth a sweep.
const LEAST: usize = 4 << 20;
/// What a text occupies beside its own bytes: the counters of its `Arc`, its place in the set, and what the allocator
/// rounds up.
const OVERHEAD: usize = 48;

/// Returns a shared copy of a text.
pub(in crate::directory) fn text(text: &str) -> Arc<str> {
    // A panic while the lock was held leaves a usable pool.
    POOL.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(text)
}

/// Returns a key of shared texts.
pub(in crate::directory) fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        namespace: text(namespace),
        name: text(name),
    }
}

/// Returns shared copies of texts, in their order.
pub(in crate::directory) fn texts(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|it| text(it)).collect()
}

struct Pool {
    texts: HashSet<Arc<str>>,
    /// The smallest number of bytes between two sweeps.
    least: usize,
    /// Bytes of the texts that the last sweep kept.
    kept: usize,
    /// Bytes of the texts that were added since.
    added: usize,
}

impl Pool {
    fn sweeping_after(least: usize) -> Self {
        Self {
            texts: HashSet::new(),
            least,
            kept: 0,
            added: 0,
        }
    }

    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.added >= self.least.max(self.kept / 2) {
            self.sweep();
        }
        let new: Arc<str> = text.into();
        self.added += size(&new);
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// Drops the texts that no record holds.
    fn sweep(&mut self) {
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.kept = self.texts.iter().map(|text| size(text)).sum();
        self.added = 0;
    }
}

/// Returns how many bytes a text occupies in the pool.
fn size(text: &str) -> usize {
    text.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_text_is_held_once() {
        let mut pool = Pool::sweeping_after(LEAST);
        assert!(Arc::ptr_eq(
            &pool.get("orders.read"),
            &pool.get("orders.read")
        ));
        assert_eq!(&*pool.get("orders.write"), "orders.write");
    }

    #[test]
    fn a_text_that_a_record_holds_survives_every_sweep() {
        let mut pool = Pool::sweeping_after(1 << 10);
        let held = pool.get("held");
        for number in 0..1000 {
            pool.get(&number.to_string());
        }
        assert!(pool.texts.len() < 100, "{}", pool.texts.len());
        assert!(Arc::ptr_eq(&held, &pool.get("held")));
    }

    /// The smallest number of bytes between two sweeps in the property: small, so that many sweeps happen.
    const SMALL: usize = 8 << 10;
    /// The length of the longest text in the property.
    const LONGEST: usize = 2048;

    proptest! {
        /// Each update gives one of several records another text: short ones by the thousand, or a few long ones.
        #[test]
        fn dead_texts_occupy_at_most_half_of_what_lived_or_the_least(
            updates in vec((0_usize..48, 0..LONGEST), 1..600)
        ) {
            let mut pool = Pool::sweeping_after(SMALL);
            let mut records = vec![None; 48];
            let mut most_alive = 0;
            for (number, (record, length)) in updates.into_iter().enumerate() {
                // No other update has this text.
                let text = format!("{number}{:a<length$}", "");
                records[record] = Some(pool.get(&text));
                let alive: usize = records.iter().flatten().map(|text| size(text)).sum();
                most_alive = most_alive.max(alive);
                let occupied: usize = pool.texts.iter().map(|text| size(text)).sum();
                let most_dead = SMALL.max(most_alive / 2) + size(&text);
                prop_assert!(occupied <= most_alive + most_dead, "{occupied} of {most_alive}");
            }
        }
    }
}
