//! Tells clients that sessions have ended (OpenID Connect Back-Channel Logout 1.0). The notices wait in the store, where
//! every replica finds them.
//!
//! A replica takes some notices of one client for a short time, which is a *round*, and tells them. A client and a
//! namespace have a bounded number of rounds, and a client that fails rests, so that none whose clients do not answer
//! silences the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::metrics::LogoutOutcome;
use crate::people::later;
use crate::people::notice::{Notice, pause};
use crate::store::area::outbox::Due;
use crate::store::{Store, StoreError};

/// The most rounds at once: of all clients, and of those of one namespace. A client has one.
const ROUNDS: [usize; 2] = [16, 2];
/// The most notices of a round.
const TAKEN: u32 = 16;
/// The most of them that are told at once.
const AT_ONCE: usize = 4;
/// How long a round keeps its notices. Each try ends within five seconds, so it ends long before. If the replica ends
/// before, another one takes them after this time.
const KEPT: Duration = Duration::from_secs(60);
/// How often the store is asked for notices that are due. Those of this replica's sign-outs do not wait.
const EVERY: Duration = Duration::from_secs(1);
/// The longest rest of a client that fails, as a number of failed rounds.
const MOST_FAILURES: u32 = 3;

/// How one try ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The client took it.
    Done,
    /// The client need not be told any more: it is gone or disabled, or names no place.
    Unneeded,
    /// The client refused it, and would again.
    Refused,
    /// It may work later.
    Failed,
}

/// Takes a notice to its client.
pub trait Messenger: Send + Sync + 'static {
    /// Tries once, within five seconds. Each try signs a new token.
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told>;

    /// Whether notices can be told now.
    fn is_ready(&self) -> bool {
        true
    }

    /// Called when something has become of a notice.
    fn count(&self, _: LogoutOutcome) {}

    /// Called when the store has failed.
    fn failed(&self, error: &StoreError) {
        tracing::debug!(%error, "the store of notices failed, will retry");
    }
}

/// Wakes the delivery. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Arc<Notify>);

impl Outbox {
    /// Says that notices were written.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// A client whose last rounds have failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    rounds: u32,
    rests_until: Timestamp,
}

/// What one replica has under way.
#[derive(Debug, Default)]
struct Rounds {
    /// The clients, with their namespaces.
    under_way: HashMap<String, String>,
    failing: HashMap<String, Failing>,
}

impl Rounds {
    fn of_namespace(&self, namespace: &str) -> usize {
        self.under_way
            .values()
            .filter(|it| *it == namespace)
            .count()
    }

    fn may_begin(&self, due: &Due, now: Timestamp) -> bool {
        let [_, most] = ROUNDS;
        let rests = |failing: &Failing| failing.rests_until > now;
        !self.under_way.contains_key(&due.client)
            && !self.failing.get(&due.client).is_some_and(rests)
            && self.of_namespace(&due.namespace) < most
    }

    /// Begins the rounds for which there is room: first those of namespaces that have fewest under way, and of those the
    /// ones that have been due for longest.
    fn begin(&mut self, mut due: Vec<Due>, now: Timestamp) -> Vec<Due> {
        let [most, _] = ROUNDS;
        let mut begun = Vec::new();
        while self.under_way.len() < most {
            due.retain(|due| self.may_begin(due, now));
            let next = due.iter().enumerate();
            let next = next.min_by_key(|(_, due)| (self.of_namespace(&due.namespace), due.since));
            let Some((index, _)) = next else {
                break;
            };
            let next = due.swap_remove(index);
            self.under_way
                .insert(next.client.clone(), next.namespace.clone());
            begun.push(next);
        }
        begun
    }

