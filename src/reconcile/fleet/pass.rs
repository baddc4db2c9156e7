//! One pass over an Identity's objects: gather each, compare, apply; then read how far its pods are.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Child;
use super::build::{Plan, Wanted};
use super::compare::{Step, annotation, step};
use super::keeper::{APIS_FOR, Fleet, FleetError, Turn, lock, only};
use super::refusals::{Obstacle, Refusal, Refusals, is_elsewhere};
use super::rollout::{self, Phase, Rollout, is_rolling, is_stuck, read};
use super::upgrade::{Cause, cause, noted, rescaled, under_way};
use super::volume::{claim_name, growth, not_grown};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::ApiError;
use crate::reconcile::secret::SecretObject;
use crate::resources::{ANNOTATION_APPLIED, ANNOTATION_ROLLOUT, Identity, ManagedKind};

/// What a pass came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passed {
    /// How far the pods are; `None` where there are none.
    pub rollout: Option<Rollout>,
    /// Neither what runs the pods nor anything that ran them before is there, and as many are wanted.
    pub missing: Option<i64>,
    /// What keeps it from being as it should.
    pub problem: Option<Problem>,
    /// Whether something must be looked at again, and how soon.
    pub again: Option<Duration>,
    /// Whether new pods are being rolled out by this pass.
    pub has_begun: bool,
    /// Namespaces in which its servers can be given no rights: all of them, if that is news.
    pub newly_refused: Vec<Refusal>,
    /// What could not be done: all else was, and there is to be another pass. People are told by `problem`.
    pub failed: Option<FleetError>,
}

impl Passed {
    pub(super) fn blocked(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            // What was missing may have come without a word.
            again: Some(APIS_FOR),
            ..Self::default()
        }
    }

    /// Has it looked at again in so long, or sooner.
    pub fn look_again(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
    }
}

/// One pass on its way.
pub(super) struct Pass<'a> {
    fleet: &'a Fleet,
    pub(super) key: ObjectKey,
    uid: &'a str,
    /// The Secret of its TLS certificate.
    certificate: Option<&'a str>,
    plan: &'a Plan,
    pub(super) refused: Refusals,
    pub(super) passed: Passed,
    workload: Option<Value>,
    /// Whether the Ingress or `HTTPRoute` that is wanted could not be seen to stand.
    lacks_way_in: bool,
    /// Why newer pods come later.
    waits: Option<String>,
    now: Timestamp,
}

/// Whether whoever is outside the cluster gets in by it.
fn is_way_in(kind: ManagedKind) -> bool {
    matches!(kind, ManagedKind::Ingress | ManagedKind::HttpRoute)
}

/// For something that is on its way by itself.
const SOON: Duration = Duration::from_secs(1);
/// For what is in the way to go.
pub(super) const IN_THE_WAY: Duration = Duration::from_secs(15);
/// For objects that no watch tells of.
pub(super) const UNWATCHED: Duration = Duration::from_mins(10);
/// For a pod that does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a namespace to give us our rights (back).
const REFUSED: Duration = Duration::from_secs(30);
/// For one's turn.
const TURN: Duration = Duration::from_secs(3);

impl<'a> Pass<'a> {
    /// A pass that has done nothing yet.
    pub(super) fn new(
        fleet: &'a Fleet,
        identity: &'a Identity,
        plan: &'a Plan,
        now: Timestamp,
    ) -> Self {
        let tls = identity.spec.network.tls.as_ref();
        let mut passed = Passed::default();
        if plan.objects.iter().any(|it| !it.child.kind.is_built_in()) {
            passed.look_again(UNWATCHED);
        }
        Self {
            fleet,
            key: ObjectKey::of(&identity.metadata),
            uid: identity.metadata.uid.as_deref().unwrap_or_default(),
            certificate: tls.map(|tls| &*tls.secret_ref.name),
            plan,
            refused: Refusals::new(),
            passed,
            workload: None,
            lacks_way_in: plan.left_out.is_some(),
            waits: None,
            now,
        }
    }

    /// Pods that mount a certificate which is not there hang without a word: it is told here.
    async fn look_for_certificate(&mut self) {
        let Some(name) = self.certificate else { return };
        let asked = self.fleet.objects.secret(&self.key.namespace, name);
        // Words alone: without them the rest is told.
        let Ok(found) = asked.await else { return };
        if let Some(problem) = missing_certificate(name, found.as_ref()) {
            self.passed.look_again(IN_THE_WAY);
            self.passed.problem.get_or_insert(problem);
        }
    }

