//! What a pass did, in the words of issuing. Events and lines of the audit log are derived from it.

use super::step::{Emptying, Push, Retirement};
use super::view::{Settled, Target};
use crate::directory::Reason;
use crate::resources::{Cause, Moment};

/// What a pass did, for people to read.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the fields are the token's public id and epoch"
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
    /// An older token was retired.
    Retired {
        token_id: String,
        not_after: Option<Moment>,
        why: Retirement,
    },
    /// Tokens were revoked, all or by their ids.
    Revoked {
        token_ids: Vec<String>,
        why: Emptying,
    },
    /// The operator took over a Secret without an owner, as the Secret's annotation allows.
    Adopted { secret: String },
    /// The Secret belongs to someone else.
    Conflict { message: String },
    /// Too many tokens or secrets were issued.
    MintLimitReached { message: String },
}

/// Returns the event of a token that was recorded and revealed.
pub(super) fn issued(push: &Push) -> IssueEvent {
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

/// Returns the event of a Secret that the operator took over.
pub(super) fn adopted(target: &Target) -> IssueEvent {
    IssueEvent::Adopted {
        secret: target.secret_name.clone(),
    }
}

/// Returns the event for the end of a pass, if people should hear of it.
pub(super) fn warning(settled: &Settled) -> Option<IssueEvent> {
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
