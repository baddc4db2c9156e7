//! A look at a Credential whose owner seems to be gone, and the search for such.

use tracing::{debug, info, warn};

use super::{Controller, Look, LookError, api, lock, now};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::{ApiError, Cluster, Precondition};
use crate::reconcile::events::Notice;
use crate::reconcile::report::Reports;
use crate::reconcile::sweep::SWEEP_EVERY;
use crate::reconcile::work::Work;
use crate::resources::{Credential, Kind};

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Deletes a Credential if its owner, or its Identity for long, is really gone.
    pub(super) async fn orphan(&self, key: &ObjectKey) -> Result<Look, LookError> {
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

    pub(super) fn sweep_all(&self) -> Look {
        let (directory, now) = (self.directory(), now());
        for key in lock(&self.sweep).due(&directory, now) {
            self.queue.add_slow(Work::Orphan(key));
        }
        Look::Settled(now.checked_add(SWEEP_EVERY).ok())
    }
}