    /// Gathers, compares and applies one object.
    pub(super) async fn attend(&mut self, wanted: &Wanted) -> Result<(), FleetError> {
        let stands = self.see_to(wanted).await;
        if is_way_in(wanted.child.kind) {
            self.lacks_way_in |= !matches!(stands, Ok(true));
        }
        stands.map(drop)
    }

    /// Whether it stands as it should now.
    async fn see_to(&mut self, wanted: &Wanted) -> Result<bool, FleetError> {
        let child = &wanted.child;
        let digest = annotation(&wanted.body, ANNOTATION_APPLIED).unwrap_or_default();
        let is_workload = child.kind.is_workload();
        // A workload tells how far it is, and some kinds are not watched.
        if !is_workload && child.kind.is_built_in() && lock(&self.fleet.seen).is_good(child, digest)
        {
            return Ok(true);
        }
        let live = match self.fleet.objects.get(child).await {
            Ok(live) => live,
            // Nobody asked for it: it is made where that is possible.
            Err(ApiError::Forbidden(words)) if child.kind == ManagedKind::ServiceMonitor => {
                debug!(%child, words, "left out");
                return Ok(false);
            }
            Err(error) => return Err(FleetError(child.to_string(), error)),
        };
        let step = step(wanted, self.plan.scale, live.as_ref(), &self.key, self.uid);
        if is_workload {
            self.passed.missing = match (&step, &live) {
                (Step::Apply(body), None) if !self.may_run_otherwise(child) => {
                    Some(rollout::wanted(body))
                }
                _ => None,
            };
        }
        let Some(stored) = self.act(wanted, step, live).await? else {
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

    /// Takes one step; what is stored then, if that is known.
    async fn act(
        &mut self,
        wanted: &Wanted,
        step: Step,
        live: Option<Value>,
    ) -> Result<Option<Value>, FleetError> {
        let child = &wanted.child;
        match step {
            Step::Keep => Ok(live),
            Step::Wait if is_elsewhere(child, &self.key) => {
                let live = live.unwrap_or_default();
                let is_ending = live["metadata"]["deletionTimestamp"].is_string();
                let obstacle = if is_ending {
                    Obstacle::Ending
                } else {
                    Obstacle::Foreign
                };
                self.leave_out(child, obstacle);
                Ok(None)
            }
            Step::Conflict(_) if is_elsewhere(child, &self.key) => {
                self.leave_out(child, Obstacle::Foreign);
                Ok(None)
            }
            Step::Wait => {
                self.passed.look_again(SOON);
                Ok(None)
            }
            Step::Conflict(problem) => {
                // No watch tells when it goes.
                self.passed.look_again(IN_THE_WAY);
                self.passed.problem.get_or_insert(problem);
                Ok(None)
            }
            Step::Repair(body) => match self.fleet.patience(child) {
                None => {
                    info!(%child, "somebody has changed it: repairing");
                    self.apply(child, body, live).await
                }
                Some(wait) => {
                    warn!(%child, "somebody keeps changing it: repairing later");
                    self.passed.look_again(wait);
                    Ok(live)
                }
            },
            Step::Apply(body) => self.apply(child, body, live).await,
            Step::Release => {
                if let Some(live) = &live {
                    info!(%child, "claims another volume: made anew, and its pod goes on meanwhile");
                    let released = self.fleet.objects.release(child, &only(live)).await;
                    released.map_err(|error| FleetError(child.to_string(), error))?;
                }
                // Its pod is let go of first.
                self.passed.look_again(SOON);
                Ok(None)
            }
            Step::Replace => {
                if let Some(live) = &live {
                    match self.fleet.objects.delete(child, &only(live)).await {
                        Ok(()) | Err(ApiError::NotFound) => {}
                        Err(ApiError::Conflict) => {
                            self.passed.look_again(SOON);
                            return Ok(None);
                        }
                        Err(error) => return Err(FleetError(child.to_string(), error)),
                    }
                }
                self.apply(child, wanted.body.clone(), None).await
            }
        }
    }

    /// Applies a body over what was read; pods when it is their turn.
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
            if cause == Cause::Upgrade {
                let held = turn.insert(fleet.turn.lock().await);
                if let Some(other) = self.other_upgrade(held).await? {
                    self.passed.look_again(TURN);
                    self.waits = Some(format!(
                        "newer pods wait for their turn: Identity {other} is being upgraded"
                    ));
                    drop(turn);
                    return self.rescale(child, &body, live).await;
                }
            }
            note(&mut body, noted(cause, live.as_ref()), live.as_ref());
            self.passed.has_begun = cause != Cause::Nothing;
        }
        let applied = fleet.objects.apply(child, &body).await;
        drop(turn);
        match applied {
            Ok(stored) => Ok(Some(stored)),
            // There is no such namespace.
            Err(ApiError::NotFound) if is_elsewhere(child, &self.key) => {
                self.leave_out(child, Obstacle::Absent);
                Ok(None)
            }
            // Somebody was faster: what they did comes as news, or is looked at soon.
            Err(ApiError::Conflict | ApiError::NotFound) => {
                self.passed.look_again(SOON);
                self.passed.has_begun = false;
                Ok(None)
            }
            Err(error) => {
                self.passed.has_begun = false;
                Err(FleetError(child.to_string(), error))
            }
        }
    }

