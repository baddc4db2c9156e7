//! How often each person has signed in or tried to set a password lately. A sign-in with the right password costs as much
//! CPU time as one with a wrong one, but no guess, and an enrolment link works until it is used: without a limit, one
//! person could keep all threads that hash passwords busy.
//!
//! In memory, for each server: it protects the server's own threads. Only accounts that exist are in the table.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

use crate::lock::lock;
use crate::people::account::AccountId;
use crate::people::guessing::Gate;
use crate::people::later;

/// From this number of accounts on, those whose limit has ended are removed.
const MANY: usize = 1024;

/// The accounts that have signed in lately, each with the time that its gate stores.
#[derive(Debug, Default)]
pub struct Recent(Mutex<HashMap<AccountId, Timestamp>>);

impl Recent {
    /// Reserves a sign-in before the password is hashed.
    ///
    /// # Errors
    /// There were too many: how long until another one is admitted.
    pub fn reserve(&self, account: AccountId, gate: Gate, now: Timestamp) -> Result<(), Duration> {
        let mut all = lock(&self.0);
        if all.len() >= MANY {
            all.retain(|_, until| *until > now);
        }
        let stored = all.get(&account).copied();
        match gate.at(now).reserve(stored) {
            Some(until) => {
                all.insert(account, until);
                Ok(())
            }
            None => {
                let next = stored.map(|stored| later(stored, gate.interval));
                let wait = next.map(|next| next.duration_since(gate.at(now).ceiling));
                let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
                Err(wait.unwrap_or_default().max(Duration::from_secs(1)))
            }
        }
    }

    /// Takes a reservation back, because the sign-in failed: the gates against guessing count it.
    pub fn refund(&self, account: AccountId, gate: Gate) {
        let mut all = lock(&self.0);
        if let Some(until) = all.get_mut(&account) {
            *until = until.checked_sub(gate.interval).unwrap_or(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const GATE: Gate = Gate {
        burst: 2,
        interval: Duration::from_secs(5),
    };

    #[test]
    fn a_person_signs_in_only_so_often_in_a_short_time_and_failures_do_not_count() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (one, other) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let recent = Recent::default();
        for _ in 0..9 {
            assert_eq!(recent.reserve(one, GATE, at(100)), Ok(()));
            recent.refund(one, GATE);
        }
        assert_eq!(recent.reserve(one, GATE, at(100)), Ok(()));
        assert_eq!(recent.reserve(one, GATE, at(100)), Ok(()));
        let wait = Duration::from_secs(5);
        assert_eq!(recent.reserve(one, GATE, at(100)), Err(wait));
        assert_eq!(recent.reserve(other, GATE, at(100)), Ok(()));
        assert_eq!(recent.reserve(one, GATE, at(105)), Ok(()));
        assert!(recent.reserve(one, GATE, at(105)).is_err());
    }

    #[test]
    fn accounts_whose_limit_has_ended_are_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let recent = Recent::default();
        for number in 0..3 * MANY {
            let account = AccountId(Uuid::from_u128(number as u128));
            let second = 100 + 10 * i64::try_from(number).unwrap();
            assert_eq!(recent.reserve(account, GATE, at(second)), Ok(()));
        }
        assert!(lock(&recent.0).len() <= MANY);
    }
}
