//! Which object names which Secret. Of two objects that want the same Secret written, the older gets it and the other
//! is told.
//!
//! Only names that a spec sets are stored; the defaults `<name>-client` and `<name>-token` follow from the object's
//! name. Absent: who owns the existing Secret, which the Secret itself says.

use std::sync::Arc;

use imbl::OrdSet;
use jiff::Timestamp;

use super::record::{ClientRecord, Object, SecretRecord, ServiceTokenRecord};
use super::tables::Directory;
use super::{ObjectKey, Problem, Reason};
use crate::resources::OwnerKind;

/// A kind whose objects have a Secret.
pub(super) trait Owns {
    const KIND: OwnerKind;
    fn secret(&self) -> &SecretRecord;
}

impl Owns for ClientRecord {
    const KIND: OwnerKind = OwnerKind::OAuthClient;
    fn secret(&self) -> &SecretRecord {
        &self.secret
    }
}

impl Owns for ServiceTokenRecord {
    const KIND: OwnerKind = OwnerKind::ServiceAccessToken;
    fn secret(&self) -> &SecretRecord {
        &self.secret
    }
}

const fn suffix(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::OAuthClient => "-client",
        OwnerKind::ServiceAccessToken => "-token",
    }
}

/// An owner by age; of the same age, by kind and name.
type Aged = (Timestamp, OwnerKind, Arc<str>);

/// Namespace and name of a Secret, and the object that names it.
type Named = (Arc<str>, Arc<str>, Aged);

/// Names of Secrets that specs set.
#[derive(Clone, Debug, Default)]
pub(super) struct SecretNames {
    /// Secrets that the operator writes.
    written: OrdSet<Named>,
    /// Secrets that are imported.
    imported: OrdSet<Named>,
}

impl SecretNames {
    pub(super) fn insert<T: Owns>(&mut self, object: &Object<T>) {
        self.written.extend(chosen(object));
        self.imported.extend(imported(object));
    }

    pub(super) fn remove<T: Owns>(&mut self, object: &Object<T>) {
        if let Some(row) = chosen(object) {
            self.written.remove(&row);
        }
        if let Some(row) = imported(object) {
            self.imported.remove(&row);
        }
    }
}

fn naming<'a>(names: &'a OrdSet<Named>, secret: &'a ObjectKey) -> impl Iterator<Item = &'a Aged> {
    let from = (
        secret.namespace.clone(),
        secret.name.clone(),
        (Timestamp::MIN, OwnerKind::OAuthClient, Arc::from("")),
    );
    let rows = names.range(from..);
    rows.take_while(|row| row.0 == secret.namespace && row.1 == secret.name)
        .map(|row| &row.2)
}

fn chosen<T: Owns>(object: &Object<T>) -> Option<Named> {
    let name = written(object)?;
    let is_default = name.strip_suffix(suffix(T::KIND)) == Some(&*object.key.name);
    (!is_default).then(|| (object.key.namespace.clone(), name.clone(), aged(object)))
}

/// Returns the name of the Secret that the operator writes for an object.
fn written<T: Owns>(object: &Object<T>) -> Option<&Arc<str>> {
    let secret = object.record()?.secret();
    secret.existing_key.is_none().then_some(&secret.name)
}

fn imported<T: Owns>(object: &Object<T>) -> Option<Named> {
    let secret = object.record()?.secret();
    let is_imported = secret.existing_key.is_some();
    is_imported.then(|| {
        (
            object.key.namespace.clone(),
            secret.name.clone(),
            aged(object),
        )
    })
}

fn aged<T: Owns>(object: &Object<T>) -> Aged {
    (object.created, T::KIND, object.key.name.clone())
}

impl Directory {
    /// Returns the objects for which the Secret of this name should be written, oldest first.
    pub fn wanting_secret(&self, secret: &ObjectKey) -> Vec<(OwnerKind, ObjectKey)> {
        let named = naming(&self.secret_names.written, secret);
        let mut wanting: Vec<Aged> = named.cloned().collect();
        let default = |kind| {
            let owner = secret.name.strip_suffix(suffix(kind))?;
            Some(ObjectKey::new(&secret.namespace, owner))
        };
        if let Some(object) =
            default(OwnerKind::OAuthClient).and_then(|key| self.client(&key).cloned())
            && written(&object) == Some(&secret.name)
        {
            wanting.push(aged(&object));
        }
        if let Some(object) =
            default(OwnerKind::ServiceAccessToken).and_then(|key| self.service_token(&key).cloned())
            && written(&object) == Some(&secret.name)
        {
            wanting.push(aged(&object));
        }
        wanting.sort();
        wanting.dedup();
        let key = |(_, kind, name): Aged| (kind, ObjectKey::new(&secret.namespace, &name));
        wanting.into_iter().map(key).collect()
    }

    /// Returns the objects that the Secret of this name concerns: those for which it should be written, and those
    /// that import it, whatever its label says.
    pub fn naming_secret(&self, secret: &ObjectKey) -> Vec<(OwnerKind, ObjectKey)> {
        let key = |(_, kind, name): &Aged| (*kind, ObjectKey::new(&secret.namespace, name));
        let mut naming_it = self.wanting_secret(secret);
        naming_it.extend(naming(&self.secret_names.imported, secret).map(key));
        naming_it
    }

    /// Returns the problem of an object whose Secret an older object also wants.
    pub(super) fn secret_conflict<T: Owns>(&self, object: &Object<T>) -> Option<Problem> {
        let name = written(object)?;
        let secret = ObjectKey {
            namespace: object.key.namespace.clone(),
            name: name.clone(),
        };
        let (oldest, key) = self.wanting_secret(&secret).into_iter().next()?;
        if (oldest, &key) == (T::KIND, &object.key) {
            return None;
        }
        let path = match T::KIND {
            OwnerKind::OAuthClient => "/spec/authentication/secret/name",
            OwnerKind::ServiceAccessToken => "/spec/secret/name",
        };
        let message = format!(
            "the Secret {name} belongs to the older {} {}: set another name in {}",
            oldest.as_str(),
            key.name,
            path.trim_start_matches('/').replace('/', "."),
        );
        Some(Problem::error(Reason::SecretConflict, path, message))
    }
}
