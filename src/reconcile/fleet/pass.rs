//! One pass over an Identity's objects: gathers, compares and applies each, then reads how far its pods are.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Child;
use super::build::{Wanted, WantedObjects, database, egress};
use super::compare::{ObjectAction, action, annotation};
use super::keeper::{APIS_FOR, Fleet, FleetError, UpgradeTurn, only};
use super::mounted::{missing_certificate, unusable_authorities};
use super::obstacles::{BindingObstacle, ObstacleEvent, Obstacles, is_elsewhere};
use super::rollout::{self, Rollout, RolloutPhase, is_rolling, is_stuck, read};
use super::store_health::{self, Mounted};
use super::upgrade::{UpgradeCause, cause, noted, rescaled, under_way};
use super::volume::{claim_name, growth, not_grown, not_relabelled, relabelling};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::lock::lock;
use crate::reconcile::cluster::api::ApiError;
use crate::resources::{
    ANNOTATION_APPLIED, ANNOTATION_ROLLOUT, Identity, InheritedMetadata, KeyRef, ManagedKind,
    PostgresStorage,
};

/// The result of a pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FleetOutcome {
    /// How far the pods are; `None` if there are none.
    pub rollout: Option<Rollout>,
    /// The number of wanted pods, if neither the workload nor an earlier one exists.
    pub missing: Option<i64>,
    /// What keeps the Identity from its wanted state.
    pub problem: Option<Problem>,
    /// How soon to reconcile again, if at all.
    pub again: Option<Duration>,
    /// Whether this pass began a rollout of new pods.
    pub has_begun: bool,
    /// The namespaces in which the Identity's servers can get no rights: all of them, if any is new.
    pub newly_refused: Vec<ObstacleEvent>,
    /// The first error. Everything else was done, and another pass must follow. `problem` is what people see.
    pub failed: Option<FleetError>,
}

impl FleetOutcome {
    pub(super) fn blocked(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            // No watch reports when a missing kind is installed.
            again: Some(APIS_FOR),
            ..Self::default()
        }
    }

    /// Requests another pass after `wait` at the latest.
    pub fn repeat_within(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
    }
}

/// A pass in progress.
pub(super) struct Pass<'a> {
    fleet: &'a Fleet,
    pub(super) key: ObjectKey,
    uid: &'a str,
    /// The Secret of its TLS certificate.
    certificate: Option<&'a str>,
    /// The Secret of the CAs that it trusts when it calls clients.
    authorities: Option<&'a KeyRef>,
    /// Its database.
    database: Option<&'a PostgresStorage>,
    inherited: InheritedMetadata,
    plan: &'a WantedObjects,
    pub(super) refused: Obstacles,
    pub(super) passed: FleetOutcome,
    workload: Option<Value>,
    /// Whether the wanted Ingress or `HTTPRoute` is not known to be in place.
    lacks_way_in: bool,
    /// Why newer pods wait.
    waits: Option<String>,
    now: Timestamp,
}

/// Whether requests from outside the cluster come in through objects of this kind.
fn is_way_in(kind: ManagedKind) -> bool {
    matches!(kind, ManagedKind::Ingress | ManagedKind::HttpRoute)
}

/// How soon to reconcile again if a change completes by itself.
const SOON: Duration = Duration::from_secs(1);
/// How soon to reconcile again after a name conflict.
pub(super) const IN_THE_WAY: Duration = Duration::from_secs(15);
/// How soon to reconcile again because of objects that no watch reports.
pub(super) const UNWATCHED: Duration = Duration::from_mins(10);
/// How soon to reconcile again because of a pod that is not ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon to reconcile again because of a namespace that refuses the servers' rights.
const REFUSED: Duration = Duration::from_secs(30);
/// How soon to ask the pods again whether they can use their database, which no watch reports.
const DATABASE: Duration = Duration::from_secs(30);
/// How soon to ask them again if they cannot.
const DATABASE_AWAY: Duration = Duration::from_secs(10);
/// How soon to check again whether the upgrade may go on.
const TURN: Duration = Duration::from_secs(3);

