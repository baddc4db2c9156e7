//! The driver: gather, plan, apply one step, start over. It decides nothing.
//!
//! Not here: retries of a call with an unknown outcome, and the owner's status. What the status should say is returned
//! as [`Facts`](super::Facts), and the caller writes it in one patch with the conditions. That patch is the most
//! expensive write of all, and issuing needs it only to continue `epoch` after a Credential was deleted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde_json::Value;
use tracing::debug;

use super::budget::MintBudget;
use super::event::{IssueEvent, adopted, issued, warning};
use super::plan::plan;
use super::rules::Rules;
use super::step::{Create, Emptying, Import, Push, Recreate, Step};
use super::view::{Facts, OwnerView, Settled, Target, View};
use super::writes::{forms, put};
use crate::directory::{ObjectKey, Problem, Reason, Standing, entry_ends};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::forms::write_first;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{Cause, Credential, Moment};
use crate::tokens::Entropy;

/// A first token needs four rounds if nothing interferes. More than this means that someone else keeps changing the
/// objects.
const MAX_ROUNDS: usize = 12;
/// The number of conflicts with other writers that one token survives before the pass reads all objects again.
const MAX_RACES: usize = 5;

/// What issuing needs.
pub struct SecretIssuer<'a, C> {
    /// The cluster that holds the objects.
    pub cluster: &'a C,
    /// The rules that apply to every owner.
    pub rules: Rules<'a>,
    /// What each namespace may still get.
    pub budget: &'a MintBudget,
    /// The clock.
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
    /// Returns what the directory says about the live owner.
    pub judge: &'a (dyn Fn(&Value) -> Standing + Sync),
}

/// The outcome of a pass over one owner.
#[derive(Debug)]
pub struct PassOutcome {
    /// What was done, in order.
    pub events: Vec<IssueEvent>,
    /// How it ended.
    pub result: Result<Settled, IssueError>,
    /// Why a write was refused that `result` does not depend on: the Credential cannot have the labels and annotations
    /// that it inherits. The caller reports both, and comes back later.
    pub refused: Option<IssueError>,
}

/// Why the pass did not end. The caller comes back later and starts over; a write may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A read failed.
    #[error("cannot read the {0}")]
    Gather(&'static str, #[source] ApiError),
    /// A write failed or its outcome is unknown.
    #[error("cannot write the {0}")]
    Apply(&'static str, #[source] ApiError),
    /// Someone else keeps changing the same objects.
    #[error("another client keeps changing the Credential, Secret or owner")]
    Contended,
}

/// Brings one owner's Secret to its wanted state, as far as that is possible now.
pub async fn issue<C: Cluster>(
    issuer: &SecretIssuer<'_, C>,
    target: &Target,
    entropy: &mut (dyn Entropy + Send),
) -> PassOutcome {
    let mut pass = Pass {
        issuer,
        target,
        events: Vec::new(),
        is_paid: false,
        stored: None,
        is_relabelled: false,
        refused: None,
        former: BTreeSet::new(),
    };
    let result = pass.run(entropy).await;
    PassOutcome {
        events: pass.events,
        result,
        refused: pass.refused,
    }
}

/// A pass over one owner, and what one round passes on to the next.
struct Pass<'a, C> {
    issuer: &'a SecretIssuer<'a, C>,
    target: &'a Target,
    /// What was done so far.
    events: Vec<IssueEvent>,
    /// Whether the namespace's budget was charged for a token that is still to be issued.
    is_paid: bool,
    /// Secrets that the owner had under other names. A push overwrites the name that the Credential remembers.
    former: BTreeSet<ObjectKey>,
    /// Whether the pass has written what the Credential inherits.
    is_relabelled: bool,
    /// Why the Credential cannot have the labels and annotations that it should have.
    refused: Option<IssueError>,
    /// The metadata of the Credential as it was read or written last.
    stored: Option<ObjectMeta>,
}

/// The result of a step.
enum Applied {
    /// Start over.
    Again,
    /// Go on with the new placeholder, and with the Credential if that was written before.
    Placeholder(SecretObject, Option<Box<Credential>>),
    /// A token is recorded and revealed. Contains both objects as stored.
    Pushed(Box<(Credential, SecretObject)>),
    /// Nothing was left to do.
    Settled(Box<Settled>),
}

