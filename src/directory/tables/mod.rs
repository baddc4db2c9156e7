//! The tables. A change touches its own rows and nothing else. A copy of the whole is cheap, so that readers keep a
//! consistent view while writers continue.

mod ages;
pub(super) mod claims;
mod imported;
pub(super) mod intern;
pub(super) mod namespaces;
mod origins;
pub(super) mod person_record;
pub mod record;
pub(super) mod secret_names;
pub(super) mod table;
pub(super) mod users;

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, OrdSet};

use super::ObjectKey;
use super::settings::Settings;
use crate::resources::{Kind, OwnerKind};
use crate::tokens::TokenId;
use ages::Ages;
use claims::Claims;
use imported::ImportedSecrets;
use namespaces::Labels;
use origins::Origins;
use record::{
    ClientRecord, CredentialRecord, IdentityRecord, Object, OwnerRecord, ScopeRecord,
    ServiceTokenRecord, UserRecord,
};
use secret_names::SecretNames;
use table::Table;
use users::Users;

/// All objects that are served, and those that would be if they were valid.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub(super) settings: Arc<Settings>,
    pub(super) identities: OrdMap<ObjectKey, Arc<Object<IdentityRecord>>>,
    pub(super) scopes: OrdMap<ObjectKey, Arc<Object<ScopeRecord>>>,
    pub(super) clients: Table<Object<ClientRecord>>,
    pub(super) service_tokens: Table<Object<ServiceTokenRecord>>,
    pub(super) users: Users,
    pub(super) credentials: Table<CredentialRecord>,
    pub(super) namespaces: OrdMap<Arc<str>, Arc<Labels>>,
    /// Client ids and the objects that claim them.
    pub(super) client_claims: Claims<ClientRecord>,
    /// Scope values and the objects that claim them.
    pub(super) scope_claims: Claims<ScopeRecord>,
    /// Token ids and the Credentials that record them.
    pub(super) issued: OrdSet<Issued>,
    /// Token ids that were revoked one by one, and the Credentials that still record them.
    revoked: OrdSet<Issued>,
    /// Imported secrets and the Credentials that record them.
    pub(super) imported: ImportedSecrets,
    /// OAuthClients of a namespace at an Identity by age, for the quota.
    client_ages: Ages<ClientGroup>,
    /// ServiceAccessTokens of a namespace by age, for the quota. Only their clients name an Identity.
    service_token_ages: Ages<Arc<str>>,
    /// Names of Secrets and the objects that name them.
    pub(super) secret_names: SecretNames,
    /// Origins that clients list.
    origins: Origins,
}

/// A token id that a Credential records. In this order the Credentials of one Identity with one id form a range.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    token_id: TokenId,
    credential: Arc<CredentialRecord>,
}

/// Sorts before the first Credential of an Identity that records a token id.
struct BeforeIssued<'a> {
    token_id: &'a TokenId,
    identity: &'a ObjectKey,
}

/// A namespace at an Identity.
type ClientGroup = (Arc<str>, ObjectKey);

/// Returns the quota that a client counts towards. An invalid client is not served and counts towards none.
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
    /// An object was created or changed.
    Upsert(Row),
    /// An object was deleted.
    Delete(Kind, ObjectKey),
    /// A namespace was created or its labels changed.
    Namespace(Arc<str>, Labels),
    /// A namespace was deleted.
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
    User(Box<Object<UserRecord>>),
    Credential(Box<CredentialRecord>),
}

/// Number of objects of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of kinds")]
pub struct Sizes {
    pub identities: usize,
    pub scopes: usize,
    pub clients: usize,
    pub service_tokens: usize,
    pub users: usize,
    pub credentials: usize,
}

