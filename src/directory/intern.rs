//! One copy of a text in memory, however many records hold it.
//!
//! Names, namespaces, uids and scope values stand in many records at once: a client's uid in the client and in every
//! Credential of its tokens. Shared, they take a third of the memory, and two that are the same are found to be so without
//! being read. The pool shows in nothing else: what nobody holds any more is dropped when it has doubled.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::ObjectKey;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

/// The fewest texts that are worth looking through for what nobody holds.
const LEAST: usize = 4096;

/// A text that others may hold too.
pub(super) fn text(text: &str) -> Arc<str> {
    // Whoever panicked while holding it left a whole pool behind.
    POOL.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(text)
}

/// A key of such texts.
pub(super) fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        namespace: text(namespace),
        name: text(name),
    }
}

/// Such texts, in their order.
pub(super) fn texts(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|it| text(it)).collect()
}

#[derive(Default)]
struct Pool {
    texts: HashSet<Arc<str>>,
    /// How many there were after the last sweep.
    kept: usize,
}

impl Pool {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= (2 * self.kept).max(LEAST) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.kept = self.texts.len();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_held_once() {
        let mut pool = Pool::default();
        assert!(Arc::ptr_eq(
            &pool.get("orders.read"),
            &pool.get("orders.read")
        ));
        assert_eq!(&*pool.get("orders.write"), "orders.write");
    }

    #[test]
    fn what_nobody_holds_is_dropped_and_what_somebody_holds_is_kept() {
        let mut pool = Pool::default();
        let held = pool.get("held");
        for number in 0..10 * LEAST {
            pool.get(&number.to_string());
        }
        assert!(pool.texts.len() <= LEAST + 1, "{}", pool.texts.len());
        assert!(Arc::ptr_eq(&held, &pool.get("held")));
    }
}
