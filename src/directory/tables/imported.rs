//! Which Credentials record an imported secret, which has no id of ours in it.
//!
//! Only entries with the cause `Imported` are indexed, so that the index costs nothing where no secrets are imported.
//! In this order the Credentials of one Identity with one hash form a range. The search goes by the hash of what was
//! presented, and no one can choose the first bytes of a hash.

use std::cmp::Ordering;
use std::sync::Arc;

use imbl::OrdSet;

use super::record::CredentialRecord;
use crate::directory::ObjectKey;
use crate::resources::Cause;
use crate::tokens::TokenHash;

/// Hashes of imported secrets with the Credentials that record them.
#[derive(Clone, Debug, Default)]
pub(in crate::directory) struct ImportedSecrets(OrdSet<Imported>);

/// An imported secret that a Credential of an Identity records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Imported {
    hash: TokenHash,
    identity: ObjectKey,
    credential: ObjectKey,
}

impl Imported {
    fn order(&self) -> (&[u8; 32], &ObjectKey, &ObjectKey) {
        (self.hash.as_bytes(), &self.identity, &self.credential)
    }
}

impl Ord for Imported {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Imported {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ImportedSecrets {
    /// Returns whether no Credential records an imported secret.
    pub(in crate::directory) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, record: &Arc<CredentialRecord>) {
        self.0.extend(rows(record));
    }

    pub(super) fn remove(&mut self, record: &Arc<CredentialRecord>) {
        for row in rows(record) {
            self.0.remove(&row);
        }
    }

    /// Returns the Credentials of an Identity that record an imported secret.
    pub(in crate::directory) fn recording(
        &self,
        identity: &ObjectKey,
        hash: TokenHash,
    ) -> impl Iterator<Item = &ObjectKey> + use<'_> {
        let from = Imported {
            hash,
            identity: identity.clone(),
            credential: ObjectKey::new("", ""),
        };
        let identity = identity.clone();
        let rows = self.0.range(from..);
        rows.take_while(move |row| row.hash == hash && row.identity == identity)
            .map(|row| &row.credential)
    }
}

fn rows(record: &Arc<CredentialRecord>) -> impl Iterator<Item = Imported> {
    let imported = record
        .entries
        .iter()
        .filter(|entry| entry.cause == Cause::Imported);
    imported.map(|entry| Imported {
        hash: entry.hash,
        identity: record.identity.clone(),
        credential: record.key.clone(),
    })
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Invalid, ObjectKey};
    use crate::resources::{Cause, CredentialEntry, Kind, Moment, OwnerKind};
    use crate::tokens::TokenHash;

    const SECRET: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
    const CLIENT: OwnerKind = OwnerKind::OAuthClient;
    const OTHER: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: other, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
";

    fn now() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().unwrap()
    }

    fn bring(
        world: &mut World,
        kind: OwnerKind,
        name: &str,
        edit: impl FnOnce(&mut CredentialEntry),
    ) {
        world.issue_with(kind, "blue", name, now(), |entry| {
            entry.hash = TokenHash::of(SECRET).to_string();
            entry.cause = Cause::Imported;
            edit(entry);
        });
    }

    fn refusal(world: &World, identity: &str, client_id: &str, secret: &str) -> Option<Invalid> {
        let (identity, hash) = (ObjectKey::new("platform", identity), TokenHash::of(secret));
        let directory = &world.directory;
        directory
            .client_with_imported_secret(&identity, client_id, &hash, now())
            .err()
    }

    #[test]
    fn two_clients_can_import_the_same_secret() {
        let mut world = World::new(QUICKSTART);
        world.apply(OTHER);
        bring(&mut world, CLIENT, "shop", |_| {});
        assert_eq!(refusal(&world, "main", "blue.shop", SECRET), None);
        let unknown = Some(Invalid::UnknownToken);
        for (identity, client, secret) in [
            ("main", "blue.other", SECRET),
            ("main", "blue.nobody", SECRET),
            ("another", "blue.shop", SECRET),
            ("main", "blue.shop", "Q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA"),
        ] {
            assert_eq!(refusal(&world, identity, client, secret), unknown);
        }
        bring(&mut world, CLIENT, "other", |_| {});
        for client in ["blue.shop", "blue.other"] {
            assert_eq!(refusal(&world, "main", client, SECRET), None, "{client}");
        }
        let credential = "OAuthClient-blue-shop";
        world.delete(Kind::Credential, "platform", credential);
        assert_eq!(refusal(&world, "main", "blue.shop", SECRET), unknown);
        assert_eq!(refusal(&world, "main", "blue.other", SECRET), None);
    }

    #[test]
    fn an_imported_secret_passes_the_same_join_as_any_other() {
        let mut world = World::new(QUICKSTART);
        bring(&mut world, CLIENT, "shop", |_| {});
        let disabled = QUICKSTART.replace("  systemUser", "  disabled: true\n  systemUser");
        world.apply(&disabled);
        let refused = refusal(&world, "main", "blue.shop", SECRET);
        assert_eq!(refused, Some(Invalid::ClientDisabled));
        world.delete(Kind::OAuthClient, "blue", "shop");
        let refused = refusal(&world, "main", "blue.shop", SECRET);
        assert_eq!(refused, Some(Invalid::ClientGone));
        let mut world = World::new(QUICKSTART);
        bring(&mut world, CLIENT, "shop", |entry| {
            entry.not_after = Some(Moment(now() - SignedDuration::from_secs(1)));
        });
        let refused = refusal(&world, "main", "blue.shop", SECRET);
        assert_eq!(refused, Some(Invalid::Expired));
    }

    #[test]
    fn only_imported_client_secrets_are_found_by_their_hash() {
        let mut world = World::new(QUICKSTART);
        bring(&mut world, CLIENT, "shop", |entry| {
            entry.cause = Cause::Initial;
        });
        let unknown = Some(Invalid::UnknownToken);
        assert_eq!(refusal(&world, "main", "blue.shop", SECRET), unknown);
        let mut world = World::new(QUICKSTART);
        bring(
            &mut world,
            OwnerKind::ServiceAccessToken,
            "nightly",
            |entry| {
                entry.principal = "blue.shop".into();
            },
        );
        assert!(refusal(&world, "main", "blue.shop", SECRET).is_some());
    }
}