impl Directory {
    /// Creates an empty directory for an installation.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..Self::default()
        }
    }

    /// Returns the same tables with other settings; rows that exist keep their judgement.
    #[cfg(test)]
    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            ..self.clone()
        }
    }

    /// Returns the settings of the installation.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns whether a change would change anything. Most of what a watch reports are changes of status.
    pub fn is_news(&self, change: &Change) -> bool {
        match change {
            Change::Upsert(Row::Identity(object)) => differs(self.identity(&object.key), object),
            Change::Upsert(Row::Scope(object)) => differs(self.scope(&object.key), object),
            Change::Upsert(Row::Client(object)) => differs(self.client(&object.key), object),
            Change::Upsert(Row::ServiceToken(object)) => {
                differs(self.service_token(&object.key), object)
            }
            Change::Upsert(Row::User(object)) => differs(self.user(&object.key), object),
            Change::Upsert(Row::Credential(record)) => {
                differs(self.credential(&record.key), record)
            }
            Change::Delete(Kind::Identity, key) => self.identities.contains_key(key),
            Change::Delete(Kind::Scope, key) => self.scopes.contains_key(key),
            Change::Delete(Kind::OAuthClient, key) => self.clients.contains_key(key),
            Change::Delete(Kind::ServiceAccessToken, key) => self.service_tokens.contains_key(key),
            Change::Delete(Kind::User, key) => self.user(key).is_some(),
            Change::Delete(Kind::Credential, key) => self.credentials.contains_key(key),
            Change::Namespace(name, labels) => self.labels(name) != Some(labels),
            Change::NamespaceGone(name) => self.namespaces.contains_key(name),
        }
    }

    /// Applies one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Upsert(Row::Identity(object)) => drop(
                self.identities
                    .insert(object.key.clone(), Arc::new(*object)),
            ),
            Change::Upsert(Row::Scope(object)) => self.put_scope(*object),
            Change::Upsert(Row::Client(object)) => self.put_client(*object),
            Change::Upsert(Row::ServiceToken(object)) => self.put_service_token(*object),
            Change::Upsert(Row::User(object)) => self.users.insert(*object),
            Change::Upsert(Row::Credential(record)) => self.put_credential(*record),
            Change::Delete(Kind::Identity, key) => drop(self.identities.remove(&key)),
            Change::Delete(Kind::Scope, key) => self.remove_scope(&key),
            Change::Delete(Kind::OAuthClient, key) => self.remove_client(&key),
            Change::Delete(Kind::ServiceAccessToken, key) => self.remove_service_token(&key),
            Change::Delete(Kind::User, key) => self.users.remove(&key),
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
        self.origins.insert(&object);
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
            self.origins.remove(&object);
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
        self.revoked.extend(Issued::revoked(&record));
        self.imported.insert(&record);
        self.credentials.insert(record);
    }

    fn remove_credential(&mut self, key: &ObjectKey) {
        if let Some(record) = self.credentials.remove(key) {
            for issued in Issued::all(&record) {
                self.issued.remove(&issued);
            }
            for revoked in Issued::revoked(&record) {
                self.revoked.remove(&revoked);
            }
            self.imported.remove(&record);
        }
    }

    /// Returns the Credential of an Identity that records a token id. After a restore there may be several: one whose
    /// owner exists wins.
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
        if self.has_owner(&first.credential.owner) {
            return Some(&first.credential);
        }
        let mut all = self.recording(identity, token_id);
        let current = all.find(|credential| self.has_owner(&credential.owner));
        Some(current.unwrap_or(&first.credential))
    }

    /// Returns every Credential of an Identity that records a token id.
    pub(super) fn recording<'a>(
        &'a self,
        identity: &ObjectKey,
        token_id: &TokenId,
    ) -> impl Iterator<Item = &'a CredentialRecord> {
        with_id(&self.issued, identity, token_id)
    }

    /// Returns whether a Credential whose owner exists states that a token of this namespace was revoked by its id.
    pub fn has_revoked(&self, identity: &ObjectKey, namespace: &str, token_id: &TokenId) -> bool {
        let mut stating = with_id(&self.revoked, identity, token_id);
        stating.any(|credential| {
            *credential.owner.key.namespace == *namespace && self.has_owner(&credential.owner)
        })
    }

    /// Returns whether another version of this directory records the same tokens, in constant time. `false` if that is
    /// uncertain.
    pub fn has_tokens_of(&self, other: &Self) -> bool {
        self.issued.ptr_eq(&other.issued)
    }

    /// Returns the uid that the owner of a Credential has now; `None` if it does not exist.
    pub fn owner_uid(&self, kind: OwnerKind, key: &ObjectKey) -> Option<&Arc<str>> {
        match kind {
            OwnerKind::OAuthClient => self.client(key).map(|object| &object.uid),
            OwnerKind::ServiceAccessToken => self.service_token(key).map(|object| &object.uid),
        }
    }

    /// Returns whether the owner of a Credential exists with the recorded uid.
    pub fn has_owner(&self, owner: &OwnerRecord) -> bool {
        self.owner_uid(owner.kind, &owner.key) == Some(&owner.uid)
    }

    /// Returns an Identity.
    pub fn identity(&self, key: &ObjectKey) -> Option<&Arc<Object<IdentityRecord>>> {
        self.identities.get(key)
    }

    /// Returns a Scope.
    pub fn scope(&self, key: &ObjectKey) -> Option<&Arc<Object<ScopeRecord>>> {
        self.scopes.get(key)
    }

    /// Returns an OAuthClient.
    pub fn client(&self, key: &ObjectKey) -> Option<&Arc<Object<ClientRecord>>> {
        self.clients.get(key)
    }

    /// Returns a ServiceAccessToken.
    pub fn service_token(&self, key: &ObjectKey) -> Option<&Arc<Object<ServiceTokenRecord>>> {
        self.service_tokens.get(key)
    }

    /// Returns a User.
    pub fn user(&self, key: &ObjectKey) -> Option<&Arc<Object<UserRecord>>> {
        self.users.get(key)
    }

    /// Returns a Credential.
    pub fn credential(&self, key: &ObjectKey) -> Option<&Arc<CredentialRecord>> {
        self.credentials.get(key)
    }

    /// Returns all Identities.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Object<IdentityRecord>>> {
        self.identities.values()
    }

    /// Returns all Scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Object<ScopeRecord>>> {
        self.scopes.values()
    }

    /// Returns all OAuthClients.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<Object<ClientRecord>>> {
        self.clients.values()
    }

    /// Returns all ServiceAccessTokens.
    pub fn service_tokens(&self) -> impl Iterator<Item = &Arc<Object<ServiceTokenRecord>>> {
        self.service_tokens.values()
    }

    /// Returns all Users.
    pub fn users(&self) -> impl Iterator<Item = &Arc<Object<UserRecord>>> {
        self.users.values()
    }

    /// Returns the valid Users of an Identity.
    pub fn users_of(&self, identity: &ObjectKey) -> impl Iterator<Item = &Arc<Object<UserRecord>>> {
        self.users().filter(move |user| {
            user.record().and_then(|record| record.identity.as_ref()) == Some(identity)
        })
    }

    /// Returns all Credentials.
    pub fn credentials(&self) -> impl Iterator<Item = &Arc<CredentialRecord>> {
        self.credentials.values()
    }

    /// Returns the number of objects of each kind, in constant time.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            identities: self.identities.len(),
            scopes: self.scopes.len(),
            clients: self.clients.len(),
            service_tokens: self.service_tokens.len(),
            users: self.users.len(),
            credentials: self.credentials.len(),
        }
    }

    /// Returns whether some client of an Identity lists an origin in its `allowedOrigins`. A preflight names no client.
    pub fn is_listed_origin(&self, identity: &ObjectKey, origin: &str) -> bool {
        self.origins.contains(identity, origin)
    }

    /// Returns whether a client is within its namespace's quota at its Identity.
    pub(super) fn client_is_within_quota(
        &self,
        object: &Object<ClientRecord>,
        most: usize,
    ) -> bool {
        client_group(object).is_none_or(|group| self.client_ages.is_within(&group, object, most))
    }

    /// Returns whether a ServiceAccessToken is within its namespace's quota at an Identity.
    pub(super) fn is_within_quota(
        &self,
        object: &Object<ServiceTokenRecord>,
        identity: &IdentityRecord,
    ) -> bool {
        let most = identity.max_service_tokens;
        service_token_group(object)
            .is_none_or(|group| self.service_token_ages.is_within(&group, object, most))
    }

    /// Returns the labels of a namespace, if the directory knows it.
    pub fn labels(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace).map(AsRef::as_ref)
    }
}

fn differs<T: PartialEq>(old: Option<&Arc<T>>, new: &T) -> bool {
    old.is_none_or(|old| **old != *new)
}

/// Returns the Credentials of an Identity that are in a set with a token id.
fn with_id<'a>(
    set: &'a OrdSet<Issued>,
    identity: &ObjectKey,
    token_id: &TokenId,
) -> impl Iterator<Item = &'a CredentialRecord> {
    let before = BeforeIssued { token_id, identity };
    let first = set.get_next(&before).cloned();
    let all = first.into_iter().flat_map(move |first| set.range(first..));
    all.take_while(move |issued| {
        issued.token_id == *token_id && issued.credential.identity == *identity
    })
    .map(|issued| &*issued.credential)
}

impl Issued {
    fn revoked(record: &Arc<CredentialRecord>) -> impl Iterator<Item = Self> {
        record.revoked.iter().map(|token_id| Self {
            token_id: *token_id,
            credential: Arc::clone(record),
        })
    }

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
