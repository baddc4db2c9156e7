//! Numbers of clients and tokens that name each Identity and scope value, for their status. One count visits all of
//! them: take one at intervals, never for each change.

pub mod census;

use std::collections::HashMap;
use std::sync::Arc;

use super::{Directory, ObjectKey};

/// Numbers of objects that name something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceCounts {
    /// Valid OAuthClients.
    pub clients: usize,
    /// Valid ServiceAccessTokens.
    pub tokens: usize,
}

/// Numbers for every Identity and scope value that an object names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    identities: HashMap<ObjectKey, ReferenceCounts>,
    scopes: HashMap<(ObjectKey, Arc<str>), ReferenceCounts>,
}

impl Counts {
    /// Counts all objects.
    pub fn take(directory: &Directory) -> Self {
        let mut counts = Self::default();
        for record in directory.clients().filter_map(|object| object.record()) {
            if let Some(identity) = &record.identity {
                counts.note(identity, &record.scopes, |named| named.clients += 1);
            }
        }
        for record in directory
            .service_tokens()
            .filter_map(|object| object.record())
        {
            let client = directory.client(&record.client);
            let identity = client.and_then(|client| client.record()?.identity.as_ref());
            if let Some(identity) = identity {
                counts.note(identity, &record.scopes, |named| named.tokens += 1);
            }
        }
        counts
    }

    fn note(
        &mut self,
        identity: &ObjectKey,
        scopes: &[Arc<str>],
        add: impl Fn(&mut ReferenceCounts),
    ) {
        add(self.identities.entry(identity.clone()).or_default());
        for scope in scopes {
            let key = (identity.clone(), scope.clone());
            add(self.scopes.entry(key).or_default());
        }
    }

    /// Returns the numbers of an Identity. A token counts through its client.
    pub fn of_identity(&self, identity: &ObjectKey) -> ReferenceCounts {
        self.identities.get(identity).copied().unwrap_or_default()
    }

    /// Returns the numbers of a scope value of an Identity.
    pub fn of_scope(&self, identity: &ObjectKey, value: &Arc<str>) -> ReferenceCounts {
        let key = (identity.clone(), value.clone());
        self.scopes.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::super::testing::{QUICKSTART, World};
    use super::*;
    use crate::resources::Kind;

    #[test]
    fn clients_and_tokens_count_for_what_they_name_while_they_exist() {
        let mut world = World::new(QUICKSTART);
        let main = ObjectKey::new("platform", "main");
        let read: Arc<str> = "orders.read".into();
        let named = |clients, tokens| ReferenceCounts { clients, tokens };
        let counts = Counts::take(&world.directory);
        assert_eq!(counts.of_identity(&main), named(1, 1));
        assert_eq!(counts.of_scope(&main, &read), named(1, 1));
        assert_eq!(counts.of_scope(&main, &"orders.write".into()), named(1, 0));
        assert_eq!(
            counts.of_scope(&main, &"else".into()),
            ReferenceCounts::default()
        );
        let nightly = ObjectKey::new("blue", "nightly");
        let gone = Change::Delete(Kind::ServiceAccessToken, nightly);
        world.directory.apply(gone);
        let counts = Counts::take(&world.directory);
        assert_eq!(counts.of_scope(&main, &read), named(1, 0));
        let shop = ObjectKey::new("blue", "shop");
        world
            .directory
            .apply(Change::Delete(Kind::OAuthClient, shop));
        assert_eq!(Counts::take(&world.directory), Counts::default());
    }
}
