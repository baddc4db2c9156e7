//! The tables. A change touches its own rows and nothing else; a copy of the whole costs nothing, so
//! that readers keep a consistent view while writers go on.

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, OrdSet};
use serde_json::Value;

use super::ObjectKey;
use super::admit::{self, Settings};
use super::ages::Ages;
use super::brought::BroughtSecrets;
use super::claims::Claims;
use super::namespaces::Labels;
use super::record::{
    ClientRecord, CredentialRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord,
};
use super::secret_names::SecretNames;
use super::table::Table;
use crate::resources::{Credential, Kind, OwnerKind};
use crate::tokens::{MacKey, TokenId};

/// Everything that is served, or would be if it were right.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub(super) settings: Arc<Settings>,
    pub(super) identities: OrdMap<ObjectKey, Arc<Object<IdentityRecord>>>,
    pub(super) scopes: OrdMap<ObjectKey, Arc<Object<ScopeRecord>>>,
    pub(super) clients: Table<Object<ClientRecord>>,
    pub(super) service_tokens: Table<Object<ServiceTokenRecord>>,
    pub(super) credentials: Table<CredentialRecord>,
    pub(super) namespaces: OrdMap<Arc<str>, Arc<Labels>>,
    /// Who wants which client id.
    pub(super) client_claims: Claims<ClientRecord>,
    /// Who wants which scope value.
    pub(super) scope_claims: Claims<ScopeRecord>,
    /// Which Credential knows a token id.
    pub(super) issued: OrdSet<Issued>,
    /// Which Credential knows a secret that was brought.
    pub(super) brought: BroughtSecrets,
    /// OAuthClients of a namespace at an Identity by age, for the quota.
    client_ages: Ages<ClientGroup>,
    /// ServiceAccessTokens of a namespace by age, for the quota: their Identity is their client's to say.
    service_token_ages: Ages<Arc<str>>,
    /// Who names which Secret.
    pub(super) secret_names: SecretNames,
}

/// That a Credential knows a token id. The order makes one Identity's Credentials of one id a range.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    token_id: TokenId,
    credential: Arc<CredentialRecord>,
}

/// Stands before the first Credential of an Identity that knows a token id.
struct BeforeIssued<'a> {
    token_id: &'a TokenId,
    identity: &'a ObjectKey,
}

/// A namespace at an Identity.
type ClientGroup = (Arc<str>, ObjectKey);

/// The quota that a client counts for. One that is refused by itself is not served, and takes nobody's place.
fn client_group(object: &Object<ClientRecord>) -> Option<ClientGroup> {
    let identity = object.record()?.identity.clone()?;
    Some((object.key.namespace.clone(), identity))
}

