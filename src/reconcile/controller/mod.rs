//! The operator's loop: reconciles each object that changed, one pass at a time per object.
//!
//! A pass gathers, resolves, plans, applies and reports; [`issue`] does the first four for Secrets. In a steady state
//! the operator writes nothing, because it compares each status first. The loop sends no list requests, which scan
//! whole namespaces: it asks the directory which objects a change affects.
//!
//! Not here: watching, leader election, and every rule. Each kind has its own file, and `changes` applies what watches
//! report; this file has what they share.

mod agenda;
mod beat;
mod changes;
mod identity;
mod judgement;
mod macs;
mod orphan;
mod orphans;
mod owner;
mod pods;
mod ready_pods;
mod rotations;
mod user;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, warn};

use self::agenda::Agenda;
use self::judgement::judgement;
use self::macs::Macs;
use self::orphans::Orphans;
use self::ready_pods::AllReadyPods;
use self::rotations::Rotations;
use super::cluster::Cluster;
use super::cluster::api::ApiError;
use super::cluster::kube_api::OwnWrites;
use super::cluster::reports::Reports;
use super::fleet::FleetError;
use super::issue::{IssueError, MintBudget};
use super::report::events::{EventReason, Notice, Notices};
use super::report::status;
use super::report::tally::Tally;
use super::work::Work;
use super::work::queue::{Depth, Next, Reasons, Why};
use crate::directory::{Change, Counts, Directory, ObjectKey, Problem, Reason, Settings};
use crate::lock::lock;
use crate::resources::{Kind, OwnerKind};
use crate::telemetry::traces;

pub use self::pods::{EmbeddedIdentity, Serving};
pub use self::ready_pods::ReadyPods;

/// How often an object is reconciled without a reason, in case an event was lost.
const AT_LEAST_EVERY: Duration = Duration::from_hours(24);
/// When to reconcile again if something else must change first, and will do so soon.
const SOON: Duration = Duration::from_secs(1);

/// The settings of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The number of concurrent passes. One namespace gets at most three quarters of them.
    pub workers: usize,
    /// The maximum duration of a request to the API server.
    pub request_timeout: SignedDuration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            workers: 32,
            request_timeout: SignedDuration::from_secs(10),
        }
    }
}

/// Receives each pass: its object, whether it succeeded, and its duration.
type Observer = Box<dyn Fn(&Work, bool, Duration) + Send + Sync>;

/// Reconciles objects.
pub struct Controller<C> {
    cluster: C,
    tuning: Tuning,
    notices: Notices,
    observer: Observer,
    serving: Serving,
    directory: RwLock<Directory>,
    /// The latest periodic counts.
    counts: Mutex<Option<Arc<Counts>>>,
    agenda: Agenda,
    macs: Mutex<Macs>,
    budget: MintBudget,
    orphans: Mutex<Orphans>,
    gauges: Mutex<Gauges>,
}

/// What the last passes saw, for metrics.
#[derive(Default)]
struct Gauges {
    /// Objects by reason of `Ready`.
    tally: Tally,
    /// When each Identity's next signing key begins to sign.
    rotations: Rotations,
    ready_pods: AllReadyPods,
}

/// How a pass ended.
enum Reconciled {
    /// The object is as it should be, until the given time.
    Settled(Option<Timestamp>),
    /// A change that completes it is under way.
    Soon,
    /// The object no longer exists.
    Gone,
}

