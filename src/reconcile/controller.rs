//! The operator's loop: what changed is looked at, one pass at a time for each object.
//!
//! A pass is gather, resolve, plan, apply, report; the first four for Secrets are [`issue`]. In a steady
//! state nothing is written: a status is compared before. No list is ever asked for: lists scan whole
//! namespaces, and who is concerned is found in the directory.
//!
//! Absent: watching, leading, and every rule: this only puts them together.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::cluster::{ApiError, Cluster, Precondition};
use super::events::{Notice, Notices};
use super::fanout;
use super::issue::{IssueError, Issuer, MintBudget, Outcome, Rules, Settled, Target, issue};
use super::key_secrets;
use super::kube_api::OwnWrites;
use super::queue::{Depth, Next, Queue, Reasons, Why};
use super::report::Reports;
use super::status::{self, Issuance};
use super::sweep::{SWEEP_EVERY, Sweep};
use super::work::Work;
use crate::directory::record::{ClientRecord, Object, ServiceTokenRecord};
use crate::directory::{Change, Directory, ObjectKey, Problem, Reason, Row, Settings, Standing};
use crate::resources::{Credential, CredentialOwner, Kind, OwnerKind};
use crate::tokens::{MacKey, SystemEntropy};

/// Without any reason an object is looked at this often: an event may have been lost.
const AT_LEAST_EVERY: Duration = Duration::from_hours(24);
/// When to look again at what must change elsewhere first, and will soon.
const SOON: Duration = Duration::from_secs(1);

/// How it works.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Passes at once.
    pub workers: usize,
    /// No request to the API server takes longer.
    pub request_timeout: SignedDuration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            workers: 24,
            request_timeout: SignedDuration::from_secs(10),
        }
    }
}

/// Is told of each look: what at, whether it went well, and how long it took.
type Observer = Box<dyn Fn(&Work, bool, Duration) + Send + Sync>;

/// What looks at objects and puts right what is not.
pub struct Controller<C> {
    cluster: C,
    own: OwnWrites,
    tuning: Tuning,
    notices: Notices,
    directory: RwLock<Directory>,
    queue: Queue<Work>,
    /// Whether this process leads: before, there is nothing to queue.
    active: AtomicBool,
    macs: Mutex<HashMap<ObjectKey, Arc<MacKey>>>,
    memory: Mutex<HashMap<Work, Memory>>,
    budget: MintBudget,
    sweep: Mutex<Sweep>,
    observer: Observer,
}

/// What is remembered of the last good look at an object.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// What the directory said of it.
    judgement: u64,
    /// When it is to be looked at again.
    again: Instant,
}

/// How a look ended.
enum Look {
    /// As it should be, until a moment.
    Settled(Option<Timestamp>),
    /// Something is on its way that will make it so.
    Soon,
    /// It is not there any more.
    Gone,
}

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("{0}: {1}")]
    Api(&'static str, ApiError),
}

