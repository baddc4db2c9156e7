//! The number of tokens and secrets that each namespace may get within an hour, counted in the leader's memory.
//!
//! It bounds what one namespace can cost the others. A new leader starts with full budgets. The limit per owner needs
//! no memory, see `plan`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::directory::ObjectKey;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Tokens and secrets issued within the last hour, by Identity and namespace.
#[derive(Debug, Default)]
pub struct MintBudget(Mutex<BTreeMap<(ObjectKey, String), Window>>);

/// An hour and the number issued in it.
#[derive(Debug)]
struct Window {
    until: Timestamp,
    made: i64,
}

impl MintBudget {
    /// Takes one of the `limit` that the Identity allows `namespace` within an hour.
    ///
    /// # Errors
    /// Returns when the next one is available if none is left now.
    pub fn take(
        &self,
        identity: &ObjectKey,
        namespace: &str,
        limit: i64,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|_, window| now < window.until);
        let until = now.checked_add(HOUR).unwrap_or(Timestamp::MAX);
        let window = windows
            .entry((identity.clone(), namespace.to_owned()))
            .or_insert(Window { until, made: 0 });
        if window.made >= limit {
            return Err(window.until);
        }
        window.made += 1;
        Ok(())
    }

    /// Gives back one that was taken and not issued.
    pub fn give_back(&self, identity: &ObjectKey, namespace: &str) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(&(identity.clone(), namespace.to_owned())) {
            window.made = window.made.saturating_sub(1).max(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_gets_its_limit_an_hour_and_no_other_pays_for_it() {
        let budget = MintBudget::default();
        let identity = ObjectKey::new("symbolon", "id");
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            (0..3)
                .map(|_| budget.take(&identity, "a", 2, start).is_ok())
                .collect::<Vec<_>>(),
            [true, true, false]
        );
        assert_eq!(budget.take(&identity, "a", 2, start), Err(start + HOUR));
        assert!(budget.take(&identity, "b", 2, start).is_ok());
        assert!(
            budget.take(&identity, "a", 2, start + HOUR).is_ok(),
            "a new hour"
        );
        budget.give_back(&identity, "a");
        assert!(
            (0..2).all(|_| budget.take(&identity, "a", 2, start + HOUR).is_ok()),
            "one was returned"
        );
        assert!(
            budget.take(&identity, "c", 0, start).is_err(),
            "the limit is zero"
        );
    }
}
