//! What is reconciled next: the queue, and what makes a queued pass unnecessary.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use jiff::Timestamp;

use crate::lock::lock;
use crate::reconcile::cluster::kube_api::OwnWrites;
use crate::reconcile::work::Work;
use crate::reconcile::work::queue::{Next, Queue, Reasons, Why};

/// The queue, and what is remembered of earlier passes.
pub(super) struct Agenda {
    /// The objects to reconcile.
    pub(super) queue: Queue<Work>,
    own: OwnWrites,
    led_since: OnceLock<Timestamp>,
    /// The objects whose last pass succeeded.
    settled: Mutex<HashMap<Work, Pass>>,
}

/// What is remembered of the last successful pass over an object.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// A hash of what the directory said about the object.
    judgement: u64,
    /// When to reconcile it again.
    again: Next,
}

impl Agenda {
    pub(super) fn new(workers: usize, own: OwnWrites) -> Self {
        Self {
            queue: Queue::new(workers),
            own,
            led_since: OnceLock::new(),
            settled: Mutex::default(),
        }
    }

    /// Begins to lead.
    pub(super) fn lead(&self, now: Timestamp) {
        self.led_since.get_or_init(|| now);
    }

    /// Returns since when this process leads; `None` if it does not. A process that does not lead queues nothing.
    pub(super) fn led_since(&self) -> Option<Timestamp> {
        self.led_since.get().copied()
    }

    /// Whether this process leads.
    pub(super) fn leads(&self) -> bool {
        self.led_since().is_some()
    }

    /// Whether the operator wrote this version itself.
    pub(super) fn is_own(&self, why: &Why) -> bool {
        matches!(why, Why::Version(version) if self.own.has(version))
    }

    /// Returns when to reconcile an object again if no reason requires a pass now. `judgement` is what the directory
    /// says about it.
    pub(super) fn unneeded(&self, work: &Work, reasons: &Reasons, judgement: u64) -> Option<Next> {
        let last = lock(&self.settled).get(work).copied()?;
        let is_needed = reasons.must
            || reasons
                .versions
                .iter()
                .any(|version| !self.own.has(version))
            || (reasons.perhaps && last.judgement != judgement);
        (!is_needed).then_some(last.again)
    }

    /// Remembers a pass that succeeded.
    pub(super) fn settle(&self, work: &Work, judgement: u64, again: Next) {
        lock(&self.settled).insert(work.clone(), Pass { judgement, again });
    }

    /// Forgets the last pass over an object that is gone, or whose pass failed.
    pub(super) fn forget(&self, work: &Work) {
        lock(&self.settled).remove(work);
    }

    /// Returns the objects whose last pass failed or never ran.
    pub(super) fn unsettled(&self, works: impl Iterator<Item = Work>) -> Vec<Work> {
        let settled = lock(&self.settled);
        works.filter(|work| !settled.contains_key(work)).collect()
    }
}
