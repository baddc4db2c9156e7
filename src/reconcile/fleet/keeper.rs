//! Keeps the objects of Identities: what the installation has of them all, whose turn it is, who repairs too often, and
//! what is taken away when an Identity goes. One pass over one Identity is in `pass`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::build::{Apis, build, possible, service_of_issuer};
use super::compare::{Owner, owner};
use super::pass::{IN_THE_WAY, Pass, Passed, UNWATCHED};
use super::refusals::{Obstacle, Refusals, is_elsewhere, obstacle, tell};
use super::seen::Seen;
use super::{Child, Installation, Objects};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::{ApiError, Precondition};
use crate::resources::{Identity, ManagedKind, ManagedSeen};

/// How long it is believed which kinds the cluster knows.
pub(super) const APIS_FOR: Duration = Duration::from_secs(20);
/// Repairs of one object in a row that are made at once; who undoes them all is an adversary, and is met more slowly.
const QUICK_REPAIRS: u32 = 3;
/// The longest wait before what was undone is repaired again.
const LONGEST_PATIENCE: Duration = Duration::from_mins(5);
/// What fails no longer than this, and may be well at the next look, is not told.
const HICCUP: Duration = Duration::from_secs(10);

/// Keeps the objects of Identities as they should be.
pub struct Fleet {
    pub(super) objects: Objects,
    pub(super) of: Installation,
    pub(super) seen: Mutex<Seen>,
    apis: Mutex<Option<(Apis, Instant)>>,
    repairs: Mutex<HashMap<Child, Repairs>>,
    /// Namespaces in which an Identity's servers could not be given their rights, as people were told.
    refused: Mutex<HashMap<ObjectKey, Refusals>>,
    /// Since when no pass over an Identity has come to its end.
    failing: Mutex<HashMap<ObjectKey, Instant>>,
    /// Held from asking whose turn it is until the workload is written.
    pub(super) turn: tokio::sync::Mutex<Option<Turn>>,
}

/// How often an object was repaired in a row.
#[derive(Clone, Copy, Debug)]
struct Repairs {
    count: u32,
    last: Instant,
}

/// Whose turn it was when it was last asked for: not everybody who waits asks anew.
pub(super) struct Turn {
    pub(super) identity: String,
    pub(super) asked: Instant,
}

