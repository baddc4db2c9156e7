//! The pass over an Identity: its key Secrets, its pods, then its status.

use serde_json::Value;

use super::{Controller, ReconcileError, Reconciled, api, now, pods, refused};
use crate::directory::tables::record::{IdentityRecord, Object};
use crate::directory::{Directory, ObjectKey, Problem};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::key_secrets::{self, FoundMac, SigningKeys};
use crate::reconcile::report::events::Notice;
use crate::reconcile::report::key_news::{News, news};
use crate::reconcile::report::status::{self, KeysFound};
use crate::reconcile::work::Work;
use crate::reconcile::work::fanout::owners_under;
use crate::reconcile::work::queue::Why;
use crate::resources::Kind;
use crate::tokens::SystemEntropy;

impl<C: Cluster + Reports + 'static> Controller<C> {
    pub(super) async fn identity(&self, key: &ObjectKey) -> Result<Reconciled, ReconcileError> {
        let Some((live, directory)) = self.gather(Kind::Identity, key).await? else {
            for secret in [
                key_secrets::signing_secret(key),
                key_secrets::mac_secret(key),
            ] {
                self.watch_key_secret(&self.directory(), &secret);
            }
            lock(&self.gauges).rotations.note(key, None);
            lock(&self.gauges).ready_pods.note(key, None);
            lock(&self.macs).note_refused(key, false);
            self.sweep_pods(key).await?;
            return Ok(Reconciled::Gone);
        };
        let Some(object) = directory.identity(key) else {
            return Ok(Reconciled::Gone);
        };
        lock(&self.orphans).saw_identity(key, now());
        // A refusal is shown in the status, and the pass is retried: a quota or a policy may change at any time.
        let (keys, refusal) = match self.keys(&directory, object).await {
            Ok(found) => found,
            Err(error) => match key_refused(&error) {
                Some(problem) => {
                    lock(&self.macs).note_refused(key, true);
                    (Some(Err(problem)), Some(error))
                }
                None => return Err(ReconcileError::Api(SECRETS, error)),
            },
        };
        let problem = refusal.as_ref().and_then(key_refused);
        // Without keys, the problem is already theirs.
        let problem = problem.filter(|_| !matches!(keys, Some(Err(_))));
        let signing = keys.as_ref().and_then(|keys| keys.as_ref().ok());
        if let Some(signing) = signing {
            lock(&self.gauges).rotations.note(key, signing.rotates_at);
        }
        let until = signing.and_then(|signing| signing.next);
        let keys = keys
            .as_ref()
            .map(|keys| keys.as_ref().map(|signing| signing.keys.as_slice()));
        let (passed, failed) = match keys {
            Some(Ok(_)) => self.pods(&live).await,
            // Without keys no pod could serve it.
            Some(Err(_)) => (None, None),
            None => {
                lock(&self.gauges).ready_pods.note(key, None);
                (None, None)
            }
        };
        if let Some(passed) = &passed {
            lock(&self.gauges).ready_pods.note(key, Some(passed));
        }
        if let Some(error) = failed.as_ref().filter(|_| passed.is_none()) {
            return Err(error.clone().into());
        }
        let refused = problem.as_ref();
        let passed = passed.as_ref();
        let found = KeysFound { keys, refused };
        let wanted = status::identity(&live, &directory, object, found, passed, now());
        let wanted = match self.counts() {
            Some(counts) => status::counted(wanted, counts.of_identity(key)),
            None => wanted,
        };
        let ahead = object
            .record()
            .and_then(|record| record.revoked_ahead(now()));
        let until = until
            .into_iter()
            .chain(ahead)
            .chain(passed.and_then(pods::until))
            .min();
        let reconciled = self.report(Kind::Identity, &live, &wanted, until).await?;
        if matches!(reconciled, Reconciled::Settled(_)) {
            self.tell_of_keys(key, &live, &wanted);
        }
        let refusal = refusal.map(|error| ReconcileError::Api(SECRETS, error));
        match failed.map(ReconcileError::from).or(refusal) {
            Some(error) => Err(error),
            None => Ok(reconciled),
        }
    }

    /// Publishes an event for each change of a key that the new status shows.
    fn tell_of_keys(&self, key: &ObjectKey, live: &Value, wanted: &Value) {
        let secret = key_secrets::signing_secret(key);
        for News { kid, reason, text } in news(&live["status"]["keys"], &wanted["status"]["keys"]) {
            let notice = Notice::new(live, reason, false, text).of_secret(&secret, &kid);
            self.notices.publish(notice);
        }
    }

    /// Returns the Identity's keys, created where they are missing, and why a write was refused that they do not depend
    /// on. There are no keys for an Identity that is not served, but its Secrets lose their marks: it is not gone.
    async fn keys(
        &self,
        directory: &Directory,
        object: &Object<IdentityRecord>,
    ) -> Result<(Option<Result<SigningKeys, Problem>>, Option<ApiError>), ApiError> {
        let key = &object.key;
        let Some(record) = object
            .record()
            .filter(|_| directory.identity_problems(object).is_empty())
        else {
            // Another namespace may belong to another installation.
            let accepts = directory.settings().accepts_identities_of(&key.namespace);
            if !accepts {
                return Ok((None, None));
            }
            let refused = key_secrets::unmark_all(&self.cluster, key).await?;
            return Ok((None, refused));
        };
        let as_of = lock(&self.macs).as_of();
        let keys = key_secrets::ensure(
            &self.cluster,
            key,
            &key_secrets::asked(record),
            now(),
            &mut SystemEntropy,
        )
        .await?;
        let was_refused = lock(&self.macs).note_refused(key, false);
        if was_refused {
            // Their last pass succeeded: it reported that the keys are missing.
            for work in owners_under(directory, key) {
                self.agenda.queue.add(work, Why::Must);
            }
        }
        let signing = match keys.mac {
            Ok(mac) => {
                if lock(&self.macs).keep(key, mac, as_of) {
                    self.wake_owners(directory);
                }
                keys.signing
            }
            Err(problem) => Err(problem),
        };
        Ok((Some(signing), keys.refused))
    }

    /// Queues the owners that could not be reconciled without the key.
    fn wake_owners(&self, directory: &Directory) {
        let clients = directory
            .clients()
            .map(|object| Work::Object(Kind::OAuthClient, object.key.clone()));
        let tokens = directory
            .service_tokens()
            .map(|object| Work::Object(Kind::ServiceAccessToken, object.key.clone()));
        let users = directory
            .users()
            .map(|object| Work::Object(Kind::User, object.key.clone()));
        for work in self.agenda.unsettled(clients.chain(tokens).chain(users)) {
            self.agenda.queue.add(work, Why::Perhaps);
        }
    }

    /// Returns the Identity's mac key, from memory or from its Secret.
    pub(super) async fn mac(&self, identity: &ObjectKey) -> Result<FoundMac, ReconcileError> {
        if let Some(mac) = lock(&self.macs).get(identity) {
            return Ok(FoundMac::Key(mac));
        }
        let as_of = lock(&self.macs).as_of();
        let found = key_secrets::read_mac(&self.cluster, identity).await;
        let found = found.map_err(api("cannot read the Identity's mac key"))?;
        if let FoundMac::Key(mac) = &found {
            lock(&self.macs).keep(identity, mac.clone(), as_of);
        }
        Ok(found)
    }
}

/// The field with labels and annotations of an Identity's objects.
const METADATA: &str = "spec.inheritedMetadata";

/// What failed, if a key Secret could not be read or written.
const SECRETS: &str = "cannot read or write the Identity's Secrets";

/// Returns the problem of a key Secret that the API server does not let the operator read or write.
fn key_refused(error: &ApiError) -> Option<Problem> {
    refused(error, "Secrets of the keys", METADATA)
}
