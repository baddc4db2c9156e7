//! Watches of the Kubernetes API as changes to the directory.
//!
//! Each watch is one task. It lists everything once (as a stream where the API server has that, else in pages),
//! follows what comes after, and hands on what is ready in one batch: there is no debounce, and no copy of the objects
//! is kept. Objects are decoded one by one while an answer comes in ([`crate::json_stream`]). A watch that must begin
//! anew tells what has gone meanwhile. While the API server is away the rest goes on; [`Source::oldest`] says for how
//! long nothing was heard. A namespace that the API server refuses to show stops nobody but itself: [`Refusals`].
//!
//! Absent: any write, any decision, and kube's own `watcher`: it keeps bookmarks to itself, by which one
//! knows that a quiet watch is alive.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

mod answer;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod known;
mod raw;
mod subject;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::subject::Subject;
use crate::directory::{Change, ObjectKey, Settings};
use crate::resources::{ManagedSeen, OwnerKind};
use crate::tokens::MacKey;

/// One thing that a watch brought.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A change to the directory.
    Object {
        /// The change.
        change: Change,
        /// The object's `resourceVersion`; empty where only its absence was seen.
        version: Box<str>,
    },
    /// A Secret of ours.
    Secret(SecretSeen),
    /// An object that was made of an Identity.
    Managed(ManagedSeen),
}

/// What a watch tells of a Secret of ours: never its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSeen {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its `resourceVersion`; empty where only its absence was seen.
    pub version: Box<str>,
    /// Kind and name of its controller, if that could be an owner of Secrets, or of the client that it was brought for.
    pub controller: Option<(OwnerKind, Box<str>)>,
    /// Whether it is gone.
    pub gone: bool,
}

/// Takes what was seen. Called by several tasks; a batch is everything that was ready at once.
pub trait Sink: Send + Sync + 'static {
    /// Takes a batch, in the order in which it happened.
    fn take(&self, batch: Vec<Seen>);
}

/// Where a subject is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everywhere.
    Cluster,
    /// In these namespaces.
    Namespaces(Vec<String>),
}

impl Reach {
    fn places(&self) -> Vec<Option<String>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().cloned().map(Some).collect(),
        }
    }
}

/// What to watch and how.
pub struct Options {
    /// The subjects and where.
    pub subjects: Vec<(Subject, Reach)>,
    /// What the installation decides.
    pub settings: Arc<Settings>,
    /// The key by which the seals of Credentials are checked; without one no entry is believed. A new
    /// key has all Credentials read again.
    pub mac: channel::Receiver<Option<Arc<MacKey>>>,
    /// The first lists begin at a random moment within this time, so that replicas do not ask all at once.
    pub start_within: Duration,
    /// A watch on which nothing has come for so long is taken for dead and begun anew from where it was.
    pub silence: Duration,
    /// What becomes of namespaces that the API server refuses to show.
    pub refusals: Refusals,
}

/// What becomes of a listed namespace that the API server refuses to show (403): somebody there has taken our rights
/// away, or never gave them. After a while it counts as listed and empty, so that the others are served; its watches
/// go on asking. Not at once, since an API server that has just started refuses everything for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// Namespaces without which nothing makes sense: they are waited for.
    pub essential: Vec<String>,
    /// How long one is waited for that was never listed.
    pub unlisted: Duration,
    /// How long what is known of one is still served.
    pub withdrawn: Duration,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            essential: Vec::new(),
            unlisted: Duration::from_secs(15),
            withdrawn: Duration::from_mins(3),
        }
    }
}

impl Refusals {
    /// The usual times, with these namespaces waited for.
    pub fn but_of(essential: Vec<String>) -> Self {
        Self {
            essential,
            ..Self::default()
        }
    }
}

/// The usual [`Options::silence`]: the API server says something at least once a minute.
pub const SILENCE: Duration = Duration::from_secs(100);

