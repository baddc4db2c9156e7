//! Every name has an owner: who may use a client id, a scope value or an audience of an Identity.
//!
//! Objects in the Identity's own namespace belong to the administrators and may use any name. In other namespaces a
//! name must have the namespace as its prefix, unless the Identity's `access.names` grants another one. If several
//! objects claim a name, the Identity's namespace comes first, then the owner of the prefix, then `access.names`. Two
//! namespaces of equal rank are both refused; within a namespace the oldest object wins. Being first never helps
//! against an owner.

pub(super) mod built_in;
mod secret_owners;

use std::sync::Arc;

use super::tables::Directory;
use super::tables::claims::{Claiming, Claims};
use super::tables::record::{ClientRecord, IdentityRecord, NamespaceRule, Object, ScopeRecord};

/// The owner of a name.
#[derive(Debug)]
pub enum NameOwner<'a, T> {
    /// This object.
    Object(&'a Arc<Object<T>>),
    /// None: these namespaces of equal rank claim the name.
    Contested(Vec<Arc<str>>),
    /// None: no object that may use the name claims it.
    Unclaimed,
}

/// Returns the namespaces that `access.names` grants a client id to.
fn given_client_id<'a>(
    identity: &'a IdentityRecord,
    client_id: &str,
) -> impl Iterator<Item = &'a Arc<str>> {
    identity
        .names
        .client_ids
        .get(client_id)
        .into_iter()
        .flatten()
}

fn given_scope<'a>(
    identity: &'a IdentityRecord,
    value: &str,
) -> impl Iterator<Item = &'a Arc<str>> {
    let exact = identity.names.scopes.get(value).into_iter().flatten();
    let by_prefix = identity
        .names
        .scope_prefixes
        .iter()
        .filter(move |(prefix, _)| value.starts_with(&**prefix));
    exact.chain(by_prefix.map(|(_, namespace)| namespace))
}

/// Returns the namespace in the prefix of a client id: the part before the first dot.
pub(super) fn client_id_prefix(client_id: &str) -> Option<&str> {
    client_id.split_once('.').map(|(namespace, _)| namespace)
}

/// Returns the namespace in the prefix of a scope value: the part before the first `:`, `.` or `/`.
pub(super) fn scope_prefix(value: &str) -> Option<&str> {
    value
        .split_once([':', '.', '/'])
        .map(|(namespace, _)| namespace)
}

/// Returns the namespace in the prefix of an audience: `<issuer>/<namespace>`, or below it.
fn audience_prefix<'a>(issuer: &str, audience: &'a str) -> Option<&'a str> {
    let rest = audience.strip_prefix(issuer)?.strip_prefix('/')?;
    rest.split('/')
        .next()
        .filter(|namespace| !namespace.is_empty())
}

/// Returns whether objects of a namespace may use a client id.
pub fn may_use_client_id(
    identity: &Object<IdentityRecord>,
    record: &IdentityRecord,
    namespace: &str,
    client_id: &str,
) -> bool {
    *identity.key.namespace == *namespace
        || client_id_prefix(client_id) == Some(namespace)
        || given_client_id(record, client_id).any(|given| **given == *namespace)
}

/// Returns whether objects of a namespace may use a scope value.
pub fn may_use_scope(
    identity: &Object<IdentityRecord>,
    record: &IdentityRecord,
    namespace: &str,
    value: &str,
) -> bool {
    *identity.key.namespace == *namespace
        || scope_prefix(value) == Some(namespace)
        || given_scope(record, value).any(|given| **given == *namespace)
}

/// Returns whether objects of a namespace may use an audience.
pub fn may_use_audience(
    identity: &Object<IdentityRecord>,
    record: &IdentityRecord,
    namespace: &str,
    audience: &str,
) -> bool {
    *identity.key.namespace == *namespace
        || audience_prefix(&record.issuer, audience) == Some(namespace)
        || record
            .names
            .audiences
            .get(audience)
            .into_iter()
            .flatten()
            .any(|given| **given == *namespace)
}

