//! Admission of a Credential.

use crate::directory::issued::revoked::is_token_revoked;
use crate::directory::issued::seal::is_sealed;
use crate::directory::tables::intern;
use crate::directory::tables::record::{CredentialRecord, EntryRecord, OwnerRecord, Used};
use crate::resources::{Credential, CredentialEntry};
use crate::tokens::MacKey;

/// Largest number of uses that are kept: a Credential has no more tokens.
const MAX_USES: usize = 8;

/// Admits a Credential without the entries whose seal is wrong or that were revoked by their ids. `None` if its name
/// is not its owner's uid.
pub fn credential(credential: &Credential, key: Option<&MacKey>) -> Option<CredentialRecord> {
    let metadata = &credential.metadata;
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let owner = &credential.spec.owner;
    if name != owner.uid {
        return None;
    }
    let entries = credential.spec.tokens.iter();
    let is_revoked = |entry: &&CredentialEntry| is_token_revoked(credential, &entry.token_id);
    let revoked = entries.clone().filter(is_revoked);
    Some(CredentialRecord {
        key: intern::key(namespace, name),
        uid: metadata.uid.as_deref().map(Into::into),
        created: metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |created| created.0.as_second()),
        identity: intern::key(namespace, &credential.spec.identity.name),
        owner: OwnerRecord {
            kind: owner.kind,
            key: intern::key(&owner.namespace, &owner.name),
            uid: intern::text(&owner.uid),
        },
        entries: key
            .map(|key| {
                entries
                    .filter(|entry| !is_revoked(entry))
                    .filter(|entry| is_sealed(key, credential, entry))
                    .filter_map(entry_record)
                    .collect()
            })
            .unwrap_or_default(),
        revoked: revoked
            .filter_map(|entry| entry.token_id.parse().ok())
            .collect(),
        generation: metadata
            .generation
            .and_then(|generation| generation.try_into().ok())
            .unwrap_or_default(),
        uses: uses(credential),
    })
}

/// Returns the uses of the tokens that are still recorded.
fn uses(credential: &Credential) -> Box<[Used]> {
    let is_recorded = |epoch| credential.spec.tokens.iter().any(|it| it.epoch == epoch);
    let uses = credential.status.iter().flat_map(|status| &status.uses);
    uses.filter(|it| is_recorded(it.epoch))
        .map(|it| Used {
            epoch: it.epoch,
            last: it.last_used.0.as_second(),
        })
        .take(MAX_USES)
        .collect()
}

fn entry_record(entry: &CredentialEntry) -> Option<EntryRecord> {
    Some(EntryRecord {
        epoch: entry.epoch,
        token_id: entry.token_id.parse().ok()?,
        hash: entry.hash.parse().ok()?,
        client_name: intern::text(&entry.client.name),
        client_uid: intern::text(&entry.client.uid),
        principal: intern::text(&entry.principal),
        scopes: intern::texts(&entry.scopes),
        issued_at: entry.issued_at.0,
        expires_at: entry.expires_at.map(|moment| moment.0),
        not_after: entry.not_after.map(|moment| moment.0),
        cause: entry.cause,
    })
}
