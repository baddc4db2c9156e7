//! Faults that a test injects before a statement, at a commit, or after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::StoreError;

/// A countdown: each step of a transaction takes one, and the step that reaches zero fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<AtomicI64>);

impl Faults {
    /// Lets the `nth` step from now fail, counted from 1.
    pub(super) fn arm(&self, nth: i64) {
        self.0.store(nth, Ordering::SeqCst);
    }

    /// Stops failing. Returns whether the fault was still to come.
    pub(super) fn disarm(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }

    /// Called at each step.
    pub(super) fn strike(&self) -> Result<(), StoreError> {
        // Unless it is armed, it stays at zero.
        let count = |left: i64| (left > 0).then(|| left - 1);
        match self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count)
        {
            Ok(1) => Err(StoreError::Injected),
            _ => Ok(()),
        }
    }
}
