//! The index of names of Secrets: which object names which Secret.
//!
//! Only names that a spec sets are stored; the defaults `<name>-client` and `<name>-token` follow from the object's
//! name. Not here: which of several objects gets the Secret, in `names::secret_owners`.

use std::sync::Arc;

use imbl::OrdSet;
use jiff::Timestamp;

use super::record::{ClientRecord, Object, SecretRecord, ServiceTokenRecord};
use crate::directory::ObjectKey;
use crate::resources::OwnerKind;

/// A kind whose objects have a Secret.
pub(in crate::directory) trait Owns {
    const KIND: OwnerKind;
    fn secret(&self) -> &SecretRecord;
    /// Returns whether objects with this record have a Secret at all.
    fn has_secret(&self) -> bool {
        true
    }
}

impl Owns for ClientRecord {
    const KIND: OwnerKind = OwnerKind::OAuthClient;
    fn secret(&self) -> &SecretRecord {
        &self.secret
    }
    fn has_secret(&self) -> bool {
        !self.is_public
    }
}

impl Owns for ServiceTokenRecord {
    const KIND: OwnerKind = OwnerKind::ServiceAccessToken;
    fn secret(&self) -> &SecretRecord {
        &self.secret
    }
}

pub(in crate::directory) const fn suffix(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::OAuthClient => "-client",
        OwnerKind::ServiceAccessToken => "-token",
    }
}

/// An owner by age; of the same age, by kind and name.
pub(in crate::directory) type Aged = (Timestamp, OwnerKind, Arc<str>);

/// Namespace and name of a Secret, and the object that names it.
pub(super) type Named = (Arc<str>, Arc<str>, Aged);

/// Names of Secrets that specs set.
#[derive(Clone, Debug, Default)]
pub(in crate::directory) struct SecretNames {
    /// Secrets that the operator writes.
    pub(in crate::directory) written: OrdSet<Named>,
    /// Secrets that are imported.
    pub(in crate::directory) imported: OrdSet<Named>,
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

pub(in crate::directory) fn naming<'a>(
    names: &'a OrdSet<Named>,
    secret: &'a ObjectKey,
) -> impl Iterator<Item = &'a Aged> {
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
pub(in crate::directory) fn written<T: Owns>(object: &Object<T>) -> Option<&Arc<str>> {
    let record = object.record().filter(|record| record.has_secret())?;
    let secret = record.secret();
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

pub(in crate::directory) fn aged<T: Owns>(object: &Object<T>) -> Aged {
    (object.created, T::KIND, object.key.name.clone())
}
