//! Whether a User is accepted, and whether the person may act.

use std::sync::Arc;

use jiff::Timestamp;

use super::person::{Barred, Person};
use super::person_client::PersonClient;
use super::served::Served;
use crate::directory::tables::Directory;
use crate::directory::tables::record::{IdentityRecord, Object, UserRecord};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::StorageType;

impl Directory {
    /// Returns everything that keeps a User from signing in.
    pub fn user_problems(&self, object: &Object<UserRecord>) -> Vec<Problem> {
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return problems.clone(),
        };
        let identity = match self.identity_of(record.identity.as_ref()) {
            Ok(identity) => identity,
            Err(problems) => return problems,
        };
        let key = &identity.object.key;
        if object.key.namespace != key.namespace {
            return vec![Problem::error(
                Reason::NamespaceNotAllowed,
                "/metadata/namespace",
                format!(
                    "Users of Identity {key} are in its namespace: create this one in namespace {}",
                    key.namespace
                ),
            )];
        }
        let mut problems = Vec::new();
        if identity.record.storage == StorageType::None {
            problems.push(Problem::error(
                Reason::StorageRequired,
                "",
                format!("Identity {key} stores nothing, so that no one can sign in: set its spec.storage.type to SQLite or PostgreSQL"),
            ));
        }
        problems.extend(self.taken_names(object, record, key));
        let most = identity.record.max_users;
        if !self.users.is_within_quota(object, most) {
            problems.push(Problem::error(
                Reason::LimitExceeded,
                "",
                format!("Identity {key} serves the {most} oldest Users: delete some, or raise its spec.limits.users"),
            ));
        }
        problems
    }

    /// Returns the conflicts with older Users about the username and the subject.
    fn taken_names(
        &self,
        object: &Object<UserRecord>,
        record: &UserRecord,
        identity: &ObjectKey,
    ) -> Vec<Problem> {
        let username = self.users.by_username(identity, &record.username);
        let subject = self.users.by_subject(identity, &record.subject);
        let rows = [
            (username, "/spec/username", "username", &record.username),
            (subject, "/spec/subject", "subject", &record.subject),
        ];
        let taken = rows.into_iter().filter_map(|(owner, path, what, text)| {
            let owner = owner.filter(|owner| owner.key != object.key)?;
            let message = format!(
                "the {what} {text:?} belongs to the older User {}: choose another",
                owner.key
            );
            Some(Problem::error(Reason::ValueConflict, path, message))
        });
        taken.collect()
    }

    /// Returns a User of a served Identity, if it is accepted, disabled or not.
    fn accepted<'a>(
        &'a self,
        user: Option<&'a Arc<Object<UserRecord>>>,
    ) -> Option<AcceptedUser<'a>> {
        let object = user?;
        let record = object.record()?;
        let identity = self.served_identity(record.identity.as_ref()?).ok()?;
        let user = Served::of(object)?;
        self.user_problems(object)
            .is_empty()
            .then_some(AcceptedUser { identity, user })
    }

    /// Returns the User whose resource has this uid.
    pub fn user_by_uid(&self, identity: &ObjectKey, uid: &str) -> Option<AcceptedUser<'_>> {
        self.accepted(self.users.by_uid(identity, uid))
    }

    /// Returns the User with this subject.
    pub fn user_by_subject(&self, identity: &ObjectKey, subject: &str) -> Option<AcceptedUser<'_>> {
        self.accepted(self.users.by_subject(identity, subject))
    }

    /// Returns the User who signs in with this name: a username, or else an address that only one User has.
    pub fn user_by_name(&self, identity: &ObjectKey, name: &str) -> Option<AcceptedUser<'_>> {
        let by_username = self.users.by_username(identity, name);
        let by_address = || {
            let mut all = self.users.by_address(identity, name);
            all.next().filter(|_| all.next().is_none())
        };
        self.accepted(by_username.or_else(by_address))
    }

    /// Returns the person of a subject, if the person may act now.
    ///
    /// # Errors
    /// [`Barred`].
    pub fn person(
        &self,
        identity: &ObjectKey,
        subject: &str,
        now: Timestamp,
    ) -> Result<Person<'_>, Barred> {
        let user = self.user_by_subject(identity, subject);
        user.ok_or(Barred::Unknown)?.person(now)
    }

    /// Returns the person of a subject, if the person may act and use a client now.
    ///
    /// # Errors
    /// [`Barred`].
    pub fn person_at(
        &self,
        client: &PersonClient<'_>,
        subject: &str,
        now: Timestamp,
    ) -> Result<Person<'_>, Barred> {
        let person = self.person(&client.accepted.identity.object.key, subject, now)?;
        if person.may_use(client) {
            Ok(person)
        } else {
            Err(Barred::ClientNotAllowed)
        }
    }
}

/// Returns the time before which nothing counts that a person was issued: the latest of `revokeIssuedBefore` of the
/// Identity, that of the User, and the last end of the person's time. A time in the future acts as now.
pub fn revoked_before(identity: &IdentityRecord, user: &UserRecord) -> Option<Timestamp> {
    let of_user = user.revoke_issued_before.max(user.ended_at);
    identity.revoke_issued_before.max(of_user)
}

/// An accepted User of an Identity. The person may be disabled.
#[derive(Clone, Copy, Debug)]
pub struct AcceptedUser<'a> {
    /// The User's Identity.
    pub identity: Served<'a, IdentityRecord>,
    /// The User.
    pub user: Served<'a, UserRecord>,
}

impl<'a> AcceptedUser<'a> {
    /// Returns the person, if the person may act now.
    ///
    /// # Errors
    /// [`Barred`].
    pub fn person(self, now: Timestamp) -> Result<Person<'a>, Barred> {
        let Served { object, record } = self.user;
        if record.disabled {
            return Err(Barred::Disabled);
        }
        let has_begun = record.not_before.is_none_or(|begin| begin <= now);
        let has_ended = record.not_after.is_some_and(|end| end <= now);
        if !has_begun || has_ended {
            return Err(Barred::OutsideValidity);
        }
        Ok(Person {
            subject: &record.subject,
            user: Some(&object.key.name),
            kind: record.kind,
            role: record.role,
            username: &record.username,
            display_name: record.display_name.as_deref(),
            email: record.email.as_deref(),
            // An administrator wrote it.
            email_verified: true,
            groups: record.groups.iter().map(AsRef::as_ref).collect(),
            attributes: record
                .attributes
                .iter()
                .map(|(name, value)| (name.as_ref(), value.as_ref()))
                .collect(),
            revoke_issued_before: revoked_before(self.identity.record, record),
            allowed_claims: None,
        })
    }
}
