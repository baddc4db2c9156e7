//! The state shared by all passes over Identities: the installation's settings, the order of upgrades, the back-off of
//! repairs, and deletion when an Identity goes. Not here: the passes, in `pass`, and their order, in `drive`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::build::{Apis, possible};
use super::compare::{Owner, owner};
use super::obstacles::{BindingObstacle, Obstacles, is_elsewhere, obstacle};
use super::seen::SeenObjects;
use super::{Child, Installation, Objects};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::lock::lock;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::resources::ManagedSeen;

/// How long the list of kinds that the cluster has is cached.
pub(super) const APIS_FOR: Duration = Duration::from_secs(20);
/// Consecutive repairs of one object that are made at once. Someone who undoes them all is in conflict with the
/// operator, and later repairs back off.
const QUICK_REPAIRS: u32 = 3;
/// The longest back-off before a repair.
const LONGEST_PATIENCE: Duration = Duration::from_mins(5);
/// Keeps the objects of Identities as they should be.
pub struct Fleet {
    pub(super) objects: Objects,
    pub(super) of: Installation,
    pub(super) seen: Mutex<SeenObjects>,
    apis: Mutex<Option<(Apis, Instant)>>,
    repairs: Mutex<HashMap<Child, Repairs>>,
    /// Namespaces in which an Identity's servers could not get their rights, as last reported.
    pub(super) refused: Mutex<HashMap<ObjectKey, Obstacles>>,
    /// Since when no pass over an Identity succeeded.
    failing: Mutex<HashMap<ObjectKey, Instant>>,
    /// Locked from the decision about an upgrade until the workload is written.
    pub(super) turn: tokio::sync::Mutex<Option<UpgradeTurn>>,
}

/// The consecutive repairs of an object.
#[derive(Clone, Copy, Debug)]
struct Repairs {
    count: u32,
    last: Instant,
}

/// Which Identity was being upgraded when last checked, so that not every waiting pass checks again.
pub(super) struct UpgradeTurn {
    pub(super) identity: String,
    pub(super) asked: Instant,
}

/// A failed request: its object and the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {1}")]
pub struct FleetError(pub String, #[source] pub ApiError);

impl FleetError {
    /// Returns what people must do about it, if anything.
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

    /// Returns the problem to report for an error that does not go away by itself.
    pub(super) fn lasting(&self) -> Problem {
        let Self(child, error) = self;
        let message = format!(
            "the operator cannot read or write the {child} and keeps retrying: {error}; if the error names a webhook or another API server, that must be repaired"
        );
        Problem::error(Reason::Pending, "/spec", message)
    }
}

impl Fleet {
    /// Creates a fleet with the installation's settings.
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

    /// Records a report by a watch. Returns the Identity to reconcile, if the report is news.
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

    /// Returns the Identities that have objects, including deleted ones.
    pub fn identities(&self) -> BTreeSet<ObjectKey> {
        lock(&self.seen).identities()
    }

    /// Returns for how long no pass over an Identity has succeeded.
    pub(super) fn failing_since(&self, identity: &ObjectKey, has_failed: bool) -> Duration {
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

    /// Deletes what a deleted Identity has left outside its namespace, where owner references do not reach.
    pub async fn sweep(&self, identity: &ObjectKey) -> Result<(), FleetError> {
        self.forget(identity);
        let left = lock(&self.seen).of(identity);
        let own = Some(&*identity.namespace);
        let elsewhere = left
            .into_iter()
            .filter(|child| child.namespace.as_deref() != own);
        self.remove_all(elsewhere, identity, "").await
    }

    pub(super) fn forget(&self, identity: &ObjectKey) {
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

    /// Deletes objects of an Identity. Goes on after an error, and returns the first one.
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

    /// Deletes an object if it belongs to the Identity. If the API server refuses that in another namespace, the object
    /// stays, and the others are deleted.
    async fn remove(&self, child: &Child, key: &ObjectKey, uid: &str) -> Result<(), FleetError> {
        match self.delete(child, key, uid).await {
            Err(error)
                if is_elsewhere(child, key)
                    && obstacle(&error.1) == Some(BindingObstacle::Refused) =>
            {
                warn!(%child, "the API server refuses to delete the object, it stays");
                Ok(())
            }
            deleted => deleted,
        }
    }

    async fn delete(&self, child: &Child, key: &ObjectKey, uid: &str) -> Result<(), FleetError> {
        let failed = |error| FleetError(child.to_string(), error);
        let live = match self.objects.get(child).await {
            Ok(live) => live,
            // If the cluster does not have the kind, or the operator may not access it, the operator has created none
            // of it.
            Err(ApiError::Unavailable(_) | ApiError::Forbidden(_)) if !child.kind.is_built_in() => {
                None
            }
            Err(error) => return Err(failed(error)),
        };
        let role = &self.of.server_cluster_role;
        let ours = live.filter(|live| owner(live, key, uid, role) == Owner::Ours);
        if let Some(live) = ours {
            match self.objects.delete(child, &only(&live)).await {
                Ok(()) => info!(%child, "deleted an object that is no longer wanted"),
                Err(ApiError::NotFound) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        lock(&self.seen).found_absent(child);
        Ok(())
    }

    pub(super) async fn apis(&self) -> Result<Apis, FleetError> {
        let known = *lock(&self.apis);
        if let Some((apis, until)) = known
            && Instant::now() < until
        {
            return Ok(apis);
        }
        let asked = self.objects.apis().await;
        let apis = asked.map_err(|error| FleetError("the list of API groups".to_owned(), error))?;
        *lock(&self.apis) = Some((apis, Instant::now() + APIS_FOR));
        Ok(apis)
    }

    /// Returns how long to wait before an object is repaired again; `None` if it may be repaired now. Counts that
    /// repair.
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
