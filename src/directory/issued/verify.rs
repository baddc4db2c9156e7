//! Whether an issued token or secret is still valid: the join of its Credential entry with everything that may have
//! changed since. Nothing is cached, so that every withdrawal takes effect at once.

use std::sync::Arc;

use jiff::Timestamp;

use super::end::ends;
use crate::directory::judge::served::{AcceptedClient, GrantedScope, Served};
use crate::directory::tables::Directory;
use crate::directory::tables::record::{
    CredentialRecord, EntryRecord, IdentityRecord, ServiceTokenRecord,
};
use crate::directory::{Lifetime, ObjectKey};
use crate::resources::{Cause, OwnerKind, ReferenceTokens};
use crate::tokens::{Presented, TokenHash, TokenId};

/// Why a token or secret is not valid: for logs, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Invalid {
    UnknownToken,
    WrongSecret,
    Expired,
    OwnerGone,
    OwnerRevoked,
    ClientGone,
    ClientRefused,
    ClientDisabled,
    IssuedBeforeRevocation,
    PrincipalChanged,
    ReferenceTokensDisabled,
    LimitExceeded,
    NoScopeLeft,
}

impl Invalid {
    /// Returns the name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownToken => "unknown_token",
            Self::WrongSecret => "wrong_secret",
            Self::Expired => "expired",
            Self::OwnerGone => "owner_gone",
            Self::OwnerRevoked => "owner_revoked",
            Self::ClientGone => "client_gone",
            Self::ClientRefused => "client_refused",
            Self::ClientDisabled => "client_disabled",
            Self::IssuedBeforeRevocation => "issued_before_revocation",
            Self::PrincipalChanged => "principal_changed",
            Self::ReferenceTokensDisabled => "reference_tokens_disabled",
            Self::LimitExceeded => "limit_exceeded",
            Self::NoScopeLeft => "no_scope_left",
        }
    }
}

/// A reference token that is valid now.
#[derive(Clone, Debug)]
pub struct ActiveToken<'a> {
    /// Client of the token.
    pub client: AcceptedClient<'a>,
    /// Credential that records the token.
    pub credential: &'a CredentialRecord,
    /// Entry of the token in the Credential.
    pub entry: &'a EntryRecord,
    /// Scopes that the token still has: recorded in the entry, still in the owner's and the client's spec, and
    /// granted.
    pub scopes: Vec<GrantedScope<'a>>,
    /// When the token expires, if it does.
    pub expires_at: Option<Timestamp>,
}

/// A client that authenticated with a secret.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient<'a> {
    /// The client.
    pub client: AcceptedClient<'a>,
    /// Credential that records the secret.
    pub credential: &'a CredentialRecord,
    /// Entry of the secret in the Credential.
    pub entry: &'a EntryRecord,
}

