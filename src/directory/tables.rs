//! The tables. A change touches its own rows and nothing else; a copy of the whole costs nothing, so
//! that readers keep a consistent view while writers go on.

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, OrdSet};
use jiff::Timestamp;
use serde_json::Value;

use super::ObjectKey;
use super::admit::{self, Settings};
use super::claims::{Claim, Claims};
use super::namespaces::Labels;
use super::record::{
    ClientRecord, CredentialRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord,
};
use crate::resources::{Credential, Kind};
use crate::tokens::{MacKey, TokenId};

/// Everything that is served, or would be if it were right.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub(super) settings: Arc<Settings>,
    pub(super) identities: OrdMap<ObjectKey, Arc<Object<IdentityRecord>>>,
    pub(super) scopes: OrdMap<ObjectKey, Arc<Object<ScopeRecord>>>,
    pub(super) clients: OrdMap<ObjectKey, Arc<Object<ClientRecord>>>,
    pub(super) service_tokens: OrdMap<ObjectKey, Arc<Object<ServiceTokenRecord>>>,
    pub(super) credentials: OrdMap<ObjectKey, Arc<CredentialRecord>>,
    pub(super) namespaces: OrdMap<Arc<str>, Arc<Labels>>,
    /// Who wants which client id.
    pub(super) client_claims: Claims,
    /// Who wants which scope value.
    pub(super) scope_claims: Claims,
    /// Which Credential knows a token id: the record itself, so that a token costs one look-up.
    pub(super) issued: OrdMap<(TokenId, ObjectKey), Arc<CredentialRecord>>,
    /// The one copy of each namespace's name: comparing keys need not read it.
    known_namespaces: OrdSet<Arc<str>>,
    /// OAuthClients of a namespace by age, for the quota.
    pub(super) client_ages: Ages,
    /// ServiceAccessTokens of a namespace by age, for the quota.
    pub(super) service_token_ages: Ages,
}

/// Stands before all Credentials that know a token id.
pub(super) struct IssuedAs<'a>(pub &'a TokenId);

impl Equivalent<(TokenId, ObjectKey)> for IssuedAs<'_> {
    fn equivalent(&self, _: &(TokenId, ObjectKey)) -> bool {
        false
    }
}

impl Comparable<(TokenId, ObjectKey)> for IssuedAs<'_> {
    fn compare(&self, (id, _): &(TokenId, ObjectKey)) -> Ordering {
        self.0.cmp(id).then(Ordering::Less)
    }
}

/// Objects of each namespace, oldest first, with their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    order: OrdSet<(Arc<str>, Timestamp, Arc<str>)>,
    counts: OrdMap<Arc<str>, usize>,
}

impl Ages {
    fn insert<T>(&mut self, object: &Object<T>) {
        let namespace = object.key.namespace.clone();
        if self
            .order
            .insert((namespace.clone(), object.created, object.key.name.clone()))
            .is_none()
        {
            *self.counts.entry(namespace).or_insert(0) += 1;
        }
    }

    fn remove<T>(&mut self, object: &Object<T>) {
        let namespace = object.key.namespace.clone();
        if self
            .order
            .remove(&(namespace.clone(), object.created, object.key.name.clone()))
            .is_some()
        {
            match self.counts.get_mut(&namespace) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.counts.remove(&namespace)),
            }
        }
    }

    /// Whether the object is among the `limit` oldest of its namespace. Constant time unless the
    /// namespace has more.
    pub(super) fn is_within<T>(&self, object: &Object<T>, limit: usize) -> bool {
        let namespace = &object.key.namespace;
        if self
            .counts
            .get(namespace)
            .is_none_or(|count| *count <= limit)
        {
            return true;
        }
        let from = (namespace.clone(), Timestamp::MIN, Arc::from(""));
        let mut oldest = self.order.range(from..).take(limit);
        oldest.any(|(_, created, name)| *created == object.created && *name == object.key.name)
    }
}

/// One change to the tables.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object came or changed.
    Upsert(Row),
    /// An object went.
    Delete(Kind, ObjectKey),
    /// A namespace came or changed its labels.
    Namespace(Arc<str>, Labels),
    /// A namespace went.
    NamespaceGone(Arc<str>),
}

/// A row of one of the tables.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "names of kinds")]
pub enum Row {
    Identity(Box<Object<IdentityRecord>>),
    Scope(Box<Object<ScopeRecord>>),
    Client(Box<Object<ClientRecord>>),
    ServiceToken(Box<Object<ServiceTokenRecord>>),
    Credential(Box<CredentialRecord>),
}

/// How many objects of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of kinds")]
pub struct Sizes {
    pub identities: usize,
    pub scopes: usize,
    pub clients: usize,
    pub service_tokens: usize,
    pub credentials: usize,
}