#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("{0}: {1}")]
    Api(&'static str, ApiError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

fn api(what: &'static str) -> impl FnOnce(ApiError) -> ReconcileError {
    move |error| ReconcileError::Api(what, error)
}

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Creates a controller. `own` tells the controller's own writes from those of others.
    pub fn new(
        cluster: C,
        own: OwnWrites,
        settings: Settings,
        tuning: Tuning,
        notices: Notices,
    ) -> Self {
        Self {
            cluster,
            tuning,
            notices,
            observer: Box::new(|_, _, _| {}),
            serving: Serving::default(),
            directory: RwLock::new(Directory::new(settings)),
            counts: Mutex::default(),
            agenda: Agenda::new(tuning.workers, own),
            macs: Mutex::default(),
            budget: MintBudget::default(),
            orphans: Mutex::default(),
            gauges: Mutex::default(),
        }
    }

    /// Reports each pass to `observer`: its object, whether it succeeded, and its duration.
    #[must_use]
    pub fn observed(
        mut self,
        observer: impl Fn(&Work, bool, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Returns the queue's size.
    pub fn depth(&self) -> Depth {
        self.agenda.queue.depth()
    }

    /// Counts the objects by kind and by reason of `Ready`; `None` for objects that were not reconciled yet.
    pub fn tally(&self) -> Vec<(Kind, Option<Reason>, usize)> {
        let sizes = self.directory().sizes();
        lock(&self.gauges).tally.counts(&sizes)
    }

    /// Returns the pods of each Identity that has its own.
    pub fn ready_pods(&self) -> Vec<(String, ReadyPods)> {
        lock(&self.gauges).ready_pods.all()
    }

    /// Returns the time until the next signing key of each Identity begins to sign; negative if that is overdue.
    pub fn key_rotations(&self) -> Vec<(String, SignedDuration)> {
        lock(&self.gauges).rotations.remaining(now())
    }

    /// Returns the directory as it is now.
    pub fn directory(&self) -> Directory {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Begins to lead: queues every object once, with low priority if it is probably as it should be.
    pub fn lead(&self) {
        self.agenda.lead(now());
        self.count_afresh();
        let directory = self.directory();
        for object in directory.identities() {
            self.agenda
                .queue
                .add(Work::Object(Kind::Identity, object.key.clone()), Why::Must);
        }
        for object in directory.scopes() {
            self.agenda
                .queue
                .add_slow(Work::Object(Kind::Scope, object.key.clone()));
        }
        let namespaces: BTreeSet<_> = directory
            .identities()
            .map(|object| object.key.namespace.clone())
            .collect();
        let is_issued = |uid: &Arc<str>| {
            let mut places = namespaces.iter().map(|namespace| ObjectKey {
                namespace: namespace.clone(),
                name: uid.clone(),
            });
            places.any(|key| directory.credential(&key).is_some())
        };
        let clients = directory
            .clients()
            .map(|object| (Kind::OAuthClient, &object.key, &object.uid));
        let tokens = directory
            .service_tokens()
            .map(|object| (Kind::ServiceAccessToken, &object.key, &object.uid));
        for object in directory.users() {
            let work = Work::Object(Kind::User, object.key.clone());
            if object.record().is_some_and(|it| it.enroll.is_some()) {
                self.agenda.queue.add(work, Why::Must);
            } else {
                self.agenda.queue.add_slow(work);
            }
        }
        for (kind, key, uid) in clients.chain(tokens) {
            let work = Work::Object(kind, key.clone());
            if is_issued(uid) {
                self.agenda.queue.add_slow(work);
            } else {
                self.agenda.queue.add(work, Why::Must);
            }
        }
        let key_secrets = lock(&self.orphans).key_secrets();
        for key in key_secrets {
            self.watch_key_secret(&directory, &key);
        }
        self.lead_pods();
        self.agenda.queue.add(Work::Sweep, Why::Must);
    }

    /// Runs until `stop` is cancelled. Passes that have begun are finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut workers = JoinSet::new();
        for _ in 0..self.tuning.workers {
            let (controller, stop) = (self.clone(), stop.clone());
            workers.spawn(async move {
                while let Some((work, reasons)) = stop
                    .run_until_cancelled(controller.agenda.queue.next())
                    .await
                {
                    let next = controller.attend(&work, &reasons).await;
                    controller.agenda.queue.done(&work, next);
                }
            });
        }
        let beat = stop.run_until_cancelled(self.beat());
        let work = async { while workers.join_next().await.is_some() {} };
        tokio::join!(beat, work);
    }

    async fn attend(&self, work: &Work, reasons: &Reasons) -> Next {
        let judgement = judgement(&self.directory(), work, now());
        if let Some(again) = self.agenda.unneeded(work, reasons, judgement) {
            return again;
        }
        let start = Instant::now();
        let span = traces::pass(work.kind().as_str(), work);
        let reconciled = self.reconcile(work).instrument(span.clone()).await;
        traces::passed(&span, reconciled.is_ok());
        (self.observer)(work, reconciled.is_ok(), start.elapsed());
        match reconciled {
            Ok(Reconciled::Settled(until)) => {
                let again = again(start, until);
                self.agenda.settle(work, judgement, again);
                again
            }
            Ok(Reconciled::Soon) => Next::At(start + SOON),
            Ok(Reconciled::Gone) => {
                self.agenda.forget(work);
                Next::Idle
            }
            Err(error) => {
                self.agenda.forget(work);
                warn!(%work, %error, cause = cause(&error), "reconcile failed, will retry");
                Next::Failed
            }
        }
    }

    async fn reconcile(&self, work: &Work) -> Result<Reconciled, ReconcileError> {
        match work {
            Work::Object(Kind::Identity, key) => self.identity(key).await,
            Work::Object(Kind::Scope, key) => self.scope(key).await,
            Work::Object(Kind::OAuthClient, key) => self.owner(OwnerKind::OAuthClient, key).await,
            Work::Object(Kind::ServiceAccessToken, key) => {
                self.owner(OwnerKind::ServiceAccessToken, key).await
            }
            Work::Object(Kind::User, key) => self.user(key).await,
            Work::Object(Kind::Credential, key) | Work::Orphan(key, _) => self.orphan(key).await,
            Work::KeySecret(key) => self.key_secret(key).await,
            Work::Sweep => Ok(self.sweep_all()),
        }
    }

    async fn scope(&self, key: &ObjectKey) -> Result<Reconciled, ReconcileError> {
        let Some((live, directory)) = self.gather(Kind::Scope, key).await? else {
            return Ok(Reconciled::Gone);
        };
        let Some(object) = directory.scope(key) else {
            return Ok(Reconciled::Gone);
        };
        let wanted = status::scope(&live, &directory, object, self.counts().as_deref(), now());
        self.report(Kind::Scope, &live, &wanted, None).await
    }

    /// Writes the status if it differs from the live one.
    async fn report(
        &self,
        kind: Kind,
        live: &Value,
        wanted: &Value,
        until: Option<Timestamp>,
    ) -> Result<Reconciled, ReconcileError> {
        lock(&self.gauges).tally.note(kind, wanted);
        if live["status"] == wanted["status"] {
            return Ok(Reconciled::Settled(until));
        }
        match self.cluster.replace_status(kind, wanted).await {
            Ok(()) => {
                if let Some(obstacle) = status::new_obstacle(live, wanted)
                    && let Some(notice) = Notice::not_ready(kind, live, &obstacle)
                {
                    self.notices.publish(notice);
                }
                Ok(Reconciled::Settled(until))
            }
            // Another client wrote first. Either the watch brings that change, or it does not matter.
            Err(ApiError::Conflict) => Ok(Reconciled::Soon),
            Err(ApiError::NotFound) => Ok(Reconciled::Gone),
            Err(error) => {
                // No condition can tell.
                if error.is_refusal() {
                    let note =
                        format!("The API server refuses the status of this object: {error}.");
                    let notice = Notice::new(live, EventReason::Refused, true, note);
                    self.notices.publish(notice.by("Status"));
                }
                Err(ReconcileError::Api("cannot write the status", error))
            }
        }
    }

    /// Returns the live object, and the directory with this object in it.
    async fn gather(
        &self,
        kind: Kind,
        key: &ObjectKey,
    ) -> Result<Option<(Value, Directory)>, ReconcileError> {
        let live = self
            .cluster
            .object(kind, key)
            .await
            .map_err(api("cannot read the object"))?;
        Ok(live.filter(|live| !is_deleting(live)).map(|live| {
            let directory = self.directory_with(kind, &live);
            (live, directory)
        }))
    }

    /// Returns the directory as it will be once the watch has delivered this object.
    fn directory_with(&self, kind: Kind, live: &Value) -> Directory {
        let mut directory = self.directory();
        if let Some(change) = Change::object(kind, live, directory.settings()) {
            directory.apply(change);
        }
        directory
    }
}

/// The problem of a Secret that the operator may not read or write: because of its rights, a quota or an admission
/// rule. `field` is where the user sets labels and annotations of the Secret.
fn access_denied(message: &str, field: &str) -> Problem {
    // The words of admission policies and of webhooks.
    let is_admission = ["denied request", "denied the request"]
        .iter()
        .any(|words| message.contains(words));
    let message = if is_admission {
        secret_refused(message, field)
    } else {
        format!("the operator may not read or write the Secret: {message}")
    };
    Problem::error(Reason::SecretAccessDenied, "", message)
}

/// Returns the problem of Secrets that the API server does not let the operator read or write; `None` for an error that
/// may go away by itself. `field` is where the user sets their labels and annotations.
fn refused(error: &ApiError, secrets: &str, field: &str) -> Option<Problem> {
    match error {
        ApiError::Forbidden(message) => Some(access_denied(message, field)),
        ApiError::Invalid(message) => {
            let message = secret_refused(message, field);
            Some(Problem::error(Reason::SecretAccessDenied, "", message))
        }
        ApiError::WebhookDown(message) => Some(webhook_down(secrets, message)),
        _ => None,
    }
}

/// The problem of an object that cannot be written because an admission webhook does not answer. The operator retries.
fn webhook_down(object: &str, message: &str) -> Problem {
    let message = format!(
        "the operator cannot write the {object} and keeps retrying: {message}; ask the administrators of the cluster to repair the webhook"
    );
    Problem::error(Reason::Pending, "", message)
}

/// Returns the message about a Secret that the API server or one of its admission rules considers invalid. `field` is
/// where the user sets labels and annotations of the Secret.
fn secret_refused(message: &str, field: &str) -> String {
    format!(
        "the API server refuses the Secret: {message}; if a policy requires a label or an annotation, set it in {field}"
    )
}

fn key_of(live: &Value) -> ObjectKey {
    let field = |name: &str| live["metadata"][name].as_str().unwrap_or_default();
    ObjectKey::new(field("namespace"), field("name"))
}

fn is_deleting(live: &Value) -> bool {
    live["metadata"]["deletionTimestamp"].is_string()
}

/// Returns when to reconcile again: at the given time, or after the longest interval.
fn again(start: Instant, until: Option<Timestamp>) -> Next {
    // A time in the past means now.
    let wait = until
        .map(|until| Duration::try_from(until.duration_since(now())).unwrap_or_default())
        .filter(|wait| *wait < AT_LEAST_EVERY);
    wait.map_or(Next::Resync(start + AT_LEAST_EVERY), |wait| {
        Next::At(start + wait)
    })
}

/// Returns the message of the innermost error, which says what went wrong.
fn cause(error: &ReconcileError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge that reads the clock for all passes"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::kube_call::Body;
    use crate::reconcile::cluster::fence::Fence;
    use crate::reconcile::cluster::kube_api::KubeApi;

    /// A tenant can create and delete Secrets that name any owner. These names must not stay in the queue.
    #[tokio::test]
    async fn a_secret_that_came_and_went_leaves_nothing_in_the_queue() {
        let answer = tower::service_fn(async |_: http::Request<Body>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let client = crate::kube_call::Client::new(answer, "default");
        let api = KubeApi::new(client, Duration::from_secs(1), Fence::open());
        let (settings, tuning) = (Settings::default(), Tuning::default());
        let controller = Controller::new(
            api,
            OwnWrites::default(),
            settings,
            tuning,
            Notices::ignored(),
        );
        controller.lead();
        let changes = World::new("").changes(QUICKSTART);
        controller.changed(changes.into_iter().map(|it| (it, "1".into())).collect());
        let before = controller.depth();
        for version in ["7", ""] {
            for name in ["nobody", "?watch=1", "a b"] {
                let key = ObjectKey::new("blue", "x");
                let owner = Some((OwnerKind::OAuthClient, name));
                controller.secret_changed(&key, version, owner);
            }
        }
        let Depth { ready, later, .. } = controller.depth();
        assert_eq!((ready, later), (before.ready, before.later));
    }

    /// One tenant toggles a Scope that thousands of tokens name; another waits for a first token.
    #[tokio::test]
    async fn a_first_token_goes_before_what_follows_from_another_tenants_scope() {
        const MANY: usize = 2500;
        let answer = tower::service_fn(async |_: http::Request<Body>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let client = crate::kube_call::Client::new(answer, "default");
        let api = KubeApi::new(client, Duration::from_secs(1), Fence::open());
        let controller = Controller::new(
            api,
            OwnWrites::default(),
            Settings::default(),
            Tuning::default(),
            Notices::ignored(),
        );
        controller.lead();
        let token = |namespace: &str, name: &str| {
            format!(
                "---\napiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{clientRef: {{name: shop}}, scopes: [orders.read]}}\n"
            )
        };
        let many: String = (0..MANY).map(|n| token("blue", &format!("t{n}"))).collect();
        let mut world = World::new("");
        let mut apply = |yaml: &str| {
            let changes = world.changes(yaml);
            controller.changed(changes.into_iter().map(|it| (it, "1".into())).collect());
        };
        let pass_all = async |most: usize| {
            let mut passed = Vec::new();
            while passed.len() < most && controller.depth().ready > 0 {
                let (work, _) = controller.agenda.queue.next().await;
                controller.agenda.queue.done(&work, Next::Idle);
                passed.push(work.to_string());
            }
            passed
        };
        apply(&(QUICKSTART.to_owned() + &many));
        pass_all(usize::MAX).await;
        let scope = "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: platform}
spec:
  identityRef: {name: main}
  audiences: [https://other.example.com]
  allowedNamespaces: {from: All}
";
        apply(scope);
        pass_all(10).await;
        assert!(
            controller.depth().ready > MANY - 20,
            "{:?}",
            controller.depth()
        );
        apply(&token("green", "first"));
        let passed = pass_all(usize::MAX).await;
        let turn = passed
            .iter()
            .position(|work| work == "ServiceAccessToken green/first");
        assert!(turn.unwrap() <= 5, "it had its turn after {turn:?}");
        assert!(passed.len() > MANY - 20, "the others have their turns too");
    }
}
