//! The marks of a move of tokens from the Credential of a previous owner (the old one) to that of its recreation (the
//! successor). Pure.
//!
//! A Credential that is deleted takes its tokens with it. So a later run must know that a successor existed, and every step
//! must be safe if the command is interrupted after it:
//!
//! 1. Create the successor without tokens (`Prepared`). Its deletion revokes nothing.
//! 2. Mark the old Credential, in exactly the state in which it was read, with the successor's uid. From now on its tokens
//!    are bound to no other Credential: if the successor is gone, they stay dead.
//! 3. Write the tokens into the successor (`Filled`).
//! 4. Read the old Credential again, and carry over what was revoked in it. If it was deleted after it was marked, the
//!    tokens are removed from the successor again. Otherwise the step is removed: the move is finished.
//! 5. Delete the old Credential, in exactly the state in which it was read. After a write conflict, continue from 4.
//!
//! The successor remembers the uids of all previous owners. So a Credential that a second restore of the same backup brings
//! back revives nothing that has ended in the successor since.

use crate::resources::{Credential, CredentialOwner, Rebound, ReboundStep};

/// The most previous owners that are remembered.
const MAX_FROM: usize = 16;

/// Returns whether two Credentials belong to owners of the same kind and name.
pub(super) fn is_same_owner(one: &CredentialOwner, other: &CredentialOwner) -> bool {
    (one.kind, &one.namespace, &one.name) == (other.kind, &other.namespace, &other.name)
}

/// Returns whether servers accept no token of a Credential because it is being deleted.
pub(super) fn is_deleting(credential: &Credential) -> bool {
    credential.metadata.deletion_timestamp.is_some()
}

/// Returns the uid of the Credential to which the tokens of this one move.
pub(super) fn destination(credential: &Credential) -> Option<&str> {
    credential.spec.memory.rebound.as_ref()?.to.as_deref()
}

/// Returns whether a Credential is this successor.
pub(super) fn is_destination(old: &Credential, successor: &Credential) -> bool {
    destination(old).is_some_and(|uid| successor.metadata.uid.as_deref() == Some(uid))
}

/// Returns the step of an unfinished move to this Credential.
pub(super) fn step(credential: &Credential) -> Option<ReboundStep> {
    credential.spec.memory.rebound.as_ref()?.step
}

/// Returns the uid of the owner from whose Credential the last move came.
pub(super) fn last_source(credential: &Credential) -> Option<&str> {
    let rebound = credential.spec.memory.rebound.as_ref()?;
    rebound.from.last().map(String::as_str)
}

/// Returns whether a Credential was created for a move and records no token yet.
pub(super) fn is_prepared(credential: &Credential) -> bool {
    let spec = &credential.spec;
    let rebound = spec.memory.rebound.as_ref();
    rebound.is_some_and(|it| it.step == Some(ReboundStep::Prepared) && it.high == spec.high)
        && spec.tokens.is_empty()
}

/// Returns whether tokens of the old Credential were ever written into this one, directly or through others.
pub(super) fn has_taken_from(successor: &Credential, old: &Credential) -> bool {
    let rebound = successor.spec.memory.rebound.as_ref();
    is_same_owner(&successor.spec.owner, &old.spec.owner)
        && rebound.is_some_and(|it| {
            it.step != Some(ReboundStep::Prepared) && it.from.contains(&old.spec.owner.uid)
        })
}

/// Returns the successor as it is created: the planned one without its tokens.
pub(super) fn prepared(planned: &Credential, old: &Credential) -> Credential {
    let mut from = old
        .spec
        .memory
        .rebound
        .as_ref()
        .map_or_else(Vec::new, |rebound| rebound.from.clone());
    from.push(old.spec.owner.uid.clone());
    let surplus = from.len().saturating_sub(MAX_FROM);
    from.drain(..surplus);
    let mut successor = planned.clone();
    successor.spec.tokens.clear();
    successor.spec.memory.rebound = Some(Rebound {
        to: None,
        from,
        step: Some(ReboundStep::Prepared),
        high: planned.spec.high,
    });
    successor
}

