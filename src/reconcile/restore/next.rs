//! The next request of a move, decided from the live Credentials. Pure. The steps are explained in [`moves`].

use jiff::Timestamp;

use super::endings::carried;
use super::moves;
use crate::resources::{Credential, ReboundStep};
use crate::tokens::MacKey;

/// One move of tokens, and how far this run is.
pub(super) struct Move<'a> {
    /// The Credential to create; `None` if an earlier run created it.
    pub(super) planned: Option<&'a Credential>,
    /// The uid of the successor that the plan saw.
    pub(super) successor_uid: &'a str,
    /// Whether the old Credential is deleted.
    pub(super) may_go: bool,
    /// Whether this run has written into the successor that the move is finished.
    pub(super) has_finished: bool,
    pub(super) key: &'a MacKey,
    pub(super) now: Timestamp,
}

/// What was read live.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    pub(super) successor: Option<&'a Credential>,
    pub(super) old: Option<&'a Credential>,
    /// Other Credentials of the owner that record the same tokens.
    pub(super) siblings: &'a [Credential],
}

/// The next request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Create the successor.
    Create(Box<Credential>),
    /// Mark the old Credential.
    Mark(Box<Credential>),
    /// Write the tokens into the successor.
    Fill(Box<Credential>),
    /// Replace the successor.
    Replace(Box<Credential>),
    /// Remove the tokens from the successor.
    Withdraw(Box<Credential>),
    /// Delete the successor, which has no tokens.
    Discard,
    /// Delete the siblings that may go, and then the old Credential.
    DeleteOld,
    /// The move is finished.
    Finished,
    /// A Credential was deleted, which revoked the tokens.
    Deleted,
    /// Another client created the successor.
    Taken,
}

impl Move<'_> {
    /// Decides on the next request.
    pub(super) fn next(&self, live: Live<'_>) -> Next {
        match (live.old, live.successor) {
            (None, None) => Next::Deleted,
            (None, Some(successor)) => self.without_old(successor),
            (Some(old), None) => self.without_successor(old),
            (Some(old), Some(successor)) if moves::is_prepared(successor) => {
                self.fill(old, successor, live.siblings)
            }
            (Some(old), Some(successor)) => self.finish(old, successor, live.siblings),
        }
    }

    /// Another run may have finished the move. Otherwise the deletion has revoked the tokens.
    fn without_old(&self, successor: &Credential) -> Next {
        if moves::is_prepared(successor) {
            Next::Discard
        } else if self.has_finished || moves::step(successor) == Some(ReboundStep::Filled) {
            Next::Withdraw(Box::new(moves::withdrawn(successor)))
        } else {
            Next::Finished
        }
    }

    fn without_successor(&self, old: &Credential) -> Next {
        match self.planned {
            _ if moves::destination(old).is_some() => Next::Deleted,
            Some(planned) => Next::Create(Box::new(moves::prepared(planned, old))),
            // So that a later run does not bind the tokens again.
            None => Next::Mark(Box::new(moves::marked(old, self.successor_uid))),
        }
    }

    fn fill(&self, old: &Credential, successor: &Credential, siblings: &[Credential]) -> Next {
        let uid = successor.metadata.uid.as_deref().unwrap_or_default();
        let Some(planned) = self.planned else {
            return Next::Taken;
        };
        match moves::destination(old) {
            Some(marked) if marked != uid => Next::Discard,
            // An earlier run prepared it for another Credential of this owner.
            _ if !moves::is_source(old, successor) => {
                let mut again = successor.clone();
                again.spec = moves::prepared(planned, old).spec;
                let high = again.spec.high.max(successor.spec.high);
                again.spec.high = high;
                if let Some(rebound) = &mut again.spec.memory.rebound {
                    rebound.high = high;
                }
                Next::Replace(Box::new(again))
            }
            None => Next::Mark(Box::new(moves::marked(old, uid))),
            Some(_) => {
                let filled = moves::filled(successor, planned);
                let carried = self.carried(old, &filled, siblings);
                Next::Fill(Box::new(carried.unwrap_or(filled)))
            }
        }
    }

    fn finish(&self, old: &Credential, successor: &Credential, siblings: &[Credential]) -> Next {
        let is_taken = moves::has_taken_from(successor, old);
        if self.planned.is_some() && !is_taken {
            return Next::Taken;
        }
        let is_from_old = moves::is_source(old, successor);
        if moves::step(successor) == Some(ReboundStep::Filled)
            && is_from_old
            && !moves::is_destination(old, successor)
        {
            return Next::Withdraw(Box::new(moves::withdrawn(successor)));
        }
        if moves::destination(old).is_none() {
            let uid = successor.metadata.uid.as_deref().unwrap_or_default();
            return Next::Mark(Box::new(moves::marked(old, uid)));
        }
        let carried = self.carried(old, successor, siblings);
        let is_finished = moves::step(successor).is_none() || !is_from_old;
        match carried {
            Some(carried) if is_finished => Next::Replace(Box::new(carried)),
            Some(carried) => Next::Replace(Box::new(moves::finished(&carried))),
            None if !is_finished => Next::Replace(Box::new(moves::finished(successor))),
            None if self.may_go => Next::DeleteOld,
            None => Next::Finished,
        }
    }

    fn carried(
        &self,
        old: &Credential,
        successor: &Credential,
        siblings: &[Credential],
    ) -> Option<Credential> {
        let previous: Vec<&Credential> = std::iter::once(old).chain(siblings).collect();
        carried(&previous, successor, self.key, self.now).map(|carried| carried.credential)
    }
}
