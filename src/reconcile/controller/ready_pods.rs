//! How many pods of each Identity are ready, as the last look at them had it. For metrics: a server that is gone, or dies
//! before it says anything, has no series of its own that an alert could ask for.

use std::collections::BTreeMap;

use super::{Controller, lock};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::fleet::Passed;
use crate::reconcile::report::Reports;

/// Pods of an Identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyPods {
    /// As many are ready.
    pub ready: i64,
    /// As many should be there.
    pub wanted: i64,
}

/// By Identity. What was known stays where a look could not tell.
pub(super) type AllReadyPods = BTreeMap<ObjectKey, ReadyPods>;

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Pods of each Identity that has some of its own.
    pub fn ready_pods(&self) -> Vec<(String, ReadyPods)> {
        let known = lock(&self.ready_pods);
        let told = known.iter();
        told.map(|(identity, pods)| (identity.to_string(), *pods))
            .collect()
    }

    /// A look at an Identity's pods came to its end; `None`: the Identity is gone, or is not served.
    pub(super) fn note_pods(&self, identity: &ObjectKey, passed: Option<&Passed>) {
        let mut known = lock(&self.ready_pods);
        match passed.map(|passed| (&passed.rollout, passed.missing, &passed.problem)) {
            Some((Some(rollout), ..)) => {
                let pods = ReadyPods {
                    ready: rollout.ready,
                    wanted: rollout.wanted,
                };
                known.insert(identity.clone(), pods);
            }
            Some((None, Some(wanted), _)) => {
                known.insert(identity.clone(), ReadyPods { ready: 0, wanted });
            }
            // Something is in the way: the pods are what they were.
            Some((None, None, Some(_))) => {}
            Some((None, None, None)) | None => drop(known.remove(identity)),
        }
    }
}
