//! Turns watches of the Kubernetes API into changes of the directory.
//!
//! Each watch is one task. It lists all objects once (as a stream if the API server supports it, else in pages) and
//! then follows their changes. It passes on all arrived changes in one batch: there is no debounce, and no copy
//! of the objects is kept. Objects are decoded one by one while a response arrives ([`crate::json_stream`]). A watch
//! that lists again also reports which objects were deleted in the meantime. While the API server is unreachable, the
//! last known objects stay; [`Source::oldest`] returns the age of the data. A namespace that the API server denies
//! access to affects no other namespace: [`Refusals`].
//!
//! Not here: writes, decisions, and kube's `watcher`, which hides the bookmarks that show that a quiet watch is alive.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

mod answer;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod known;
mod obstacle;
mod raw;
mod watch;
mod watched_kind;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::obstacle::WatchObstacle;
pub use self::watched_kind::WatchedKind;
use crate::directory::{Change, ObjectKey, Settings};
use crate::json_stream::Framing;
use crate::kube_call::Client;
use crate::lock::lock;
use crate::resources::{Kind, ManagedSeen, OwnerKind};
use crate::tokens::MacKey;

/// One change that a watch received.
#[derive(Clone, Debug)]
pub enum WatchChange {
    /// A change to the directory.
    Object {
        /// The change.
        change: Change,
        /// The object's `resourceVersion`; empty if only its absence was seen.
        version: Box<str>,
    },
    /// A change of a Secret with one of our labels.
    Secret(SecretSeen),
    /// A change of an object that the operator created for an Identity.
    Managed(ManagedSeen),
}

/// A change of a Secret with one of our labels, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSeen {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its `resourceVersion`; empty if only its absence was seen.
    pub version: Box<str>,
    /// The kind and name of its controller, if that may own Secrets, or of the client that an imported Secret is for.
    pub controller: Option<(OwnerKind, Box<str>)>,
    /// Whether it was deleted.
    pub gone: bool,
}

/// Receives changes. Several tasks call it; a batch is everything that has arrived.
pub trait Sink: Send + Sync + 'static {
    /// Takes a batch, in the order of the changes.
    fn take(&self, batch: Vec<WatchChange>);
}

/// The namespaces in which a kind is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All namespaces.
    Cluster,
    /// These namespaces.
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

/// The options of the watches.
pub struct Options {
    /// The kinds to watch and their namespaces.
    pub watched_kinds: Vec<(WatchedKind, Reach)>,
    /// The settings of the installation.
    pub settings: Arc<Settings>,
    /// The key that verifies the seals of Credentials; without it no entry is valid. After a change of the key all
    /// Credentials are read again.
    pub mac: channel::Receiver<Option<Arc<MacKey>>>,
    /// The first lists begin at a random time within this period, so that replicas do not list all at once.
    pub start_within: Duration,
    /// A watch that received nothing for this time counts as dead, and lists again.
    pub silence: Duration,
    /// How to handle namespaces that the API server denies access to.
    pub refusals: Refusals,
}

/// How to handle a configured namespace that the API server denies access to (403), because rights were removed or
/// never granted there. After a while it counts as listed and empty, so that the other namespaces are served; its
/// watches keep trying. Not at once: an API server that has just started denies everything for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// Essential namespaces. They never count as empty: the watches wait for access.
    pub essential: Vec<String>,
    /// How long to wait for a namespace that was never listed.
    pub unlisted: Duration,
    /// How long the known objects of a namespace are still served.
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
    /// Returns the default times, with these essential namespaces.
    pub fn but_of(essential: Vec<String>) -> Self {
        Self {
            essential,
            ..Self::default()
        }
    }
}

/// The default of [`Options::silence`]: the API server sends an event or a bookmark about once a minute.
pub const SILENCE: Duration = Duration::from_secs(100);

/// The running watches. They end when it is dropped.
pub struct Source {
    /// Aborted when dropped.
    tasks: JoinSet<()>,
    broken: CancellationToken,
    health: Vec<Arc<Health>>,
    listed: channel::Receiver<usize>,
}

/// The state that one watch reports.
struct Health {
    name: String,
    start: Instant,
    /// When the watch was last heard from, in milliseconds after `start`.
    heard: AtomicU64,
    listed: AtomicBool,
    /// Its namespace; `None` for a watch of all namespaces.
    namespace: Option<String>,
    /// Whether the API server denies access. Then the watch's age does not count.
    refused: AtomicBool,
    /// What the last try lacked.
    obstacle: Mutex<Option<WatchObstacle>>,
}

