//! The requests of a rebinding, in the order that `moves` explains. After a write conflict the next request is decided
//! again from live reads.
//!
//! Servers go on revoking tokens meanwhile, in the old Credential as long as they know no other. So the old one is read
//! again after the new one has the tokens, what was revoked is carried over, and the old one is deleted only in exactly the
//! state in which it was read.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;

use super::next::{Live, Move, Next};
use super::{Evidence, Item, RestoreVerdict, Sibling, moves, owner_secret};
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::resources::{Credential, OwnerKind};
use crate::tokens::MacKey;

/// The number of concurrent requests. A restore shares the API server with everything that comes back.
const AT_ONCE: usize = 16;

/// The most requests for one Credential that write. Five suffice without write conflicts.
const ATTEMPTS: usize = 24;

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
    /// The API server removed the marks from what was written.
    #[error(
        "the installed definition of Credential belongs to another release of Symbolon: install the one of this release and run the command again"
    )]
    OtherDefinition,
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
        let (planned, successor_uid, successor, siblings) = match &item.verdict {
            RestoreVerdict::Current | RestoreVerdict::Refused(_) => return Ok(()),
            RestoreVerdict::Moved { to } => {
                return self.mark(&item.credential, to.as_deref()).await;
            }
            RestoreVerdict::Withdraw => return self.withdraw(&item.credential).await,
            RestoreVerdict::Done { successor, uid, .. } => {
                (None, uid.as_str(), successor.clone(), &[][..])
            }
            RestoreVerdict::Rebind(rebinding) => {
                let planned = &rebinding.credential;
                let successor = ObjectKey::of(&planned.metadata);
                (Some(planned), "", successor, &*rebinding.siblings)
            }
        };
        let plan = Move {
            planned,
            successor_uid,
            may_go: self.may_go && !item.is_witness,
            has_finished: false,
            key: self.key,
            now: self.now,
        };
        self.follow(plan, &item.credential, &successor, siblings)
            .await
    }

    /// Makes the requests of one move.
    async fn follow(
        &self,
        mut plan: Move<'_>,
        old: &Credential,
        successor: &ObjectKey,
        siblings: &[Sibling],
    ) -> Result<(), Unfinished> {
        // What the previous request answered. The successor is read before the old Credential: if the successor has the
        // tokens, the old one still existed afterwards.
        let mut known_successor = None;
        let mut known_old = None;
        for _ in 0..ATTEMPTS {
            let found = match known_successor.take() {
                Some(found) => Some(found),
                None => self.read(successor).await?,
            };
            let live = match known_old.take() {
                Some(live) => Some(live),
                None => self.live(old).await?,
            };
            let others = self.siblings(siblings).await?;
            let next = plan.next(Live {
                successor: found.as_ref(),
                old: live.as_ref(),
                siblings: &others,
            });
            match next {
                Next::Create(write) => {
                    known_successor = Some(self.create(&write).await?);
                    known_old = live;
                }
                Next::Mark(write) => {
                    known_old = self.replace(&write).await?;
                    known_successor = found.filter(|_| known_old.is_some());
                    if known_old.as_ref().is_some_and(|it| !has_marks(it, &write)) {
                        return Err(Unfinished::OtherDefinition);
                    }
                }
                Next::Fill(write) => known_successor = self.replace(&write).await?,
                Next::Replace(write) => {
                    let was_filled = found.as_ref().and_then(moves::step).is_some();
                    plan.has_finished |= was_filled && moves::step(&write).is_none();
                    known_successor = self.replace(&write).await?;
                    known_old = live.filter(|_| known_successor.is_some());
                }
                Next::Withdraw(write) => {
                    if self.replace(&write).await?.is_some() {
                        return Err(Unfinished::Deleted);
                    }
                }
                Next::Discard => {
                    if let Some(found) = found
                        && self.delete(&found).await?
                    {
                        return Err(Unfinished::Deleted);
                    }
                }
                Next::DeleteOld => {
                    if let Some(live) = live
                        && self.delete_all(siblings, &others).await?
                        && self.delete(&live).await?
                    {
                        return Ok(());
                    }
                }
                Next::Finished => return Ok(()),
                Next::Deleted => return Err(Unfinished::Deleted),
                Next::Taken => return Err(Unfinished::Api(ApiError::AlreadyExists)),
            }
        }
        Err(Unfinished::Busy)
    }

    /// Marks a Credential whose tokens another one has taken, so that no later run binds them again.
    async fn mark(&self, planned: &Credential, to: Option<&str>) -> Result<(), Unfinished> {
        let Some(to) = to else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            match self.live(planned).await? {
                Some(live) if moves::destination(&live).is_none() => {
                    let marked = moves::marked(&live, to);
                    match self.replace(&marked).await? {
                        Some(written) if has_marks(&written, &marked) => return Ok(()),
                        Some(_) => return Err(Unfinished::OtherDefinition),
                        None => {}
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(Unfinished::Busy)
    }

    /// Removes the tokens that an interrupted run wrote into a Credential.
    async fn withdraw(&self, planned: &Credential) -> Result<(), Unfinished> {
        match self.live(planned).await? {
            Some(live) if moves::step(&live).is_some() => {
                let written = self.replace(&moves::withdrawn(&live)).await?;
                written.map(drop).ok_or(Unfinished::Busy)
            }
            _ => Ok(()),
        }
    }

    /// Creates a successor, and checks that the API server keeps its marks. A later run could not recognise it without.
    async fn create(&self, prepared: &Credential) -> Result<Credential, Unfinished> {
        let created = self.cluster.create_credential(prepared).await?;
        if has_marks(&created, prepared) {
            return Ok(created);
        }
        self.delete(&created).await?;
        Err(Unfinished::OtherDefinition)
    }

    /// Reads the siblings that still exist.
    async fn siblings(&self, planned: &[Sibling]) -> Result<Vec<Credential>, ApiError> {
        let mut found = Vec::new();
        for sibling in planned {
            found.extend(self.live(&sibling.credential).await?);
        }
        Ok(found)
    }

    /// Deletes the siblings that may go. Returns `false` after a write conflict.
    async fn delete_all(&self, planned: &[Sibling], live: &[Credential]) -> Result<bool, ApiError> {
        for sibling in planned.iter().filter(|sibling| sibling.goes && self.may_go) {
            let uid = &sibling.credential.metadata.uid;
            let mut found = live.iter().filter(|live| live.metadata.uid == *uid);
            if let Some(live) = found.next()
                && !self.delete(live).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// Replaces a Credential in exactly the state in which it was read. Returns `None` after a write conflict.
    async fn replace(&self, write: &Credential) -> Result<Option<Credential>, ApiError> {
        match self.cluster.replace_credential(write).await {
            Ok(written) => Ok(Some(written)),
            Err(ApiError::Conflict | ApiError::NotFound) => Ok(None),
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

/// Returns whether a written Credential has the marks that were sent.
fn has_marks(written: &Credential, sent: &Credential) -> bool {
    written.spec.memory.rebound == sent.spec.memory.rebound
}
