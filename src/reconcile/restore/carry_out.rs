//! The writes of a rebinding: creates the new Credential before it deletes the old one.
//!
//! Servers go on revoking tokens meanwhile, in the old Credential as long as they know no other. So the old one is read
//! again after the new one exists, what was revoked is carried over, and the old one is deleted only in exactly the state
//! in which it was read. After a write conflict all of that starts over.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;

use super::plan::carried;
use super::{Evidence, Item, RestoreVerdict, owner_secret};
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::resources::{Credential, OwnerKind};
use crate::tokens::MacKey;

/// The number of concurrent requests. A restore shares the API server with everything that comes back.
const AT_ONCE: usize = 16;

/// The most attempts after write conflicts.
const ATTEMPTS: usize = 16;

/// Why a Credential was not rebound as planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// A request failed.
    #[error("{0}: run the command again")]
    Api(#[from] ApiError),
    /// Other writers came first at every attempt.
    #[error("other clients changed its Credentials at every attempt: run the command again")]
    Busy,
    /// Another user deleted one of the two Credentials, which revokes their tokens.
    #[error("its Credential was deleted while this command ran: its tokens stay dead")]
    Deleted,
}

/// Reads the Secrets of the owners that were recreated, in the order of the Credentials. Calls `done` after each. A Secret
/// that is too large to be read refuses only its own owner, because tenants write Secrets.
///
/// # Errors
/// Returns the first other error of the API server, because a plan needs all of them.
pub async fn evidence<C: Cluster>(
    cluster: &C,
    directory: &Directory,
    credentials: &[Credential],
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Option<Evidence>>, ApiError> {
    let reads = stream::iter(credentials).map(async |credential| {
        let told = match owner_secret(directory, credential) {
            None => None,
            Some(key) => Some(match cluster.secret(&key).await {
                Ok(secret) => Evidence::of(directory, credential, secret.as_ref()),
                Err(ApiError::Invalid(_)) => Evidence::too_large(),
                Err(error) => return Err(error),
            }),
        };
        done();
        Ok(told)
    });
    let all: Vec<Result<_, ApiError>> = reads.buffered(AT_ONCE).collect().await;
    all.into_iter().collect()
}

/// Carries out a plan, service tokens first. After a failure the others are still done, but no client's Credential is
/// deleted. `now` is when the command started: what ended since has its end in the spec. Calls `done` after each item.
/// Returns the failures by index in the plan.
pub async fn carry_out<C: Cluster>(
    cluster: &C,
    items: &[Item],
    key: &MacKey,
    now: Timestamp,
    done: &(dyn Fn() + Sync),
) -> BTreeMap<usize, Unfinished> {
    let (clients, tokens): (Vec<_>, Vec<_>) = items
        .iter()
        .enumerate()
        .partition(|(_, item)| item.credential.spec.owner.kind == OwnerKind::OAuthClient);
    let writes = |may_go| Writes {
        cluster,
        key,
        now,
        may_go,
    };
    let mut failures = writes(true).each(tokens, done).await;
    let may_go = failures.is_empty();
    failures.extend(writes(may_go).each(clients, done).await);
    failures
}

/// The writes of one part of a plan.
struct Writes<'a, C> {
    cluster: &'a C,
    key: &'a MacKey,
    now: Timestamp,
    /// Whether old Credentials are deleted.
    may_go: bool,
}

impl<C: Cluster> Writes<'_, C> {
    async fn each(
        &self,
        items: Vec<(usize, &Item)>,
        done: &(dyn Fn() + Sync),
    ) -> BTreeMap<usize, Unfinished> {
        stream::iter(items)
            .map(async |(index, item)| {
                let result = self.one(item).await;
                done();
                result.err().map(|error| (index, error))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(async |failure| failure)
            .collect()
            .await
    }

    async fn one(&self, item: &Item) -> Result<(), Unfinished> {
        match &item.verdict {
            RestoreVerdict::Current | RestoreVerdict::Refused(_) => Ok(()),
            RestoreVerdict::Done { successor, .. } => self.finish(item, successor, None).await,
            RestoreVerdict::Rebind(rebinding) => {
                let planned = &rebinding.credential;
                let old = self.live(&item.credential).await?;
                let old = old.ok_or(Unfinished::Deleted)?;
                let carried = carried(&old, planned, self.key, self.now);
                let first = carried.as_ref().map_or(planned, |it| &it.credential);
                let created = self.cluster.create_credential(first).await?;
                let key = ObjectKey::of(&planned.metadata);
                self.finish(item, &key, Some(created)).await
            }
        }
    }

    /// Carries over what was revoked in the old Credential, and deletes it if it may go. `created` is the successor, if
    /// this run has created it.
    async fn finish(
        &self,
        item: &Item,
        successor: &ObjectKey,
        created: Option<Credential>,
    ) -> Result<(), Unfinished> {
        let is_ours = created.is_some();
        let may_go = self.may_go && !item.is_witness;
        let mut next = created;
        for _ in 0..ATTEMPTS {
            let known = match next.take() {
                Some(created) => Some(created),
                None => self.read(successor).await?,
            };
            let old = self.live(&item.credential).await?;
            let written = match (old, known) {
                // Deleting a Credential revokes its tokens, so the successor must not keep them.
                (None, Some(known)) if is_ours => self
                    .delete(&known)
                    .await?
                    .then_some(Err(Unfinished::Deleted)),
                (None, None) if is_ours => Some(Err(Unfinished::Deleted)),
                // Another run has finished this.
                (None, _) => Some(Ok(())),
                // A later run must not bind the tokens again.
                (Some(old), None) if may_go => {
                    self.delete(&old).await?.then_some(Err(Unfinished::Deleted))
                }
                (Some(_), None) => Some(Err(Unfinished::Deleted)),
                (Some(old), Some(known)) => {
                    let is_carried = self.carry(&old, &known).await?;
                    let is_done = is_carried && (!may_go || self.delete(&old).await?);
                    is_done.then_some(Ok(()))
                }
            };
            if let Some(ended) = written {
                return ended;
            }
        }
        Err(Unfinished::Busy)
    }

    /// Reads a Credential; `None` if it does not exist or is being deleted: then servers accept no token of it.
    async fn read(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        let found = self.cluster.credential(key).await?;
        Ok(found.filter(|found| found.metadata.deletion_timestamp.is_none()))
    }

    /// Reads the live version of a Credential.
    async fn live(&self, known: &Credential) -> Result<Option<Credential>, ApiError> {
        let live = self.read(&ObjectKey::of(&known.metadata)).await?;
        Ok(live.filter(|live| live.metadata.uid == known.metadata.uid))
    }

    /// Writes the successor without what was revoked in the old Credential. Returns `false` after a write conflict.
    async fn carry(&self, old: &Credential, successor: &Credential) -> Result<bool, ApiError> {
        let Some(carried) = carried(old, successor, self.key, self.now) else {
            return Ok(true);
        };
        match self.cluster.replace_credential(&carried.credential).await {
            Ok(_) => Ok(true),
            Err(ApiError::Conflict | ApiError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a Credential in exactly the state in which it was read. Returns `false` after a write conflict.
    async fn delete(&self, read: &Credential) -> Result<bool, ApiError> {
        let only = Precondition::of(&read.metadata);
        let key = ObjectKey::of(&read.metadata);
        match self.cluster.delete_credential(&key, &only).await {
            Ok(()) => Ok(true),
            Err(ApiError::Conflict | ApiError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
