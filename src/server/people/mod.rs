//! People at a server: the store, the keys, the threads that hash passwords, and what is done with them together.
//!
//! Nothing here knows requests and answers: the routes in `routes/people` do. A server of an Identity without storage has
//! none of this.

pub mod keys;
pub mod metrics;
pub mod outbox;
pub mod outgoing;
pub mod personal_tokens;
mod recent;
pub mod registry;
pub mod session;
pub mod sign_in;
pub mod site;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use self::keys::PeopleKeys;
use self::personal_tokens::PersonalTokens;
use self::recent::Recent;
use super::networks;
use super::passwords::Passwords;
use crate::people::attempt;
use crate::store::{CLOCK_LEEWAY, Store, StoreError};

/// What a server needs for people. Clones share it.
#[derive(Clone)]
pub struct People {
    /// The store.
    pub store: Store,
    /// The keys of everything that a browser or client holds.
    pub keys: Arc<PeopleKeys>,
    /// The threads that hash passwords.
    pub passwords: Passwords,
    /// How many guesses are admitted.
    pub attempts: attempt::AttemptLimits,
    /// How often each person has signed in lately.
    recent: Arc<Recent>,
    /// Which personal access tokens are looked up, and their last uses.
    pub personal_tokens: Arc<PersonalTokens>,
    /// Whether the clock of the database is too far from this machine's.
    is_clock_far: Arc<AtomicBool>,
}

impl People {
    /// How often the distance to the clock of the database is measured.
    pub const CLOCK_EVERY: Duration = Duration::from_secs(10);

    /// Creates the state for an open store that is bound to the Identity.
    pub fn new(store: Store, keys: PeopleKeys, passwords: Passwords) -> Self {
        Self {
            store,
            keys: Arc::new(keys),
            passwords,
            attempts: attempt::AttemptLimits::default(),
            recent: Arc::default(),
            personal_tokens: Arc::default(),
            is_clock_far: Arc::default(),
        }
    }

    /// Returns the same for the request of a caller: what it asks of the store waits in the share of the caller, if the
    /// caller's address is known.
    #[must_use]
    pub fn for_caller(&self, address: Option<IpAddr>) -> Self {
        Self {
            store: self.store.for_caller(address.map(networks::caller)),
            ..self.clone()
        }
    }

    /// Returns whether people are served: not while this machine and the database disagree about the time, since each
    /// replica would judge the expiry of a row differently.
    pub fn is_served(&self) -> bool {
        !self.is_clock_far.load(Ordering::Relaxed)
    }

    /// Records that the clocks disagree.
    #[cfg(test)]
    pub(crate) fn clocks_disagree(&self) {
        self.is_clock_far.store(true, Ordering::Relaxed);
    }

    /// Measures the distance to the clock of the database.
    ///
    /// # Errors
    /// A fault of the database: then the last measurement stays.
    pub async fn check_clock(&self, now: impl Fn() -> Timestamp + Send) -> Result<(), StoreError> {
        let distance = self.store.clock_distance(now).await?;
        let is_far = distance > CLOCK_LEEWAY;
        if self.is_clock_far.swap(is_far, Ordering::Relaxed) != is_far {
            if is_far {
                let seconds = distance.as_secs();
                tracing::error!(
                    seconds,
                    "this machine's clock and the database's disagree: people are not served until they agree, machines are"
                );
            } else {
                tracing::info!("this machine's clock and the database's agree again");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("People")
    }
}
