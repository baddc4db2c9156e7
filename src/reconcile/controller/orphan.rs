//! The passes over a Credential whose owner seems to be gone, and over a key Secret whose Identity seems to be gone,
//! and the search for them.

use jiff::SignedDuration;
use tracing::{debug, info, warn};

use super::{Controller, ReconcileError, Reconciled, api, is_deleting, now};
use crate::directory::{Directory, ObjectKey};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::key_secrets;
use crate::reconcile::report::events::{EventReason, Notice};
use crate::reconcile::sweep::keys::{self, SweepAction};
use crate::reconcile::sweep::{self, Missing, SWEEP_EVERY};
use crate::reconcile::work::Work;
use crate::reconcile::work::queue::Why;
use crate::resources::{Credential, Kind};

/// When to check again whether an Identity that is being deleted is gone.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Deletes a Credential if its owner is really gone, or its Identity has been gone for long.
    pub(super) async fn orphan(&self, key: &ObjectKey) -> Result<Reconciled, ReconcileError> {
        let credential = self
            .cluster
            .credential(key)
            .await
            .map_err(api("cannot read the Credential"))?;
        let Some(credential) = credential else {
            return Ok(Reconciled::Gone);
        };
        let may_go = match self.missing(&credential).await? {
            Some(Missing::Owner) => true,
            // The owner may have come back since the Credential was queued.
            Some(Missing::Identity) => lock(&self.orphans)
                .sweep
                .has_waited_for_identity(key, now()),
            None => false,
        };
        if !may_go {
            return Ok(Reconciled::Gone);
        }
        let warn_of = |reason, note| {
            let live = serde_json::to_value(&credential).unwrap_or_default();
            self.notices.publish(Notice::new(&live, reason, true, note));
        };
        let directory = self.directory();
        let all = directory.sizes().credentials;
        let namespace = &credential.spec.owner.namespace;
        let known = directory.credential(key);
        let is_surplus =
            known.is_some_and(|known| sweep::is_surplus(&directory, known, sweep::LEAST_KEPT));
        if !is_surplus && !lock(&self.orphans).sweep.may_delete(namespace, all, now()) {
            warn!(%key, namespace, "too many Credentials without owners, will not delete more within this hour");
            let note = format!(
                "Too many Credentials have lost their owners, among them those in namespace {namespace}. The operator deletes a limited number every hour."
            );
            warn_of(EventReason::SweepPaused, note);
            return Ok(Reconciled::Gone);
        }
        let only = Precondition::of(&credential.metadata);
        match self.cluster.delete_credential(key, &only).await {
            Ok(()) => info!(%key, "deleted the Credential of a deleted owner"),
            Err(ApiError::NotFound | ApiError::Conflict) => {
                debug!(%key, "the Credential changed or is gone already");
            }
            Err(error) => {
                // No owner is left whose condition could tell.
                if error.is_refusal() {
                    let note = format!(
                        "The operator may not delete this Credential, whose owner is gone: {error}."
                    );
                    warn_of(EventReason::Refused, note);
                }
                return Err(ReconcileError::Api("cannot delete the Credential", error));
            }
        }
        Ok(Reconciled::Gone)
    }

    /// Returns which object of a Credential is really gone.
    async fn missing(&self, credential: &Credential) -> Result<Option<Missing>, ReconcileError> {
        let owner = &credential.spec.owner;
        let key = ObjectKey::new(&owner.namespace, &owner.name);
        let live = self
            .cluster
            .owner(owner.kind, &key)
            .await
            .map_err(api("cannot read the owner"))?;
        if !live.is_some_and(|live| live["metadata"]["uid"] == owner.uid.as_str()) {
            return Ok(Some(Missing::Owner));
        }
        let namespace = credential.metadata.namespace.as_deref().unwrap_or_default();
        let identity = ObjectKey::new(namespace, &credential.spec.identity.name);
        let live = self
            .cluster
            .object(Kind::Identity, &identity)
            .await
            .map_err(api("cannot read the Identity"))?;
        Ok(live.is_none().then_some(Missing::Identity))
    }

    /// Marks a key Secret if its Identity is really gone, and deletes it three days later.
    pub(super) async fn key_secret(&self, key: &ObjectKey) -> Result<Reconciled, ReconcileError> {
        let Some(identity) = key_secrets::identity_of(key) else {
            return Ok(Reconciled::Gone);
        };
        let found = self.cluster.secret(key).await;
        let Some(secret) = found.map_err(api("cannot read the key Secret"))? else {
            return Ok(Reconciled::Gone);
        };
        let live = self.cluster.object(Kind::Identity, &identity).await;
        if let Some(live) = live.map_err(api("cannot read the Identity"))? {
            lock(&self.orphans).saw_identity(&identity, now());
            // No watch reports when the last finalizer is gone.
            let again = is_deleting(&live).then(|| now().checked_add(CHECK_AGAIN).ok());
            return Ok(again.map_or(Reconciled::Gone, Reconciled::Settled));
        }
        let now = now();
        let seen = lock(&self.orphans).last_seen(&identity);
        let done = match keys::plan(&secret, &identity, seen, now) {
            SweepAction::Leave => return Ok(Reconciled::Gone),
            SweepAction::Wait(end) => return Ok(Reconciled::Settled(Some(end))),
            SweepAction::Mark(since) => {
                if since == now {
                    info!(%key, "marked the key Secret of a deleted Identity, will delete it in 72 hours unless the Identity comes back");
                }
                let marked = key_secrets::mark(&self.cluster, &secret, since, now).await;
                marked.map(|()| Reconciled::Settled(keys::after_mark(since, now)))
            }
            SweepAction::Delete => {
                info!(%key, "deleting the key Secret of a deleted Identity");
                let only = secret.precondition();
                let deleted = self.cluster.delete_secret(key, &only).await;
                deleted.map(|()| Reconciled::Soon)
            }
        };
        match done {
            Err(ApiError::NotFound | ApiError::Conflict) => Ok(Reconciled::Soon),
            done => done.map_err(api("cannot write or delete the key Secret")),
        }
    }

    /// Queues a Secret that is named like a key Secret if its Identity does not exist.
    pub(super) fn watch_key_secret(&self, directory: &Directory, key: &ObjectKey) {
        let identity = key_secrets::identity_of(key);
        if identity.is_some_and(|identity| directory.identity(&identity).is_none()) {
            self.agenda
                .queue
                .add(Work::KeySecret(key.clone()), Why::Must);
        }
    }

    pub(super) fn sweep_all(&self) -> Reconciled {
        let (directory, now) = (self.directory(), now());
        lock(&self.orphans).forget_identities(now);
        for key in lock(&self.orphans).sweep.due(&directory, now) {
            let owner = directory
                .credential(&key)
                .map(|it| it.owner.key.namespace.clone());
            self.agenda
                .queue
                .add_slow(Work::Orphan(key, owner.unwrap_or_default()));
        }
        Reconciled::Settled(now.checked_add(SWEEP_EVERY).ok())
    }
}
