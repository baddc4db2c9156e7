//! Notices: what clients are told when a session ends (OpenID Connect Back-Channel Logout 1.0).
//!
//! A notice is written in the transaction that ends the session, and waits in the store until its client takes it. It is
//! tried again with growing pauses, and given up after [`TRIES`] tries or when it has become too old.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::account::AccountId;
use super::later;
use crate::tokens::TokenId;

/// How often a notice is tried.
pub const TRIES: u32 = 6;
/// How long after the end of its session a notice is given up. The last try is about half an hour after the first.
const LASTS: Duration = Duration::from_hours(1);
/// The pause after the first try. Each further one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The largest number of notices of one client that wait. One more is dropped: a sign-out never waits for clients.
pub const MOST_OF_CLIENT: u32 = 2048;
/// The largest number of notices of all clients of one namespace that wait.
pub const MOST_OF_NAMESPACE: u32 = 4096;

/// A client that had a grant in a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant {
    /// Its ID.
    pub id: String,
    /// The uid of its resource then.
    pub uid: String,
}

/// Something to tell a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its ID, the `jti` of every token that tells it: a client that gets the notice again knows it.
    pub id: TokenId,
    /// The client.
    pub client: Participant,
    /// The person.
    pub account: AccountId,
    /// The session that ended.
    pub session: TokenId,
    /// How often it was tried, with the present try.
    pub tries: u32,
}

impl Notice {
    /// Returns the subject of the person.
    pub fn subject(&self) -> String {
        self.account.0.to_string()
    }

    /// Returns when to try again after the present try has failed; `None` if the notice is given up.
    pub fn again_at(&self, now: Timestamp) -> Option<Timestamp> {
        (self.tries < TRIES).then(|| later(now, pause(self.tries)))
    }
}

/// Returns the pause after so many tries have failed, one after the other.
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.min(TRIES).saturating_sub(1);
    FIRST_PAUSE * 4_u32.pow(doublings)
}

/// Returns when a notice is given up whose session ended at `now`.
pub(crate) fn given_up_at(now: Timestamp) -> Timestamp {
    later(now, LASTS)
}

/// What became of the notices of the sessions that a transaction ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// How many wait now.
    pub waiting: u64,
    /// How many were dropped, because too many of their client or namespace wait.
    pub dropped: u64,
}

impl AddAssign for Noted {
    fn add_assign(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.dropped += other.dropped;
    }
}

/// Who is told of the end of a session.
pub trait Audience: Send + Sync {
    /// Returns the namespace of a client, if it names where it is told. Called inside a transaction: it must be quick.
    fn namespace_of(&self, client: &Participant) -> Option<Arc<str>>;

    /// Called after each transaction that ended sessions was committed.
    fn ended(&self, noted: Noted);
}

/// Tells no client.
#[derive(Clone, Copy, Debug)]
pub struct NoAudience;

impl Audience for NoAudience {
    fn namespace_of(&self, _: &Participant) -> Option<Arc<str>> {
        None
    }

    fn ended(&self, _: Noted) {}
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::people::testing::at;

    #[test]
    fn a_notice_is_tried_again_after_growing_pauses_and_given_up_in_the_end() {
        let mut now = at(1000);
        let mut pauses = Vec::new();
        for tries in 1..=TRIES {
            let notice = Notice {
                id: "NNNNNNNNNNNNNNNN".parse().unwrap(),
                client: Participant {
                    id: "blue.app".to_owned(),
                    uid: "1".to_owned(),
                },
                account: AccountId(Uuid::nil()),
                session: "SSSSSSSSSSSSSSSS".parse().unwrap(),
                tries,
            };
            let Some(next) = notice.again_at(now) else {
                break;
            };
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 20, 80, 320, 1280]);
        // Each try takes up to five seconds.
        let last = later(now, Duration::from_secs(5 * u64::from(TRIES)));
        assert!(last < given_up_at(at(1000)), "the last try comes in time");
    }
}
