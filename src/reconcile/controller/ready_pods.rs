//! The number of ready pods of each Identity, as the last pass over it saw them. The metric comes from here, because a
//! server that is gone, or dies at start, has no series that an alert could read.

use std::collections::BTreeMap;

use crate::directory::ObjectKey;
use crate::reconcile::fleet::FleetOutcome;

/// The pods of an Identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyPods {
    /// The number of ready pods.
    pub ready: i64,
    /// The number of wanted pods.
    pub wanted: i64,
}

/// The pods by Identity. A pass that cannot count the pods keeps the known numbers.
#[derive(Default)]
pub(super) struct AllReadyPods(BTreeMap<ObjectKey, ReadyPods>);

impl AllReadyPods {
    /// Returns the pods of each Identity that has its own.
    pub(super) fn all(&self) -> Vec<(String, ReadyPods)> {
        let all = self.0.iter();
        all.map(|(identity, pods)| (identity.to_string(), *pods))
            .collect()
    }

    /// Records the pods of an Identity after a pass; `None` if the Identity is gone or not served.
    pub(super) fn note(&mut self, identity: &ObjectKey, passed: Option<&FleetOutcome>) {
        match passed.map(|passed| (&passed.rollout, passed.missing, &passed.problem)) {
            Some((Some(rollout), ..)) => {
                let pods = ReadyPods {
                    ready: rollout.ready,
                    wanted: rollout.wanted,
                };
                self.0.insert(identity.clone(), pods);
            }
            Some((None, Some(wanted), _)) => {
                self.0
                    .insert(identity.clone(), ReadyPods { ready: 0, wanted });
            }
            // Because of a problem the pass did not see the pods: the known numbers stay.
            Some((None, None, Some(_))) => {}
            Some((None, None, None)) | None => drop(self.0.remove(identity)),
        }
    }
}