impl<C: Cluster> Pass<'_, C> {
    /// Runs rounds until nothing more can be done now.
    async fn run(&mut self, entropy: &mut (dyn Entropy + Send)) -> Result<Settled, IssueError> {
        for _ in 0..MAX_ROUNDS {
            if let Some(settled) = self.round(entropy).await? {
                return Ok(settled);
            }
        }
        Err(IssueError::Contended)
    }

    /// Decides the next step.
    fn plan(&self, view: &View, entropy: &mut (dyn Entropy + Send)) -> Step {
        let issuer = self.issuer;
        plan(view, self.target, &issuer.rules, (issuer.now)(), entropy)
    }

    /// Runs one round; `None`: start over.
    async fn round(
        &mut self,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Option<Settled>, IssueError> {
        let mut view = self.gather().await?;
        let mut has_placeholder = false;
        loop {
            let step = self.plan(&view, entropy);
            let recorded = token_ids(&view);
            self.stored = view.credential.as_ref().map(|it| it.metadata.clone());
            match self.apply(step, recorded).await {
                Ok(Applied::Again) => return Ok(None),
                Ok(Applied::Settled(settled)) => return Ok(Some(*settled)),
                // Something, for example an admission webhook, replaced the new placeholder: count a round.
                Ok(Applied::Placeholder(..)) if std::mem::replace(&mut has_placeholder, true) => {
                    return Ok(None);
                }
                Ok(Applied::Placeholder(secret, credential)) => {
                    view = View {
                        secret: Some(secret),
                        credential: credential.map(|stored| *stored).or(view.credential),
                        ..view
                    }
                }
                Ok(Applied::Pushed(stored)) => {
                    let (credential, secret) = *stored;
                    let view = View {
                        credential: Some(credential),
                        secret: Some(secret),
                        ..view
                    };
                    return Ok(self.settled_by_replies(&view, entropy));
                }
                // Something changed in the meantime; the next round reads it.
                Err(IssueError::Apply(
                    _,
                    ApiError::Conflict | ApiError::AlreadyExists | ApiError::NotFound,
                )) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Settles from the replies to a push if nothing is left to do, which saves three reads per token. Any other step
    /// is decided on live objects; `None`: start over.
    fn settled_by_replies(
        &self,
        view: &View,
        entropy: &mut (dyn Entropy + Send),
    ) -> Option<Settled> {
        match self.plan(view, entropy) {
            Step::Settle(settled @ Settled::Done { .. }) => Some(settled),
            _ => None,
        }
    }

    /// Reads the objects. The order is part of the protocol: the Credential must be read before the Secret.
    async fn gather(&mut self) -> Result<View, IssueError> {
        let (issuer, target) = (self.issuer, self.target);
        let failed = |what| move |error| IssueError::Gather(what, error);
        let credential = issuer
            .cluster
            .credential(&target.credential_key())
            .await
            .map_err(failed("Credential"))?;
        let secret = issuer
            .cluster
            .secret(&target.secret_key())
            .await
            .map_err(failed("Secret"))?;
        let owner = issuer
            .cluster
            .owner(target.owner.kind, &target.owner_key())
            .await
            .map_err(failed("owner"))?;
        let standing = owner.as_ref().map_or(Standing::NotWanted, issuer.judge);
        let owner = owner.as_ref().map(OwnerView::of);
        self.former
            .extend(former_keys(target, credential.as_ref(), owner.as_ref()));
        let mut former: Option<SecretObject> = None;
        for key in &self.former {
            let found = issuer.cluster.secret(key).await.map_err(failed("Secret"))?;
            let is_ours = found
                .as_ref()
                .is_some_and(|secret| secret.is_made_for(&target.owner) && !secret.is_deleting());
            // Delete one at a time; the next round finds the next one.
            if is_ours || former.is_none() {
                former = found.or(former);
            }
        }
        Ok(View {
            credential,
            secret,
            owner,
            standing,
            former,
        })
    }

    /// Takes a step. `recorded` are the public ids of the tokens that the Credential has.
    async fn apply(&mut self, step: Step, recorded: Vec<String>) -> Result<Applied, IssueError> {
        let (cluster, target) = (self.issuer.cluster, self.target);
        match step {
            Step::CreatePlaceholder(create) => return self.create(*create).await,
            Step::Recreate(recreate) => return self.recreate(*recreate).await,
            Step::Fence(secret) => {
                put(cluster, &secret, false).await.map_err(secret_failed)?;
            }
            Step::Repair(secret, adopts) => {
                cluster
                    .replace_secret(&secret)
                    .await
                    .map_err(secret_failed)?;
                self.events.extend(adopts.then(|| adopted(target)));
            }
            Step::Retire(credential, retired, why) => {
                self.replace(&credential).await?;
                let shortened = credential
                    .spec
                    .tokens
                    .into_iter()
                    .filter(|entry| retired.contains(&entry.token_id));
                self.events
                    .extend(shortened.map(|entry| IssueEvent::Retired {
                        not_after: entry_ends(&entry).map(Moment),
                        token_id: entry.token_id,
                        why,
                    }));
            }
            // A webhook may undo the labels and annotations, so once in a pass is enough.
            Step::Relabel(_, settled) if std::mem::replace(&mut self.is_relabelled, true) => {
                return Ok(Applied::Settled(settled));
            }
            Step::Relabel(credential, settled) => {
                match cluster.replace_credential(&credential).await {
                    Ok(_) => self.refused = None,
                    // Everything else is done.
                    Err(error) if error.is_refusal() => {
                        self.refused = Some(credential_failed(error));
                        return Ok(Applied::Settled(settled));
                    }
                    Err(error) => return Err(credential_failed(error)),
                }
            }
            Step::EndRevoked(credential, token_ids) => {
                self.replace(&credential).await?;
                let why = Emptying::ById;
                self.events.push(IssueEvent::Revoked { token_ids, why });
            }
            Step::EmptyTokens(credential, why) => {
                self.replace(&credential).await?;
                let token_ids = recorded.into_iter().filter(|id| {
                    let mut kept = credential.spec.tokens.iter();
                    !kept.any(|entry| entry.token_id == *id)
                });
                let token_ids = token_ids.collect();
                self.events.push(IssueEvent::Revoked { token_ids, why });
            }
            Step::DeleteFormer(key, only) => {
                cluster
                    .delete_secret(&key, &only)
                    .await
                    .map_err(secret_failed)?;
            }
            Step::Discard(only) => {
                cluster
                    .delete_credential(&target.credential_key(), &only)
                    .await
                    .map_err(credential_failed)?;
            }
            Step::Import(import) => return self.import(*import).await,
            Step::Push(push) => return self.push(*push).await,
            Step::Settle(settled) => {
                self.events.extend(warning(&settled));
                return Ok(Applied::Settled(Box::new(settled)));
            }
        }
        Ok(Applied::Again)
    }

    /// Creates a Secret without a token. The budget is charged for the following token first, so that an owner that
    /// cannot get another token leaves no empty Secrets behind, however often it changes the name.
    async fn create(&mut self, create: Create) -> Result<Applied, IssueError> {
        if let Err(refusal) = self.pay_ahead(create.mints_per_hour, create.meanwhile) {
            return Ok(refusal);
        }
        let created = put(self.issuer.cluster, &create.placeholder, true).await;
        if created.is_err() {
            self.give_back();
        }
        let created = created.map_err(secret_failed)?;
        Ok(Applied::Placeholder(created, None))
    }

    /// Announces, deletes, then creates. The budget is charged for the following token first, so that an owner that
    /// cannot get another token keeps its Secret.
    async fn recreate(&mut self, recreate: Recreate) -> Result<Applied, IssueError> {
        if let Err(refusal) = self.pay_ahead(recreate.mints_per_hour, recreate.meanwhile) {
            return Ok(refusal);
        }
        let cluster = self.issuer.cluster;
        let announced = self.record(&recreate.announced, recreate.is_first).await?;
        let key = recreate.placeholder.key();
        if let Err(error) = cluster.delete_secret(&key, &recreate.only).await {
            if error.is_blocked() {
                self.give_back();
                self.withdraw(announced).await;
            }
            return Err(secret_failed(error));
        }
        let created = put(cluster, &recreate.placeholder, true)
            .await
            .map_err(secret_failed)?;
        Ok(Applied::Placeholder(created, Some(Box::new(announced))))
    }

    /// Charges the namespace's budget for the following token, unless that was done before; on refusal returns how the
    /// pass ends.
    fn pay_ahead(&mut self, limit: i64, meanwhile: Option<Facts>) -> Result<(), Applied> {
        if !self.is_paid {
            self.take(limit, meanwhile)?;
            self.is_paid = true;
        }
        Ok(())
    }

    /// Returns the charge.
    fn give_back(&mut self) {
        self.is_paid = false;
        let (issuer, target) = (self.issuer, self.target);
        let namespace = &target.owner.namespace;
        issuer.budget.give_back(&target.identity, namespace);
    }

    /// Withdraws the announcement after the Secret was certainly not deleted, so that a user's deletion counts again.
    /// If the write fails, the next pass gets here again.
    async fn withdraw(&mut self, mut announced: Credential) {
        announced.spec.memory.replacing = None;
        if let Err(error) = self.replace(&announced).await {
            debug!(%error, "could not withdraw the announcement that the Secret is recreated");
        }
    }

    /// Records an imported secret.
    async fn import(&mut self, import: Import) -> Result<Applied, IssueError> {
        if let Err(refusal) = self.take(import.mints_per_hour, None) {
            return Ok(refusal);
        }
        self.record(&import.credential, import.is_first).await?;
        let (token_id, epoch) = (import.token_id.to_string(), import.epoch);
        self.events.push(if import.is_first {
            IssueEvent::Issued { token_id, epoch }
        } else {
            let cause = Cause::Imported;
            IssueEvent::Rotated {
                token_id,
                epoch,
                cause,
            }
        });
        Ok(Applied::Again)
    }

    /// Replaces the Credential.
    async fn replace(&mut self, credential: &Credential) -> Result<Credential, IssueError> {
        self.record(credential, false).await
    }

    /// Creates or replaces the Credential. If the API server refuses it with its labels and annotations, writes it with
    /// fewer: a label must not keep a token alive. [`Step::Relabel`] tries again at the end.
    async fn record(
        &mut self,
        credential: &Credential,
        is_first: bool,
    ) -> Result<Credential, IssueError> {
        let cluster = self.issuer.cluster;
        let write = |metadata| {
            let credential = Credential {
                metadata,
                ..credential.clone()
            };
            async move {
                if is_first {
                    cluster.create_credential(&credential).await
                } else {
                    cluster.replace_credential(&credential).await
                }
            }
        };
        let forms = forms(credential, self.stored.as_ref().filter(|_| !is_first));
        let (stored, refused) = write_first(forms, write).await.map_err(credential_failed)?;
        self.refused = refused.map(credential_failed).or(self.refused.take());
        Ok(stored)
    }

    /// Charges the namespace's budget; on refusal returns how the pass ends.
    fn take(&self, limit: i64, meanwhile: Option<Facts>) -> Result<(), Applied> {
        let (issuer, target) = (self.issuer, self.target);
        let namespace = &target.owner.namespace;
        let now = (issuer.now)();
        let taken = issuer.budget.take(&target.identity, namespace, limit, now);
        taken.map_err(|until| Applied::Settled(Box::new(rate_limited(namespace, until, meanwhile))))
    }

    /// Records the token before it reveals it.
    async fn push(&mut self, push: Push) -> Result<Applied, IssueError> {
        let target = self.target;
        if !std::mem::take(&mut self.is_paid)
            && let Err(refusal) = self.take(push.mints_per_hour, push.meanwhile.clone())
        {
            return Ok(refusal);
        }
        let recorded = self.record(&push.credential, push.is_first).await?;
        let (credential, secret) = self.reveal(&push, recorded).await?;
        self.events.extend(push.adopts.then(|| adopted(target)));
        self.events.push(issued(&push));
        Ok(Applied::Pushed(Box::new((credential, secret))))
    }

    /// Writes the recorded token into the Secret. If another client wrote first and did not change the data, writes the
    /// same token to the new version. That is safe, because the earlier write has certainly failed, and a client that
    /// keeps writing does not cause a new token each time.
    async fn reveal(
        &mut self,
        push: &Push,
        mut credential: Credential,
    ) -> Result<(Credential, SecretObject), IssueError> {
        let (cluster, target) = (self.issuer.cluster, self.target);
        let mut secret = push.secret.clone();
        for _ in 0..MAX_RACES {
            match put(cluster, &secret, false).await {
                Ok(stored) => return Ok((credential, stored)),
                Err(ApiError::Conflict) => {}
                Err(error) => return Err(secret_failed(error)),
            }
            let found = cluster.secret(&target.secret_key()).await;
            let found = found.map_err(|error| IssueError::Gather("Secret", error))?;
            let Some(found) = found.filter(|found| found.differs_in_marks_only(&push.read)) else {
                break;
            };
            // Record before reveal: first record the version that the write may land on.
            credential.spec.base = Some(found.version());
            credential = self.replace(&credential).await?;
            secret = found.with_data_of(&push.secret);
            secret.claim(&target.owner);
            secret.unmark();
        }
        Err(secret_failed(ApiError::Conflict))
    }
}

/// Returns the public ids of the recorded tokens.
fn token_ids(view: &View) -> Vec<String> {
    let entries = view.credential.iter().flat_map(|it| &it.spec.tokens);
    entries.map(|entry| entry.token_id.clone()).collect()
}

/// Returns the Secret that the newest token was issued for and the one that the status names, unless they are the
/// wanted one. The status is written later, and may be lost.
fn former_keys(
    target: &Target,
    credential: Option<&Credential>,
    owner: Option<&OwnerView>,
) -> Vec<ObjectKey> {
    let remembered = credential.and_then(|it| it.spec.memory.secret_name.as_deref());
    let told = owner.and_then(|owner| owner.secret_name.as_deref());
    let names = [remembered.filter(|_| owner.is_some()), told];
    let names = names.into_iter().flatten();
    names
        .filter(|name| *name != target.secret_name)
        .map(|name| ObjectKey::new(&target.owner.namespace, name))
        .collect()
}

fn rate_limited(namespace: &str, until: Timestamp, facts: Option<Facts>) -> Settled {
    let message = format!(
        "the namespace {namespace} has used up spec.limits.perNamespace.mintsPerHour of the Identity: the next token or secret is issued at {until}"
    );
    Settled::Refused {
        problem: Problem::error(Reason::RateLimited, "", message),
        until: Some(until),
        facts,
    }
}

fn secret_failed(error: ApiError) -> IssueError {
    IssueError::Apply("Secret", error)
}

fn credential_failed(error: ApiError) -> IssueError {
    IssueError::Apply("Credential", error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use serde_json::json;

    use super::super::tests::{desired, target};
    use super::*;
    use crate::directory::Desired;
    use crate::reconcile::cluster::api::Precondition;
    use crate::resources::OwnerKind;
    use crate::tokens::{MacKey, SeededEntropy};

    /// A cluster of one owner that fails at one call, before or after it takes effect.
    #[derive(Default)]
    struct Memory {
        objects: Mutex<(Option<Credential>, Option<SecretObject>, u64)>,
        calls: Mutex<Vec<&'static str>>,
        fails_at: Option<(usize, ApiError)>,
        done_anyway: bool,
        /// What another writer does to the Secret right before the operator's next replacements of it.
        others: Mutex<Vec<Value>>,
        /// Secrets under other names.
        former: Mutex<BTreeMap<String, Option<SecretObject>>>,
        /// A value of the label `team` with which no Credential may be written.
        refused: Mutex<Option<&'static str>>,
        /// Whether no Credential may be written.
        refuses_all: Mutex<bool>,
        /// A value of the label `team` with which no Secret may be written.
        refused_secret: Mutex<Option<&'static str>>,
        /// Whether a webhook removes the label `team`.
        strips: bool,
        status: Value,
    }

    impl Memory {
        fn let_another_write(&self) {
            let Some(change) = self.others.lock().unwrap().pop() else {
                return;
            };
            let (_, stored, version) = &mut *self.objects.lock().unwrap();
            let Some(secret) = stored else { return };
            *version += 1;
            let mut manifest = secret.expose().clone();
            manifest["metadata"]["annotations"]["other"] = version.to_string().into();
            manifest["metadata"]["resourceVersion"] = version.to_string().into();
            if change.is_object() {
                manifest.insert("data".to_owned(), change);
            }
            *secret = SecretObject::new(manifest);
        }

        fn call<T>(
            &self,
            name: &'static str,
            act: impl FnOnce() -> Result<T, ApiError>,
        ) -> Result<T, ApiError> {
            let mut calls = self.calls.lock().unwrap();
            calls.push(name);
            match &self.fails_at {
                Some((at, error)) if calls.len() == *at => {
                    if self.done_anyway {
                        drop(act());
                    }
                    Err(error.clone())
                }
                _ => act(),
            }
        }

        fn store_credential(
            &self,
            credential: &Credential,
            is_new: bool,
        ) -> Result<Credential, ApiError> {
            let team = credential
                .metadata
                .labels
                .as_ref()
                .and_then(|it| it.get("team"));
            let is_refused =
                team.is_some() && team.map(String::as_str) == *self.refused.lock().unwrap();
            if is_refused || *self.refuses_all.lock().unwrap() {
                return Err(ApiError::Forbidden("team".to_owned()));
            }
            let (stored, _, version) = &mut *self.objects.lock().unwrap();
            let version_of = |it: &Credential| it.metadata.resource_version.clone();
            match stored {
                Some(_) if is_new => return Err(ApiError::AlreadyExists),
                None if !is_new => return Err(ApiError::NotFound),
                Some(it) if version_of(it) != version_of(credential) => {
                    return Err(ApiError::Conflict);
                }
                _ => {}
            }
            *version += 1;
            let mut credential = credential.clone();
            if self.strips {
                credential.metadata.labels = None;
            }
            credential.metadata.resource_version = Some(version.to_string());
            Ok(stored.insert(credential).clone())
        }

        fn store_secret(
            &self,
            secret: &SecretObject,
            is_new: bool,
        ) -> Result<SecretObject, ApiError> {
            let team = secret.label("team");
            if team.is_some() && team == *self.refused_secret.lock().unwrap() {
                return Err(ApiError::Forbidden("team".to_owned()));
            }
            let (_, stored, version) = &mut *self.objects.lock().unwrap();
            match stored {
                Some(_) if is_new => return Err(ApiError::AlreadyExists),
                None if !is_new => return Err(ApiError::NotFound),
                Some(it) if it.version() != secret.version() => return Err(ApiError::Conflict),
                _ => {}
            }
            *version += 1;
            let mut manifest = secret.expose().clone();
            if is_new {
                manifest["metadata"]["uid"] = version.to_string().into();
            }
            manifest["metadata"]["resourceVersion"] = version.to_string().into();
            Ok(stored.insert(SecretObject::new(manifest)).clone())
        }

        fn token(&self) -> Option<String> {
            let objects = self.objects.lock().unwrap();
            objects
                .1
                .as_ref()?
                .text("token")
                .map(|token| token.expose().to_owned())
        }
    }

    impl Cluster for Memory {
        async fn credential(&self, _: &ObjectKey) -> Result<Option<Credential>, ApiError> {
            self.call("get Credential", || {
                Ok(self.objects.lock().unwrap().0.clone())
            })
        }
        async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
            if let Some(former) = self.former.lock().unwrap().get(&*key.name) {
                return Ok(former.clone());
            }
            self.call("get Secret", || Ok(self.objects.lock().unwrap().1.clone()))
        }
        async fn owner(&self, _: OwnerKind, _: &ObjectKey) -> Result<Option<Value>, ApiError> {
            self.call("get owner", || {
                Ok(Some(
                    json!({ "metadata": { "uid": "owner" }, "status": self.status }),
                ))
            })
        }
        async fn create_credential(&self, it: &Credential) -> Result<Credential, ApiError> {
            self.call("create Credential", || self.store_credential(it, true))
        }
        async fn replace_credential(&self, it: &Credential) -> Result<Credential, ApiError> {
            self.call("replace Credential", || self.store_credential(it, false))
        }
        async fn delete_credential(&self, _: &ObjectKey, _: &Precondition) -> Result<(), ApiError> {
            self.call("delete Credential", || Ok(()))
        }
        async fn create_secret(&self, it: &SecretObject) -> Result<SecretObject, ApiError> {
            self.call("create Secret", || self.store_secret(it, true))
        }
        async fn replace_secret(&self, it: &SecretObject) -> Result<SecretObject, ApiError> {
            self.let_another_write();
            self.call("replace Secret", || self.store_secret(it, false))
        }
        async fn delete_secret(&self, key: &ObjectKey, _: &Precondition) -> Result<(), ApiError> {
            if let Some(former) = self.former.lock().unwrap().get_mut(&*key.name) {
                *former = None;
                return Ok(());
            }
            self.call("delete Secret", || {
                self.objects.lock().unwrap().1 = None;
                Ok(())
            })
        }
    }

    async fn pass(
        memory: &Memory,
        desired: &Desired,
        later: i64,
        budget: &MintBudget,
    ) -> PassOutcome {
        pass_to(&target().secret_name, memory, desired, later, budget).await
    }

    async fn pass_to(
        secret_name: &str,
        memory: &Memory,
        desired: &Desired,
        later: i64,
        budget: &MintBudget,
    ) -> PassOutcome {
        let mac = MacKey::from_bytes(&[1; 32]).unwrap();
        let now = move || Timestamp::from_second(1_800_000_000 + later).unwrap();
        let issuer = SecretIssuer {
            cluster: memory,
            rules: Rules::new(&mac),
            budget,
            now: &now,
            judge: &|_| Standing::Wanted(Box::new(desired.clone())),
        };
        let seed = u64::try_from(later).unwrap();
        let target = Target {
            secret_name: secret_name.to_owned(),
            ..target()
        };
        issue(&issuer, &target, &mut SeededEntropy::new(seed)).await
    }

    fn names(outcome: &PassOutcome) -> Vec<String> {
        let name = |event: &IssueEvent| {
            format!("{event:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        outcome.events.iter().map(name).collect()
    }

    #[tokio::test]
    async fn a_first_token_costs_three_reads_and_three_writes() {
        let memory = Memory::default();
        let outcome = pass(&memory, &desired(), 0, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        let reads = ["get Credential", "get Secret", "get owner"];
        let writes = ["create Secret", "create Credential", "replace Secret"];
        assert_eq!(*memory.calls.lock().unwrap(), [reads, writes].concat());
        assert_eq!(names(&outcome), ["Issued"]);
    }

    /// A policy that refuses an inherited label does not delay the revocation of a leaked token.
    #[tokio::test]
    async fn a_refused_label_holds_up_no_revocation() {
        let (memory, budget) = (Memory::default(), MintBudget::default());
        let team = |team: &str| {
            let labels = [("team".to_owned(), team.to_owned())].into();
            std::sync::Arc::new(crate::resources::InheritedMetadata {
                labels,
                ..Default::default()
            })
        };
        let mut desired = desired();
        desired.rotation.on_secret_deleted = crate::resources::OnSecretDeleted::Revoke;
        desired.inherited = team("a");
        assert!(matches!(
            pass(&memory, &desired, 0, &budget).await.result,
            Ok(Settled::Done { .. })
        ));
        let leaked = memory
            .objects
            .lock()
            .unwrap()
            .0
            .clone()
            .unwrap()
            .spec
            .tokens[0]
            .token_id
            .clone();
        *memory.refused.lock().unwrap() = Some("no");
        desired.inherited = team("no");
        memory.objects.lock().unwrap().1 = None;
        let outcome = pass(&memory, &desired, 60, &budget).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        let credential = memory.objects.lock().unwrap().0.clone().unwrap();
        assert!(
            credential
                .spec
                .tokens
                .iter()
                .all(|entry| entry.token_id != leaked)
        );
        assert_eq!(credential.metadata.labels.unwrap()["team"], "a");
        assert!(outcome.refused.is_some(), "the caller comes back");
        // It is tried again, and works once the policy allows it.
        *memory.refused.lock().unwrap() = None;
        pass(&memory, &desired, 120, &budget).await.result.unwrap();
        let credential = memory.objects.lock().unwrap().0.clone().unwrap();
        assert_eq!(credential.metadata.labels.unwrap()["team"], "no");
    }

    /// A policy may come to refuse a label that a Credential already has, from its Identity or from others, or not let
    /// the operator write at all.
    #[rstest::rstest]
    #[case::inherited(true, false)]
    #[case::of_others(false, false)]
    #[case::anything(true, true)]
    #[tokio::test]
    async fn a_stored_label_holds_up_no_revocation_and_no_rotation(
        #[case] is_inherited: bool,
        #[case] is_all_refused: bool,
        #[values("leaked", "by id", "rotated")] case: &str,
    ) {
        let (memory, budget) = (Memory::default(), MintBudget::default());
        let labels: BTreeMap<_, _> = [("team".to_owned(), "no".to_owned())].into();
        let mut desired = desired();
        desired.rotation.on_secret_deleted = crate::resources::OnSecretDeleted::Revoke;
        if is_inherited {
            desired.inherited = std::sync::Arc::new(crate::resources::InheritedMetadata {
                labels: labels.clone(),
                ..Default::default()
            });
        }
        pass(&memory, &desired, 0, &budget).await.result.unwrap();
        let tokens = || {
            let credential = memory.objects.lock().unwrap().0.clone().unwrap();
            credential.spec.tokens
        };
        let first = tokens()[0].token_id.clone();
        if let Some(credential) = &mut memory.objects.lock().unwrap().0 {
            credential.metadata.labels = Some(labels);
        }
        *memory.refused.lock().unwrap() = Some("no");
        *memory.refuses_all.lock().unwrap() = is_all_refused;
        match case {
            "leaked" => memory.objects.lock().unwrap().1 = None,
            "by id" => {
                let revoked = json!({"revoked": [first]});
                let mut objects = memory.objects.lock().unwrap();
                let credential = objects.0.as_mut().unwrap();
                credential.status = Some(serde_json::from_value(revoked).unwrap());
            }
            _ => desired.rotation.requests.trigger = Some("1".into()),
        }
        let outcome = pass(&memory, &desired, 60, &budget).await;
        let tokens = tokens();
        let entry = tokens.iter().find(|entry| entry.token_id == first);
        if is_all_refused {
            let told = matches!(outcome.result, Err(IssueError::Apply("Credential", _)));
            assert!(told, "the caller tells: {outcome:?}");
            return;
        }
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        // The second token is in the Secret, and the first one is gone or has an end.
        assert!(tokens.len() <= 2, "{tokens:?}");
        assert_ne!(tokens.last().unwrap().token_id, first);
        assert!(entry.is_none_or(|entry| entry.not_after.is_some()));
        assert!(outcome.refused.is_some(), "the caller tells: {outcome:?}");
    }

    /// A tenant's own label must not keep a token in use that the tenant replaces.
    #[rstest::rstest]
    #[tokio::test]
    async fn a_refused_label_of_a_template_holds_up_no_token_and_is_told(
        #[values("before the first token", "rotated", "deleted")] case: &str,
    ) {
        let (memory, budget) = (Memory::default(), MintBudget::default());
        let mut desired = desired();
        let template = json!({"labels": {"team": "no"}, "data": {"user": "ci"}});
        desired.template = Some(std::sync::Arc::new(
            serde_json::from_value(template).unwrap(),
        ));
        let allowed = serde_json::from_value(json!({"labels": ["team"]})).unwrap();
        let allowed = crate::directory::template::secret_metadata::AllowedMetadata::of(&allowed);
        desired.metadata = std::sync::Arc::new(allowed);
        let refuse = || *memory.refused_secret.lock().unwrap() = Some("no");
        if case == "before the first token" {
            refuse();
        } else {
            pass(&memory, &desired, 0, &budget).await.result.unwrap();
            refuse();
        }
        let before = memory.token();
        match case {
            "rotated" => desired.rotation.requests.trigger = Some("1".into()),
            "deleted" => memory.objects.lock().unwrap().1 = None,
            _ => {}
        }
        let outcome = pass(&memory, &desired, 60, &budget).await;
        assert!(
            matches!(
                outcome.result,
                Err(IssueError::Apply("Secret", ApiError::Forbidden(_)))
            ),
            "the caller tells: {outcome:?}"
        );
        let token = memory.token();
        assert!(token.is_some() && token != before, "{case}");
        // No further token, and the label comes once the policy allows it.
        *memory.refused_secret.lock().unwrap() = None;
        let outcome = pass(&memory, &desired, 120, &budget).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        assert_eq!(memory.token(), token);
        let secret = memory.objects.lock().unwrap().1.clone().unwrap();
        assert_eq!(secret.label("team"), Some("no"));
    }

    #[tokio::test]
    async fn a_refused_label_holds_up_no_first_token() {
        let memory = Memory::default();
        *memory.refused.lock().unwrap() = Some("no");
        let mut desired = desired();
        desired.inherited = std::sync::Arc::new(crate::resources::InheritedMetadata {
            labels: [("team".to_owned(), "no".to_owned())].into(),
            ..Default::default()
        });
        let outcome = pass(&memory, &desired, 0, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        assert!(memory.token().is_some() && outcome.refused.is_some());
    }

    #[tokio::test]
    async fn a_webhook_that_removes_an_inherited_label_holds_up_no_pass() {
        let memory = Memory {
            strips: true,
            ..Memory::default()
        };
        let mut desired = desired();
        let labels = [("team".to_owned(), "a".to_owned())].into();
        desired.inherited = std::sync::Arc::new(crate::resources::InheritedMetadata {
            labels,
            ..Default::default()
        });
        let outcome = pass(&memory, &desired, 0, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn one_token_survives_conflicts_with_a_client_that_keeps_annotating() {
        let memory = Memory::default();
        *memory.others.lock().unwrap() = vec![Value::Null; 4];
        let outcome = pass(&memory, &desired(), 0, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        let objects = memory.objects.lock().unwrap();
        let (credential, secret) = (objects.0.as_ref().unwrap(), objects.1.as_ref().unwrap());
        assert_eq!(credential.spec.high, 1, "one token for all the races");
        assert_eq!(secret.expose()["metadata"]["annotations"]["other"], "9");
        assert!(!secret.is_placeholder());
    }

    #[tokio::test]
    async fn the_record_names_the_version_before_its_token_is_written() {
        let memory = Memory::default();
        *memory.others.lock().unwrap() = vec![Value::Null];
        pass(&memory, &desired(), 0, &MintBudget::default()).await;
        let calls = memory.calls.lock().unwrap();
        let after = [
            "replace Secret",
            "get Secret",
            "replace Credential",
            "replace Secret",
        ];
        assert_eq!(calls[5..9], after);
    }

    #[tokio::test]
    async fn after_another_client_wrote_data_all_objects_are_read_again() {
        let memory = Memory::default();
        *memory.others.lock().unwrap() = vec![json!({"token": "b3RoZXI="})];
        let outcome = pass(&memory, &desired(), 0, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        let credential = memory.objects.lock().unwrap().0.clone().unwrap();
        assert_eq!(
            credential.spec.high, 2,
            "another push, after reading all objects again"
        );
    }

    #[tokio::test]
    async fn events_are_in_order() {
        let (memory, budget) = (Memory::default(), MintBudget::default());
        let mut wanted = desired();
        pass(&memory, &wanted, 0, &budget).await;
        wanted.rotation.requests.trigger = Some("1".into());
        let outcome = pass(&memory, &wanted, 60, &budget).await;
        assert_eq!(names(&outcome), ["Rotated", "Retired"]);
        memory.objects.lock().unwrap().1 = None;
        let outcome = pass(&memory, &wanted, 4000, &budget).await;
        assert_eq!(outcome.events.len(), 2);
        assert!(matches!(outcome.result, Ok(Settled::Done { .. })));
    }

    /// A crash is a reply that never comes. Whichever call fails, with or without effect, later passes converge on one
    /// token in the Secret that the Credential knows, and nothing is written before its record.
    #[tokio::test]
    async fn later_passes_recover_from_any_failed_call() {
        let errors = [
            ApiError::Unknown("lost".into()),
            ApiError::Unavailable("away".into()),
            ApiError::Conflict,
        ];
        for error in errors {
            for (at, done_anyway) in (1..=6).flat_map(|at| [(at, false), (at, true)]) {
                let memory = Memory {
                    fails_at: Some((at, error.clone())),
                    done_anyway,
                    ..Memory::default()
                };
                let budget = MintBudget::default();
                let first = pass(&memory, &desired(), 0, &budget).await;
                if error != ApiError::Conflict {
                    assert!(first.result.is_err(), "no call is repeated by itself");
                    assert_eq!(
                        memory.calls.lock().unwrap().len(),
                        at,
                        "nothing comes after {error}"
                    );
                }
                pass(&memory, &desired(), 30, &budget).await;
                let last = pass(&memory, &desired(), 60, &budget).await;
                assert!(
                    matches!(last.result, Ok(Settled::Done { .. })),
                    "{error} at {at}: {last:?}"
                );
                let hash = crate::tokens::TokenHash::of(&memory.token().unwrap()).to_string();
                let credential = memory.objects.lock().unwrap().0.clone().unwrap();
                assert_eq!(
                    credential.spec.tokens.last().unwrap().hash,
                    hash,
                    "{error} at {at}"
                );
            }
        }
    }

    /// An owner that cannot get another token keeps the Secret with the current one.
    #[tokio::test]
    async fn a_secret_is_recreated_only_if_the_namespace_may_get_a_token() {
        let (memory, mut wanted) = (Memory::default(), desired());
        pass(&memory, &wanted, 0, &MintBudget::default()).await;
        of_another_type(&mut wanted);
        wanted.mints_per_hour = 0;
        let token = memory.token();
        let outcome = pass(&memory, &wanted, 60, &MintBudget::default()).await;
        let Ok(Settled::Refused { problem, facts, .. }) = outcome.result else {
            panic!("refused")
        };
        assert_eq!(problem.reason, Reason::RateLimited);
        assert!(
            facts.is_some() && memory.token() == token,
            "the token stays"
        );
        wanted.mints_per_hour = 1;
        let before = memory.calls.lock().unwrap().len();
        let outcome = pass(&memory, &wanted, 120, &MintBudget::default()).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "one is enough: {outcome:?}"
        );
        let calls = memory.calls.lock().unwrap();
        let writes = [
            "replace Credential",
            "delete Secret",
            "create Secret",
            "replace Credential",
            "replace Secret",
        ];
        assert_eq!(calls[before + 3..before + 8], writes);
    }

    fn of_another_type(wanted: &mut Desired) {
        let template = json!({ "type": "servicebinding.io/oauth2" });
        let template = serde_json::from_value(template).map(std::sync::Arc::new);
        wanted.template = Some(template.unwrap());
    }

    /// A refused deletion announces nothing and costs the namespace nothing.
    #[tokio::test]
    async fn a_refused_deletion_changes_nothing() {
        let mut memory = Memory::default();
        let (mut wanted, budget) = (desired(), MintBudget::default());
        wanted.rotation.on_secret_deleted = crate::resources::OnSecretDeleted::Revoke;
        wanted.mints_per_hour = 2;
        pass(&memory, &wanted, 0, &budget).await;
        let before = memory.objects.lock().unwrap().0.clone().unwrap().spec;
        of_another_type(&mut wanted);
        let calls = memory.calls.lock().unwrap().len();
        memory.fails_at = Some((calls + 5, ApiError::Forbidden("no".into())));
        let refused = pass(&memory, &wanted, 60, &budget).await;
        assert!(
            matches!(
                refused.result,
                Err(IssueError::Apply("Secret", ApiError::Forbidden(_)))
            ),
            "{refused:?}"
        );
        assert_eq!(memory.calls.lock().unwrap()[calls + 4], "delete Secret");
        let after = memory.objects.lock().unwrap().0.clone().unwrap().spec;
        assert_eq!(after, before);
        let done = pass(&memory, &wanted, 120, &budget).await;
        assert!(
            matches!(done.result, Ok(Settled::Done { .. })),
            "the charge was given back: {done:?}"
        );
    }

    /// The Credential knows the Secret that the token was issued for before any status names it.
    #[tokio::test]
    async fn renaming_is_not_a_deletion_even_if_no_status_names_the_first_secret() {
        for is_deleted in [false, true] {
            let mut memory = Memory::default();
            let (mut wanted, budget) = (desired(), MintBudget::default());
            wanted.rotation.on_secret_deleted = crate::resources::OnSecretDeleted::Revoke;
            pass(&memory, &wanted, 0, &budget).await;
            let first = memory.objects.lock().unwrap().1.take();
            let first = first.filter(|_| !is_deleted);
            memory.former = Mutex::new([("ci-token".to_owned(), first)].into());
            wanted.secret_name = "renamed".into();
            let outcome = pass_to("renamed", &memory, &wanted, 60, &budget).await;
            assert!(
                matches!(outcome.result, Ok(Settled::Done { .. })),
                "{outcome:?}"
            );
            let events = names(&outcome);
            let credential = memory.objects.lock().unwrap().0.clone().unwrap();
            let epochs: Vec<i64> = credential.spec.tokens.iter().map(|it| it.epoch).collect();
            if is_deleted {
                assert_eq!(events[0], "Revoked");
                assert_eq!(epochs, [2]);
            } else {
                assert!(!events.contains(&"Revoked".to_owned()), "{events:?}");
                assert_eq!(epochs, [1, 2]);
                assert!(
                    memory.former.lock().unwrap()["ci-token"].is_none(),
                    "the former Secret is deleted"
                );
            }
        }
    }

    /// The status names the first Secret, the Credential the second, and the spec the third.
    #[tokio::test]
    async fn no_secret_is_left_under_either_of_two_former_names() {
        let mut memory = Memory::default();
        let (mut wanted, budget) = (desired(), MintBudget::default());
        pass(&memory, &wanted, 0, &budget).await;
        let made = memory.objects.lock().unwrap().1.take().unwrap();
        let named = |name: &str| {
            let mut manifest = made.expose().clone();
            manifest["metadata"]["name"] = name.into();
            (name.to_owned(), Some(SecretObject::new(manifest)))
        };
        memory.former = Mutex::new([named("first"), named("second")].into());
        memory.status = json!({ "secretName": "first" });
        if let Some(credential) = &mut memory.objects.lock().unwrap().0 {
            credential.spec.memory.secret_name = Some("second".into());
        }
        wanted.secret_name = "third".into();
        let outcome = pass_to("third", &memory, &wanted, 60, &budget).await;
        assert!(
            matches!(outcome.result, Ok(Settled::Done { .. })),
            "{outcome:?}"
        );
        let former = memory.former.lock().unwrap();
        assert!(former.values().all(Option::is_none), "{former:?}");
    }

    /// The operator is killed, or loses a reply, at any call that recreates a Secret with another type.
    #[tokio::test]
    async fn no_failed_call_of_recreation_revokes_a_token() {
        for (at, done_anyway) in (1..=8).flat_map(|at| [(at, false), (at, true)]) {
            let mut memory = Memory::default();
            let (mut wanted, budget) = (desired(), MintBudget::default());
            wanted.rotation.on_secret_deleted = crate::resources::OnSecretDeleted::Revoke;
            pass(&memory, &wanted, 0, &budget).await;
            of_another_type(&mut wanted);
            let before = memory.calls.lock().unwrap().len();
            memory.fails_at = Some((before + at, ApiError::Unknown("lost".into())));
            memory.done_anyway = done_anyway;
            let failed = pass(&memory, &wanted, 60, &budget).await;
            assert!(failed.result.is_err(), "{at}");
            pass(&memory, &wanted, 90, &budget).await;
            let last = pass(&memory, &wanted, 120, &budget).await;
            assert!(
                matches!(last.result, Ok(Settled::Done { .. })),
                "{at}: {last:?}"
            );
            let objects = memory.objects.lock().unwrap();
            let spec = &objects.0.as_ref().unwrap().spec;
            assert_eq!(spec.tokens[0].epoch, 1, "call {at}, done: {done_anyway}");
            assert_eq!(spec.memory.replacing, None);
        }
    }

    #[tokio::test]
    async fn a_namespace_without_budget_waits_and_records_nothing() {
        let memory = Memory::default();
        let mut wanted = desired();
        wanted.mints_per_hour = 0;
        let outcome = pass(&memory, &wanted, 0, &MintBudget::default()).await;
        let Ok(Settled::Refused { problem, until, .. }) = outcome.result else {
            panic!("refused")
        };
        assert_eq!(problem.reason, Reason::RateLimited);
        assert!(until.is_some());
        assert!(memory.objects.lock().unwrap().0.is_none());
    }
}