    fn end(&mut self, client: &str, end: RoundEnd, now: Timestamp) {
        self.under_way.remove(client);
        // Those that had nothing to tell since their rest ended are forgotten.
        let longest = pause(MOST_FAILURES);
        self.failing
            .retain(|_, failing| later(failing.rests_until, longest) > now);
        match end {
            RoundEnd::Nothing => {}
            RoundEnd::Answered => drop(self.failing.remove(client)),
            RoundEnd::Failed => {
                let before = self.failing.get(client).map_or(0, |it| it.rounds);
                let rounds = (before + 1).min(MOST_FAILURES);
                let failing = Failing {
                    rounds,
                    rests_until: later(now, pause(rounds)),
                };
                self.failing.insert(client.to_owned(), failing);
            }
        }
    }
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoundEnd {
    /// Another replica has taken the notices.
    Nothing,
    /// The client answered.
    Answered,
    /// It did not, or the store failed: a full disk must not let the round begin again at once.
    Failed,
}

/// Delivers the notices of a store.
pub struct Delivery<M, N> {
    /// The store.
    pub store: Store,
    /// Says when to look.
    pub outbox: Outbox,
    /// Takes the notices to their clients.
    pub messenger: Arc<M>,
    /// Reads the clock.
    pub now: N,
}

impl<M: Messenger, N: Fn() -> Timestamp + Sync> Delivery<M, N> {
    /// Delivers for ever. If it is dropped, another replica takes the notices that are under way a minute later.
    pub async fn run(&self) {
        let mut rounds = Rounds::default();
        let mut running = FuturesUnordered::new();
        loop {
            let now = (self.now)();
            if self.messenger.is_ready() {
                match self.store.due_notices(now).await {
                    Ok(due) => {
                        let begun = rounds.begin(due, now).into_iter();
                        running.extend(begun.map(|due| self.round(due)));
                    }
                    Err(error) => self.messenger.failed(&error),
                }
            }
            tokio::select! {
                Some((due, end)) = running.next() => rounds.end(&due.client, end, (self.now)()),
                () = self.outbox.0.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn round(&self, due: Due) -> (Due, RoundEnd) {
        let end = match self.tell_some(&due.client).await {
            Ok(end) => end,
            Err(error) => {
                self.messenger.failed(&error);
                RoundEnd::Failed
            }
        };
        (due, end)
    }

    async fn tell_some(&self, client: &str) -> Result<RoundEnd, StoreError> {
        let now = (self.now)();
        let until = later(now, KEPT);
        let taken = self.store.take_notices(client, TAKEN, now, until).await?;
        let mut left = taken.as_slice();
        let mut end = RoundEnd::Nothing;
        while !left.is_empty() && end != RoundEnd::Failed {
            let (next, rest) = left.split_at(AT_ONCE.min(left.len()));
            let told = join_all(next.iter().map(|notice| self.attempt(notice, until))).await;
            // If another one was answered, the client works: a notice that failed is at fault itself.
            let all_failed = told.iter().all(|told| *told == Told::Failed);
            end = if all_failed {
                RoundEnd::Failed
            } else {
                RoundEnd::Answered
            };
            left = rest;
        }
        for notice in left {
            // Not tried: the client does not answer now.
            let tries = notice.tries - 1;
            let at = (self.now)();
            self.store
                .put_notice_back(notice.id, until, at, tries)
                .await?;
        }
        Ok(end)
    }

    /// Tries once, and records in the store what became of it.
    async fn attempt(&self, notice: &Notice, until: Timestamp) -> Told {
        let told = self.messenger.tell(notice).await;
        self.messenger.count(match told {
            Told::Done => LogoutOutcome::Told,
            Told::Unneeded => LogoutOutcome::Unneeded,
            Told::Refused => LogoutOutcome::Refused,
            Told::Failed => LogoutOutcome::Failed,
        });
        let client = &*notice.client.id;
        let again = match told {
            Told::Done | Told::Unneeded => None,
            Told::Refused => {
                tracing::warn!(
                    client,
                    "a client refused to be told that a session has ended"
                );
                None
            }
            Told::Failed => {
                let again = notice.again_at((self.now)());
                if again.is_none() {
                    let tries = notice.tries;
                    self.messenger.count(LogoutOutcome::GivenUp);
                    tracing::warn!(
                        client,
                        tries,
                        "a client could not be told that a session has ended"
                    );
                }
                again
            }
        };
        let recorded = match again {
            Some(at) => {
                let tries = notice.tries;
                self.store
                    .put_notice_back(notice.id, until, at, tries)
                    .await
            }
            None => self.store.end_notice(notice.id).await,
        };
        if let Err(error) = recorded {
            // It is told again after a minute. The client knows it by its ID.
            self.messenger.failed(&error);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::at;

    fn due(client: &str, since: i64) -> Due {
        let (namespace, _) = client.split_once('.').unwrap();
        Due {
            client: client.to_owned(),
            namespace: namespace.to_owned(),
            since: at(since),
        }
    }

    fn clients(begun: &[Due]) -> Vec<&str> {
        begun.iter().map(|due| &*due.client).collect()
    }

    #[test]
    fn a_client_has_one_round_at_once_and_a_namespace_a_few() {
        let mut rounds = Rounds::default();
        let all = || vec![due("blue.a", 1), due("blue.b", 2), due("blue.c", 3)];
        let begun = rounds.begin(all(), at(10));
        assert_eq!(clients(&begun), ["blue.a", "blue.b"]);
        assert!(rounds.begin(all(), at(10)).is_empty());
        rounds.end("blue.a", RoundEnd::Answered, at(11));
        assert_eq!(clients(&rounds.begin(all(), at(11))), ["blue.a"]);
    }

    #[test]
    fn a_namespace_with_many_clients_that_wait_for_long_does_not_hold_up_others() {
        let mut rounds = Rounds::default();
        let mut all: Vec<Due> = (0..100)
            .map(|number| due(&format!("blue.{number}"), 1))
            .collect();
        all.push(due("green.a", 9));
        let begun = rounds.begin(all, at(10));
        assert!(clients(&begun).contains(&"green.a"), "{begun:?}");
        let [_, of_namespace] = ROUNDS;
        assert_eq!(begun.len(), of_namespace + 1);
    }

    #[test]
    fn all_rounds_together_are_bounded() {
        let all = (0..100).map(|number| due(&format!("n{number}.a"), number));
        let begun = Rounds::default().begin(all.collect(), at(200));
        let [most, _] = ROUNDS;
        let expected: Vec<String> = (0..most).map(|number| format!("n{number}.a")).collect();
        assert_eq!(clients(&begun), expected);
    }

    #[test]
    fn a_client_that_fails_rests_longer_each_time_until_it_answers() {
        let mut rounds = Rounds::default();
        let mut now = 1000;
        let mut rests = Vec::new();
        for _ in 0..4 {
            assert_eq!(rounds.begin(vec![due("blue.a", 1)], at(now)).len(), 1);
            rounds.end("blue.a", RoundEnd::Failed, at(now));
            let begins = |rest: &i64| {
                let due = due("blue.a", 1);
                rounds.may_begin(&due, at(now + rest))
            };
            let rest = (1..200).find(begins).unwrap();
            rests.push(rest);
            now += rest;
        }
        assert_eq!(rests, [5, 20, 80, 80]);
        rounds.begin(vec![due("blue.a", 1)], at(now));
        rounds.end("blue.a", RoundEnd::Answered, at(now));
        assert_eq!(rounds.begin(vec![due("blue.a", 1)], at(now)).len(), 1);
        rounds.end("blue.a", RoundEnd::Failed, at(now));
        assert!(rounds.may_begin(&due("blue.a", 1), at(now + 5)));
    }

    #[test]
    fn clients_that_rest_are_forgotten_in_the_end() {
        let mut rounds = Rounds::default();
        for number in 0..100 {
            rounds.end(&format!("blue.{number}"), RoundEnd::Failed, at(1000));
        }
        rounds.end("blue.a", RoundEnd::Nothing, at(1100));
        assert!(rounds.failing.is_empty());
    }
}