/// Running watches; they end when it is dropped.
pub struct Source {
    /// Aborted when dropped.
    tasks: JoinSet<()>,
    broken: CancellationToken,
    health: Vec<Arc<Health>>,
    listed: channel::Receiver<usize>,
}

/// What one watch tells of itself.
struct Health {
    name: String,
    start: Instant,
    /// Milliseconds after `start`.
    heard: AtomicU64,
    listed: AtomicBool,
    /// Its one namespace; `None` for a watch of all.
    namespace: Option<String>,
    /// The API server refuses it, and nobody waits for it.
    refused: AtomicBool,
}

impl Health {
    fn heard_now(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(elapsed, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }
}

/// The first lists did not come in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no complete list yet of {}", waiting.join(", "))]
pub struct NotListed {
    /// Names of the watches that have none.
    pub waiting: Vec<String>,
}

impl Source {
    /// Starts the watches, on the current runtime.
    pub fn start(client: &Client, options: &Options, sink: &Arc<impl Sink>) -> Self {
        let (done, listed) = channel::channel(0);
        let done = Arc::new(done);
        let mut source = Self {
            tasks: JoinSet::new(),
            broken: CancellationToken::new(),
            health: Vec::new(),
            listed,
        };
        for (subject, reach) in &options.subjects {
            for namespace in reach.places() {
                let health = Arc::new(Health {
                    name: watch::name(*subject, namespace.as_deref()),
                    start: Instant::now(),
                    heard: AtomicU64::new(0),
                    listed: false.into(),
                    namespace: namespace.clone(),
                    refused: false.into(),
                });
                source.health.push(health.clone());
                let watch = watch::Watch {
                    client: client.clone(),
                    subject: *subject,
                    namespace,
                    settings: options.settings.clone(),
                    mac: options.mac.clone(),
                    sink: sink.clone(),
                    health,
                    done: done.clone(),
                    silence: options.silence,
                    refusals: options.refusals.clone(),
                };
                let ended = source.broken.clone().drop_guard();
                let running = watch.run(options.start_within);
                source.tasks.spawn(async move {
                    let _ended = ended;
                    running.await;
                });
            }
        }
        source
    }

    /// Waits until every first list is complete.
    ///
    /// # Errors
    /// Which are not, after `deadline`; the watches go on trying.
    pub async fn listed(&self, deadline: Duration) -> Result<(), NotListed> {
        let mut listed = self.listed.clone();
        let all = listed.wait_for(|done| *done == self.health.len());
        match tokio::time::timeout(deadline, all).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.not_listed()),
        }
    }

    /// Whether every first list is complete.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow() == self.health.len()
    }

    fn not_listed(&self) -> NotListed {
        let waiting = self
            .health
            .iter()
            .filter(|health| !health.listed.load(Ordering::Acquire));
        NotListed {
            waiting: waiting.map(|health| health.name.clone()).collect(),
        }
    }

    /// How long ago the quietest watch was last known to be alive, and its name. About a minute is
    /// usual: that is how often the API server says something on a watch that has no events. A watch that is refused
    /// is no old one: what it brought ends by itself.
    pub fn oldest(&self) -> (Duration, &str) {
        let ages = self
            .health
            .iter()
            .filter(|health| !health.refused.load(Ordering::Acquire))
            .map(|health| (health.age(), &*health.name));
        ages.max().unwrap_or((Duration::ZERO, ""))
    }

    /// The namespaces of which the API server refuses to show something.
    pub fn refused(&self) -> BTreeSet<&str> {
        let refused = self.health.iter();
        refused
            .filter(|health| health.refused.load(Ordering::Acquire))
            .filter_map(|health| health.namespace.as_deref())
            .collect()
    }

    /// Resolves when a watch has ended, which none does by itself: a fault of ours, after which what is
    /// known would only grow old.
    pub async fn failed(&self) {
        self.broken.cancelled().await;
    }
}
