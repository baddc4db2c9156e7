//! What the watches reported of Identities' objects, and which of them were as wanted.
//!
//! It only saves requests: writes are decided on live objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Child;
use crate::directory::ObjectKey;

/// The latest report about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Present {
    version: Box<str>,
    identity: ObjectKey,
}

/// The state in which an object was as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Good {
    version: Box<str>,
    digest: String,
}

/// All reports.
#[derive(Debug, Default)]
pub(super) struct SeenObjects {
    present: BTreeMap<Child, Present>,
    good: HashMap<Child, Good>,
    /// Objects of unwatched kinds that were read and do not exist.
    absent: BTreeSet<Child>,
}

impl SeenObjects {
    /// Records a report by a watch. Returns the Identity to reconcile, if the report is news.
    pub(super) fn saw(
        &mut self,
        child: &Child,
        version: Option<&str>,
        identity: Option<ObjectKey>,
    ) -> Option<ObjectKey> {
        let before = self.present.get(child).map(|it| it.identity.clone());
        let (Some(version), Some(identity)) = (version, identity) else {
            self.present.remove(child);
            let was_good = self.good.remove(child).is_some();
            return before.filter(|_| was_good);
        };
        let is_good = self
            .good
            .get(child)
            .is_some_and(|good| *good.version == *version);
        let present = Present {
            version: version.into(),
            identity: identity.clone(),
        };
        self.present.insert(child.clone(), present);
        (!is_good).then_some(identity)
    }

    /// Whether an object was as wanted, and has not changed since.
    pub(super) fn is_good(&self, child: &Child, digest: &str) -> bool {
        let Some(good) = self.good.get(child) else {
            return false;
        };
        // Before the watch first reports it, the operator's own write is the newest.
        let is_newest = self
            .present
            .get(child)
            .is_none_or(|present| present.version == good.version);
        good.digest == digest && is_newest
    }

    /// Records that an object is as wanted.
    pub(super) fn found_good(&mut self, child: &Child, version: &str, digest: &str) {
        self.absent.remove(child);
        let good = Good {
            version: version.into(),
            digest: digest.to_owned(),
        };
        self.good.insert(child.clone(), good);
    }

    /// Whether an unwanted object may exist.
    pub(super) fn may_be_there(&self, child: &Child) -> bool {
        if child.kind.is_built_in() {
            self.present.contains_key(child) || self.good.contains_key(child)
        } else {
            !self.absent.contains(child)
        }
    }

    /// Records that an object does not exist.
    pub(super) fn found_absent(&mut self, child: &Child) {
        self.present.remove(child);
        self.good.remove(child);
        if !child.kind.is_built_in() {
            self.absent.insert(child.clone());
        }
    }

    /// Returns the Identities that have objects.
    pub(super) fn identities(&self) -> BTreeSet<ObjectKey> {
        self.present
            .values()
            .map(|it| it.identity.clone())
            .collect()
    }

    /// Returns the objects of an Identity.
    pub(super) fn of(&self, identity: &ObjectKey) -> Vec<Child> {
        let all = self.present.iter();
        all.filter(|(_, present)| present.identity == *identity)
            .map(|(child, _)| child.clone())
            .collect()
    }
}
