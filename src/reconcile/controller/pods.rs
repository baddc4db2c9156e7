//! The part of a look at an Identity that has it run: by pods of its own, by the operator's, or by somebody else.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Controller, LookError, now};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::events::Notice;
use crate::reconcile::fleet::{Fleet, FleetError, Passed, Refusal};
use crate::reconcile::queue::Why;
use crate::reconcile::report::Reports;
use crate::reconcile::work::Work;
use crate::resources::{Identity, Kind, ManagedSeen, Mode};

/// Who serves Identities.
#[derive(Clone, Default)]
pub enum Serving {
    /// Somebody else, as dev mode does: it is none of the controller's business.
    #[default]
    Elsewhere,
    /// This installation.
    Here {
        /// Runs pods; without one somebody runs `symbolon serve`.
        fleet: Option<Arc<Fleet>>,
        /// The Identity that the operator's own pods serve.
        embedded: Option<Embedded>,
    },
}

/// An Identity that this very process serves.
#[derive(Clone)]
pub struct Embedded {
    identity: ObjectKey,
    not_ready: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Embedded {
    /// `not_ready` says why it is not served at the moment, if so.
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
    /// Says who serves Identities.
    #[must_use]
    pub fn served(mut self, serving: Serving) -> Self {
        self.serving = serving;
        self
    }

    /// Queues the Identity of an object that is not as it was left.
    pub fn managed_changed(&self, seen: &ManagedSeen) {
        let identity = self.serving.fleet().and_then(|fleet| fleet.saw(seen));
        if let Some(identity) = identity.filter(|it| self.is_active() && self.is_ours(it)) {
            self.queue
                .add(Work::Object(Kind::Identity, identity), Why::Must);
        }
    }

    /// Queues Identities that went while nobody looked and have left something.
    pub(super) fn lead_pods(&self) {
        let directory = self.directory();
        let known = self.serving.fleet().map(Fleet::identities);
        for identity in known.into_iter().flatten() {
            if directory.identity(&identity).is_none() && self.is_ours(&identity) {
                self.queue
                    .add(Work::Object(Kind::Identity, identity), Why::Must);
            }
        }
    }

    /// Another installation may have Identities elsewhere.
    fn is_ours(&self, identity: &ObjectKey) -> bool {
        let directory = self.directory();
        directory
            .settings()
            .accepts_identities_of(&identity.namespace)
    }

    /// An Identity is gone: so is what it has outside its namespace.
    pub(super) async fn sweep_pods(&self, identity: &ObjectKey) -> Result<(), LookError> {
        match self.serving.fleet() {
            Some(fleet) => Ok(fleet.sweep(identity).await?),
            None => Ok(()),
        }
    }

    /// Has an accepted Identity with keys run. What goes wrong and somebody can mend comes as a problem, beside the
    /// error.
    pub(super) async fn pods(&self, live: &Value) -> (Option<Passed>, Option<FleetError>) {
        let Ok(identity) = Identity::deserialize(live) else {
            return (None, None);
        };
        let passed = match (&self.serving, identity.spec.mode) {
            (Serving::Elsewhere, _) | (Serving::Here { fleet: None, .. }, Mode::Deployment) => {
                Ok(Passed::default())
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
                // A hiccup is not told: what was told before stays.
                let is_told = failed.is_none() || passed.problem.is_some();
                (is_told.then_some(passed), failed)
            }
            Err(error) => {
                let passed = error.problem().map(|problem| Passed {
                    problem: Some(problem),
                    ..Passed::default()
                });
                (passed, Some(error))
            }
        }
    }

    /// What began with this pass, as events.
    fn tell(&self, live: &Value, passed: &Passed) {
        if passed.has_begun {
            let note = "its pods are being rolled out".to_owned();
            self.notices
                .publish(Notice::new(live, "RollingOut", false, note));
        }
        for Refusal { action, note } in &passed.newly_refused {
            let notice = Notice::new(live, "Refused", true, note.clone());
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
                .publish(Notice::new(live, "Conflict", true, note));
        }
    }
}

/// For a server in this process to be ready.
const SERVED_SOON: Duration = Duration::from_secs(1);

/// The operator's pods serve it where the installation says so, and those of its own go then.
async fn embedded(
    identity: &Identity,
    fleet: Option<&Fleet>,
    server: Option<&Embedded>,
) -> Result<Passed, FleetError> {
    let key = ObjectKey::of(&identity.metadata);
    let Some(server) = server.filter(|server| server.identity == key) else {
        let message = format!(
            "the operator's pods do not serve this Identity: start the operator with --embedded-identity {key} (SYMBOLON_EMBEDDED_IDENTITY), or set mode: Deployment"
        );
        return Ok(Passed {
            problem: Some(Problem::error(Reason::Pending, "/spec/mode", message)),
            ..Passed::default()
        });
    };
    let mut passed = match fleet {
        Some(fleet) => fleet.clear(identity).await?,
        None => Passed::default(),
    };
    if let Some(why) = (server.not_ready)() {
        let message = format!("the operator's pods do not serve it yet: {why}");
        let problem = || Problem::error(Reason::RollingOut, "", message);
        passed.problem.get_or_insert_with(problem);
        passed.look_again(SERVED_SOON);
    }
    Ok(passed)
}

/// The moment after which something must be looked at again.
pub(super) fn until(passed: &Passed) -> Option<jiff::Timestamp> {
    let wait = SignedDuration::try_from(passed.again?).ok()?;
    now().checked_add(wait).ok()
}