impl Health {
    fn heard_now(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(elapsed, Ordering::Relaxed);
    }

    /// Records what a try lacked, or that it lacked nothing. Returns whether that is new.
    fn lacks(&self, obstacle: Option<&WatchObstacle>) -> bool {
        let mut known = lock(&self.obstacle);
        let is_new = known.as_ref() != obstacle;
        if is_new {
            *known = obstacle.cloned();
        }
        is_new
    }

    fn lacked(&self) -> Option<WatchObstacle> {
        lock(&self.obstacle).clone()
    }

    fn age(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }
}

/// The first lists were not complete in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no complete list yet of {}", [&[waiting.join(", ")], &obstacles[..]].concat().join("; "))]
pub struct NotListed {
    /// The names of the watches whose list is not complete.
    pub waiting: Vec<String>,
    /// What they lack, and how to supply it.
    pub obstacles: Vec<String>,
}

impl Source {
    /// Starts the watches on the current runtime.
    pub fn start(client: &Client, options: &Options, sink: &Arc<impl Sink>) -> Self {
        let (done, listed) = channel::channel(0);
        let done = Arc::new(done);
        let mut source = Self {
            tasks: JoinSet::new(),
            broken: CancellationToken::new(),
            health: Vec::new(),
            listed,
        };
        for (watched_kind, reach) in &options.watched_kinds {
            for namespace in reach.places() {
                let health = Arc::new(Health {
                    name: watch::name(*watched_kind, namespace.as_deref()),
                    start: Instant::now(),
                    heard: AtomicU64::new(0),
                    listed: false.into(),
                    namespace: namespace.clone(),
                    refused: false.into(),
                    obstacle: Mutex::default(),
                });
                source.health.push(health.clone());
                let watch = watch::Watch {
                    client: client.clone(),
                    watched_kind: *watched_kind,
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
    /// Returns the watches without a complete list after `deadline`. They keep trying.
    pub async fn listed(&self, deadline: Duration) -> Result<(), NotListed> {
        let mut listed = self.listed.clone();
        let all = listed.wait_for(|done| *done == self.health.len());
        match tokio::time::timeout(deadline, all).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.not_listed()),
        }
    }

    /// Returns what is missing while a first list is incomplete.
    pub fn missing(&self) -> Option<NotListed> {
        (!self.is_listed()).then(|| self.not_listed())
    }

    /// Returns whether every first list is complete.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow() == self.health.len()
    }

    fn not_listed(&self) -> NotListed {
        let waiting = self.health.iter();
        let waiting = waiting.filter(|health| !health.listed.load(Ordering::Acquire));
        let obstacles = waiting.clone().filter_map(|health| health.lacked());
        NotListed {
            obstacles: obstacle::summary(obstacles.collect()),
            waiting: waiting.map(|health| health.name.clone()).collect(),
        }
    }

    /// Returns how long ago the quietest watch was last heard from, and its name. About a minute is usual, since the
    /// API server sends bookmarks that often on a watch without events. Watches without access do not count: their
    /// objects are dropped after [`Refusals::withdrawn`].
    pub fn oldest(&self) -> (Duration, &str) {
        let ages = self
            .health
            .iter()
            .filter(|health| !health.refused.load(Ordering::Acquire))
            .map(|health| (health.age(), &*health.name));
        ages.max().unwrap_or((Duration::ZERO, ""))
    }

    /// Returns the namespaces that the API server denies access to, at least in part.
    pub fn refused(&self) -> BTreeSet<&str> {
        let refused = self.health.iter();
        refused
            .filter(|health| health.refused.load(Ordering::Acquire))
            .filter_map(|health| health.namespace.as_deref())
            .collect()
    }

    /// Resolves when a watch has ended. That is a bug, since watches never end: the data would no longer be updated.
    pub async fn failed(&self) {
        self.broken.cancelled().await;
    }
}

/// Reads an Identity and returns what keeps it from being read; `None` if it can be read, or if the API server does not
/// answer.
pub async fn obstacle_to(client: &Client, identity: &ObjectKey) -> Option<WatchObstacle> {
    let watched_kind = WatchedKind::Kind(Kind::Identity);
    let request = watched_kind.one(identity).ok()?;
    let answer =
        answer::ObjectResponse::open(client, request, Framing::Object, watched_kind.keep()).await;
    answer
        .err()
        .and_then(|error| WatchObstacle::of_identity(identity, &error))
}