impl Change {
    /// The change that a raw object of a user's kind means. An object that is being deleted is gone:
    /// finalizers of others must not keep its tokens alive. `None` where the object has no usable
    /// metadata, or is a Credential: those go through [`Change::credential`].
    pub fn object(kind: Kind, raw: &Value, settings: &Settings) -> Option<Self> {
        let metadata = raw.get("metadata")?;
        if metadata
            .get("deletionTimestamp")
            .is_some_and(|value| !value.is_null())
        {
            let namespace = metadata
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Some(Self::Delete(
                kind,
                ObjectKey::new(namespace, metadata.get("name")?.as_str()?),
            ));
        }
        let row = match kind {
            Kind::Identity => Row::Identity(Box::new(admit::identity(raw)?)),
            Kind::Scope => Row::Scope(Box::new(admit::scope(raw, settings)?)),
            Kind::OAuthClient => Row::Client(Box::new(admit::client(raw, settings)?)),
            Kind::ServiceAccessToken => Row::ServiceToken(Box::new(admit::service_token(raw)?)),
            Kind::Credential => return None,
        };
        Some(Self::Upsert(row))
    }

    /// The change that a Credential means, its seals checked with the Identity's key.
    pub fn credential(credential: &Credential, key: Option<&MacKey>) -> Option<Self> {
        Some(Self::Upsert(Row::Credential(Box::new(admit::credential(
            credential, key,
        )?))))
    }
}

