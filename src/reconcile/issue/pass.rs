//! The driver: gather, plan, apply one step, start over. It decides nothing.
//!
//! Absent: retries of a failed call, and the owner's status. What the status should tell comes back
//! as [`Facts`](super::Facts) and is written by whoever reports, in one patch with the conditions:
//! it is the most expensive write of all, and issuing needs from it only that `epoch` goes on when a
//! Credential was deleted.

use jiff::Timestamp;
use serde_json::Value;

use super::budget::MintBudget;
use super::plan::{Push, Rules, Step, plan};
use super::view::{OwnerView, Settled, Target, View};
use crate::directory::{Problem, Reason, Standing};
use crate::reconcile::cluster::{ApiError, Cluster};
use crate::reconcile::secret::SecretObject;
use crate::resources::{Cause, Moment};
use crate::tokens::Entropy;

/// Undisturbed, a first token needs four rounds; more than this is a fight with somebody.
const MAX_ROUNDS: usize = 12;

/// What issuing works with.
pub struct Issuer<'a, C> {
    /// Where objects are.
    pub cluster: &'a C,
    /// What holds for every owner.
    pub rules: Rules<'a>,
    /// What namespaces have left.
    pub budget: &'a MintBudget,
    /// The clock.
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
    /// What the directory says of an owner, given the live object.
    pub judge: &'a (dyn Fn(&Value) -> Standing + Sync),
}

/// Something that was done, for people to read.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the token's public id and number"
)]
pub enum IssueEvent {
    /// The first token.
    Issued { token_id: String, epoch: i64 },
    /// Another token.
    Rotated {
        token_id: String,
        epoch: i64,
        cause: Cause,
    },
    /// A token for a Secret that was deleted.
    SecretRecreated { token_id: String, epoch: i64 },
    /// An older token was given an end.
    Retired {
        token_id: String,
        not_after: Option<Moment>,
    },
    /// All tokens were taken away.
    Revoked,
    /// A Secret without an owner was taken over, as its annotation says.
    Adopted { secret: String },
    /// The Secret is somebody else's.
    Conflict { message: String },
    /// Too many were made.
    MintLimitReached { message: String },
}

/// What became of an owner.
#[derive(Debug)]
pub struct Outcome {
    /// What was done, in order.
    pub events: Vec<IssueEvent>,
    /// How it ended.
    pub result: Result<Settled, IssueError>,
}

