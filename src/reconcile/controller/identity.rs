//! A look at an Identity: its key Secrets, then its status.

use std::sync::Arc;

use super::{Controller, Look, LookError, access_denied, api, lock, now};
use crate::directory::record::{IdentityRecord, Object};
use crate::directory::{Directory, ObjectKey, Problem};
use crate::reconcile::cluster::{ApiError, Cluster};
use crate::reconcile::key_secrets;
use crate::reconcile::queue::Why;
use crate::reconcile::report::Reports;
use crate::reconcile::status;
use crate::reconcile::work::Work;
use crate::resources::{KeyStatus, Kind};
use crate::tokens::{MacKey, SystemEntropy};

impl<C: Cluster + Reports + 'static> Controller<C> {
    pub(super) async fn identity(&self, key: &ObjectKey) -> Result<Look, LookError> {
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
        object: &Object<IdentityRecord>,
    ) -> Result<Option<Result<Vec<KeyStatus>, Problem>>, ApiError> {
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

    pub(super) async fn mac(
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
}