/// Returns a prepared successor with the planned tokens.
pub(super) fn filled(successor: &Credential, planned: &Credential) -> Credential {
    let mut rebound = successor.spec.memory.rebound.clone().unwrap_or_default();
    rebound.step = Some(ReboundStep::Filled);
    let mut filled = successor.clone();
    filled.spec.tokens.clone_from(&planned.spec.tokens);
    filled.spec.memory = planned.spec.memory.clone();
    filled.spec.memory.rebound = Some(rebound);
    filled
}

/// Returns the Credential with a finished move.
pub(super) fn finished(successor: &Credential) -> Credential {
    let mut finished = successor.clone();
    if let Some(rebound) = &mut finished.spec.memory.rebound {
        rebound.step = None;
    }
    finished
}

/// Returns the Credential without the tokens of its last move. What the operator has issued since stays.
pub(super) fn withdrawn(successor: &Credential) -> Credential {
    let mut withdrawn = finished(successor);
    let high = withdrawn.spec.memory.rebound.as_ref().map(|it| it.high);
    let tokens = &mut withdrawn.spec.tokens;
    tokens.retain(|entry| high.is_some_and(|high| entry.epoch > high));
    withdrawn
}

/// Returns the old Credential with the uid of its successor.
pub(super) fn marked(old: &Credential, successor: &str) -> Credential {
    let mut marked = old.clone();
    let rebound = marked.spec.memory.rebound.get_or_insert_default();
    rebound.to = Some(successor.to_owned());
    marked
}

/// Returns whether `old` is the very Credential from which the tokens of a successor came: marked with the successor. A
/// restored copy of it is not: the first one was deleted, which may have revoked the tokens.
pub(super) fn is_certain_source(old: &Credential, successor: &Credential) -> bool {
    is_source(old, successor) && is_destination(old, successor)
}

/// Finds a Credential that has taken the tokens of an old one.
pub(super) fn heir<'a>(
    old: &Credential,
    mut all: impl Iterator<Item = &'a Credential>,
) -> Option<&'a Credential> {
    all.find(|other| !is_deleting(other) && has_taken_from(other, old))
}

/// Where the tokens of a Credential are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Nowhere else.
    Here,
    /// Another Credential has taken them, and records which of them live.
    Moved,
    /// An interrupted run prepared a Credential for them whose owner was recreated since.
    Stranded,
    /// The Credential that has taken them, or from which they came, was deleted.
    Lost,
}

/// Finds the tokens of a Credential among all Credentials of the Identity. `present` is the uid of its owner now.
pub(super) fn whereabouts<'a>(
    old: &Credential,
    all: impl Iterator<Item = &'a Credential> + Clone,
    present: Option<&str>,
) -> Whereabouts {
    let living =
        all.filter(|other| !is_deleting(other) && other.metadata.name != old.metadata.name);
    if living.clone().any(|other| has_taken_from(other, old)) {
        return Whereabouts::Moved;
    }
    let Some(_) = destination(old) else {
        return match step(old) {
            // Whether it was deleted before or after these tokens were written is unknown.
            Some(ReboundStep::Filled) if !living.clone().any(|it| is_certain_source(it, old)) => {
                Whereabouts::Lost
            }
            Some(ReboundStep::Prepared)
                if is_prepared(old) && present != Some(&*old.spec.owner.uid) =>
            {
                Whereabouts::Stranded
            }
            _ => Whereabouts::Here,
        };
    };
    match living.clone().find(|other| is_destination(old, other)) {
        None => Whereabouts::Lost,
        Some(other) if step(other) != Some(ReboundStep::Prepared) => Whereabouts::Moved,
        Some(other) if present == Some(&*other.spec.owner.uid) => Whereabouts::Here,
        Some(_) => Whereabouts::Stranded,
    }
}

/// Returns whether the last move to `successor` came from this Credential.
pub(super) fn is_source(old: &Credential, successor: &Credential) -> bool {
    is_same_owner(&old.spec.owner, &successor.spec.owner)
        && last_source(successor) == Some(&old.spec.owner.uid)
}
