//! The seal of a Credential entry over its owner and Identity. An entry without a valid seal is ignored.

use crate::resources::{Credential, CredentialEntry};
use crate::tokens::{Mac, MacKey, Sealed, mac};

/// Returns the fields that the seal of an entry covers; `None` if the entry cannot be decoded.
pub fn sealed<'a>(
    credential: &'a Credential,
    entry: &'a CredentialEntry,
    hash: &'a crate::tokens::TokenHash,
) -> Option<Sealed<'a>> {
    let owner = &credential.spec.owner;
    Some(Sealed {
        identity: mac::SealedIdentity {
            namespace: credential.metadata.namespace.as_deref()?,
            name: &credential.spec.identity.name,
        },
        owner: mac::SealedOwner {
            kind: owner.kind.as_str(),
            namespace: &owner.namespace,
            name: &owner.name,
            uid: &owner.uid,
        },
        epoch: u64::try_from(entry.epoch).ok()?,
        token_id: entry.token_id.parse().ok()?,
        hash,
        client: mac::SealedClient {
            name: &entry.client.name,
            uid: &entry.client.uid,
        },
        principal: &entry.principal,
        scopes: &entry.scopes,
        issued_at: entry.issued_at.0,
        expires_at: entry.expires_at.map(|moment| moment.0),
        not_after: entry.not_after.map(|moment| moment.0),
        nonce: entry.nonce.as_deref(),
        cause: entry.cause.as_str(),
    })
}

/// Returns whether an entry carries a valid seal of this key.
pub fn is_sealed(key: &MacKey, credential: &Credential, entry: &CredentialEntry) -> bool {
    let (Ok(hash), Ok(mac)) = (entry.hash.parse(), Mac::try_from(entry.mac.clone())) else {
        return false;
    };
    sealed(credential, entry, &hash).is_some_and(|sealed| mac::verify(key, &sealed, &mac))
}
