//! The rules for people: what a presented code, refresh token, session cookie or pushed request means for its row, when
//! a grant ends, which guesses are admitted, which passwords may be chosen, and which enrolment links and browsers are
//! genuine.
//!
//! Each rule takes rows, texts and the time and returns a verdict; the store and the server carry it out. Not here: SQL,
//! IO, the lifetimes that resources set (the caller passes them), the errors of the protocol.

pub mod account;
pub mod agent;
pub mod attempt;
pub mod code;
pub mod enrolment;
pub mod grant;
pub mod guessing;
pub mod known_browser;
pub mod notice;
pub mod password;
pub mod personal_token;
pub mod pushed;
pub mod refresh;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use jiff::Timestamp;

/// Returns the time `after` from `from`. A time beyond the calendar becomes [`Timestamp::MAX`].
pub(crate) fn later(from: Timestamp, after: Duration) -> Timestamp {
    from.checked_add(after).unwrap_or(Timestamp::MAX)
}
