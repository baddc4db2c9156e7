//! Directories for tests, from YAML as users write it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests and fuzz targets alone use this"
)]

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Change, Directory, ObjectKey, Settings};
use crate::resources::{
    Cause, Credential, CredentialClient, CredentialEntry, CredentialMemory, CredentialOwner,
    CredentialSpec, Kind, LocalRef, Moment, OwnerKind,
};
use crate::tokens::{self, MacKey, SecretString, SeededEntropy, mac, reference};

/// Creation time of the first test object; each further one is a second younger.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";

/// A directory, and the keys to issue into it.
pub(crate) struct World {
    pub(crate) directory: Directory,
    pub(crate) mac_key: MacKey,
    entropy: SeededEntropy,
    created: Timestamp,
}

/// A platform namespace with an Identity and two Scopes, and a team's client and token.
pub(crate) const QUICKSTART: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  gateways: [{name: api, audience: https://api.example.com, scopes: [orders.read]}]
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: platform}
spec:
  identityRef: {name: main}
  audiences: [https://api.example.com]
  allowedNamespaces: {from: All}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.write, namespace: platform}
spec:
  identityRef: {name: main}
  audiences: [https://api.example.com]
  allowedNamespaces: {from: All}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: shop, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [orders.read, orders.write]
  systemUser: {name: robot}
  referenceTokens: AdministratorsOnly
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue}
spec:
  clientRef: {name: shop}
  scopes: [orders.read]
";

/// What the quickstart needs for people: a store, a public client of the Identity's namespace, a confidential one of a
/// team, and two Users.
pub(crate) const PEOPLE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}, interactiveClients: {from: All}}
  gateways: [{name: api, audience: https://api.example.com, scopes: [orders.read]}]
  storage: {type: SQLite}
  login: {password: Enabled}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: demo-app, namespace: platform}
spec:
  identityRef: {name: main}
  clientId: demo-app
  type: Public
  grantTypes: [AuthorizationCode, RefreshToken]
  scopes: [openid, profile, email, groups, offline_access, orders.read]
  redirectUris: [http://127.0.0.1/callback]
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: web, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials, AuthorizationCode]
  scopes: [openid, email, orders.read, orders.write]
  redirectUris: [https://web.example.com/callback]
  allowedOrigins: [https://web.example.com]
  access: {groups: [buyers], users: [bob]}
---
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: platform}
spec:
  identityRef: {name: main}
  username: Alice
  email: alice@example.com
  displayName: Alice Adams
  groups: [staff, buyers]
  attributes: {department: sales}
---
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: bob, namespace: platform}
spec: {identityRef: {name: main}, email: bob@example.com}
";

impl World {
    /// Applies the objects of a multi-document text. Objects without a uid get `<kind>-<namespace>-<name>`, those
    /// without a creation time the next second.
    pub(crate) fn new(yaml: &str) -> Self {
        let mut world = Self {
            directory: Directory::new(Settings::default()),
            mac_key: MacKey::from_bytes(&[7; 32]).unwrap(),
            entropy: SeededEntropy::new(1),
            created: START.parse().unwrap(),
        };
        world.apply(yaml);
        world
    }

    /// Creates or changes objects.
    pub(crate) fn apply(&mut self, yaml: &str) {
        for change in self.changes(yaml) {
            self.directory.apply(change);
        }
    }

    /// Returns the changes that creating or changing objects stands for.
    pub(crate) fn changes(&mut self, yaml: &str) -> Vec<Change> {
        serde_yaml::Deserializer::from_str(yaml)
            .map(|document| Value::deserialize(document).unwrap())
            .filter(|raw| !raw.is_null())
            .map(|raw| self.change(raw))
            .collect()
    }

    fn change(&mut self, mut raw: Value) -> Change {
        let kind = raw["kind"].as_str().unwrap().to_owned();
        let name = raw["metadata"]["name"].as_str().unwrap().to_owned();
        if kind == "Namespace" {
            let labels = raw["metadata"]["labels"].as_object().into_iter().flatten();
            let labels = labels
                .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap().into()))
                .collect();
            return Change::Namespace(name.as_str().into(), labels);
        }
        let namespace = raw["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let metadata = raw["metadata"].as_object_mut().unwrap();
        self.created += SignedDuration::from_secs(1);
        metadata
            .entry("uid")
            .or_insert_with(|| json!(format!("{kind}-{namespace}-{name}")));
        metadata
            .entry("creationTimestamp")
            .or_insert_with(|| json!(self.created.to_string()));
        let kind = Kind::from_name(&kind).unwrap();
        Change::object(kind, &raw, self.directory.settings()).unwrap()
    }

    /// Deletes an object.
    pub(crate) fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.directory
            .apply(Change::Delete(kind, ObjectKey::new(namespace, name)));
    }

    /// Issues what the directory says that an owner should have at `now`, and returns the secret.
    pub(crate) fn issue(
        &mut self,
        kind: OwnerKind,
        namespace: &str,
        name: &str,
        now: Timestamp,
    ) -> SecretString {
        self.issue_with(kind, namespace, name, now, |_| {})
    }

    /// Does the same, and edits the entry before it is sealed.
    pub(crate) fn issue_with(
        &mut self,
        kind: OwnerKind,
        namespace: &str,
        name: &str,
        now: Timestamp,
        edit: impl FnOnce(&mut CredentialEntry),
    ) -> SecretString {
        let key = ObjectKey::new(namespace, name);
        let standing = match kind {
            OwnerKind::OAuthClient => self.directory.client_secret_standing(&key, now),
            OwnerKind::ServiceAccessToken => self.directory.service_token_standing(&key, now),
        };
        let super::Standing::Wanted(desired) = standing else {
            panic!("not wanted: {standing:?}")
        };
        let token_kind = match kind {
            OwnerKind::OAuthClient => reference::Kind::ClientSecret,
            OwnerKind::ServiceAccessToken => reference::Kind::ServiceAccessToken,
        };
        let minted = reference::mint(&desired.prefix, token_kind, &mut self.entropy);
        let expires_at = match desired.lifetime {
            super::Lifetime::For(lifetime) => Some(now + lifetime),
            super::Lifetime::Until(end) => Some(end),
            super::Lifetime::Never => None,
        };
        let mut entry = CredentialEntry {
            epoch: 1,
            token_id: minted.id.to_string(),
            hash: minted.hash.to_string(),
            client: CredentialClient {
                name: desired.client.name.clone(),
                uid: desired.client.uid.clone(),
            },
            principal: desired.principal.clone(),
            scopes: desired.scopes.clone(),
            issued_at: Moment(now),
            expires_at: expires_at.map(Moment),
            not_after: None,
            nonce: None,
            cause: Cause::Initial,
            mac: String::new(),
        };
        edit(&mut entry);
        self.record(&desired.identity, &desired.owner, entry);
        minted.token
    }

    /// Records an entry with a valid seal.
    pub(crate) fn record(
        &mut self,
        identity: &ObjectKey,
        owner: &CredentialOwner,
        entry: CredentialEntry,
    ) {
        let mut credential = Credential::new(
            &owner.uid,
            CredentialSpec {
                identity: LocalRef {
                    name: identity.name.to_string(),
                },
                owner: owner.clone(),
                high: entry.epoch,
                base: None,
                tokens: vec![entry],
                memory: CredentialMemory::default(),
            },
        );
        credential.metadata.namespace = Some(identity.namespace.to_string());
        let entry = &credential.spec.tokens[0];
        let hash = entry.hash.parse::<tokens::TokenHash>().unwrap();
        let sealed = super::sealed(&credential, entry, &hash).unwrap();
        let mut text = String::new();
        write!(text, "{}", mac::seal(&self.mac_key, &sealed)).unwrap();
        credential.spec.tokens[0].mac = text;
        let change = Change::credential(&credential, Some(&self.mac_key)).unwrap();
        self.directory.apply(change);
    }
}
