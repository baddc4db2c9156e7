//! Applies the changes that watches report: updates the directory, and queues the objects that they concern.

use std::sync::PoisonError;

use super::{Controller, now};
use crate::directory::issued::usage;
use crate::directory::{Change, Directory, ObjectKey, Row};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::enrolment;
use crate::reconcile::key_secrets;
use crate::reconcile::work::Work;
use crate::reconcile::work::fanout::{self, owners_of_secret, owners_under};
use crate::reconcile::work::queue::Why;
use crate::resources::{Kind, OwnerKind};

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Applies changes, each with the `resourceVersion` of its object, and queues the objects that they concern.
    pub fn changed(&self, changes: Vec<(Change, Box<str>)>) {
        let mut directory = self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = directory.clone();
        let mut news = Vec::new();
        for (change, version) in changes {
            self.credential_changed(&directory, &change, &version);
            if directory.is_news(&change) {
                if let Change::Delete(kind, key) = &change {
                    lock(&self.gauges).tally.forget(*kind, key);
                    if *kind == Kind::Identity {
                        lock(&self.orphans).saw_identity(key, now());
                    }
                }
                directory.apply(change.clone());
                news.push(change);
            } else if self.agenda.leads() {
                self.touched(&change, version);
            }
        }
        let after = directory.clone();
        drop(directory);
        if self.agenda.leads() && !news.is_empty() {
            for (work, why) in fanout::concerned(&before, &after, &news) {
                self.agenda.queue.add(work, why);
            }
        }
    }

    /// Queues an object that was written without a change to the fields that rules read: its status may differ.
    fn touched(&self, change: &Change, version: Box<str>) {
        let (kind, key) = match change {
            Change::Upsert(Row::Identity(object)) => (Kind::Identity, &object.key),
            Change::Upsert(Row::Scope(object)) => (Kind::Scope, &object.key),
            Change::Upsert(Row::Client(object)) => (Kind::OAuthClient, &object.key),
            Change::Upsert(Row::ServiceToken(object)) => (Kind::ServiceAccessToken, &object.key),
            Change::Upsert(Row::User(object)) => (Kind::User, &object.key),
            _ => return,
        };
        let why = Why::Version(version);
        if !self.agenda.is_own(&why) {
            let work = Work::Object(kind, key.clone());
            self.agenda.queue.add_slow_for(work, why);
        }
    }

    /// Queues the owner of a changed Credential, except after its own pass's write. A Credential is deleted by an
    /// administrator, or by the operator if it is an orphan.
    fn credential_changed(&self, directory: &Directory, change: &Change, version: &str) {
        let (owner, why) = match change {
            Change::Upsert(Row::Credential(record)) => {
                (record.owner.clone(), Why::Version(version.into()))
            }
            Change::Delete(Kind::Credential, key) => match directory.credential(key) {
                Some(record) => (record.owner.clone(), Why::Must),
                None => return,
            },
            _ => return,
        };
        if !self.agenda.leads() || self.agenda.is_own(&why) {
            return;
        }
        if !directory.has_owner(&owner) {
            return;
        }
        let work = Work::Object(owner.kind.kind(), owner.key);
        match news_of(directory, change) {
            CredentialNews::Issued => self.agenda.queue.add(work, why),
            CredentialNews::Revoked | CredentialNews::Use => self.agenda.queue.add(work, Why::Must),
            CredentialNews::AnotherDay => self.agenda.queue.add_slow(work),
            CredentialNews::None => {}
        }
    }

    /// Queues the objects that a changed or deleted Secret concerns: its controller, and those that name it.
    pub fn secret_changed(
        &self,
        key: &ObjectKey,
        version: &str,
        controller: Option<(OwnerKind, &str)>,
    ) {
        let why = if version.is_empty() {
            Why::Must
        } else {
            Why::Version(version.into())
        };
        if controller.is_none() && key_secrets::identity_of(key).is_some() {
            lock(&self.orphans).saw_key_secret(key, !version.is_empty());
        }
        if !self.agenda.leads() || self.agenda.is_own(&why) {
            return;
        }
        let directory = self.directory();
        // Objects that the Secret no longer names have lost it, and another may have waited for its name.
        for work in owners_of_secret(&directory, key, controller) {
            self.agenda.queue.add(work, why.clone());
        }
        // A User's Secret is found by its name: its owner references may be missing or wrong.
        if let Some(user) = enrolment::user_of(key).filter(|user| directory.user(user).is_some()) {
            let work = Work::Object(Kind::User, user);
            self.agenda.queue.add(work, why.clone());
        }
        if controller.is_some() {
            return;
        }
        if let Some(identity) =
            key_secrets::identity_of(key).filter(|identity| directory.identity(identity).is_some())
        {
            if *key == key_secrets::mac_secret(&identity) {
                self.mac_changed(&identity);
            }
            self.agenda
                .queue
                .add(Work::Object(Kind::Identity, identity), Why::Must);
        }
        self.watch_key_secret(&directory, key);
    }

    /// Handles a deleted or replaced mac key: all records that the previous key sealed are void, and their owners need
    /// new tokens.
    pub fn mac_changed(&self, identity: &ObjectKey) {
        lock(&self.macs).forget(identity);
        if self.agenda.leads() {
            for work in owners_under(&self.directory(), identity) {
                self.agenda.queue.add_slow(work);
            }
        }
    }
}

/// What a changed Credential means for its owner.
enum CredentialNews {
    /// It has other tokens, or it was deleted.
    Issued,
    /// A token was revoked by its id: its end must be recorded.
    Revoked,
    /// A server reported the first use of a token, or that the previous token is unused. The owner may wait for this.
    Use,
    /// The status shows another day of use.
    AnotherDay,
    /// The change does not concern the owner, as with most reports of use.
    None,
}

fn news_of(directory: &Directory, change: &Change) -> CredentialNews {
    let Change::Upsert(Row::Credential(record)) = change else {
        return CredentialNews::Issued;
    };
    let known = directory.credential(&record.key);
    let Some(known) = known.filter(|it| it.uid == record.uid && it.generation == record.generation)
    else {
        return CredentialNews::Issued;
    };
    if record.revoked.iter().any(|id| !known.revoked.contains(id)) {
        return CredentialNews::Revoked;
    }
    match usage::to_be_told(&known.uses, &record.uses) {
        Some(true) => CredentialNews::Use,
        _ if directory.proves_silence(known, record) => CredentialNews::Use,
        Some(false) => CredentialNews::AnotherDay,
        None => CredentialNews::None,
    }
}