    /// How many pods there are waits for nobody's turn.
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
            self.passed.look_again(wait);
            return Ok(live);
        }
        match self.fleet.objects.patch(child, &patch).await {
            Ok(stored) => Ok(Some(stored)),
            Err(ApiError::Conflict | ApiError::NotFound) => {
                self.passed.look_again(SOON);
                Ok(None)
            }
            Err(error) => Err(FleetError(child.to_string(), error)),
        }
    }

    /// The other Identity whose pods the installation is replacing now; without one it is this one's turn.
    async fn other_upgrade(&self, turn: &mut Option<Turn>) -> Result<Option<String>, FleetError> {
        let (own, now) = (self.key.to_string(), Instant::now());
        let is_known = |turn: &&Turn| turn.identity != own && now.duration_since(turn.asked) < TURN;
        if let Some(turn) = turn.as_ref().filter(is_known) {
            return Ok(Some(turn.identity.clone()));
        }
        let other = self.upgraded_elsewhere().await?;
        *turn = Some(Turn {
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
                let mut look = |workload| {
                    let workload = [workload];
                    let here = under_way(&workload, &self.key);
                    found.extend(here.map(|(identity, uid)| (identity, uid.to_owned())));
                };
                let looked = self.fleet.objects.workloads(kind, listed, &mut look);
                match looked.await {
                    // None of ours is on its way where we may do nothing.
                    Err(ApiError::Forbidden(_)) if place.is_some() => continue,
                    looked => {
                        looked.map_err(|error| FleetError(format!("list of {kind}s"), error))?;
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

    /// Whether there is an Identity, and the very one.
    async fn is_alive(&self, identity: &ObjectKey, uid: &str) -> Result<bool, FleetError> {
        match self.fleet.objects.uid_of(identity).await {
            Ok(found) => Ok(found.as_deref() == Some(uid)),
            // We would not upgrade it there.
            Err(ApiError::Forbidden(_)) => Ok(false),
            Err(error) => Err(FleetError(format!("Identity {identity}"), error)),
        }
    }

    /// Goes on without the right to read in somebody else's namespace.
    pub(super) fn leave_out(&mut self, child: &Child, obstacle: Obstacle) {
        debug!(%child, ?obstacle, "left out");
        let namespace = child.namespace.clone();
        self.refused.extend(namespace.map(|it| (it, obstacle)));
        self.passed.look_again(REFUSED);
    }

    /// Goes on, and notes that there must be another pass.
    pub(super) fn failed(&mut self, error: FleetError) {
        debug!(%error, "failed, and the rest goes on");
        self.passed.failed.get_or_insert(error);
    }

    /// Takes the rights from an account that is somebody else's now.
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

    /// Takes away what is not wanted any more.
    pub(super) async fn clear(&self) -> Result<(), FleetError> {
        let objects = self.plan.objects.iter();
        let wanted: BTreeSet<&Child> = objects.map(|wanted| &wanted.child).collect();
        // Whoever serves goes on until another does, and so does the way to it.
        let is_replaced = self.workload.as_ref().is_some_and(|it| !is_rolling(it));
        let is_needed = |kind: ManagedKind| {
            kind.is_workload() && !is_replaced || is_way_in(kind) && self.lacks_way_in
        };
        let candidates = self.fleet.candidates(&self.key).into_iter();
        let unwanted = candidates.filter(|it| !wanted.contains(it) && !is_needed(it.kind));
        self.fleet.remove_all(unwanted, &self.key, self.uid).await
    }

    /// Has the volume grow. Where that is refused everything goes on as it is, and somebody is told.
    async fn grow(&mut self) -> Result<(), FleetError> {
        let Some(wanted) = self.workload.as_ref().and_then(claimed) else {
            return Ok(());
        };
        let (namespace, name) = (&*self.key.namespace, claim_name(&self.key));
        let failed = |error| FleetError(format!("PersistentVolumeClaim {namespace}/{name}"), error);
        let objects = &self.fleet.objects;
        let live = objects.claim(namespace, &name).await.map_err(failed)?;
        let Some(patch) = live.and_then(|live| growth(&live, &wanted)) else {
            return Ok(());
        };
        match objects.patch_claim(namespace, &name, &patch).await {
            Ok(()) => info!(claim = name, size = wanted, "the volume grows"),
            Err(ApiError::Conflict | ApiError::NotFound) => self.passed.look_again(SOON),
            Err(ApiError::Forbidden(words) | ApiError::Invalid(words)) => {
                self.passed.look_again(UNWATCHED);
                let problem = not_grown(&name, &wanted, &words);
                self.passed.problem.get_or_insert(problem);
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Passed {
        if let Err(error) = self.grow().await {
            self.failed(error);
        }
        let Some(workload) = &self.workload else {
            if self.passed.failed.is_none() {
                let words = "its pods are about to be made, or to be changed";
                let soon = || Problem::error(Reason::RollingOut, "", words);
                self.passed.problem.get_or_insert_with(soon);
            }
            return self.passed;
        };
        let mut rollout = read(workload, &[], self.now);
        // A StatefulSet has no deadline of its own, and no condition: its pod tells.
        let is_set_under_way = workload["kind"] == "StatefulSet" && is_rolling(workload);
        if is_set_under_way {
            self.passed.look_again(PATIENCE);
        }
        if is_set_under_way || is_stuck(workload, &[], self.now) {
            let asked = self
                .fleet
                .objects
                .pods(&self.key.namespace, &rollout.selector);
            // Words alone: without them the rest is told.
            let pods = asked.await.unwrap_or_default();
            rollout = read(workload, &pods, self.now);
        }
        if rollout.phase != Phase::Complete {
            self.look_for_certificate().await;
        }
        rollout.upgrade = self.waits;
        self.passed.rollout = Some(rollout);
        self.passed
    }
}

/// What keeps pods from starting that mount a certificate: without a word of it in their status they wait.
pub(super) fn missing_certificate(name: &str, found: Option<&SecretObject>) -> Option<Problem> {
    let why = match found {
        None => "does not exist".to_owned(),
        Some(secret) => {
            let missing = ["tls.crt", "tls.key"]
                .into_iter()
                .find(|key| !secret.has_text(key))?;
            format!("has no {missing}")
        }
    };
    let message = format!(
        "the Secret {name} with the server's certificate {why}, and no new pod starts without it: create it with the type kubernetes.io/tls (cert-manager does), or correct network.tls.secretRef"
    );
    let path = "/spec/network/tls/secretRef/name";
    Some(Problem::error(Reason::SecretNotFound, path, message))
}

/// How large a volume a StatefulSet claims.
fn claimed(workload: &Value) -> Option<String> {
    let claim = &workload["spec"]["volumeClaimTemplates"][0]["spec"];
    let size = claim["resources"]["requests"]["storage"].as_str()?;
    Some(size.to_owned())
}

/// Notes on a workload why its pods were last replaced, and over what it is applied.
fn note(body: &mut Value, why: &str, live: Option<&Value>) {
    body["metadata"]["annotations"][ANNOTATION_ROLLOUT] = why.into();
    // What an autoscaler has said since would be undone.
    if let Some(live) = live {
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    }
}