impl Directory {
    /// Verifies a service access token that was presented at an Identity.
    pub fn service_token_presented<'a>(
        &'a self,
        identity: &ObjectKey,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<ActiveToken<'a>, Invalid> {
        let (credential, entry) = self
            .issued_entry(identity, &presented.id)
            .ok_or(Invalid::UnknownToken)?;
        if entry.hash != presented.hash {
            return Err(Invalid::WrongSecret);
        }
        let Served {
            object,
            record: owner,
        } = self.owning_token(credential)?;
        let client = self.client_of(credential, entry, &owner.client, now)?;
        let record = client.client.record;
        if record.reference_tokens == ReferenceTokens::None {
            return Err(Invalid::ReferenceTokensDisabled);
        }
        if record.system_user.as_ref() != Some(&entry.principal) {
            return Err(Invalid::PrincipalChanged);
        }
        let expires_at = service_token_end(client.identity.record, owner, entry, now)?;
        if !self.is_within_quota(object, client.identity.record) {
            return Err(Invalid::LimitExceeded);
        }
        let kept = |value: &&Arc<str>| owner.scopes.contains(*value);
        let scopes: Vec<_> = entry
            .scopes
            .iter()
            .filter(kept)
            .filter_map(|value| self.granted_scope(&client, value))
            .collect();
        if scopes.is_empty() {
            return Err(Invalid::NoScopeLeft);
        }
        Ok(ActiveToken {
            client,
            credential,
            entry,
            scopes,
            expires_at,
        })
    }

    /// Authenticates a client by the secret that it presented. The secret's own id finds the record, never the client
    /// id, so that a wrong secret costs the same whether the client exists or not.
    pub fn client_authenticated<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Invalid> {
        let (credential, entry) = self
            .issued_entry(identity, &presented.id)
            .ok_or(Invalid::UnknownToken)?;
        if entry.hash != presented.hash {
            return Err(Invalid::WrongSecret);
        }
        self.secret_accepted(credential, entry, client_id, now)
    }

    /// Returns whether any client of any Identity has imported a secret.
    pub fn has_imported(&self) -> bool {
        !self.imported.is_empty()
    }

    /// Returns whether any client of an Identity has imported this secret.
    pub fn knows_imported(&self, identity: &ObjectKey, hash: &TokenHash) -> bool {
        self.imported_entries(identity, hash).next().is_some()
    }

    /// Returns the entries of an Identity for an imported secret.
    fn imported_entries(
        &self,
        identity: &ObjectKey,
        hash: &TokenHash,
    ) -> impl Iterator<Item = (&CredentialRecord, &EntryRecord)> + use<'_> {
        let hash = *hash;
        let keys = self.imported.recording(identity, hash);
        keys.filter_map(move |key| {
            let credential = self.credential(key)?;
            // The newest first: the same secret may have been imported again after its end.
            let mut entries = credential.entries.iter().rev();
            let entry =
                entries.find(|entry| entry.cause == Cause::Imported && entry.hash == hash)?;
            Some((&**credential, entry))
        })
    }

    /// Authenticates a client by an imported secret, which has no id of ours. Its hash finds the record, never the
    /// client id, for the same reason. Several clients may have imported the same secret.
    pub fn client_with_imported_secret<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Invalid> {
        let mut refusal = Invalid::UnknownToken;
        for (credential, entry) in self.imported_entries(identity, hash) {
            match self.secret_accepted(credential, entry, client_id, now) {
                Ok(accepted) => return Ok(accepted),
                Err(found) if *entry.principal == *client_id => refusal = found,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// Checks that a recorded secret belongs to this client, and that the client may use it now.
    fn secret_accepted<'a>(
        &'a self,
        credential: &'a CredentialRecord,
        entry: &'a EntryRecord,
        client_id: &str,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Invalid> {
        if credential.owner.kind != OwnerKind::OAuthClient || *entry.principal != *client_id {
            return Err(Invalid::WrongSecret);
        }
        if credential.owner.uid != entry.client_uid {
            return Err(Invalid::OwnerGone);
        }
        let accepted = self.client_of(credential, entry, &credential.owner.key, now)?;
        if accepted.client.record.client_id != entry.principal {
            return Err(Invalid::PrincipalChanged);
        }
        if ends(entry).is_some_and(|end| end <= now) {
            return Err(Invalid::Expired);
        }
        Ok(AuthenticatedClient {
            client: accepted,
            credential,
            entry,
        })
    }

    /// Returns the client of an access token that this Identity signed, if it may still use the token, RFC 9068. A
    /// recreated client has another uid and none of the tokens of the deleted one.
    pub fn access_token_client<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        uid: &str,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<AcceptedClient<'a>, Invalid> {
        let accepted = self
            .active_client(identity, client_id)
            .ok_or(Invalid::ClientRefused)?;
        if *accepted.client.object.uid != *uid {
            return Err(Invalid::ClientGone);
        }
        if is_revoked(accepted.identity.record, issued_at, now) {
            return Err(Invalid::IssuedBeforeRevocation);
        }
        Ok(accepted)
    }

    /// Returns the Credential of this Identity that records a token id, and the entry.
    pub fn issued_entry(
        &self,
        identity: &ObjectKey,
        id: &TokenId,
    ) -> Option<(&CredentialRecord, &EntryRecord)> {
        let credential = self.knowing(identity, id)?;
        let entry = credential
            .entries
            .iter()
            .find(|entry| entry.token_id == *id)?;
        Some((credential, entry))
    }

    /// Returns every entry of an Identity with a token id, and its Credential. While a token moves to another Credential,
    /// there are several.
    pub fn issued_entries<'a>(
        &'a self,
        identity: &ObjectKey,
        id: &TokenId,
    ) -> impl Iterator<Item = (&'a CredentialRecord, &'a EntryRecord)> {
        self.recording(identity, id).flat_map(move |credential| {
            let entries = credential.entries.iter();
            entries
                .filter(move |entry| entry.token_id == *id)
                .map(move |entry| (credential, entry))
        })
    }

    fn owning_token(
        &self,
        credential: &CredentialRecord,
    ) -> Result<Served<'_, ServiceTokenRecord>, Invalid> {
        let owner = &credential.owner;
        if owner.kind != OwnerKind::ServiceAccessToken {
            return Err(Invalid::UnknownToken);
        }
        let object = self
            .service_token(&owner.key)
            .filter(|object| object.uid == owner.uid)
            .ok_or(Invalid::OwnerGone)?;
        let record = object.record().ok_or(Invalid::OwnerGone)?;
        if record.revoked {
            Err(Invalid::OwnerRevoked)
        } else {
            Ok(Served { object, record })
        }
    }

    fn client_of<'a>(
        &'a self,
        credential: &CredentialRecord,
        entry: &EntryRecord,
        key: &ObjectKey,
        now: Timestamp,
    ) -> Result<AcceptedClient<'a>, Invalid> {
        let client = self
            .client(key)
            .filter(|client| client.uid == entry.client_uid && client.key.name == entry.client_name)
            .ok_or(Invalid::ClientGone)?;
        let accepted = self
            .accepted_client(client)
            .map_err(|_| Invalid::ClientRefused)?;
        if accepted.identity.object.key != credential.identity {
            return Err(Invalid::ClientRefused);
        }
        if accepted.client.record.disabled {
            return Err(Invalid::ClientDisabled);
        }
        if is_revoked(accepted.identity.record, entry.issued_at, now) {
            return Err(Invalid::IssuedBeforeRevocation);
        }
        Ok(accepted)
    }
}