/// Why it did not end. Whoever called comes back later and starts over; a write may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A read had no answer.
    #[error("reading the {0}")]
    Gather(&'static str, #[source] ApiError),
    /// A write had no success.
    #[error("writing the {0}")]
    Apply(&'static str, #[source] ApiError),
    /// Somebody changes the same objects all the time.
    #[error("the objects keep being changed by someone else")]
    Contended,
}

/// Brings one owner's Secret to where it should be, as far as that is possible now.
pub async fn issue<C: Cluster>(
    issuer: &Issuer<'_, C>,
    target: &Target,
    entropy: &mut (dyn Entropy + Send),
) -> Outcome {
    let mut events = Vec::new();
    for _ in 0..MAX_ROUNDS {
        match round(issuer, target, entropy, &mut events).await {
            Ok(None) => {}
            Ok(Some(settled)) => {
                return Outcome {
                    events,
                    result: Ok(settled),
                };
            }
            Err(error) => {
                return Outcome {
                    events,
                    result: Err(error),
                };
            }
        }
    }
    Outcome {
        events,
        result: Err(IssueError::Contended),
    }
}

/// What a step left behind.
enum Applied {
    /// Start over.
    Again,
    /// Go on with the placeholder just made; `true`: in place of a Secret of another type.
    Placeholder(SecretObject, bool),
    /// Nothing was left to do.
    Settled(Box<Settled>),
}

/// One round; `None`: start over.
async fn round<C: Cluster>(
    issuer: &Issuer<'_, C>,
    target: &Target,
    entropy: &mut (dyn Entropy + Send),
    events: &mut Vec<IssueEvent>,
) -> Result<Option<Settled>, IssueError> {
    let mut view = gather(issuer, target).await?;
    loop {
        let step = plan(&view, target, &issuer.rules, (issuer.now)(), entropy);
        match apply(issuer, target, step, events).await {
            Ok(Applied::Again) => return Ok(None),
            Ok(Applied::Settled(settled)) => return Ok(Some(*settled)),
            Ok(Applied::Placeholder(secret, replaced)) => {
                view = View {
                    secret: Some(secret),
                    replaced,
                    ..view
                }
            }
            // Something changed under our hands; the next round sees what.
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

/// The order is part of the protocol: whoever sees a Secret must have read its Credential before.
async fn gather<C: Cluster>(issuer: &Issuer<'_, C>, target: &Target) -> Result<View, IssueError> {
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
    Ok(View {
        credential,
        secret,
        owner: owner.as_ref().map(OwnerView::of),
        standing,
        replaced: false,
    })
}

async fn apply<C: Cluster>(
    issuer: &Issuer<'_, C>,
    target: &Target,
    step: Step,
    events: &mut Vec<IssueEvent>,
) -> Result<Applied, IssueError> {
    let cluster = issuer.cluster;
    match step {
        Step::CreatePlaceholder(placeholder) => {
            let created = cluster
                .create_secret(&placeholder)
                .await
                .map_err(secret_failed)?;
            return Ok(Applied::Placeholder(created, false));
        }
        Step::Recreate(only, placeholder) => {
            cluster
                .delete_secret(&placeholder.key(), &only)
                .await
                .map_err(secret_failed)?;
            let created = cluster
                .create_secret(&placeholder)
                .await
                .map_err(secret_failed)?;
            return Ok(Applied::Placeholder(created, true));
        }
        Step::Fence(secret) => {
            cluster
                .replace_secret(&secret)
                .await
                .map_err(secret_failed)?;
        }
        Step::Repair(secret, adopts) => {
            cluster
                .replace_secret(&secret)
                .await
                .map_err(secret_failed)?;
            events.extend(adopts.then(|| adopted(target)));
        }
        Step::Retire(credential, retired) => {
            cluster
                .replace_credential(&credential)
                .await
                .map_err(credential_failed)?;
            let entries = credential
                .spec
                .tokens
                .into_iter()
                .filter(|entry| retired.contains(&entry.token_id));
            events.extend(entries.map(|entry| IssueEvent::Retired {
                token_id: entry.token_id,
                not_after: entry.not_after,
            }));
        }
        Step::EmptyTokens(credential) => {
            cluster
                .replace_credential(&credential)
                .await
                .map_err(credential_failed)?;
            events.push(IssueEvent::Revoked);
        }
        Step::Discard(only) => {
            cluster
                .delete_credential(&target.credential_key(), &only)
                .await
                .map_err(credential_failed)?;
        }
        Step::Push(push) => return apply_push(issuer, target, *push, events).await,
        Step::Settle(settled) => {
            events.extend(warning(&settled));
            return Ok(Applied::Settled(Box::new(settled)));
        }
    }
    Ok(Applied::Again)
}

/// Record before reveal.
async fn apply_push<C: Cluster>(
    issuer: &Issuer<'_, C>,
    target: &Target,
    push: Push,
    events: &mut Vec<IssueEvent>,
) -> Result<Applied, IssueError> {
    let namespace = &target.owner.namespace;
    if let Err(until) = issuer.budget.take(
        &target.identity,
        namespace,
        push.mints_per_hour,
        (issuer.now)(),
    ) {
        return Ok(Applied::Settled(Box::new(rate_limited(namespace, until))));
    }
    if push.is_first {
        issuer
            .cluster
            .create_credential(&push.credential)
            .await
            .map_err(credential_failed)?;
    } else {
        issuer
            .cluster
            .replace_credential(&push.credential)
            .await
            .map_err(credential_failed)?;
    }
    issuer
        .cluster
        .replace_secret(&push.secret)
        .await
        .map_err(secret_failed)?;
    events.extend(push.adopts.then(|| adopted(target)));
    events.push(issued(&push));
    Ok(Applied::Again)
}

fn issued(push: &Push) -> IssueEvent {
    let (token_id, epoch) = (push.token_id.to_string(), push.epoch);
    match push.cause {
        Cause::Initial => IssueEvent::Issued { token_id, epoch },
        Cause::SecretDeleted => IssueEvent::SecretRecreated { token_id, epoch },
        cause => IssueEvent::Rotated {
            token_id,
            epoch,
            cause,
        },
    }
}

fn adopted(target: &Target) -> IssueEvent {
    IssueEvent::Adopted {
        secret: target.secret_name.clone(),
    }
}

fn warning(settled: &Settled) -> Option<IssueEvent> {
    let Settled::Refused { problem, .. } = settled else {
        return None;
    };
    let message = problem.message.clone();
    match problem.reason {
        Reason::SecretConflict => Some(IssueEvent::Conflict { message }),
        Reason::MintLimitReached => Some(IssueEvent::MintLimitReached { message }),
        _ => None,
    }
}

fn rate_limited(namespace: &str, until: Timestamp) -> Settled {
    let message = format!(
        "the namespace {namespace} was given as many secrets as the Identity's limits.perNamespace.mintsPerHour allows: the next comes at {until}"
    );
    Settled::Refused {
        problem: Problem::error(Reason::RateLimited, "", message),
        until: Some(until),
        facts: None,
    }
}

fn secret_failed(error: ApiError) -> IssueError {
    IssueError::Apply("Secret", error)
}

fn credential_failed(error: ApiError) -> IssueError {
    IssueError::Apply("Credential", error)
}
