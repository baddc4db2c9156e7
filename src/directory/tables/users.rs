//! The Users, and what finds them: their uids, subjects, usernames and addresses. Administrators declare them, so there
//! are few.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use jiff::Timestamp;

use super::ages::Ages;
use super::person_record::UserRecord;
use super::record::Object;
use crate::directory::ObjectKey;

type User = Arc<Object<UserRecord>>;

/// Returns the form in which usernames and addresses are compared.
pub(in crate::directory) fn folded(name: &str) -> Box<str> {
    name.to_lowercase().into()
}

/// Valid Users of each Identity by a text, oldest first.
#[derive(Clone, Debug, Default)]
struct Index(OrdMap<(ObjectKey, Box<str>), Vector<User>>);

impl Index {
    fn insert(&mut self, identity: &ObjectKey, text: &str, user: &User) {
        let found = self.0.entry((identity.clone(), text.into())).or_default();
        let at = found.iter().position(|other| age(user) < age(other));
        found.insert(at.unwrap_or(found.len()), Arc::clone(user));
    }

    fn remove(&mut self, identity: &ObjectKey, text: &str, user: &User) {
        let place = (identity.clone(), text.into());
        let Some(found) = self.0.get_mut(&place) else {
            return;
        };
        found.retain(|other| other.key != user.key);
        if found.is_empty() {
            self.0.remove(&place);
        }
    }

    fn get(&self, identity: &ObjectKey, text: &str) -> impl Iterator<Item = &User> + use<'_> {
        let found = self.0.get(&(identity.clone(), text.into()));
        found.into_iter().flatten()
    }
}

fn age(user: &User) -> (Timestamp, &ObjectKey) {
    (user.created, &user.key)
}

/// All Users. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub(in crate::directory) struct Users {
    all: OrdMap<ObjectKey, User>,
    uids: Index,
    subjects: Index,
    usernames: Index,
    addresses: Index,
    /// Users of an Identity by age, for the quota.
    ages: Ages<ObjectKey>,
}

impl Users {
    pub(super) fn insert(&mut self, object: Object<UserRecord>) {
        self.remove(&object.key);
        let user = Arc::new(object);
        self.index(&user, Index::insert);
        if let Some(identity) = identity(&user) {
            self.ages.insert(identity.clone(), &user);
        }
        self.all.insert(user.key.clone(), user);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        if let Some(user) = self.all.remove(key) {
            self.index(&user, Index::remove);
            if let Some(identity) = identity(&user) {
                self.ages.remove(identity, &user);
            }
        }
    }

    /// Changes the rows of a User in all indexes.
    fn index(&mut self, user: &User, change: fn(&mut Index, &ObjectKey, &str, &User)) {
        let (Some(record), Some(identity)) = (user.record(), identity(user)) else {
            return;
        };
        change(&mut self.uids, identity, &user.uid, user);
        change(&mut self.subjects, identity, &record.subject, user);
        change(
            &mut self.usernames,
            identity,
            &folded(&record.username),
            user,
        );
        if let Some(email) = &record.email {
            change(&mut self.addresses, identity, &folded(email), user);
        }
    }

    pub(in crate::directory) fn get(&self, key: &ObjectKey) -> Option<&User> {
        self.all.get(key)
    }

    pub(in crate::directory) fn values(&self) -> impl Iterator<Item = &User> {
        self.all.values()
    }

    pub(in crate::directory) fn len(&self) -> usize {
        self.all.len()
    }

    pub(in crate::directory) fn by_uid(&self, identity: &ObjectKey, uid: &str) -> Option<&User> {
        self.uids.get(identity, uid).next()
    }

    /// Returns the oldest User with a subject.
    pub(in crate::directory) fn by_subject(
        &self,
        identity: &ObjectKey,
        subject: &str,
    ) -> Option<&User> {
        self.subjects.get(identity, subject).next()
    }

    /// Returns the oldest User with a username.
    pub(in crate::directory) fn by_username(
        &self,
        identity: &ObjectKey,
        username: &str,
    ) -> Option<&User> {
        self.usernames.get(identity, &folded(username)).next()
    }

    /// Returns the Users with an address.
    pub(in crate::directory) fn by_address(
        &self,
        identity: &ObjectKey,
        address: &str,
    ) -> impl Iterator<Item = &User> + use<'_> {
        self.addresses.get(identity, &folded(address))
    }

    /// Returns whether a User is among the oldest of its Identity.
    pub(in crate::directory) fn is_within_quota(
        &self,
        user: &Object<UserRecord>,
        most: usize,
    ) -> bool {
        let identity = user.record().and_then(|record| record.identity.as_ref());
        identity.is_none_or(|identity| self.ages.is_within(identity, user, most))
    }
}

/// Returns the Identity of a User in the Identity's own namespace. A User of any other namespace is never accepted (see
/// `judge::user`), so that it occupies no name and no place of the quota either.
fn identity(user: &User) -> Option<&ObjectKey> {
    let identity = user.record()?.identity.as_ref()?;
    (identity.namespace == user.key.namespace).then_some(identity)
}