/// Returns the namespace that owns an audience: its only namespace grant, else its prefix, else the Identity's
/// namespace.
pub fn audience_owner<'a>(
    identity: &'a Object<IdentityRecord>,
    record: &'a IdentityRecord,
    audience: &'a str,
) -> &'a str {
    match record.names.audiences.get(audience).map(Vec::as_slice) {
        Some([namespace]) => namespace,
        _ => audience_prefix(&record.issuer, audience).unwrap_or(&identity.key.namespace),
    }
}

impl Directory {
    /// Returns the owner of a client id.
    pub fn owner_of_client_id(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        client_id: &str,
    ) -> NameOwner<'_, ClientRecord> {
        let (prefix, given) = (
            client_id_prefix(client_id),
            given_client_id(record, client_id),
        );
        let oldest = self.oldest(&self.client_claims, identity, &record.clients, client_id);
        name_owner(&identity.key.namespace, prefix, given, oldest)
    }

    /// Returns whether a client id of a served Identity is claimed.
    pub fn is_client_id(&self, identity: &super::ObjectKey, client_id: &str) -> bool {
        self.served_identity(identity).is_ok_and(|identity| {
            let owner = self.owner_of_client_id(identity.object, identity.record, client_id);
            !matches!(owner, NameOwner::Unclaimed)
        })
    }

    /// Returns the owner of a scope value.
    pub fn owner_of_scope(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        value: &str,
    ) -> NameOwner<'_, ScopeRecord> {
        let (prefix, given) = (scope_prefix(value), given_scope(record, value));
        let oldest = self.oldest(&self.scope_claims, identity, &record.scopes, value);
        name_owner(&identity.key.namespace, prefix, given, oldest)
    }

    /// Returns the OAuthClient that owns a client id.
    pub(super) fn client_by_id(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        client_id: &str,
    ) -> Option<&Arc<Object<ClientRecord>>> {
        match self.owner_of_client_id(identity, record, client_id) {
            NameOwner::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the Scope that owns a value.
    pub(super) fn scope_by_value(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        value: &str,
    ) -> Option<&Arc<Object<ScopeRecord>>> {
        match self.owner_of_scope(identity, record, value) {
            NameOwner::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns a function from a namespace to its oldest object that claims a name; `None` if no object claims it, or
    /// if the Identity does not serve the namespace.
    fn oldest<'d, 'a, T: Claiming>(
        &'a self,
        claims: &'d Claims<T>,
        identity: &'a Object<IdentityRecord>,
        allowed: &'a NamespaceRule,
        name: &'a str,
    ) -> impl Fn(&str) -> Option<&'d Arc<Object<T>>> + use<'d, 'a, T> {
        move |namespace| {
            self.is_allowed(allowed, &identity.key.namespace, namespace)
                .then(|| claims.oldest(&identity.key, name, namespace))
                .flatten()
        }
    }

    pub(super) fn is_allowed(&self, rule: &NamespaceRule, own: &str, namespace: &str) -> bool {
        // Only a selector reads labels.
        let labels = rule.selector.as_ref().and_then(|_| self.labels(namespace));
        rule.allows(own, namespace, labels)
    }
}

/// Returns who owns a name: the Identity's namespace `own`, else the namespace in its prefix, else those that it is
/// `given` to. It looks up only these few namespaces and not all that claim the name, so a flood of claims on another's
/// name costs nothing.
fn name_owner<'d, 'g, T>(
    own: &str,
    prefix: Option<&str>,
    given: impl Iterator<Item = &'g Arc<str>>,
    oldest: impl Fn(&str) -> Option<&'d Arc<Object<T>>>,
) -> NameOwner<'d, T> {
    if let Some(object) = oldest(own).or_else(|| oldest(prefix?)) {
        return NameOwner::Object(object);
    }
    let mut found: Vec<_> = given.filter_map(|namespace| oldest(namespace)).collect();
    found.sort_by_key(|object| &object.key);
    found.dedup_by_key(|object| &object.key);
    match found.as_slice() {
        [] => NameOwner::Unclaimed,
        [only] => NameOwner::Object(only),
        several => {
            let namespaces = several.iter().map(|object| object.key.namespace.clone());
            NameOwner::Contested(namespaces.collect())
        }
    }
}
