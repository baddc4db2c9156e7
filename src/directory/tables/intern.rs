//! Keeps one copy of each text in memory, however many records hold it.
//!
//! Names, namespaces, uids and scope values occur in many records: a client's uid is in the client and in every
//! Credential of its tokens. Sharing takes a third of the memory, and equal texts are compared by pointer. The pool
//! has no other effect: when it has doubled, it drops texts that no record holds.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::directory::ObjectKey;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

/// The smallest pool that is worth sweeping.
const LEAST: usize = 4096;

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

#[derive(Default)]
struct Pool {
    texts: HashSet<Arc<str>>,
    /// Number of texts after the last sweep.
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
    fn texts_that_no_record_holds_are_dropped_and_others_are_kept() {
        let mut pool = Pool::default();
        let held = pool.get("held");
        for number in 0..10 * LEAST {
            pool.get(&number.to_string());
        }
        assert!(pool.texts.len() <= LEAST + 1, "{}", pool.texts.len());
        assert!(Arc::ptr_eq(&held, &pool.get("held")));
    }
}