impl<'a> Pass<'a> {
    /// Creates a pass that has done nothing yet.
    pub(super) fn new(
        fleet: &'a Fleet,
        identity: &'a Identity,
        plan: &'a WantedObjects,
        now: Timestamp,
    ) -> Self {
        let tls = identity.spec.network.tls.as_ref();
        let mut passed = FleetOutcome::default();
        if plan.objects.iter().any(|it| !it.child.kind.is_built_in()) {
            passed.repeat_within(UNWATCHED);
        }
        Self {
            fleet,
            key: ObjectKey::of(&identity.metadata),
            uid: identity.metadata.uid.as_deref().unwrap_or_default(),
            inherited: identity.spec.inherited_metadata.clone(),
            certificate: tls.map(|tls| &*tls.secret_ref.name),
            authorities: egress::wanted(&identity.spec),
            database: database::wanted(&identity.spec),
            plan,
            refused: Obstacles::new(),
            passed,
            workload: None,
            lacks_way_in: plan.left_out.is_some(),
            waits: None,
            now,
        }
    }

    /// Reports a missing certificate: pods that mount it hang without an error in their status.
    async fn look_for_certificate(&mut self) {
        let Some(name) = self.certificate else { return };
        let asked = self.fleet.objects.secret(&self.key.namespace, name);
        // The Secret is only read for a message, so an error is ignored.
        let Ok(found) = asked.await else { return };
        if let Some(problem) = missing_certificate(name, found.as_ref()) {
            self.passed.repeat_within(IN_THE_WAY);
            self.passed.problem.get_or_insert(problem);
        }
    }

    /// Reports CAs that the pods cannot read. They run without them, so nothing else shows it.
    async fn look_for_authorities(&mut self) {
        let Some(of) = self.authorities else { return };
        self.passed.repeat_within(UNWATCHED);
        let asked = self.fleet.objects.secret(&self.key.namespace, &of.name);
        // The Secret is only read for a message, so an error is ignored.
        let Ok(found) = asked.await else { return };
        if let Some(problem) = unusable_authorities(of, found.as_ref()) {
            self.passed.repeat_within(IN_THE_WAY);
            self.passed.problem.get_or_insert(problem);
        }
    }

    /// Reports a database that the pods cannot use. They run without it, so nothing else shows it.
    async fn look_for_database(&mut self, selector: &str) {
        let Some(database) = self.database else {
            return;
        };
        self.passed.repeat_within(DATABASE);
        let objects = &self.fleet.objects;
        let (namespace, key) = (&*self.key.namespace, &self.key);
        // What cannot be asked is not reported: it is only read for a message.
        let pods = objects.pods(namespace, selector).await.unwrap_or_default();
        let counted = store_health::failing(&pods).await;
        if counted.0 == 0 {
            return;
        }
        let mut mounted = Vec::new();
        for (of, field) in store_health::references(database) {
            let Ok(found) = objects.secret(namespace, &of.name).await else {
                continue;
            };
            mounted.push(Mounted { of, field, found });
        }
        let problem = store_health::problem(key, counted, &mounted);
        self.passed.repeat_within(DATABASE_AWAY);
        self.passed.problem.get_or_insert(problem);
    }

    /// Gathers, compares and applies one object.
    pub(super) async fn attend(&mut self, wanted: &Wanted) -> Result<(), FleetError> {
        let stands = self.see_to(wanted).await;
        if is_way_in(wanted.child.kind) {
            self.lacks_way_in |= !matches!(stands, Ok(true));
        }
        stands.map(drop)
    }

    /// Returns whether the object is in place now.
    async fn see_to(&mut self, wanted: &Wanted) -> Result<bool, FleetError> {
        let child = &wanted.child;
        let digest = annotation(&wanted.body, ANNOTATION_APPLIED).unwrap_or_default();
        let is_workload = child.kind.is_workload();
        // A workload's status is needed, and some kinds are not watched.
        if !is_workload && child.kind.is_built_in() && lock(&self.fleet.seen).is_good(child, digest)
        {
            return Ok(true);
        }
        let live = match self.fleet.objects.get(child).await {
            Ok(live) => live,
            // No one asked for the monitor: it is created where that is possible.
            Err(ApiError::Forbidden(words)) if child.kind == ManagedKind::ServiceMonitor => {
                debug!(%child, words, "no rights to read, left out");
                return Ok(false);
            }
            Err(error) => return Err(FleetError(child.to_string(), error)),
        };
        let action = action(wanted, self.plan.scale, live.as_ref(), &self.key, self.uid);
        if is_workload {
            self.passed.missing = match (&action, &live) {
                (ObjectAction::Apply(body), None) if !self.may_run_otherwise(child) => {
                    Some(rollout::wanted(body))
                }
                _ => None,
            };
        }
        let Some(stored) = self.act(wanted, action, live).await? else {
            return Ok(false);
        };
        if annotation(&stored, ANNOTATION_APPLIED) == Some(digest) {
            let version = stored["metadata"]["resourceVersion"].as_str();
            lock(&self.fleet.seen).found_good(child, version.unwrap_or_default(), digest);
        }
        if is_workload {
            self.workload = Some(stored);
            self.passed.missing = None;
        }
        Ok(true)
    }