/// What could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {1}")]
pub struct FleetError(pub String, #[source] pub ApiError);

impl FleetError {
    /// What people must do about it, if so.
    pub fn problem(&self) -> Option<Problem> {
        let (reason, words) = match &self.1 {
            ApiError::Invalid(words) => (Reason::Invalid, words),
            ApiError::Forbidden(words) => (Reason::Pending, words),
            _ => return None,
        };
        let Self(child, _) = self;
        let message = format!("the API server refuses the {child}: {words}");
        Some(Problem::error(reason, "/spec", message))
    }

    /// What people are told of one that does not go away by itself.
    fn lasting(&self) -> Problem {
        let Self(child, error) = self;
        let message = format!(
            "the {child} is not as it should be, and is tried again and again: {error}. If a webhook or another API server is named, have that mended"
        );
        Problem::error(Reason::Pending, "/spec", message)
    }
}

impl Fleet {
    /// A fleet as the installation says.
    pub fn new(objects: Objects, of: Installation) -> Self {
        Self {
            objects,
            of,
            seen: Mutex::default(),
            apis: Mutex::default(),
            repairs: Mutex::default(),
            refused: Mutex::default(),
            failing: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Takes what a watch tells of an object; the Identity to look at, if that is news.
    pub fn saw(&self, seen: &ManagedSeen) -> Option<ObjectKey> {
        let child = Child {
            kind: seen.kind,
            namespace: seen.namespace.as_deref().map(str::to_owned),
            name: seen.name.to_string(),
        };
        let identity = seen
            .identity
            .as_deref()
            .and_then(|identity| identity.split_once('/'))
            .map(|(namespace, name)| ObjectKey::new(namespace, name));
        lock(&self.seen).saw(&child, seen.version.as_deref(), identity)
    }

    /// The Identities that have objects, those among them that are gone themselves included.
    pub fn identities(&self) -> BTreeSet<ObjectKey> {
        lock(&self.seen).identities()
    }

    /// Brings an Identity's objects to what its spec says.
    pub async fn run(&self, identity: &Identity, now: Timestamp) -> Result<Passed, FleetError> {
        let mut passed = self.attempt(identity, now).await?;
        let since = self.failing_since(&ObjectKey::of(&identity.metadata), passed.failed.is_some());
        if let Some(error) = &passed.failed {
            let lasts = || (since >= HICCUP).then(|| error.lasting());
            passed.problem = passed.problem.or_else(|| error.problem()).or_else(lasts);
        }
        Ok(passed)
    }

    async fn attempt(&self, identity: &Identity, now: Timestamp) -> Result<Passed, FleetError> {
        let apis = self.apis().await?;
        let plan = match build(identity, &self.of, apis) {
            Ok(plan) => plan,
            Err(problem) => return Ok(Passed::blocked(problem)),
        };
        let mut pass = Pass::new(self, identity, &plan, now);
        if !apis.service_monitor && !self.of.monitors.off {
            pass.passed.look_again(UNWATCHED);
        }
        for wanted in &plan.objects {
            let kind = wanted.child.kind;
            if let Err(error) = pass.attend(wanted).await {
                let is_elsewhere = is_elsewhere(&wanted.child, &pass.key);
                let in_the_way = obstacle(&error.1).filter(|_| is_elsewhere);
                if let Some(obstacle) = in_the_way {
                    pass.leave_out(&wanted.child, obstacle);
                } else {
                    pass.failed(error);
                    if !is_elsewhere && comes_before_pods(kind) {
                        return Ok(pass.finish().await);
                    }
                }
            }
            // No pod may run as an account that is somebody else's, nor may that be given rights.
            if pass.passed.problem.is_some() && gives_rights(kind) {
                if kind == ManagedKind::ServiceAccount
                    && let Err(error) = pass.unbind().await
                {
                    pass.failed(error);
                }
                return Ok(pass.finish().await);
            }
        }
        if let Some(problem) = &plan.left_out {
            // What was missing may have come without a word.
            pass.passed.look_again(APIS_FOR);
            pass.passed.problem.get_or_insert_with(|| problem.clone());
        }
        self.tell_of_refusals(&mut pass);
        if let Err(error) = pass.clear().await {
            pass.failed(error);
        }
        Ok(pass.finish().await)
    }

    /// For how long no pass over an Identity has come to its end.
    fn failing_since(&self, identity: &ObjectKey, has_failed: bool) -> Duration {
        let mut failing = lock(&self.failing);
        if has_failed {
            let now = Instant::now();
            let since = *failing.entry(identity.clone()).or_insert(now);
            now.duration_since(since)
        } else {
            failing.remove(identity);
            Duration::ZERO
        }
    }

    /// Takes away everything that an Identity has of us: it is served otherwise now. Not so where its issuer is the Service
    /// of its own pods, and nobody else's stands there: nothing would answer any more.
    pub async fn clear(&self, identity: &Identity) -> Result<Passed, FleetError> {
        let uid = identity.metadata.uid.as_deref().unwrap_or_default();
        let key = ObjectKey::of(&identity.metadata);
        if let Some(service) = service_of_issuer(&key, identity) {
            let live = self.objects.get(&service).await;
            let live = live.map_err(|error| FleetError(service.to_string(), error))?;
            let role = &self.of.server_cluster_role;
            if live.is_none_or(|live| owner(&live, &key, uid, role) != Owner::Other) {
                return Ok(Passed {
                    problem: Some(needed(&service)),
                    // No watch tells of somebody else's.
                    again: Some(IN_THE_WAY),
                    ..Passed::default()
                });
            }
        }
        self.remove_all(self.candidates(&key), &key, uid).await?;
        self.forget(&key);
        Ok(Passed::default())
    }

    /// Takes away what an Identity that is gone has left outside its namespace: owner references reach no further.
    pub async fn sweep(&self, identity: &ObjectKey) -> Result<(), FleetError> {
        self.forget(identity);
        let left = lock(&self.seen).of(identity);
        let own = Some(&*identity.namespace);
        let elsewhere = left
            .into_iter()
            .filter(|child| child.namespace.as_deref() != own);
        self.remove_all(elsewhere, identity, "").await
    }

    fn forget(&self, identity: &ObjectKey) {
        lock(&self.refused).remove(identity);
        lock(&self.failing).remove(identity);
    }

    pub(super) fn candidates(&self, identity: &ObjectKey) -> BTreeSet<Child> {
        let seen = lock(&self.seen);
        let possible = possible(identity, &self.of).into_iter();
        possible
            .filter(|child| seen.may_be_there(child))
            .chain(seen.of(identity))
            .collect()
    }

    /// Deletes objects of an Identity. What stands in the way of one keeps none of the others; the first such is told.
    pub(super) async fn remove_all(
        &self,
        children: impl IntoIterator<Item = Child>,
        key: &ObjectKey,
        uid: &str,
    ) -> Result<(), FleetError> {
        let mut removed = Ok(());
        for child in children {
            let one = self.remove(&child, key, uid).await;
            removed = removed.and(one);
        }
        removed
    }

    /// Deletes an object of an Identity, if that is what it is. Where somebody else's namespace does not let us, it stays:
    /// the rest goes all the same.
    async fn remove(&self, child: &Child, key: &ObjectKey, uid: &str) -> Result<(), FleetError> {
        match self.delete(child, key, uid).await {
            Err(error)
                if is_elsewhere(child, key) && obstacle(&error.1) == Some(Obstacle::Refused) =>
            {
                warn!(%child, "not deleted: the API server refuses it");
                Ok(())
            }
            deleted => deleted,
        }
    }

    async fn delete(&self, child: &Child, key: &ObjectKey, uid: &str) -> Result<(), FleetError> {
        let failed = |error| FleetError(child.to_string(), error);
        let live = match self.objects.get(child).await {
            Ok(live) => live,
            // A kind that this cluster does not know, or that we may not touch: none of it is ours.
            Err(ApiError::Unavailable(_) | ApiError::Forbidden(_)) if !child.kind.is_built_in() => {
                None
            }
            Err(error) => return Err(failed(error)),
        };
        let role = &self.of.server_cluster_role;
        let ours = live.filter(|live| owner(live, key, uid, role) == Owner::Ours);
        if let Some(live) = ours {
            match self.objects.delete(child, &only(&live)).await {
                Ok(()) => info!(%child, "deleted: nobody wants it any more"),
                Err(ApiError::NotFound) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        lock(&self.seen).found_absent(child);
        Ok(())
    }

    fn tell_of_refusals(&self, pass: &mut Pass<'_>) {
        let now = std::mem::take(&mut pass.refused);
        let told = tell(&now, &pass.key);
        let mut refused = lock(&self.refused);
        let before = if now.is_empty() {
            refused.remove(&pass.key)
        } else {
            refused.insert(pass.key.clone(), now.clone())
        };
        if before != Some(now) {
            pass.passed.newly_refused = told;
        }
    }

    async fn apis(&self) -> Result<Apis, FleetError> {
        let known = *lock(&self.apis);
        if let Some((apis, until)) = known
            && Instant::now() < until
        {
            return Ok(apis);
        }
        let asked = self.objects.apis().await;
        let apis = asked.map_err(|error| FleetError("list of API groups".to_owned(), error))?;
        *lock(&self.apis) = Some((apis, Instant::now() + APIS_FOR));
        Ok(apis)
    }

    /// How long to wait before an object is repaired once more; counts the repair if that is now.
    pub(super) fn patience(&self, child: &Child) -> Option<Duration> {
        let mut repairs = lock(&self.repairs);
        let now = Instant::now();
        let entry = repairs.entry(child.clone()).or_insert(Repairs {
            count: 0,
            last: now,
        });
        if now.duration_since(entry.last) > LONGEST_PATIENCE * 2 {
            entry.count = 0;
        }
        let doublings = entry.count.saturating_sub(QUICK_REPAIRS).min(9);
        let pause = if entry.count < QUICK_REPAIRS {
            Duration::ZERO
        } else {
            (Duration::from_secs(1) * (1 << doublings)).min(LONGEST_PATIENCE)
        };
        let since = now.duration_since(entry.last);
        if since < pause {
            return Some(pause.saturating_sub(since));
        }
        *entry = Repairs {
            count: entry.count + 1,
            last: now,
        };
        None
    }
}

/// Whether pods are what they are by objects of this kind.
const fn gives_rights(kind: ManagedKind) -> bool {
    matches!(
        kind,
        ManagedKind::ServiceAccount
            | ManagedKind::Role
            | ManagedKind::RoleBinding
            | ManagedKind::ClusterRoleBinding
    )
}

/// Whether no pods are made or changed without objects of this kind: their rights, and what else makes them safe to run.
fn comes_before_pods(kind: ManagedKind) -> bool {
    kind < ManagedKind::Deployment
}

/// Whoever knows the issuer asks this Service, which would go with the Identity's pods.
fn needed(service: &Child) -> Problem {
    let message = format!(
        "the issuer is the {service} of the Identity's own pods, and mode: Embedded has none: go back to mode: Deployment, or delete that Service and create one of your own under the name, which selects the operator's pods"
    );
    Problem::error(Reason::Pending, "/spec/mode", message)
}

pub(super) fn only(live: &Value) -> Precondition {
    let field = |name: &str| {
        live["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Precondition {
        uid: field("uid"),
        resource_version: field("resourceVersion"),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
