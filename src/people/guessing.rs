//! The gate against guessing: how many attempts an account or a network may make.
//!
//! It is a token bucket in the form of the generic cell rate algorithm: one time is its whole state, so one statement
//! reserves an attempt, and a limit ends by itself. An attempt is reserved before the password is hashed and refunded
//! if it succeeds.

use std::time::Duration;

use jiff::Timestamp;

use super::later;

/// How many attempts are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// How many attempts are admitted at once.
    pub burst: u32,
    /// The time after which one more is admitted.
    pub interval: Duration,
}

/// A gate at one moment, in the form in which the store carries it out. With `at` as the stored time, an attempt is
/// admitted if `at + interval <= ceiling`; it stores the later of `at + interval` and `floor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The earliest time that may be stored.
    pub floor: Timestamp,
    /// What one attempt adds.
    pub interval: Duration,
    /// The latest time that may be stored.
    pub ceiling: Timestamp,
}

impl Gate {
    /// Returns the gate at `now`.
    pub fn at(&self, now: Timestamp) -> Reservation {
        Reservation {
            floor: later(now, self.interval),
            interval: self.interval,
            ceiling: later(now, self.interval.saturating_mul(self.burst)),
        }
    }
}

impl Reservation {
    /// Returns what is stored after an attempt; `None` if it is not admitted.
    pub fn reserve(&self, stored: Option<Timestamp>) -> Option<Timestamp> {
        let Some(stored) = stored else {
            return (self.floor <= self.ceiling).then_some(self.floor);
        };
        let next = later(stored, self.interval);
        (next <= self.ceiling).then_some(next.max(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_one_each_interval() {
        let gate = Gate {
            burst: 3,
            interval: Duration::from_secs(10),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut stored = None;
        let mut attempt = |second| {
            let next = gate.at(at(second)).reserve(stored);
            stored = next.or(stored);
            next.is_some()
        };
        assert_eq!(
            [0, 0, 0, 0, 9].map(&mut attempt),
            [true, true, true, false, false]
        );
        assert_eq!([10, 10, 20].map(&mut attempt), [true, false, true]);
        // The limit ends by itself.
        assert_eq!([1000; 4].map(&mut attempt), [true, true, true, false]);
    }

    #[test]
    fn a_gate_without_a_burst_admits_nothing() {
        let gate = Gate {
            burst: 0,
            interval: Duration::from_secs(10),
        };
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(gate.at(now).reserve(None), None);
    }
}