fn service_token_group(object: &Object<ServiceTokenRecord>) -> Option<Arc<str>> {
    object.record().map(|_| object.key.namespace.clone())
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
            Kind::Identity => Row::Identity(Box::new(admit::identity(raw, settings)?)),
            Kind::Scope => Row::Scope(Box::new(admit::scope(raw, settings)?)),
            Kind::OAuthClient => Row::Client(Box::new(admit::client(raw, settings)?)),
            Kind::ServiceAccessToken => {
                Row::ServiceToken(Box::new(admit::service_token(raw, settings)?))
            }
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

    /// The same tables under other settings; what was judged before stays as it was.
    #[cfg(test)]
    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..self.clone()
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

    fn put_scope(&mut self, object: Object<ScopeRecord>) {
        self.remove_scope(&object.key);
        let object = Arc::new(object);
        self.scope_claims.insert(&object);
        self.scopes.insert(object.key.clone(), object);
    }

    fn remove_scope(&mut self, key: &ObjectKey) {
        if let Some(object) = self.scopes.remove(key) {
            self.scope_claims.remove(&object);
        }
    }

    fn put_client(&mut self, object: Object<ClientRecord>) {
        self.remove_client(&object.key);
        let object = Arc::new(object);
        self.client_claims.insert(&object);
        self.secret_names.insert(&object);
        if let Some(group) = client_group(&object) {
            self.client_ages.insert(group, &object);
        }
        self.clients.insert(object);
    }

    fn remove_client(&mut self, key: &ObjectKey) {
        if let Some(object) = self.clients.remove(key) {
            if let Some(group) = client_group(&object) {
                self.client_ages.remove(&group, &object);
            }
            self.secret_names.remove(&object);
            self.client_claims.remove(&object);
        }
    }

    fn put_service_token(&mut self, object: Object<ServiceTokenRecord>) {
        self.remove_service_token(&object.key);
        if let Some(group) = service_token_group(&object) {
            self.service_token_ages.insert(group, &object);
        }
        self.secret_names.insert(&object);
        self.service_tokens.insert(Arc::new(object));
    }

    fn remove_service_token(&mut self, key: &ObjectKey) {
        if let Some(object) = self.service_tokens.remove(key) {
            if let Some(group) = service_token_group(&object) {
                self.service_token_ages.remove(&group, &object);
            }
            self.secret_names.remove(&object);
        }
    }

    pub(super) fn put_credential(&mut self, mut record: CredentialRecord) {
        if let Some(known) = self.credential(&record.key) {
            record.keep_revoked(known);
        }
        self.remove_credential(&record.key);
        let record = Arc::new(record);
        self.issued.extend(Issued::all(&record));
        self.brought.insert(&record);
        self.credentials.insert(record);
    }

    fn remove_credential(&mut self, key: &ObjectKey) {
        if let Some(record) = self.credentials.remove(key) {
            for issued in Issued::all(&record) {
                self.issued.remove(&issued);
            }
            self.brought.remove(&record);
        }
    }

    /// The Credential of an Identity that knows a token id. After a restore there may be several: the one whose
    /// owner is there counts.
    pub(super) fn knowing(
        &self,
        identity: &ObjectKey,
        token_id: &TokenId,
    ) -> Option<&CredentialRecord> {
        let is_right = |issued: &&Issued| {
            issued.token_id == *token_id && issued.credential.identity == *identity
        };
        let before = BeforeIssued { token_id, identity };
        let first = self.issued.get_next(&before).filter(is_right)?;
        if self.has_owner(&first.credential) {
            return Some(&first.credential);
        }
        let mut all = self.issued.range(first.clone()..).take_while(is_right);
        let current = all.find(|issued| self.has_owner(&issued.credential));
        Some(&current.unwrap_or(first).credential)
    }

    /// Whether the owner of a Credential is there with the recorded uid.
    fn has_owner(&self, credential: &CredentialRecord) -> bool {
        let owner = &credential.owner;
        let uid = match owner.kind {
            OwnerKind::OAuthClient => self.client(&owner.key).map(|object| &object.uid),
            OwnerKind::ServiceAccessToken => {
                self.service_token(&owner.key).map(|object| &object.uid)
            }
        };
        uid == Some(&owner.uid)
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

    /// Whether a client is among those of its namespace that its Identity serves.
    pub(super) fn client_is_within_quota(
        &self,
        object: &Object<ClientRecord>,
        most: usize,
    ) -> bool {
        client_group(object).is_none_or(|group| self.client_ages.is_within(&group, object, most))
    }

    /// Whether a ServiceAccessToken is among those of its namespace that an Identity serves.
    pub(super) fn is_within_quota(
        &self,
        object: &Object<ServiceTokenRecord>,
        identity: &IdentityRecord,
    ) -> bool {
        let most = identity.max_service_tokens;
        service_token_group(object)
            .is_none_or(|group| self.service_token_ages.is_within(&group, object, most))
    }

    /// The labels of a namespace, if it was shown.
    pub fn labels(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace).map(AsRef::as_ref)
    }
}

fn differs<T: PartialEq>(old: Option<&Arc<T>>, new: &T) -> bool {
    old.is_none_or(|old| **old != *new)
}

impl Issued {
    fn all(record: &Arc<CredentialRecord>) -> impl Iterator<Item = Self> {
        record.entries.iter().map(|entry| Self {
            token_id: entry.token_id,
            credential: Arc::clone(record),
        })
    }

    fn order(&self) -> (&ObjectKey, &ObjectKey) {
        (&self.credential.identity, &self.credential.key)
    }
}

impl Ord for Issued {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_id = self.token_id.cmp(&other.token_id);
        by_id.then_with(|| self.order().cmp(&other.order()))
    }
}

impl PartialOrd for Issued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Issued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Issued {}

impl Comparable<Issued> for BeforeIssued<'_> {
    fn compare(&self, issued: &Issued) -> Ordering {
        let by_id = self.token_id.cmp(&issued.token_id);
        by_id
            .then_with(|| self.identity.cmp(&issued.credential.identity))
            .then(Ordering::Less)
    }
}

impl Equivalent<Issued> for BeforeIssued<'_> {
    fn equivalent(&self, _: &Issued) -> bool {
        false
    }
}