    /// Whether there may be pods of another kind of workload, which go on until this one runs.
    fn may_run_otherwise(&self, child: &Child) -> bool {
        let candidates = self.fleet.candidates(&self.key);
        candidates
            .iter()
            .any(|it| it.kind.is_workload() && it != child)
    }

    /// Carries out one action. Returns the stored object, if it is known.
    async fn act(
        &mut self,
        wanted: &Wanted,
        action: ObjectAction,
        live: Option<Value>,
    ) -> Result<Option<Value>, FleetError> {
        let child = &wanted.child;
        match action {
            ObjectAction::Keep => Ok(live),
            ObjectAction::Wait if is_elsewhere(child, &self.key) => {
                let live = live.unwrap_or_default();
                let is_ending = live["metadata"]["deletionTimestamp"].is_string();
                let obstacle = if is_ending {
                    BindingObstacle::Ending
                } else {
                    BindingObstacle::Foreign
                };
                self.leave_out(child, obstacle);
                Ok(None)
            }
            ObjectAction::Conflict(_) if is_elsewhere(child, &self.key) => {
                self.leave_out(child, BindingObstacle::Foreign);
                Ok(None)
            }
            ObjectAction::Wait => {
                self.passed.repeat_within(SOON);
                Ok(None)
            }
            ObjectAction::Conflict(problem) => {
                // No watch reports when the other object goes.
                self.passed.repeat_within(IN_THE_WAY);
                self.passed.problem.get_or_insert(problem);
                Ok(None)
            }
            ObjectAction::Repair(body) => match self.fleet.patience(child) {
                None => {
                    info!(%child, "the object was changed by someone else, repairing it");
                    self.apply(child, body, live).await
                }
                Some(wait) => {
                    warn!(%child, "the object keeps being changed by someone else, will repair it later");
                    self.passed.repeat_within(wait);
                    Ok(live)
                }
            },
            ObjectAction::Apply(body) => self.apply(child, body, live).await,
            ObjectAction::Release => {
                if let Some(live) = &live {
                    info!(%child, "the volume claim changed: recreating the StatefulSet, its pod stays");
                    let released = self.fleet.objects.release(child, &only(live)).await;
                    released.map_err(|error| FleetError(child.to_string(), error))?;
                }
                // Kubernetes must release its pod first.
                self.passed.repeat_within(SOON);
                Ok(None)
            }
            ObjectAction::Replace => {
                if let Some(live) = &live {
                    match self.fleet.objects.delete(child, &only(live)).await {
                        Ok(()) | Err(ApiError::NotFound) => {}
                        Err(ApiError::Conflict) => {
                            self.passed.repeat_within(SOON);
                            return Ok(None);
                        }
                        Err(error) => return Err(FleetError(child.to_string(), error)),
                    }
                }
                self.apply(child, wanted.body.clone(), None).await
            }
        }
    }

    /// Applies a body over the live object; a workload with new pods only when its turn has come.
    async fn apply(
        &mut self,
        child: &Child,
        mut body: Value,
        live: Option<Value>,
    ) -> Result<Option<Value>, FleetError> {
        let fleet = self.fleet;
        let mut turn = None;
        if child.kind.is_workload() {
            let cause = cause(&body, live.as_ref());
            if cause == UpgradeCause::Upgrade {
                let held = turn.insert(fleet.turn.lock().await);
                if let Some(other) = self.other_upgrade(held).await? {
                    self.passed.repeat_within(TURN);
                    self.waits = Some(format!(
                        "Newer pods wait for their turn: Identity {other} is being upgraded."
                    ));
                    drop(turn);
                    return self.rescale(child, &body, live).await;
                }
            }
            note(&mut body, noted(cause, live.as_ref()), live.as_ref());
            self.passed.has_begun = cause != UpgradeCause::Nothing;
        }
        let applied = fleet.objects.apply(child, &body).await;
        drop(turn);
        match applied {
            Ok(stored) => Ok(Some(stored)),
            // The namespace does not exist.
            Err(ApiError::NotFound) if is_elsewhere(child, &self.key) => {
                self.leave_out(child, BindingObstacle::Absent);
                Ok(None)
            }
            // Another client wrote first. The watch reports that change, or the next pass reads it.
            Err(ApiError::Conflict | ApiError::NotFound) => {
                self.passed.repeat_within(SOON);
                self.passed.has_begun = false;
                Ok(None)
            }
            Err(error) => {
                self.passed.has_begun = false;
                Err(FleetError(child.to_string(), error))
            }
        }
    }