impl Directory {
    /// An empty directory of an installation.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..Self::default()
        }
    }

    /// What the installation decides.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a change would change anything: most of what a watch brings is somebody's status.
    pub fn is_news(&self, change: &Change) -> bool {
        match change {
            Change::Upsert(Row::Identity(object)) => differs(self.identity(&object.key), object),
            Change::Upsert(Row::Scope(object)) => differs(self.scope(&object.key), object),
            Change::Upsert(Row::Client(object)) => differs(self.client(&object.key), object),
            Change::Upsert(Row::ServiceToken(object)) => {
                differs(self.service_token(&object.key), object)
            }
            Change::Upsert(Row::Credential(record)) => {
                differs(self.credential(&record.key), record)
            }
            Change::Delete(Kind::Identity, key) => self.identities.contains_key(key),
            Change::Delete(Kind::Scope, key) => self.scopes.contains_key(key),
            Change::Delete(Kind::OAuthClient, key) => self.clients.contains_key(key),
            Change::Delete(Kind::ServiceAccessToken, key) => self.service_tokens.contains_key(key),
            Change::Delete(Kind::Credential, key) => self.credentials.contains_key(key),
            Change::Namespace(name, labels) => self.labels(name) != Some(labels),
            Change::NamespaceGone(name) => self.namespaces.contains_key(name),
        }
    }

    /// Makes one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Upsert(Row::Identity(object)) => drop(
                self.identities
                    .insert(object.key.clone(), Arc::new(*object)),
            ),
            Change::Upsert(Row::Scope(object)) => self.put_scope(*object),
            Change::Upsert(Row::Client(object)) => self.put_client(*object),
            Change::Upsert(Row::ServiceToken(object)) => self.put_service_token(*object),
            Change::Upsert(Row::Credential(record)) => self.put_credential(*record),
            Change::Delete(Kind::Identity, key) => drop(self.identities.remove(&key)),
            Change::Delete(Kind::Scope, key) => self.remove_scope(&key),
            Change::Delete(Kind::OAuthClient, key) => self.remove_client(&key),
            Change::Delete(Kind::ServiceAccessToken, key) => self.remove_service_token(&key),
            Change::Delete(Kind::Credential, key) => self.remove_credential(&key),
            Change::Namespace(name, labels) => drop(self.namespaces.insert(name, Arc::new(labels))),
            Change::NamespaceGone(name) => drop(self.namespaces.remove(&name)),
        }
    }

    /// The one copy of a namespace's name.
    fn share(&mut self, key: &mut ObjectKey) {
        match self.known_namespaces.get(&key.namespace) {
            Some(known) => key.namespace = Arc::clone(known),
            None => drop(self.known_namespaces.insert(Arc::clone(&key.namespace))),
        }
    }

    fn put_scope(&mut self, mut object: Object<ScopeRecord>) {
        self.share(&mut object.key);
        self.remove_scope(&object.key);
        if let Some(claim) = scope_claim(&object) {
            self.scope_claims.insert(claim);
        }
        self.scopes.insert(object.key.clone(), Arc::new(object));
    }

    fn remove_scope(&mut self, key: &ObjectKey) {
        if let Some(claim) = self.scopes.remove(key).as_deref().and_then(scope_claim) {
            self.scope_claims.remove(&claim);
        }
    }

    fn put_client(&mut self, mut object: Object<ClientRecord>) {
        self.share(&mut object.key);
        self.remove_client(&object.key);
        if let Some(claim) = client_claim(&object) {
            self.client_claims.insert(claim);
        }
        self.client_ages.insert(&object);
        self.clients.insert(object.key.clone(), Arc::new(object));
    }

    fn remove_client(&mut self, key: &ObjectKey) {
        if let Some(object) = self.clients.remove(key) {
            self.client_ages.remove(&object);
            if let Some(claim) = client_claim(&object) {
                self.client_claims.remove(&claim);
            }
        }
    }

    fn put_service_token(&mut self, mut object: Object<ServiceTokenRecord>) {
        self.share(&mut object.key);
        if let Ok(record) = &mut object.state {
            self.share(&mut record.client);
        }
        self.remove_service_token(&object.key);
        self.service_token_ages.insert(&object);
        self.service_tokens
            .insert(object.key.clone(), Arc::new(object));
    }

    fn remove_service_token(&mut self, key: &ObjectKey) {
        if let Some(object) = self.service_tokens.remove(key) {
            self.service_token_ages.remove(&object);
        }
    }

    fn put_credential(&mut self, mut record: CredentialRecord) {
        self.share(&mut record.key);
        self.share(&mut record.identity);
        self.share(&mut record.owner.key);
        self.remove_credential(&record.key);
        let record = Arc::new(record);
        for entry in &record.entries {
            let issued_as = (entry.token_id, record.key.clone());
            self.issued.insert(issued_as, Arc::clone(&record));
        }
        self.credentials.insert(record.key.clone(), record);
    }

    fn remove_credential(&mut self, key: &ObjectKey) {
        if let Some(record) = self.credentials.remove(key) {
            for entry in &record.entries {
                self.issued.remove(&(entry.token_id, key.clone()));
            }
        }
    }

    /// An Identity.
    pub fn identity(&self, key: &ObjectKey) -> Option<&Arc<Object<IdentityRecord>>> {
        self.identities.get(key)
    }

    /// A Scope.
    pub fn scope(&self, key: &ObjectKey) -> Option<&Arc<Object<ScopeRecord>>> {
        self.scopes.get(key)
    }

    /// An OAuthClient.
    pub fn client(&self, key: &ObjectKey) -> Option<&Arc<Object<ClientRecord>>> {
        self.clients.get(key)
    }

    /// A ServiceAccessToken.
    pub fn service_token(&self, key: &ObjectKey) -> Option<&Arc<Object<ServiceTokenRecord>>> {
        self.service_tokens.get(key)
    }

    /// A Credential.
    pub fn credential(&self, key: &ObjectKey) -> Option<&Arc<CredentialRecord>> {
        self.credentials.get(key)
    }

    /// All Identities.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Object<IdentityRecord>>> {
        self.identities.values()
    }

    /// All Scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Object<ScopeRecord>>> {
        self.scopes.values()
    }

    /// All OAuthClients.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<Object<ClientRecord>>> {
        self.clients.values()
    }

    /// All ServiceAccessTokens.
    pub fn service_tokens(&self) -> impl Iterator<Item = &Arc<Object<ServiceTokenRecord>>> {
        self.service_tokens.values()
    }

    /// All Credentials.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<CredentialRecord>> {
        self.credentials.values()
    }

    /// How much there is, without counting.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            identities: self.identities.len(),
            scopes: self.scopes.len(),
            clients: self.clients.len(),
            service_tokens: self.service_tokens.len(),
            credentials: self.credentials.len(),
        }
    }

    /// The labels of a namespace, if it was shown.
    pub fn labels(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace).map(AsRef::as_ref)
    }
}

fn differs<T: PartialEq>(old: Option<&Arc<T>>, new: &T) -> bool {
    old.is_none_or(|old| **old != *new)
}

fn scope_claim(object: &Object<ScopeRecord>) -> Option<Claim> {
    let record = object.record()?;
    Some(claim(
        record.value.clone(),
        record.identity.clone()?,
        object,
    ))
}

fn client_claim(object: &Object<ClientRecord>) -> Option<Claim> {
    let record = object.record()?;
    Some(claim(
        record.client_id.clone(),
        record.identity.clone()?,
        object,
    ))
}

fn claim<T>(value: Arc<str>, identity: ObjectKey, object: &Object<T>) -> Claim {
    let ObjectKey { namespace, name } = object.key.clone();
    Claim {
        value,
        identity,
        namespace,
        created: object.created,
        name,
    }
}
