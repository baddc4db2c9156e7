//! The part of an Identity's pass that runs its servers: its own pods, the operator's pods, or none.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Controller, ReconcileError, now};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::fleet::{Fleet, FleetError, FleetOutcome, ObstacleEvent};
use crate::reconcile::report::events::{EventReason, Notice};
use crate::reconcile::work::Work;
use crate::reconcile::work::queue::Why;
use crate::resources::{Identity, Kind, ManagedSeen, Mode};

/// Which pods serve Identities.
#[derive(Clone, Default)]
pub enum Serving {
    /// None of this installation's, as in dev mode: the controller ignores them.
    #[default]
    Elsewhere,
    /// This installation.
    Here {
        /// Runs pods; `None` if users run `symbolon serve` themselves.
        fleet: Option<Arc<Fleet>>,
        /// The Identity that the operator's own pods serve.
        embedded: Option<EmbeddedIdentity>,
    },
}

/// An Identity that this process serves.
#[derive(Clone)]
pub struct EmbeddedIdentity {
    identity: ObjectKey,
    not_ready: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl EmbeddedIdentity {
    /// Creates an embedded Identity. `not_ready` returns why the Identity is not served at the moment, if so.
    pub fn new(
        identity: ObjectKey,
        not_ready: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            identity,
            not_ready: Arc::new(not_ready),
        }
    }
}

impl Serving {
    pub(super) fn fleet(&self) -> Option<&Fleet> {
        match self {
            Self::Elsewhere => None,
            Self::Here { fleet, .. } => fleet.as_deref(),
        }
    }
}

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Sets which pods serve Identities.
    #[must_use]
    pub fn served(mut self, serving: Serving) -> Self {
        self.serving = serving;
        self
    }

    /// Queues the Identity of a managed object that differs from what the operator last applied.
    pub fn managed_changed(&self, seen: &ManagedSeen) {
        let identity = self.serving.fleet().and_then(|fleet| fleet.saw(seen));
        if let Some(identity) = identity.filter(|it| self.agenda.leads() && self.is_ours(it)) {
            self.agenda
                .queue
                .add(Work::Object(Kind::Identity, identity), Why::Must);
        }
    }

    /// Queues Identities that were deleted while no operator watched and whose objects remain.
    pub(super) fn lead_pods(&self) {
        let directory = self.directory();
        let known = self.serving.fleet().map(Fleet::identities);
        for identity in known.into_iter().flatten() {
            if directory.identity(&identity).is_none() && self.is_ours(&identity) {
                self.agenda
                    .queue
                    .add(Work::Object(Kind::Identity, identity), Why::Must);
            }
        }
    }

    /// Whether this installation accepts Identities of the namespace. Other namespaces may belong to another
    /// installation.
    fn is_ours(&self, identity: &ObjectKey) -> bool {
        let directory = self.directory();
        directory
            .settings()
            .accepts_identities_of(&identity.namespace)
    }

    /// Deletes the objects of a deleted Identity that are outside its namespace.
    pub(super) async fn sweep_pods(&self, identity: &ObjectKey) -> Result<(), ReconcileError> {
        match self.serving.fleet() {
            Some(fleet) => Ok(fleet.sweep(identity).await?),
            None => Ok(()),
        }
    }

    /// Runs the pods of an accepted Identity with keys. A fault that someone can fix is returned as a problem, beside
    /// the error.
    pub(super) async fn pods(&self, live: &Value) -> (Option<FleetOutcome>, Option<FleetError>) {
        let Ok(identity) = Identity::deserialize(live) else {
            return (None, None);
        };
        let passed = match (&self.serving, identity.spec.mode) {
            (Serving::Elsewhere, _) | (Serving::Here { fleet: None, .. }, Mode::Deployment) => {
                Ok(FleetOutcome::default())
            }
            (
                Serving::Here {
                    fleet: Some(fleet), ..
                },
                Mode::Deployment,
            ) => fleet.run(&identity, now()).await,
            (Serving::Here { fleet, embedded }, Mode::Embedded) => {
                self::embedded(&identity, fleet.as_deref(), embedded.as_ref()).await
            }
        };
        match passed {
            Ok(mut passed) => {
                self.tell(live, &passed);
                let failed = passed.failed.take();
                // A passing fault is not reported: the status stays.
                let is_told = failed.is_none() || passed.problem.is_some();
                (is_told.then_some(passed), failed)
            }
            Err(error) => {
                let passed = error.problem().map(|problem| FleetOutcome {
                    problem: Some(problem),
                    ..FleetOutcome::default()
                });
                (passed, Some(error))
            }
        }
    }

    /// Publishes events about what began with this pass.
    fn tell(&self, live: &Value, passed: &FleetOutcome) {
        if passed.has_begun {
            let note = "The operator is rolling out the Identity's pods.".to_owned();
            self.notices
                .publish(Notice::new(live, EventReason::RollingOut, false, note));
        }
        for ObstacleEvent { action, note } in &passed.newly_refused {
            let notice = Notice::new(live, EventReason::Refused, true, note.clone());
            self.notices.publish(notice.by(action));
        }
        let conflict = passed
            .problem
            .as_ref()
            .filter(|problem| problem.reason == Reason::ValueConflict);
        let conditions = live["status"]["conditions"].as_array();
        let is_told = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["reason"] == Reason::ValueConflict.as_str());
        if let Some(problem) = conflict.filter(|_| !is_told) {
            let note = problem.message.clone();
            self.notices
                .publish(Notice::new(live, EventReason::Conflict, true, note));
        }
    }
}

/// When to check again whether the server in this process is ready.
const SERVED_SOON: Duration = Duration::from_secs(1);

/// Serves the Identity by the operator's own pods if the installation says so, and deletes the Identity's pods then.
async fn embedded(
    identity: &Identity,
    fleet: Option<&Fleet>,
    server: Option<&EmbeddedIdentity>,
) -> Result<FleetOutcome, FleetError> {
    let key = ObjectKey::of(&identity.metadata);
    let Some(server) = server.filter(|server| server.identity == key) else {
        let message = format!(
            "the operator's pods do not serve this Identity: start the operator with --embedded-identity {key} (SYMBOLON_EMBEDDED_IDENTITY), or set spec.mode: Deployment"
        );
        return Ok(FleetOutcome {
            problem: Some(Problem::error(Reason::Pending, "/spec/mode", message)),
            ..FleetOutcome::default()
        });
    };
    let mut passed = match fleet {
        Some(fleet) => fleet.clear(identity).await?,
        None => FleetOutcome::default(),
    };
    if let Some(why) = (server.not_ready)() {
        let message = format!("the operator's pods do not serve this Identity yet: {why}");
        let problem = || Problem::error(Reason::RollingOut, "", message);
        passed.problem.get_or_insert_with(problem);
        passed.repeat_within(SERVED_SOON);
    }
    Ok(passed)
}

/// Returns when the Identity must be reconciled again.
pub(super) fn until(passed: &FleetOutcome) -> Option<jiff::Timestamp> {
    let wait = SignedDuration::try_from(passed.again?).ok()?;
    now().checked_add(wait).ok()
}