    /// Scales a workload at once, because the number of pods waits for no upgrade.
    async fn rescale(
        &mut self,
        child: &Child,
        wanted: &Value,
        live: Option<Value>,
    ) -> Result<Option<Value>, FleetError> {
        let Some(patch) = live.as_ref().and_then(|live| rescaled(wanted, live)) else {
            return Ok(live);
        };
        if let Some(wait) = self.fleet.patience(child) {
            self.passed.repeat_within(wait);
            return Ok(live);
        }
        match self.fleet.objects.patch(child, &patch).await {
            Ok(stored) => Ok(Some(stored)),
            Err(ApiError::Conflict | ApiError::NotFound) => {
                self.passed.repeat_within(SOON);
                Ok(None)
            }
            Err(error) => Err(FleetError(child.to_string(), error)),
        }
    }

    /// Returns the other Identity that is being upgraded now; `None` if it is this one's turn.
    async fn other_upgrade(
        &self,
        turn: &mut Option<UpgradeTurn>,
    ) -> Result<Option<String>, FleetError> {
        let (own, now) = (self.key.to_string(), Instant::now());
        let is_known =
            |turn: &&UpgradeTurn| turn.identity != own && now.duration_since(turn.asked) < TURN;
        if let Some(turn) = turn.as_ref().filter(is_known) {
            return Ok(Some(turn.identity.clone()));
        }
        let other = self.upgraded_elsewhere().await?;
        *turn = Some(UpgradeTurn {
            identity: other.clone().unwrap_or(own),
            asked: now,
        });
        Ok(other)
    }