/// Returns whether `revokeIssuedBefore` revokes what was issued at this time; a value in the future acts as now.
pub fn is_revoked(identity: &IdentityRecord, issued_at: Timestamp, now: Timestamp) -> bool {
    identity
        .revoke_issued_before
        .is_some_and(|before| issued_at < before.min(now))
}

/// Returns when a service token ends. The Identity's current limits and the owner's current `expiresAt` apply to
/// tokens that were issued earlier. A shorter `lifetime` does not: the operator carries it out, since a token ends by
/// it only once another one has replaced it.
fn service_token_end(
    identity: &IdentityRecord,
    owner: &ServiceTokenRecord,
    entry: &EntryRecord,
    now: Timestamp,
) -> Result<Option<Timestamp>, Invalid> {
    let end = ends(entry);
    if entry.expires_at.is_none() && !identity.never_expiring_tokens {
        return Err(Invalid::LimitExceeded);
    }
    let ceiling = entry.expires_at.and_then(|_| {
        entry
            .issued_at
            .checked_add(identity.max_service_token_lifetime)
            .ok()
    });
    let fixed = match owner.lifetime {
        Some(Lifetime::Until(moment)) => Some(moment),
        _ => None,
    };
    let end = [end, ceiling, fixed].into_iter().flatten().min();
    if end.is_some_and(|end| end <= now) {
        Err(Invalid::Expired)
    } else {
        Ok(end)
    }
}

impl<'a> ActiveToken<'a> {
    /// Returns the Identity of the token.
    pub const fn identity(&self) -> Served<'a, IdentityRecord> {
        self.client.identity
    }
}
