//! Uses of tokens and client secrets: noted where a request shows one, reported now and then by one task.
//!
//! A request pays a comparison with what is known; only a use that is worth a report, first or long since, takes
//! a lock, and it waits for none. What cannot be handed on is left out: the next use says it again. No answer
//! depends on any of it. Absent: the rule when to report (`directory::usage`) and where reports go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::directory::record::EntryRecord;
use crate::directory::usage::UseSeen;
use crate::directory::{CredentialRecord, Directory, ObjectKey};
use crate::telemetry::Metrics;
use crate::tokens::{Entropy, SystemEntropy, TokenId};

/// Reports that wait; more are left out.
const MOST_WAITING: usize = 4096;
/// Reports of one namespace's tokens that wait: nobody's tokens keep others' from being reported.
const MOST_OF_NAMESPACE: usize = MOST_WAITING / 16;
/// Tokens that are remembered as reported just now: what waits, and what the watch is about to show.
const MOST_NOTED: usize = 2 * MOST_WAITING;
/// After a report, for so long the next use says nothing: the watch shows by then what was written.
const AFTER_REPORT: SignedDuration = SignedDuration::from_secs(5);
/// Reports under way at once.
const AT_ONCE: usize = 4;
/// At least so long takes each of them: 100 a second are the most.
const PACE: Duration = Duration::from_millis(40);
/// No report takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses after failures in a row double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_mins(1);

/// A use that is to be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseReport {
    /// The Credential that knows the token.
    pub credential: ObjectKey,
    /// Its uid.
    pub uid: Option<Arc<str>>,
    /// The token's public id.
    pub token_id: TokenId,
    /// The owner's namespace.
    pub namespace: Arc<str>,
    /// The use.
    pub seen: UseSeen,
}

/// Writes a use where Credentials are kept, unless somebody else has reported the same.
pub trait UseRecorder: Send + Sync + 'static {
    /// Writes one.
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>>;
}

/// It was not written. The next use says it again.
#[derive(Debug, thiserror::Error)]
#[error("the use could not be recorded: {0}")]
pub struct RecordError(pub String);

/// Where uses are noted. Cheap to clone.
#[derive(Clone)]
pub struct Uses(Option<Arc<Noting>>);

struct Noting {
    /// Differs by replica, so that not all report at the same time.
    seed: [u8; 2],
    board: Mutex<Board>,
    waiting: mpsc::Sender<UseReport>,
    metrics: Arc<Metrics>,
}

/// What is on its way or just done.
#[derive(Default)]
struct Board {
    noted: HashMap<TokenId, Noted>,
    /// Reports on their way, by the owner's namespace; none is left out.
    waiting: HashMap<Arc<str>, usize>,
}

impl Board {
    /// Makes room for a report; `false`: its namespace has its share on the way.
    fn enter(&mut self, namespace: &Arc<str>) -> bool {
        let count = self.waiting.entry(namespace.clone()).or_default();
        let is_within = *count < MOST_OF_NAMESPACE;
        *count += usize::from(is_within);
        is_within
    }

    fn leave(&mut self, namespace: &Arc<str>) {
        match self.waiting.get_mut(namespace) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.waiting.remove(namespace)),
        }
    }
}

/// Why a token's use is not worth another report just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// A report is on its way.
    Waiting,
    /// Until a moment the watch may not have shown the last one.
    Until(Timestamp),
}

/// The other end: what waits to be reported.
pub struct UseReports {
    noting: Arc<Noting>,
    waiting: mpsc::Receiver<UseReport>,
}

impl Uses {
    /// Nobody is told.
    pub const fn ignored() -> Self {
        Self(None)
    }

    /// Told to whoever runs the second. What is left out is counted.
    pub fn new(metrics: Arc<Metrics>) -> (Self, UseReports) {
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        let mut seed = [0; 2];
        SystemEntropy.fill(&mut seed);
        let noting = Arc::new(Noting {
            seed,
            board: Mutex::default(),
            waiting: sender,
            metrics,
        });
        let reports = UseReports {
            noting: Arc::clone(&noting),
            waiting,
        };
        (Self(Some(noting)), reports)
    }

    /// A token of this entry was used now.
    pub(super) fn note(
        &self,
        directory: &Directory,
        (credential, entry): (&CredentialRecord, &EntryRecord),
        now: Timestamp,
    ) {
        let Some(noting) = &self.0 else { return };
        let share = noting.share(&entry.token_id);
        if let Some(seen) = directory.use_to_report(credential, entry, share, now) {
            noting.hand_on(credential, entry.token_id, seen);
        }
    }
}

impl Noting {
    /// Where this replica stands in the spread for a token.
    fn share(&self, token: &TokenId) -> u8 {
        let bytes = token.as_str().bytes();
        let [seed, factor] = self.seed;
        bytes.fold(seed, |share, byte| {
            (share ^ byte).wrapping_mul(factor | 1).rotate_left(3)
        })
    }

