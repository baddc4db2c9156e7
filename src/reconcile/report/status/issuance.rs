//! What issuing found, and the problems that a status shows of it.

use crate::directory::{Problem, Reason};
use crate::reconcile::issue::{Facts, Settled};

/// The result of issuing for an owner's Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Issuance {
    /// A pass came to its end.
    Settled(Settled),
    /// A pass could not continue.
    Blocked(Problem),
}

impl Issuance {
    pub(super) fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Settled(settled) => settled.facts(),
            Self::Blocked(_) => None,
        }
    }

    /// Returns the problems that keep the Secret from its wanted state.
    pub(super) fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Settled(Settled::Withheld(problems)) => problems.clone(),
            Self::Settled(Settled::Refused { problem, .. }) | Self::Blocked(problem) => {
                vec![problem.clone()]
            }
            Self::Settled(Settled::Waiting { facts, .. }) => {
                let reason = match facts {
                    Some(_) => Reason::Rotating,
                    None => Reason::Issuing,
                };
                let words = "a write to the Secret may still be in flight: the operator waits until it has certainly ended";
                vec![Problem::error(reason, "", words)]
            }
            Self::Settled(_) => Vec::new(),
        }
    }
}
