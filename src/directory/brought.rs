//! Which Credential knows a secret that was brought: those have no id of ours in them.
//!
//! Only entries with the cause `Imported` are here, so that it costs nothing where nobody brings secrets. The order
//! makes one Identity's Credentials of one hash a range. What steers the search is the hash of what was presented,
//! which nobody can choose the beginning of.

use std::cmp::Ordering;
use std::sync::Arc;

use imbl::OrdSet;

use super::ObjectKey;
use super::record::{CredentialRecord, EntryRecord};
use super::tables::Directory;
use crate::resources::Cause;
use crate::tokens::TokenHash;

/// Hashes of brought secrets with the Credentials that know them.
#[derive(Clone, Debug, Default)]
pub(super) struct BroughtSecrets(OrdSet<Brought>);

/// That a Credential of an Identity knows a brought secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Brought {
    hash: TokenHash,
    identity: ObjectKey,
    credential: ObjectKey,
}

impl Brought {
    fn order(&self) -> (&[u8; 32], &ObjectKey, &ObjectKey) {
        (self.hash.as_bytes(), &self.identity, &self.credential)
    }
}

impl Ord for Brought {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Brought {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl BroughtSecrets {
    pub(super) fn insert(&mut self, record: &Arc<CredentialRecord>) {
        self.0.extend(rows(record));
    }

    pub(super) fn remove(&mut self, record: &Arc<CredentialRecord>) {
        for row in rows(record) {
            self.0.remove(&row);
        }
    }
}

fn rows(record: &Arc<CredentialRecord>) -> impl Iterator<Item = Brought> {
    let brought = record
        .entries
        .iter()
        .filter(|entry| entry.cause == Cause::Imported);
    brought.map(|entry| Brought {
        hash: entry.hash,
        identity: record.identity.clone(),
        credential: record.key.clone(),
    })
}

impl Directory {
    /// The entries of an Identity for a brought secret.
    pub(super) fn brought_entries(
        &self,
        identity: &ObjectKey,
        hash: &TokenHash,
    ) -> impl Iterator<Item = (&CredentialRecord, &EntryRecord)> {
        let from = Brought {
            hash: *hash,
            identity: identity.clone(),
            credential: ObjectKey::new("", ""),
        };
        let (hash, identity) = (from.hash, from.identity.clone());
        let rows = self.brought.0.range(from..);
        let rows = rows.take_while(move |row| row.hash == hash && row.identity == identity);
        rows.filter_map(move |row| {
            let credential = self.credential(&row.credential)?;
            // The newest first: the same secret may have come back after its end.
            let mut entries = credential.entries.iter().rev();
            let entry =
                entries.find(|entry| entry.cause == Cause::Imported && entry.hash == hash)?;
            Some((&**credential, entry))
        })
    }
}
