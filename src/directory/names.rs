//! Every name has an owner: who may use a client id, a scope value or an audience of an Identity.
//!
//! Objects in the Identity's own namespace, the administrators', may use any name. Elsewhere a name
//! carries the namespace as its prefix, unless the Identity's `access.names` gives more. For one name
//! the Identity's namespace comes before the prefix's owner, and that before `access.names`; two
//! namespaces of equal rank are both refused; within a namespace the oldest object wins.
//! Being first never helps against an owner.

use std::sync::Arc;

use super::ObjectKey;
use super::claims::Claims;
use super::record::{ClientRecord, IdentityRecord, NamespaceRule, Object, ScopeRecord};
use super::tables::Directory;

/// Who holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This object does.
    Object(ObjectKey),
    /// Namespaces of equal rank ask for it: nobody does.
    Contested(Vec<Arc<str>>),
    /// Nobody who may asks for it.
    Nobody,
}

/// The namespaces that were given a name by `access.names`.
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

/// The namespace whose prefix a client id carries: what stands before the first dot.
fn client_id_prefix(client_id: &str) -> Option<&str> {
    client_id.split_once('.').map(|(namespace, _)| namespace)
}

/// The namespace whose prefix a scope value carries: what stands before the first `:`, `.` or `/`.
fn scope_prefix(value: &str) -> Option<&str> {
    value
        .split_once([':', '.', '/'])
        .map(|(namespace, _)| namespace)
}

/// The namespace whose prefix an audience carries: `<issuer>/<namespace>`, or below it.
fn audience_prefix<'a>(issuer: &str, audience: &'a str) -> Option<&'a str> {
    let rest = audience.strip_prefix(issuer)?.strip_prefix('/')?;
    rest.split('/')
        .next()
        .filter(|namespace| !namespace.is_empty())
}

/// Whether objects of a namespace may use a client id.
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

/// Whether objects of a namespace may use a scope value.
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

/// Whether objects of a namespace may use an audience.
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

/// Whose an audience is: the namespace of its prefix or its one grant, else the Identity's.
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
    /// Who holds a client id.
    pub fn client_id_holder(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        client_id: &str,
    ) -> Holder {
        self.holder(
            &self.client_claims,
            identity,
            &record.clients,
            client_id,
            client_id_prefix(client_id),
            given_client_id(record, client_id),
        )
    }

    /// Who holds a scope value.
    pub fn scope_holder(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        value: &str,
    ) -> Holder {
        self.holder(
            &self.scope_claims,
            identity,
            &record.scopes,
            value,
            scope_prefix(value),
            given_scope(record, value),
        )
    }

    /// The OAuthClient that holds a client id.
    pub(super) fn client_by_id(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        client_id: &str,
    ) -> Option<&Arc<Object<ClientRecord>>> {
        match self.client_id_holder(identity, record, client_id) {
            Holder::Object(key) => self.clients.get(&key),
            _ => None,
        }
    }

    /// The Scope that holds a value.
    pub(super) fn scope_by_value(
        &self,
        identity: &Object<IdentityRecord>,
        record: &IdentityRecord,
        value: &str,
    ) -> Option<&Arc<Object<ScopeRecord>>> {
        match self.scope_holder(identity, record, value) {
            Holder::Object(key) => self.scopes.get(&key),
            _ => None,
        }
    }

    /// Looks at the few namespaces that may hold the name, never at all that ask for it: a flood of
    /// claims on somebody else's name costs nothing.
    fn holder<'a>(
        &self,
        claims: &Claims,
        identity: &Object<IdentityRecord>,
        allowed: &NamespaceRule,
        value: &str,
        prefix: Option<&str>,
        given: impl Iterator<Item = &'a Arc<str>>,
    ) -> Holder {
        let own = &identity.key.namespace;
        let oldest = |namespace: &str| {
            self.is_allowed(allowed, own, namespace)
                .then(|| claims.oldest(value, &identity.key, namespace))
                .flatten()
        };
        if let Some(key) = oldest(own).or_else(|| oldest(prefix?)) {
            return Holder::Object(key);
        }
        let mut found: Vec<ObjectKey> = given.filter_map(|namespace| oldest(namespace)).collect();
        found.sort();
        found.dedup();
        match (found.pop(), found.is_empty()) {
            (None, _) => Holder::Nobody,
            (Some(only), true) => Holder::Object(only),
            (Some(last), false) => Holder::Contested(
                found
                    .into_iter()
                    .chain([last])
                    .map(|key| key.namespace)
                    .collect(),
            ),
        }
    }

    pub(super) fn is_allowed(&self, rule: &NamespaceRule, own: &str, namespace: &str) -> bool {
        rule.allows(own, namespace, self.labels(namespace))
    }
}
