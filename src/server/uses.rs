//! Reports of last use of tokens and client secrets. Requests note uses; one task reports them.
//!
//! Usually a request only compares the time with the last known use. Only a use that needs a report, because it is the
//! first or the last report is old, tries a lock, and does not wait for it. A report that cannot be queued is dropped;
//! the next use is reported instead. No answer to a request depends on this. Not here: the rule when to report
//! (`directory::issued::usage`), and the destination of reports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::metrics::{LeftOut, Metrics};
use crate::directory::issued::usage::UseSeen;
use crate::directory::tables::record::EntryRecord;
use crate::directory::{CredentialRecord, Directory, ObjectKey};
use crate::lock::lock;
use crate::tokens::{Entropy, SystemEntropy, TokenId};

/// The most reports that wait. Further ones are dropped.
const MAX_WAITING: usize = 4096;
/// The most waiting reports of one namespace's tokens, so that no namespace blocks the reports of others.
const MAX_OF_NAMESPACE: usize = MAX_WAITING / 16;
/// The most tokens that are remembered: those with a waiting report, and those whose report the watch may not show yet.
const MAX_NOTED: usize = 2 * MAX_WAITING;
/// The time after a report in which the token's uses are not reported: within it the watch shows what was written.
const AFTER_REPORT: SignedDuration = SignedDuration::from_secs(5);
/// The most reports under way at once.
const AT_ONCE: usize = 4;
/// The least time that a report takes, so that there are at most 100 a second.
const PACE: Duration = Duration::from_millis(40);
/// The most time that a report takes.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure. It doubles with each failure in a row, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_mins(1);

/// A use to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseReport {
    /// The Credential that records the token.
    pub credential: ObjectKey,
    /// The uid of the Credential.
    pub uid: Option<Arc<str>>,
    /// The token's public ID.
    pub token_id: TokenId,
    /// The owner's namespace.
    pub namespace: Arc<str>,
    /// The use.
    pub seen: UseSeen,
}

/// Records uses in Credentials.
pub trait UseRecorder: Send + Sync + 'static {
    /// Records a use, unless another replica has reported the same.
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>>;
}

/// The use was not recorded. A later use is reported instead.
#[derive(Debug, thiserror::Error)]
#[error("the use could not be recorded: {0}")]
pub struct RecordError(pub String);

/// Notes uses for the task that reports them. Cheap to clone.
#[derive(Clone)]
pub struct Uses(Option<Arc<Noting>>);

struct Noting {
    /// Random, so that the replicas do not all report at the same time.
    seed: [u8; 2],
    board: Mutex<Board>,
    waiting: mpsc::Sender<UseReport>,
    metrics: Arc<Metrics>,
}

/// The reports that wait, are under way, or were just done.
#[derive(Default)]
struct Board {
    noted: HashMap<TokenId, Noted>,
    /// The number of reports that wait or are under way, by the owner's namespace.
    waiting: HashMap<Arc<str>, usize>,
}

impl Board {
    /// Counts a report; returns `false` if its namespace has used up its share.
    fn enter(&mut self, namespace: &Arc<str>) -> bool {
        let count = self.waiting.entry(namespace.clone()).or_default();
        let is_within = *count < MAX_OF_NAMESPACE;
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

/// Why a token's use needs no other report at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// A report waits or is under way.
    Waiting,
    /// Before this time the watch may not show the last report yet.
    Until(Timestamp),
}

/// The queue of reports that wait.
pub struct UseReports {
    noting: Arc<Noting>,
    waiting: mpsc::Receiver<UseReport>,
}

impl Uses {
    /// Returns uses that are not reported.
    pub const fn ignored() -> Self {
        Self(None)
    }

    /// Returns uses and the queue of their reports, which [`UseReports::run`] sends. Counts dropped reports in
    /// `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> (Self, UseReports) {
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
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

    /// Notes that the token of this entry was used now.
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
    /// Returns this replica's place in the spread of report times for a token.
    fn share(&self, token: &TokenId) -> u8 {
        let bytes = token.as_str().bytes();
        let [seed, factor] = self.seed;
        bytes.fold(seed, |share, byte| {
            (share ^ byte).wrapping_mul(factor | 1).rotate_left(3)
        })
    }

    fn hand_on(&self, credential: &CredentialRecord, token_id: TokenId, seen: UseSeen) {
        // Another request holds the lock: a later use will be reported.
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
                LeftOut::Full
            })
        } else {
            Err(LeftOut::Namespace)
        };
        let then = match sent {
            Ok(()) => Noted::Waiting,
            Err(cause) => {
                self.metrics.use_left_out(cause);
                // A namespace beyond its share must not fill the table too.
                if cause == LeftOut::Namespace {
                    return;
                }
                Noted::Until(later(seen.at))
            }
        };
        board.noted.insert(token_id, then);
    }

    fn done(&self, report: &UseReport, now: Timestamp) {
        let mut board = lock(&self.board);
        board.leave(&report.namespace);
        board
            .noted
            .insert(report.token_id, Noted::Until(later(now)));
    }
}