fn api(what: &'static str) -> impl FnOnce(ApiError) -> LookError {
    move |error| LookError::Api(what, error)
}

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// A controller of a cluster. `own` tells its own writes from others'.
    pub fn new(
        cluster: C,
        own: OwnWrites,
        settings: Settings,
        tuning: Tuning,
        notices: Notices,
    ) -> Self {
        Self {
            cluster,
            own,
            tuning,
            notices,
            directory: RwLock::new(Directory::new(settings)),
            queue: Queue::default(),
            active: AtomicBool::new(false),
            macs: Mutex::default(),
            memory: Mutex::default(),
            budget: MintBudget::default(),
            sweep: Mutex::default(),
            observer: Box::new(|_, _, _| {}),
        }
    }

    /// Has each look reported: what, whether it went well, and how long it took.
    #[must_use]
    pub fn observed(
        mut self,
        observer: impl Fn(&Work, bool, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// How much there is to do.
    pub fn depth(&self) -> Depth {
        self.queue.depth()
    }

    /// The directory as it is now.
    pub fn directory(&self) -> Directory {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes changes with the `resourceVersion`s of their objects, and queues whom they concern.
    pub fn changed(&self, changes: Vec<(Change, Box<str>)>) {
        let mut directory = self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = directory.clone();
        let mut news = Vec::new();
        for (change, version) in changes {
            self.credential_changed(&directory, &change, &version);
            if directory.is_news(&change) {
                directory.apply(change.clone());
                news.push(change);
            }
        }
        let after = directory.clone();
        drop(directory);
        if self.is_active() && !news.is_empty() {
            for (work, why) in fanout::concerned(&before, &after, &news) {
                self.queue.add(work, why);
            }
        }
    }

    /// The owner's pass knows what it wrote itself; a deletion is the server's, or ours of an orphan.
    fn credential_changed(&self, directory: &Directory, change: &Change, version: &str) {
        let (owner, why) = match change {
            Change::Upsert(Row::Credential(record)) => {
                (record.owner.clone(), Why::Version(version.into()))
            }
            Change::Delete(Kind::Credential, key) => match directory.credential(key) {
                Some(record) => (record.owner.clone(), Why::Must),
                None => return,
            },
            _ => return,
        };
        if !self.is_active() || self.is_own(&why) {
            return;
        }
        let kind = kind_of(owner.kind);
        if uid_of(directory, kind, &owner.key) == Some(owner.uid) {
            self.queue.add(Work::Object(kind, owner.key), why);
        }
    }

    /// Queues the owner of a Secret of ours that has another version now, or is gone.
    pub fn secret_changed(&self, key: &ObjectKey, version: &str, controller: Option<(Kind, &str)>) {
        let why = if version.is_empty() {
            Why::Must
        } else {
            Why::Version(version.into())
        };
        if !self.is_active() || self.is_own(&why) {
            return;
        }
        if let Some((kind, name)) = controller {
            let owner = ObjectKey::new(&key.namespace, name);
            return self.queue.add(Work::Object(kind, owner), why);
        }
        let directory = self.directory();
        if let Some(identity) =
            key_secrets::identity_of(key).filter(|identity| directory.identity(identity).is_some())
        {
            if *key == key_secrets::mac_secret(&identity) {
                self.mac_changed(&identity);
            }
            self.queue
                .add(Work::Object(Kind::Identity, identity), Why::Must);
        }
        for work in owners_of_secret(&directory, key) {
            self.queue.add(work, why.clone());
        }
    }

    /// The mac key of an Identity is gone, or another: all that was recorded by the one before is void, and its
    /// owners need anew what they had.
    pub fn mac_changed(&self, identity: &ObjectKey) {
        lock(&self.macs).remove(identity);
        if self.is_active() {
            for work in owners_under(&self.directory(), identity) {
                self.queue.add_slow(work);
            }
        }
    }

    /// Begins to lead: everything is looked at once, what probably is as it should be without haste.
    pub fn lead(&self) {
        self.active.store(true, Ordering::Release);
        let directory = self.directory();
        for object in directory.identities() {
            self.queue
                .add(Work::Object(Kind::Identity, object.key.clone()), Why::Must);
        }
        for object in directory.scopes() {
            self.queue
                .add_slow(Work::Object(Kind::Scope, object.key.clone()));
        }
        let namespaces: std::collections::BTreeSet<_> = directory
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
        for (kind, key, uid) in clients.chain(tokens) {
            let work = Work::Object(kind, key.clone());
            if is_issued(uid) {
                self.queue.add_slow(work);
            } else {
                self.queue.add(work, Why::Must);
            }
        }
        self.queue.add(Work::Sweep, Why::Must);
    }

    /// Works until it is told to stop; passes that have begun come to their end.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut workers = JoinSet::new();
        for _ in 0..self.tuning.workers {
            let (controller, stop) = (self.clone(), stop.clone());
            workers.spawn(async move {
                while let Some((work, reasons)) =
                    stop.run_until_cancelled(controller.queue.next()).await
                {
                    let next = controller.attend(&work, &reasons).await;
                    controller.queue.done(&work, next);
                }
            });
        }
        while workers.join_next().await.is_some() {}
    }

    async fn attend(&self, work: &Work, reasons: &Reasons) -> Next {
        let judgement = self.judgement(work);
        if let Some(memory) = self.recall(work)
            && !self.has_reason(reasons, memory, judgement)
        {
            return Next::At(memory.again);
        }
        let start = Instant::now();
        let looked = self.look(work).await;
        (self.observer)(work, looked.is_ok(), start.elapsed());
        match looked {
            Ok(Look::Settled(until)) => {
                let again = again(start, until);
                lock(&self.memory).insert(work.clone(), Memory { judgement, again });
                Next::At(again)
            }
            Ok(Look::Soon) => Next::At(start + SOON),
            Ok(Look::Gone) => {
                lock(&self.memory).remove(work);
                Next::Idle
            }
            Err(error) => {
                lock(&self.memory).remove(work);
                warn!(%work, %error, cause = cause(&error), "to be tried again");
                Next::Failed
            }
        }
    }

    fn has_reason(&self, reasons: &Reasons, memory: Memory, judgement: u64) -> bool {
        reasons.must
            || reasons
                .versions
                .iter()
                .any(|version| !self.own.has(version))
            || (reasons.perhaps && memory.judgement != judgement)
    }

    fn recall(&self, work: &Work) -> Option<Memory> {
        lock(&self.memory).get(work).copied()
    }

    fn is_own(&self, why: &Why) -> bool {
        matches!(why, Why::Version(version) if self.own.has(version))
    }

    fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// A short form of what the directory says of an object: another one is a reason to look.
    fn judgement(&self, work: &Work) -> u64 {
        let Work::Object(kind, key) = work else {
            return 0;
        };
        let (directory, now) = (self.directory(), now());
        let mut digest = Digest(DefaultHasher::new());
        let _hashed = match kind {
            Kind::Identity => directory.identity(key).map(|object| {
                write!(
                    digest,
                    "{object:?}{:?}",
                    directory.identity_problems(object)
                )
            }),
            Kind::Scope => directory
                .scope(key)
                .map(|object| write!(digest, "{object:?}{:?}", directory.scope_problems(object))),
            Kind::OAuthClient => directory.client(key).map(|object| {
                let granted = directory
                    .accepted_client(object)
                    .map(|client| directory.not_granted(&client));
                write!(
                    digest,
                    "{}{granted:?}{:?}",
                    object.generation,
                    directory.client_secret_standing(key, now)
                )
            }),
            Kind::ServiceAccessToken => directory.service_token(key).map(|object| {
                write!(
                    digest,
                    "{}{:?}",
                    object.generation,
                    directory.service_token_standing(key, now)
                )
            }),
            Kind::Credential => None,
        };
        digest.0.finish()
    }

    async fn look(&self, work: &Work) -> Result<Look, LookError> {
        match work {
            Work::Object(Kind::Identity, key) => self.identity(key).await,
            Work::Object(Kind::Scope, key) => self.scope(key).await,
            Work::Object(Kind::OAuthClient, key) => self.owner(OwnerKind::OAuthClient, key).await,
            Work::Object(Kind::ServiceAccessToken, key) => {
                self.owner(OwnerKind::ServiceAccessToken, key).await
            }
            Work::Object(Kind::Credential, key) | Work::Orphan(key) => self.orphan(key).await,
            Work::Sweep => Ok(self.sweep_all()),
        }
    }

    async fn scope(&self, key: &ObjectKey) -> Result<Look, LookError> {
        let Some((live, directory)) = self.gather(Kind::Scope, key).await? else {
            return Ok(Look::Gone);
        };
        let Some(object) = directory.scope(key) else {
            return Ok(Look::Gone);
        };
        let wanted = status::scope(&live, &directory, object, now());
        self.report(Kind::Scope, &live, &wanted, None).await
    }

    async fn identity(&self, key: &ObjectKey) -> Result<Look, LookError> {
        let Some((live, directory)) = self.gather(Kind::Identity, key).await? else {
            return Ok(Look::Gone);
        };
        let Some(object) = directory.identity(key) else {
            return Ok(Look::Gone);
        };
        let keys = match self.keys(&directory, object).await {
            Ok(keys) => keys,
            Err(ApiError::Forbidden(message)) => Some(Err(access_denied(&message))),
            Err(error) => return Err(LookError::Api("the Identity's Secrets", error)),
        };
        let keys = keys.as_ref().map(|keys| keys.as_ref().map(Vec::as_slice));
        let wanted = status::identity(&live, &directory, object, keys, now());
        self.report(Kind::Identity, &live, &wanted, None).await
    }

    /// The Identity's keys, made where they are missing; `None` for one that is not served.
    async fn keys(
        &self,
        directory: &Directory,
        object: &Object<crate::directory::record::IdentityRecord>,
    ) -> Result<Option<Result<Vec<crate::resources::KeyStatus>, Problem>>, ApiError> {
        let Some(record) = object
            .record()
            .filter(|_| directory.identity_problems(object).is_empty())
        else {
            return Ok(None);
        };
        let key = &object.key;
        let keys = key_secrets::ensure(
            &self.cluster,
            key,
            &record.algorithms,
            now(),
            &mut SystemEntropy,
        )
        .await?;
        match keys.mac {
            Ok(mac) => {
                if lock(&self.macs).insert(key.clone(), mac).is_none() {
                    self.wake_owners(directory);
                }
                Ok(Some(keys.signing))
            }
            Err(problem) => Ok(Some(Err(problem))),
        }
    }

    /// Those that could not be looked at without the key.
    fn wake_owners(&self, directory: &Directory) {
        let clients = directory
            .clients()
            .map(|object| Work::Object(Kind::OAuthClient, object.key.clone()));
        let tokens = directory
            .service_tokens()
            .map(|object| Work::Object(Kind::ServiceAccessToken, object.key.clone()));
        let waiting: Vec<Work> = {
            let memory = lock(&self.memory);
            clients
                .chain(tokens)
                .filter(|work| !memory.contains_key(work))
                .collect()
        };
        for work in waiting {
            self.queue.add(work, Why::Perhaps);
        }
    }

    async fn mac(
        &self,
        identity: &ObjectKey,
    ) -> Result<Option<Result<Arc<MacKey>, Problem>>, LookError> {
        if let Some(mac) = lock(&self.macs).get(identity) {
            return Ok(Some(Ok(mac.clone())));
        }
        let found = key_secrets::read_mac(&self.cluster, identity).await;
        let found = found.map_err(api("reading the Identity's mac key"))?;
        if let Some(Ok(mac)) = &found {
            lock(&self.macs).insert(identity.clone(), mac.clone());
        }
        Ok(found)
    }

    /// A client or token: its Secret, then its status.
    async fn owner(&self, kind: OwnerKind, key: &ObjectKey) -> Result<Look, LookError> {
        let directory = self.directory();
        let standing = standing(&directory, kind, key, now());
        let Some(target) = target(&directory, kind, key, &standing) else {
            return self
                .report_owner(kind, key, Issuance::Settled(unissued(standing)))
                .await;
        };
        let mac = match self.mac(&target.identity).await? {
            Some(Ok(mac)) => mac,
            Some(Err(problem)) => {
                let message = format!(
                    "Identity {} is not ready: {}",
                    target.identity, problem.message
                );
                let problem = Problem::error(Reason::IdentityNotReady, "", message);
                return self
                    .report_owner(kind, key, Issuance::Blocked(problem))
                    .await;
            }
            // The Identity's own pass makes it, and wakes us.
            None => return Ok(Look::Soon),
        };
        let live = Mutex::new(None);
        let outcome = self.issue(kind, &target, &mac, &live).await;
        let live: Option<Value> = live.into_inner().unwrap_or_else(PoisonError::into_inner);
        for event in &outcome.events {
            if let Some(live) = &live {
                self.notices
                    .publish(Notice::issued(live, event, &target.secret_name));
            }
        }
        let issuance = match outcome.result {
            Ok(Settled::Gone) => return Ok(Look::Gone),
            Ok(Settled::Moved) => return Ok(Look::Soon),
            Ok(settled) => Issuance::Settled(settled),
            Err(error) => return self.blocked(kind, live, error).await,
        };
        match live {
            Some(live) => self.report_live(kind, &live, issuance).await,
            None => Ok(Look::Gone),
        }
    }

    async fn issue(
        &self,
        kind: OwnerKind,
        target: &Target,
        mac: &MacKey,
        live: &Mutex<Option<Value>>,
    ) -> Outcome {
        let judge = |object: &Value| {
            *lock(live) = Some(object.clone());
            let directory = self.directory_with(kind_of(kind), object);
            standing(&directory, kind, &target.owner_key(), now())
        };
        let issuer = Issuer {
            cluster: &self.cluster,
            rules: Rules {
                request_timeout: self.tuning.request_timeout,
                ..Rules::new(mac)
            },
            budget: &self.budget,
            now: &now,
            judge: &judge,
        };
        issue(&issuer, target, &mut SystemEntropy).await
    }

    /// A pass that failed: what somebody must do about it, if so, is told; it is tried again anyway.
    async fn blocked(
        &self,
        kind: OwnerKind,
        live: Option<Value>,
        error: IssueError,
    ) -> Result<Look, LookError> {
        let problem = match &error {
            IssueError::Gather("Secret", ApiError::Forbidden(message))
            | IssueError::Apply("Secret", ApiError::Forbidden(message)) => access_denied(message),
            IssueError::Apply("Secret", ApiError::Invalid(message)) => Problem::error(
                Reason::Invalid,
                "/spec",
                format!("the API server refuses the Secret: {message}"),
            ),
            _ => return Err(error.into()),
        };
        if let Some(live) = live {
            let notice = Notice::new(&live, "Refused", true, problem.message.clone());
            self.notices.publish(notice);
            self.report_live(kind, &live, Issuance::Blocked(problem))
                .await?;
        }
        Err(error.into())
    }

    async fn report_owner(
        &self,
        kind: OwnerKind,
        key: &ObjectKey,
        issuance: Issuance,
    ) -> Result<Look, LookError> {
        let live = self
            .cluster
            .object(kind_of(kind), key)
            .await
            .map_err(api("reading the object"))?;
        match live.filter(|live| !is_deleting(live)) {
            Some(live) => self.report_live(kind, &live, issuance).await,
            None => Ok(Look::Gone),
        }
    }

    async fn report_live(
        &self,
        kind: OwnerKind,
        live: &Value,
        issuance: Issuance,
    ) -> Result<Look, LookError> {
        let (directory, now) = (self.directory_with(kind_of(kind), live), now());
        let key = key_of(live);
        let wanted = match kind {
            OwnerKind::OAuthClient => directory
                .client(&key)
                .map(|object| status::client(live, &directory, object, &issuance, now)),
            OwnerKind::ServiceAccessToken => directory
                .service_token(&key)
                .map(|object| status::service_token(live, &directory, object, &issuance, now)),
        };
        let Some(wanted) = wanted else {
            return Ok(Look::Gone);
        };
        let until = match &issuance {
            Issuance::Settled(settled) => settled.requeue_at(),
            Issuance::Blocked(_) => None,
        };
        self.report(kind_of(kind), live, &wanted, until).await
    }

    /// Writes a status if it is another one.
    async fn report(
        &self,
        kind: Kind,
        live: &Value,
        wanted: &Value,
        until: Option<Timestamp>,
    ) -> Result<Look, LookError> {
        if live["status"] == wanted["status"] {
            return Ok(Look::Settled(until));
        }
        match self.cluster.replace_status(kind, wanted).await {
            Ok(()) => Ok(Look::Settled(until)),
            // Somebody was faster; what they did is news that comes by itself, or does not matter.
            Err(ApiError::Conflict) => Ok(Look::Soon),
            Err(ApiError::NotFound) => Ok(Look::Gone),
            Err(error) => Err(LookError::Api("writing the status", error)),
        }
    }

    /// The live object, and the directory with it in.
    async fn gather(
        &self,
        kind: Kind,
        key: &ObjectKey,
    ) -> Result<Option<(Value, Directory)>, LookError> {
        let live = self
            .cluster
            .object(kind, key)
            .await
            .map_err(api("reading the object"))?;
        Ok(live.filter(|live| !is_deleting(live)).map(|live| {
            let directory = self.directory_with(kind, &live);
            (live, directory)
        }))
    }

    /// The directory as it will be when the watch has brought this object.
    fn directory_with(&self, kind: Kind, live: &Value) -> Directory {
        let mut directory = self.directory();
        if let Some(change) = Change::object(kind, live, directory.settings()) {
            directory.apply(change);
        }
        directory
    }

    /// Deletes a Credential if its owner, or its Identity for long, is really gone.
    async fn orphan(&self, key: &ObjectKey) -> Result<Look, LookError> {
        let credential = self
            .cluster
            .credential(key)
            .await
            .map_err(api("reading the Credential"))?;
        let Some(credential) = credential else {
            return Ok(Look::Gone);
        };
        if self.is_needed(&credential).await? {
            return Ok(Look::Gone);
        }
        let all = self.directory().credentials().count();
        if !lock(&self.sweep).may_delete(all, now()) {
            warn!(%key, "many Credentials have lost their owners: the sweep pauses for an hour");
            let note =
                "many Credentials have lost their owners at once: they stay for now".to_owned();
            let live = serde_json::to_value(&credential).unwrap_or_default();
            self.notices
                .publish(Notice::new(&live, "SweepPaused", true, note));
            return Ok(Look::Gone);
        }
        let metadata = credential.metadata;
        let only = Precondition {
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
        };
        match self.cluster.delete_credential(key, &only).await {
            Ok(()) => info!(%key, "deleted the Credential of an owner that is gone"),
            Err(ApiError::NotFound | ApiError::Conflict) => {
                debug!(%key, "somebody else was faster");
            }
            Err(error) => return Err(LookError::Api("deleting the Credential", error)),
        }
        Ok(Look::Gone)
    }

    async fn is_needed(&self, credential: &Credential) -> Result<bool, LookError> {
        let owner = &credential.spec.owner;
        let key = ObjectKey::new(&owner.namespace, &owner.name);
        let live = self
            .cluster
            .owner(owner.kind, &key)
            .await
            .map_err(api("reading the owner"))?;
        if !live.is_some_and(|live| live["metadata"]["uid"] == owner.uid.as_str()) {
            return Ok(false);
        }
        let namespace = credential.metadata.namespace.as_deref().unwrap_or_default();
        let identity = ObjectKey::new(namespace, &credential.spec.identity.name);
        let live = self
            .cluster
            .object(Kind::Identity, &identity)
            .await
            .map_err(api("reading the Identity"))?;
        Ok(live.is_some())
    }

    fn sweep_all(&self) -> Look {
        let (directory, now) = (self.directory(), now());
        for key in lock(&self.sweep).due(&directory, now) {
            self.queue.add_slow(Work::Orphan(key));
        }
        Look::Settled(now.checked_add(SWEEP_EVERY).ok())
    }
}

/// What should become of an owner's secrets.
fn standing(directory: &Directory, kind: OwnerKind, key: &ObjectKey, now: Timestamp) -> Standing {
    match kind {
        OwnerKind::OAuthClient => directory.client_secret_standing(key, now),
        OwnerKind::ServiceAccessToken => directory.service_token_standing(key, now),
    }
}

/// Where an owner's objects are, if there is anything to issue or to take away.
fn target(
    directory: &Directory,
    kind: OwnerKind,
    key: &ObjectKey,
    standing: &Standing,
) -> Option<Target> {
    match standing {
        Standing::Wanted(desired) => Some(Target {
            owner: desired.owner.clone(),
            identity: desired.identity.clone(),
            secret_name: desired.secret_name.clone(),
        }),
        Standing::Revoked => {
            let object = directory.service_token(key)?;
            let record = object.record()?;
            let client = directory
                .client(&record.client)
                .and_then(|client| client.record()?.identity.clone());
            let identity = client.or_else(|| {
                let mut credentials = directory.credentials();
                credentials
                    .find(|credential| credential.owner.uid == object.uid)
                    .map(|it| it.identity.clone())
            })?;
            Some(Target {
                owner: CredentialOwner {
                    kind,
                    namespace: key.namespace.to_string(),
                    name: key.name.to_string(),
                    uid: object.uid.to_string(),
                },
                identity,
                secret_name: record.secret.name.to_string(),
            })
        }
        Standing::Withheld(_) | Standing::NotWanted => None,
    }
}

/// How it ends where nothing is issued.
fn unissued(standing: Standing) -> Settled {
    match standing {
        Standing::Withheld(problems) => Settled::Withheld(problems),
        Standing::Revoked => Settled::Revoked,
        Standing::Wanted(_) | Standing::NotWanted => Settled::NotWanted,
    }
}

/// The owners that want a Secret of this name.
fn owners_of_secret(directory: &Directory, secret: &ObjectKey) -> Vec<Work> {
    let wants = |key: &ObjectKey, name: Option<&Arc<str>>| {
        key.namespace == secret.namespace && name == Some(&secret.name)
    };
    let clients = directory
        .clients()
        .filter(|object| {
            wants(
                &object.key,
                object.record().map(|record| &record.secret.name),
            )
        })
        .map(|object| Work::Object(Kind::OAuthClient, object.key.clone()));
    let tokens = directory
        .service_tokens()
        .filter(|object| {
            wants(
                &object.key,
                object.record().map(|record| &record.secret.name),
            )
        })
        .map(|object| Work::Object(Kind::ServiceAccessToken, object.key.clone()));
    clients.chain(tokens).collect()
}

/// The clients of an Identity and their tokens.
fn owners_under(directory: &Directory, identity: &ObjectKey) -> Vec<Work> {
    let is_client = |object: &Object<ClientRecord>| {
        let record = object.record();
        record.is_some_and(|record| record.identity.as_ref() == Some(identity))
    };
    let clients = directory
        .clients()
        .filter(|object| is_client(object))
        .map(|object| Work::Object(Kind::OAuthClient, object.key.clone()));
    let is_token = |object: &Object<ServiceTokenRecord>| {
        let client = object.record().map(|record| &record.client);
        let client = client.and_then(|client| directory.client(client));
        client.is_some_and(|client| is_client(client))
    };
    let tokens = directory
        .service_tokens()
        .filter(|object| is_token(object))
        .map(|object| Work::Object(Kind::ServiceAccessToken, object.key.clone()));
    clients.chain(tokens).collect()
}

fn uid_of(directory: &Directory, kind: Kind, key: &ObjectKey) -> Option<Arc<str>> {
    match kind {
        Kind::OAuthClient => directory.client(key).map(|object| object.uid.clone()),
        _ => directory
            .service_token(key)
            .map(|object| object.uid.clone()),
    }
}

fn access_denied(message: &str) -> Problem {
    let message = format!("the operator may not write the Secret: {message}");
    Problem::error(Reason::SecretAccessDenied, "", message)
}

const fn kind_of(kind: OwnerKind) -> Kind {
    match kind {
        OwnerKind::OAuthClient => Kind::OAuthClient,
        OwnerKind::ServiceAccessToken => Kind::ServiceAccessToken,
    }
}

fn key_of(live: &Value) -> ObjectKey {
    let field = |name: &str| live["metadata"][name].as_str().unwrap_or_default();
    ObjectKey::new(field("namespace"), field("name"))
}

fn is_deleting(live: &Value) -> bool {
    live["metadata"]["deletionTimestamp"].is_string()
}

/// The moment of a timestamp, or of the next look without a reason.
fn again(start: Instant, until: Option<Timestamp>) -> Instant {
    let wait = until.map_or(AT_LEAST_EVERY, |until| {
        // A negative time is over: now.
        Duration::try_from(until.duration_since(now())).unwrap_or_default()
    });
    start + wait.min(AT_LEAST_EVERY)
}

/// The innermost error, which says what went wrong.
fn cause(error: &LookError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge that reads the clock for all passes"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Hashes what is written to it, without keeping it.
struct Digest(DefaultHasher);

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
