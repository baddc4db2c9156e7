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
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        if before == 1 {
            return Err(StoreError::Injected);
        }
        if before <= 0 {
            // Not armed: stay at zero.
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
