//! Whether an Identity is served: its namespace, and which of two Identities has an issuer.

use std::sync::Arc;

use jiff::Timestamp;

use super::served::Served;
use crate::directory::tables::Directory;
use crate::directory::tables::record::{IdentityRecord, Object};
use crate::directory::{ObjectKey, Problem, Reason};

impl Directory {
    /// Returns an Identity if it is served.
    pub fn served_identity(
        &self,
        key: &ObjectKey,
    ) -> Result<Served<'_, IdentityRecord>, Vec<Problem>> {
        let not_found = || {
            vec![Problem::error(
                Reason::IdentityNotFound,
                "/spec/identityRef",
                format!(
                    "Identity {key} does not exist: create it, or name another one in spec.identityRef"
                ),
            )]
        };
        let object = self.identity(key).ok_or_else(not_found)?;
        let problems = self.identity_problems(object);
        match Served::of(object) {
            Some(served) if problems.is_empty() => Ok(served),
            _ => Err(vec![Problem::error(
                Reason::IdentityNotReady,
                "/spec/identityRef",
                format!(
                    "Identity {key} is not served: ask its administrators to check its conditions"
                ),
            )]),
        }
    }

    /// Returns what is wrong with an Identity.
    pub fn identity_problems(&self, object: &Object<IdentityRecord>) -> Vec<Problem> {
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return problems.clone(),
        };
        if !self.accepts(object) {
            return vec![self.elsewhere(object)];
        }
        // A scan is enough: there are few Identities, since administrators create them.
        let owner = self.identities().find(|other| {
            other.key != object.key
                && self.accepts(other)
                && other.record().is_some_and(|it| it.site == record.site)
                && self.issuer_rank(other) < self.issuer_rank(object)
        });
        let conflict = |other: &Arc<Object<IdentityRecord>>| {
            Problem::error(
                Reason::IssuerConflict,
                "/spec/issuer",
                format!(
                    "Identity {} already has this issuer: delete one of the two, or create this one with another issuer",
                    other.key
                ),
            )
        };
        owner.map(conflict).into_iter().collect()
    }

    /// Ranks Identities that claim one issuer, the owner first: the installation's default Identity, then namespaces
    /// in the order of the installation's list. Age decides only between equals, since a recreated Identity is the
    /// youngest.
    fn issuer_rank<'a>(
        &self,
        object: &'a Object<IdentityRecord>,
    ) -> (bool, usize, Timestamp, &'a ObjectKey) {
        let settings = self.settings();
        let is_default = settings.default_identity.as_ref() == Some(&object.key);
        let mut listed = settings.identity_namespaces.iter();
        let place = listed.position(|name| *name == *object.key.namespace);
        let place = place.unwrap_or(usize::MAX);
        (!is_default, place, object.created, &object.key)
    }

    fn accepts(&self, object: &Object<IdentityRecord>) -> bool {
        self.settings().accepts_identities_of(&object.key.namespace)
    }

    fn elsewhere(&self, object: &Object<IdentityRecord>) -> Problem {
        Problem::error(
            Reason::NamespaceNotAllowed,
            "/metadata/namespace",
            format!(
                "the installation accepts Identities in {} and not in {}: create this one there, or ask the operator's administrators to add --identity-namespace {}",
                self.settings().identity_namespaces.join(", "),
                object.key.namespace,
                object.key.namespace
            ),
        )
    }

    /// Returns the Identity that an object names, or the installation's default one, if it is served.
    pub(super) fn identity_of(
        &self,
        reference: Option<&ObjectKey>,
    ) -> Result<Served<'_, IdentityRecord>, Vec<Problem>> {
        let missing = || {
            vec![Problem::error(
                Reason::IdentityNotFound,
                "/spec",
                "the object names no Identity and the installation has no default one: set spec.identityRef.name (and namespace)",
            )]
        };
        self.served_identity(reference.ok_or_else(missing)?)
    }
}