    fn hand_on(&self, credential: &CredentialRecord, token_id: TokenId, seen: UseSeen) {
        // Somebody else is at it: the next use will do.
        let Ok(mut board) = self.board.try_lock() else {
            return;
        };
        if !may_report(&mut board.noted, token_id, seen.at) {
            return;
        }
        let namespace = &credential.owner.key.namespace;
        let sent = if board.enter(namespace) {
            let report = UseReport {
                credential: credential.key.clone(),
                uid: credential.uid.clone(),
                token_id,
                namespace: namespace.clone(),
                seen,
            };
            self.waiting.try_send(report).map_err(|_| {
                board.leave(namespace);
                "full"
            })
        } else {
            Err("namespace")
        };
        let then = match sent {
            Ok(()) => Noted::Waiting,
            Err(cause) => {
                self.metrics.use_left_out(cause);
                Noted::Until(later(seen.at))
            }
        };
        board.noted.insert(token_id, then);
    }

    fn done(&self, report: &UseReport, now: Timestamp) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.leave(&report.namespace);
        board
            .noted
            .insert(report.token_id, Noted::Until(later(now)));
    }
}

fn later(now: Timestamp) -> Timestamp {
    now.checked_add(AFTER_REPORT).unwrap_or(now)
}

/// Whether a token's use may be reported now; forgets what is over where too much is remembered.
fn may_report(noted: &mut HashMap<TokenId, Noted>, token: TokenId, now: Timestamp) -> bool {
    let is_over = |it: &Noted| matches!(it, Noted::Until(until) if *until <= now);
    if noted.get(&token).is_some_and(|it| !is_over(it)) {
        return false;
    }
    if noted.len() >= MOST_NOTED {
        noted.retain(|_, it| !is_over(it));
    }
    noted.len() < MOST_NOTED
}

impl UseReports {
    /// What waits.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<UseReport> {
        std::iter::from_fn(|| self.waiting.try_recv().ok()).collect()
    }

    /// Reports what comes, for ever.
    pub async fn run(self, recorder: impl UseRecorder) {
        let Self { noting, waiting } = self;
        let (noting, recorder) = (&*noting, &recorder);
        let failures = &Mutex::new(0_u32);
        let reports = stream::unfold(waiting, |mut waiting| async {
            let report = waiting.recv().await?;
            Some((report, waiting))
        });
        let record = |report: UseReport| async move {
            let pace = tokio::time::sleep(PACE);
            let recorded = tokio::time::timeout(TIMEOUT, recorder.record(&report)).await;
            let recorded = recorded.unwrap_or_else(|_| Err(RecordError("no answer".to_owned())));
            noting.done(&report, super::now());
            if let Some(pause) = counted(failures, recorded) {
                tokio::time::sleep(pause).await;
            }
            pace.await;
        };
        reports.for_each_concurrent(AT_ONCE, record).await;
    }
}

/// Counts failures in a row; the pause that is due.
fn counted(failures: &Mutex<u32>, recorded: Result<(), RecordError>) -> Option<Duration> {
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    let Err(error) = recorded else {
        *failures = 0;
        return None;
    };
    if *failures == 0 {
        warn!(%error, "last use is not reported for now: may the server patch credentials/status?");
    } else {
        debug!(%error, "last use is not reported");
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(10));
    *failures = failures.saturating_add(1);
    Some(pause.min(LAST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn token(number: u64) -> TokenId {
        TokenId::random(&mut crate::tokens::SeededEntropy::new(number))
    }

    #[test]
    fn a_token_is_reported_once_until_the_watch_must_have_shown_it() {
        let mut noted = HashMap::new();
        assert!(may_report(&mut noted, token(1), at(0)));
        noted.insert(token(1), Noted::Waiting);
        assert!(!may_report(&mut noted, token(1), at(3600)), "on its way");
        noted.insert(token(1), Noted::Until(later(at(0))));
        assert!(!may_report(&mut noted, token(1), at(4)));
        assert!(may_report(&mut noted, token(1), at(5)));
        assert!(may_report(&mut noted, token(2), at(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut noted = HashMap::new();
        for number in 0..MOST_NOTED as u64 {
            noted.insert(token(number), Noted::Until(at(10)));
        }
        let new = token(u64::MAX);
        assert!(!may_report(&mut noted, new, at(9)), "left out");
        assert!(may_report(&mut noted, new, at(10)));
        assert!(noted.is_empty());
    }

    #[test]
    fn one_namespace_has_its_share_of_what_waits_and_no_more() {
        let mut board = Board::default();
        let (blue, red): (Arc<str>, Arc<str>) = ("blue".into(), "red".into());
        let entered = (0..MOST_WAITING).filter(|_| board.enter(&blue)).count();
        assert_eq!(entered, MOST_OF_NAMESPACE);
        assert!(board.enter(&red), "others have theirs");
        board.leave(&blue);
        assert!(board.enter(&blue) && !board.enter(&blue));
        (0..entered).for_each(|_| board.leave(&blue));
        board.leave(&red);
        assert!(
            board.waiting.is_empty(),
            "nothing is remembered of who is done"
        );
    }

    #[test]
    fn failures_in_a_row_pause_longer_and_a_success_ends_that() {
        let failures = Mutex::new(0);
        let fail = || counted(&failures, Err(RecordError("forbidden".into())));
        let pauses: Vec<_> = (0..8)
            .filter_map(|_| fail())
            .map(|it| it.as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(counted(&failures, Ok(())), None);
        assert_eq!(fail(), Some(FIRST_PAUSE));
    }
}
