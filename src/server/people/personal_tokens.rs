//! Personal access tokens at a server: which presented ones are looked up, and notes of their last use.
//!
//! A use is noted in memory and recorded by a task of its own, so that no request waits for it. What cannot be noted or
//! recorded is dropped, and the next use is recorded instead.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures::future::ready;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::lock::lock;
use crate::people::agent::Agent;
use crate::people::personal_token::{LastUse, PersonalToken};
use crate::server::networks::site;
use crate::store::{Store, StoreError};
use crate::telemetry::Rate;
use crate::tokens::{TokenHash, TokenId};

/// The allowance of look-ups for tokens without a known tag: 200 at once, then 100 a second.
const UNTAGGED: Rate = Rate {
    burst: 200,
    period: 10,
};
/// The most genuine tokens without a known tag that are remembered: 16,384 hashes are 512 KiB.
const MOST_REMEMBERED: usize = 16_384;
/// The most uses that wait to be recorded.
const MOST_WAITING: usize = 4096;
/// The most uses that are recorded at once: requests need the connections of the database.
const AT_ONCE: usize = 2;

/// What a server keeps in memory of personal access tokens.
#[derive(Debug)]
pub struct PersonalTokens {
    started: Instant,
    lookups: Lookups,
    waiting: Mutex<HashMap<TokenId, LastUse>>,
}

impl Default for PersonalTokens {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            lookups: Lookups::default(),
            waiting: Mutex::default(),
        }
    }
}

/// Decides which presented tokens are looked up, so that guesses can neither exhaust the database nor keep out a token
/// whose tag is known.
#[derive(Debug, Default)]
struct Lookups {
    untagged: AtomicU64,
    genuine: Mutex<HashSet<[u8; 32]>>,
}

impl Lookups {
    /// Admits a look-up. `now` is the time since any fixed moment.
    fn admit(&self, hash: &TokenHash, is_tagged: bool, now: Duration) -> Result<(), Duration> {
        if is_tagged || lock(&self.genuine).contains(hash.as_bytes()) {
            return Ok(());
        }
        UNTAGGED.take(&self.untagged, now)
    }

    fn remember(&self, hash: &TokenHash) {
        let mut genuine = lock(&self.genuine);
        if genuine.len() >= MOST_REMEMBERED {
            genuine.clear();
        }
        genuine.insert(*hash.as_bytes());
    }
}

/// Where a token was used.
#[derive(Clone, Copy, Debug)]
pub struct Presenter<'a> {
    /// The address of the program that presented it.
    pub peer: Option<IpAddr>,
    /// The `User-Agent` of the program.
    pub user_agent: &'a [u8],
}

/// Returns the network of an address as a person is shown it.
fn network(peer: IpAddr) -> String {
    let site = site(peer);
    let length = if site.is_ipv4() { 24 } else { 48 };
    format!("{site}/{length}")
}

impl PersonalTokens {
    /// Admits the look-up of a presented token. `is_tagged` says whether the keys of the tags know it.
    ///
    /// # Errors
    /// How long the caller must wait: too many tokens that the keys do not know were looked up.
    pub fn admit(&self, hash: &TokenHash, is_tagged: bool) -> Result<(), Duration> {
        self.lookups.admit(hash, is_tagged, self.started.elapsed())
    }

    /// Remembers a token that turned out to be genuine although the keys do not know it: its further look-ups do not
    /// count.
    pub fn remember(&self, hash: &TokenHash) {
        self.lookups.remember(hash);
    }

    /// Notes a use of a token, if it must be recorded. `by` is `None` if an API asked about the token.
    pub fn note(&self, token: &PersonalToken, by: Option<Presenter<'_>>, now: Timestamp) {
        if !token.needs_note(now) {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MOST_WAITING || waiting.contains_key(&token.id) {
            return;
        }
        let used = LastUse {
            at: now,
            network: by.and_then(|by| by.peer).map(network),
            agent: by.map(|by| Agent::of(by.user_agent)),
        };
        waiting.insert(token.id, used);
    }

    /// Records the uses that wait.
    ///
    /// # Errors
    /// A fault of the store: then the uses that are not recorded yet are dropped.
    pub async fn record(&self, store: &Store) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let notes = waiting
            .into_iter()
            .map(|(id, used)| store.note_personal_token(id, used));
        let notes = stream::iter(notes).buffer_unordered(AT_ONCE);
        notes.try_for_each(|()| ready(Ok(()))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::{at, personal_token};

    #[test]
    fn guesses_use_up_only_their_own_allowance() {
        let lookups = Lookups::default();
        let (genuine, old) = (TokenHash::of("genuine"), TokenHash::of("old"));
        lookups.remember(&old);
        let start = Duration::from_secs(1);
        let guesses = (0..1000).map(|number: u32| TokenHash::of(&number.to_string()));
        let admitted = guesses.filter(|guess| lookups.admit(guess, false, start).is_ok());
        assert_eq!(admitted.count() as u64, UNTAGGED.burst);
        assert_eq!(lookups.admit(&genuine, true, start), Ok(()));
        assert_eq!(lookups.admit(&old, false, start), Ok(()));
        let wait = lookups.admit(&genuine, false, start).unwrap_err();
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
        assert_eq!(lookups.admit(&genuine, false, start + wait), Ok(()));
    }

    #[test]
    fn what_is_remembered_and_what_waits_is_bounded() {
        let tokens = PersonalTokens::default();
        let mut entropy = crate::tokens::SeededEntropy::new(1);
        for number in 0..=MOST_REMEMBERED {
            tokens.remember(&TokenHash::of(&number.to_string()));
        }
        assert_eq!(lock(&tokens.lookups.genuine).len(), 1);
        for _ in 0..=MOST_WAITING {
            let token = PersonalToken {
                id: TokenId::random(&mut entropy),
                ..personal_token()
            };
            tokens.note(&token, None, at(100));
        }
        assert_eq!(lock(&tokens.waiting).len(), MOST_WAITING);
    }

    #[test]
    fn a_use_tells_a_network_and_a_kind_of_program_and_nothing_more() {
        let noted = |by: Option<(&str, &str)>| {
            let tokens = PersonalTokens::default();
            let by = by.map(|(peer, user_agent)| Presenter {
                peer: peer.parse().ok(),
                user_agent: user_agent.as_bytes(),
            });
            tokens.note(&personal_token(), by, at(100));
            let used = lock(&tokens.waiting).values().next().cloned().unwrap();
            (used.network, used.agent)
        };
        assert_eq!(
            noted(Some(("192.0.2.9", "curl/8.14.1"))),
            (Some("192.0.2.0/24".to_owned()), Some(Agent::Curl))
        );
        assert_eq!(
            noted(Some(("2001:db8:1:2::3", "<script>"))),
            (Some("2001:db8:1::/48".to_owned()), Some(Agent::Other))
        );
        assert_eq!(noted(None), (None, None));
    }
}