    async fn upgraded_elsewhere(&self) -> Result<Option<String>, FleetError> {
        let of = &self.fleet.of;
        let places = match (&of.identity_namespaces[..], &of.namespaces[..]) {
            ([], []) => vec![None],
            ([], watched) => watched.iter().map(Some).collect(),
            (accepted, _) => accepted.iter().map(Some).collect(),
        };
        for place in places {
            for kind in [ManagedKind::Deployment, ManagedKind::StatefulSet] {
                let listed = place.map(String::as_str);
                let mut found = Vec::new();
                let mut judge = |workload| {
                    let workload = [workload];
                    let here = under_way(&workload, &self.key);
                    found.extend(here.map(|(identity, uid)| (identity, uid.to_owned())));
                };
                let listed_all = self.fleet.objects.workloads(kind, listed, &mut judge);
                match listed_all.await {
                    // Where the operator has no rights, it upgrades no Identity.
                    Err(ApiError::Forbidden(_)) if place.is_some() => continue,
                    listed_all => {
                        listed_all
                            .map_err(|error| FleetError(format!("list of {kind}s"), error))?;
                    }
                }
                for (identity, uid) in found {
                    if self.is_alive(&identity, &uid).await? {
                        return Ok(Some(identity.to_string()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the Identity exists and has this uid.
    async fn is_alive(&self, identity: &ObjectKey, uid: &str) -> Result<bool, FleetError> {
        match self.fleet.objects.uid_of(identity).await {
            Ok(found) => Ok(found.as_deref() == Some(uid)),
            // The operator would not upgrade it there.
            Err(ApiError::Forbidden(_)) => Ok(false),
            Err(error) => Err(FleetError(format!("Identity {identity}"), error)),
        }
    }

    /// Goes on without the right to read in another namespace.
    pub(super) fn leave_out(&mut self, child: &Child, obstacle: BindingObstacle) {
        debug!(%child, ?obstacle, "left out");
        let namespace = child.namespace.clone();
        self.refused.extend(namespace.map(|it| (it, obstacle)));
        self.passed.repeat_within(REFUSED);
    }

    /// Records an error and goes on. Another pass must follow.
    pub(super) fn failed(&mut self, error: FleetError) {
        debug!(%error, "an object failed, going on with the others");
        self.passed.failed.get_or_insert(error);
    }

    /// Removes the rights of an account that belongs to someone else now.
    pub(super) async fn unbind(&self) -> Result<(), FleetError> {
        let bindings = self
            .fleet
            .candidates(&self.key)
            .into_iter()
            .filter(|child| {
                matches!(
                    child.kind,
                    ManagedKind::RoleBinding | ManagedKind::ClusterRoleBinding
                )
            });
        self.fleet.remove_all(bindings, &self.key, self.uid).await
    }

    /// Deletes objects that are no longer wanted.
    pub(super) async fn clear(&self) -> Result<(), FleetError> {
        let objects = self.plan.objects.iter();
        let wanted: BTreeSet<&Child> = objects.map(|wanted| &wanted.child).collect();
        // The present workload and its route go on until another serves.
        let is_replaced = self.workload.as_ref().is_some_and(|it| !is_rolling(it));
        let is_needed = |kind: ManagedKind| {
            kind.is_workload() && !is_replaced || is_way_in(kind) && self.lacks_way_in
        };
        let candidates = self.fleet.candidates(&self.key).into_iter();
        let unwanted = candidates.filter(|it| !wanted.contains(it) && !is_needed(it.kind));
        self.fleet.remove_all(unwanted, &self.key, self.uid).await
    }

    /// Grows the volume. If that is refused, everything goes on as before, and the status says so.
    async fn grow(&mut self) -> Result<(), FleetError> {
        let Some(wanted) = self.workload.as_ref().and_then(claimed) else {
            return Ok(());
        };
        let (namespace, name) = (&*self.key.namespace, claim_name(&self.key));
        let failed = |error| FleetError(format!("PersistentVolumeClaim {namespace}/{name}"), error);
        let objects = &self.fleet.objects;
        let Some(live) = objects.claim(namespace, &name).await.map_err(failed)? else {
            return Ok(());
        };
        if let Some(patch) = relabelling(&live, &self.inherited) {
            match objects.patch_claim(namespace, &name, &patch).await {
                // The claim has another version now.
                Ok(()) | Err(ApiError::Conflict | ApiError::NotFound) => {
                    self.passed.repeat_within(SOON);
                    return Ok(());
                }
                Err(ApiError::Forbidden(words) | ApiError::Invalid(words)) => {
                    self.passed.repeat_within(UNWATCHED);
                    let problem = not_relabelled(&name, &words);
                    self.passed.problem.get_or_insert(problem);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let Some(patch) = growth(&live, &wanted) else {
            return Ok(());
        };
        match objects.patch_claim(namespace, &name, &patch).await {
            Ok(()) => info!(claim = name, size = wanted, "requested a larger volume"),
            Err(ApiError::Conflict | ApiError::NotFound) => self.passed.repeat_within(SOON),
            Err(ApiError::Forbidden(words) | ApiError::Invalid(words)) => {
                self.passed.repeat_within(UNWATCHED);
                let problem = not_grown(&name, &wanted, &words);
                self.passed.problem.get_or_insert(problem);
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> FleetOutcome {
        if let Err(error) = self.grow().await {
            self.failed(error);
        }
        let Some(workload) = &self.workload else {
            if self.passed.failed.is_none() {
                let words = "the operator is about to create or change the Identity's pods";
                let soon = || Problem::error(Reason::RollingOut, "", words);
                self.passed.problem.get_or_insert_with(soon);
            }
            return self.passed;
        };
        let mut rollout = read(workload, &[], self.now);
        // The workload counts its pods. Only a pod tells why it does not start, and no watch reports pods.
        let is_under_way = is_rolling(workload);
        if is_under_way {
            self.passed.repeat_within(PATIENCE);
        }
        if is_under_way || is_stuck(workload, &[], self.now) {
            let asked = self
                .fleet
                .objects
                .pods(&self.key.namespace, &rollout.selector);
            // The pods are only read for a message, so an error is ignored.
            let pods = asked.await.unwrap_or_default();
            rollout = read(workload, &pods, self.now);
        }
        if rollout.phase != RolloutPhase::Complete {
            self.look_for_certificate().await;
        }
        self.look_for_database(&rollout.selector).await;
        self.look_for_authorities().await;
        rollout.upgrade = self.waits;
        self.passed.rollout = Some(rollout);
        self.passed
    }
}

/// Returns the size of the volume that a StatefulSet claims.
fn claimed(workload: &Value) -> Option<String> {
    let claim = &workload["spec"]["volumeClaimTemplates"][0]["spec"];
    let size = claim["resources"]["requests"]["storage"].as_str()?;
    Some(size.to_owned())
}

/// Writes the rollout annotation, and the version over which the workload is applied.
fn note(body: &mut Value, why: &str, live: Option<&Value>) {
    body["metadata"]["annotations"][ANNOTATION_ROLLOUT] = why.into();
    // Without the version, the write could undo an autoscaler's change.
    if let Some(live) = live {
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    }
}