fn later(now: Timestamp) -> Timestamp {
    now.checked_add(AFTER_REPORT).unwrap_or(now)
}

/// Returns whether a token's use may be reported now. Forgets entries that have expired if there are too many.
fn may_report(noted: &mut HashMap<TokenId, Noted>, token: TokenId, now: Timestamp) -> bool {
    let is_over = |it: &Noted| matches!(it, Noted::Until(until) if *until <= now);
    if noted.get(&token).is_some_and(|it| !is_over(it)) {
        return false;
    }
    if noted.len() >= MAX_NOTED {
        noted.retain(|_, it| !is_over(it));
    }
    noted.len() < MAX_NOTED
}

impl UseReports {
    /// Takes the reports that wait.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<UseReport> {
        std::iter::from_fn(|| self.waiting.try_recv().ok()).collect()
    }

    /// Sends the reports to `recorder`, for as long as uses are noted.
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
            let recorded = recorded.unwrap_or_else(|_| Err(RecordError("timed out".to_owned())));
            noting.done(&report, super::now());
            if let Some(pause) = counted(failures, recorded) {
                tokio::time::sleep(pause).await;
            }
            pace.await;
        };
        reports.for_each_concurrent(AT_ONCE, record).await;
    }
}

/// Counts failures in a row. Returns the pause that is due after a failure.
fn counted(failures: &Mutex<u32>, recorded: Result<(), RecordError>) -> Option<Duration> {
    let mut failures = lock(failures);
    let Err(error) = recorded else {
        *failures = 0;
        return None;
    };
    if *failures == 0 {
        warn!(%error, "could not record the last use, check that the server may patch credentials/status");
    } else {
        debug!(%error, "could not record the last use");
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(10));
    *failures = failures.saturating_add(1);
    Some(pause.min(LAST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::OwnerKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn token(number: u64) -> TokenId {
        TokenId::random(&mut crate::tokens::SeededEntropy::new(number))
    }

    #[test]
    fn a_token_is_not_reported_again_before_the_watch_must_show_its_last_report() {
        let mut noted = HashMap::new();
        assert!(may_report(&mut noted, token(1), at(0)));
        noted.insert(token(1), Noted::Waiting);
        assert!(
            !may_report(&mut noted, token(1), at(3600)),
            "its report waits"
        );
        noted.insert(token(1), Noted::Until(later(at(0))));
        assert!(!may_report(&mut noted, token(1), at(4)));
        assert!(may_report(&mut noted, token(1), at(5)));
        assert!(may_report(&mut noted, token(2), at(0)));
    }

    #[test]
    fn the_number_of_remembered_tokens_is_bounded() {
        let mut noted = HashMap::new();
        for number in 0..MAX_NOTED as u64 {
            noted.insert(token(number), Noted::Until(at(10)));
        }
        let new = token(u64::MAX);
        assert!(!may_report(&mut noted, new, at(9)), "not reported");
        assert!(may_report(&mut noted, new, at(10)));
        assert!(noted.is_empty());
    }

    #[test]
    fn each_namespace_has_a_limited_share_of_the_waiting_reports() {
        let mut board = Board::default();
        let (blue, red): (Arc<str>, Arc<str>) = ("blue".into(), "red".into());
        let entered = (0..MAX_WAITING).filter(|_| board.enter(&blue)).count();
        assert_eq!(entered, MAX_OF_NAMESPACE);
        assert!(board.enter(&red), "another namespace has its own share");
        board.leave(&blue);
        assert!(board.enter(&blue) && !board.enter(&blue));
        (0..entered).for_each(|_| board.leave(&blue));
        board.leave(&red);
        assert!(
            board.waiting.is_empty(),
            "a namespace without reports is forgotten"
        );
    }

    #[test]
    fn one_namespace_does_not_fill_the_table_of_noted_tokens() {
        let mut world = World::new(QUICKSTART);
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", at(0));
        let key = ObjectKey::new("platform", "ServiceAccessToken-blue-nightly");
        let blue = world.directory.credential(&key).unwrap();
        let mut red = (**blue).clone();
        red.owner.key = ObjectKey::new("red", "nightly");
        let (uses, mut reports) = Uses::new(Arc::default());
        let noting = uses.0.unwrap();
        let seen = UseSeen {
            epoch: 1,
            at: at(0),
            every: SignedDuration::from_hours(24),
        };
        for number in 0..2 * MAX_NOTED as u64 {
            noting.hand_on(blue, token(number), seen);
        }
        noting.hand_on(&red, token(u64::MAX), seen);
        let waiting = reports.take();
        assert_eq!(waiting.len(), MAX_OF_NAMESPACE + 1);
        assert_eq!(waiting.last().unwrap().token_id, token(u64::MAX));
    }

    #[test]
    fn the_pause_grows_with_failures_in_a_row_until_a_success() {
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
