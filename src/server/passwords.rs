//! The threads that hash passwords, and the bound on how many requests wait for them.
//!
//! A hash takes 19 MiB of memory and about 20 ms of CPU time by design, so an attacker could use it to exhaust the
//! server. At most `threads` hashes are computed at once: the memory is bounded by 19 MiB for each thread, and by 64 MiB
//! while imported hashes are verified (see `people::password`). At most `waiting` further requests wait, in order of
//! arrival. One more gets [`Busy`] at once, which is a 503 for the caller. A caller that goes away leaves the queue; a
//! hash that has begun keeps its place until it ends.
//!
//! No caller holds all places: an address has a quarter of them at most, and while fewer than half are free, addresses
//! and sites that hold many get no more (see [`Line`]).

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::networks::caller;
use crate::people::password::{self, Comparison, Fault, Names, Password, Phc};
use crate::shares::{Line, Place};
use crate::tokens::SystemEntropy;

/// How many requests wait for each thread by default. With 20 ms a hash, the last one waits less than a second.
const WAITING_PER_THREAD: usize = 32;

/// The threads.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// A place for each hash that is computed or waited for.
    line: Arc<Line>,
    /// A permit for each hash that is computed.
    threads: Arc<Semaphore>,
    /// What a password is compared with if there is no account.
    no_one: Arc<Phc>,
}

/// The error if too many passwords are being hashed, or if a hash could not be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being hashed: try again in a moment")]
pub struct Busy;

/// The names that a new password must not contain.
#[derive(Clone, Debug, Default)]
pub struct OwnedNames {
    /// The username and the addresses of the person.
    pub person: Vec<String>,
    /// The host of the issuer.
    pub host: String,
}

impl Default for Passwords {
    /// A thread for each core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores, cores * WAITING_PER_THREAD)
    }
}

impl Passwords {
    /// Bounds the hashes that are computed at once, and the requests that wait for them.
    pub fn new(threads: usize, waiting: usize) -> Self {
        Self {
            line: Arc::new(Line::new(threads + waiting)),
            threads: Arc::new(Semaphore::new(threads)),
            no_one: Arc::new(Phc::of_no_one(&mut SystemEntropy)),
        }
    }

    /// Compares a password with a stored hash, for a caller if its address is known. Without a hash, because there is no
    /// account or it has no password, it takes as long and returns [`Comparison::Wrong`].
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn compare(
        &self,
        caller: Option<IpAddr>,
        password: Password,
        stored: Option<Phc>,
    ) -> Result<Comparison, Busy> {
        let stored = stored.map_or_else(|| Arc::clone(&self.no_one), Arc::new);
        self.run(caller, move || stored.verify(&password)).await
    }

    /// Judges a new password, and hashes it if it is good. Returns the PHC string, or why it is refused.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn choose(
        &self,
        caller: Option<IpAddr>,
        password: Password,
        names: OwnedNames,
    ) -> Result<Result<String, Fault>, Busy> {
        self.run(caller, move || {
            let person: Vec<&str> = names.person.iter().map(String::as_str).collect();
            let names = Names {
                person: &person,
                host: &names.host,
            };
            password::check(&password, names)?;
            Ok(password::hash(&password, &mut SystemEntropy))
        })
        .await
    }

    /// Hashes a password that was just proved right by an outdated hash. Its rules may have changed since it was chosen.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn renew(&self, caller: Option<IpAddr>, password: Password) -> Result<String, Busy> {
        self.run(caller, move || {
            password::hash(&password, &mut SystemEntropy)
        })
        .await
    }

    /// Takes a place for a caller.
    fn place(&self, address: Option<IpAddr>) -> Result<Place, Busy> {
        self.line.enter(address.map(caller)).ok_or(Busy)
    }

    /// Runs `work` on a thread for blocking work.
    async fn run<T: Send + 'static>(
        &self,
        caller: Option<IpAddr>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = self.place(caller)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            // The work runs to its end even if the caller has gone away.
            let _held = (place, thread);
            work()
        });
        // An error here is a panic, which is logged.
        task.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;

    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_chosen_password_signs_in_and_another_one_does_not() {
        let passwords = Passwords::new(1, 4);
        let chosen = password("correct horse battery staple");
        let stored = passwords.choose(None, chosen.clone(), OwnedNames::default());
        let stored = stored.await.unwrap().unwrap();
        let phc = || Phc::parse(&stored).ok();
        let right = Comparison::Right { is_outdated: false };
        assert_eq!(passwords.compare(None, chosen, phc()).await, Ok(right));
        let wrong = passwords
            .compare(None, password("correct horse"), phc())
            .await;
        assert_eq!(wrong, Ok(Comparison::Wrong));
        let no_one = passwords
            .compare(None, password("correct horse"), None)
            .await;
        assert_eq!(no_one, Ok(Comparison::Wrong));
        let names = OwnedNames {
            person: vec!["battery".to_owned()],
            host: String::new(),
        };
        let refused = passwords
            .choose(None, password("correct horse battery staple"), names)
            .await;
        assert_eq!(refused, Ok(Err(Fault::ContainsName)));
        let renewed = passwords.renew(None, password("short")).await.unwrap();
        assert!(Phc::parse(&renewed).is_ok());
    }

    /// Work that ends when the sender is dropped.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (end, ended) = mpsc::channel::<()>();
        (end, move || ended.recv().unwrap_or_default())
    }

    #[tokio::test]
    async fn one_more_than_the_bound_is_busy_and_a_caller_that_leaves_frees_its_place() {
        let passwords = Passwords::new(1, 2);
        let (end, work) = held();
        let running = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(None, work).await }
        });
        while passwords.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut first = Box::pin(passwords.run(None, || 1));
        let mut second = Box::pin(passwords.run(None, || 2));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(passwords.run(None, || 3).await, Err(Busy));
        drop(first);
        let mut third = Box::pin(passwords.run(None, || 3));
        assert!(
            third.as_mut().now_or_never().is_none(),
            "it waits in the free place"
        );
        // The running work keeps its place although its caller leaves.
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.run(None, || 4).await, Err(Busy));
        drop(end);
        assert_eq!(second.await, Ok(2));
        assert_eq!(third.await, Ok(3));
        assert_eq!(passwords.line.free(), 3);
    }

    #[test]
    fn one_address_does_not_hold_the_places_of_others() {
        let passwords = Passwords::new(2, 14);
        let caller = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let (one, other) = (caller("192.0.2.1"), caller("198.51.100.1"));
        let held: Vec<Place> = (0..4).map(|_| passwords.place(one).unwrap()).collect();
        assert!(passwords.place(one).is_err(), "a quarter is the most");
        assert!(passwords.place(other).is_ok());
        drop(held);
        assert!(passwords.place(one).is_ok(), "the share is given back");
    }

    #[tokio::test]
    async fn a_panic_frees_its_place() {
        let passwords = Passwords::new(1, 0);
        let failed = passwords.run(None, || panic!("a fixed text")).await;
        assert_eq!(failed, Err::<(), _>(Busy));
        assert_eq!(passwords.run(None, || 1).await, Ok(1));
    }
}
