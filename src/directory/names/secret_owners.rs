//! Which object a Secret is written for. Of two objects that want the same Secret written, the older one gets it, and
//! the other one is told. Not here: who owns the existing Secret, which the Secret itself says.

use crate::directory::tables::Directory;
use crate::directory::tables::record::Object;
use crate::directory::tables::secret_names::{Aged, Owns, aged, naming, suffix, written};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::OwnerKind;

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
    pub(in crate::directory) fn secret_conflict<T: Owns>(
        &self,
        object: &Object<T>,
    ) -> Option<Problem> {
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
