//! Whether something that was issued is still good: the join of a Credential entry with everything that
//! may have changed since. Every disablement is immediate because nothing is cached.

use std::sync::Arc;

use jiff::Timestamp;

use super::judge::{AcceptedClient, GrantedScope, Served};
use super::record::{CredentialRecord, EntryRecord, IdentityRecord, ServiceTokenRecord};
use super::tables::Directory;
use super::{Lifetime, ObjectKey};
use crate::resources::{OwnerKind, ReferenceTokens};
use crate::tokens::{Presented, TokenHash, TokenId};

/// Why something issued is not good: for logs, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Refusal {
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

impl Refusal {
    /// The name in logs.
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

/// A reference token that is good now.
#[derive(Clone, Debug)]
pub struct ActiveToken<'a> {
    /// Its client.
    pub client: AcceptedClient<'a>,
    /// Its Credential.
    pub credential: &'a CredentialRecord,
    /// Its entry there.
    pub entry: &'a EntryRecord,
    /// What it may still do: recorded in the entry and still the owner's, the client's and granted.
    pub scopes: Vec<GrantedScope<'a>>,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// A client that proved who it is by a secret.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient<'a> {
    /// The client.
    pub client: AcceptedClient<'a>,
    /// The Credential of the secret.
    pub credential: &'a CredentialRecord,
    /// Its entry there.
    pub entry: &'a EntryRecord,
}

impl Directory {
    /// A service access token that was presented at an Identity.
    pub fn service_token_presented<'a>(
        &'a self,
        identity: &ObjectKey,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<ActiveToken<'a>, Refusal> {
        let (credential, entry) = self
            .issued_entry(identity, &presented.id)
            .ok_or(Refusal::UnknownToken)?;
        if entry.hash != presented.hash {
            return Err(Refusal::WrongSecret);
        }
        let Served {
            object,
            record: owner,
        } = self.owning_token(credential)?;
        let client = self.client_of(credential, entry, &owner.client, now)?;
        let record = client.client.record;
        if record.reference_tokens == ReferenceTokens::None {
            return Err(Refusal::ReferenceTokensDisabled);
        }
        if record.system_user.as_ref() != Some(&entry.principal) {
            return Err(Refusal::PrincipalChanged);
        }
        let expires_at = service_token_end(client.identity.record, owner, entry, now)?;
        if !self.is_within_quota(object, client.identity.record) {
            return Err(Refusal::LimitExceeded);
        }
        let kept = |value: &&Arc<str>| owner.scopes.contains(*value);
        let scopes: Vec<_> = entry
            .scopes
            .iter()
            .filter(kept)
            .filter_map(|value| self.granted_scope(&client, value))
            .collect();
        if scopes.is_empty() {
            return Err(Refusal::NoScopeLeft);
        }
        Ok(ActiveToken {
            client,
            credential,
            entry,
            scopes,
            expires_at,
        })
    }

    /// A client and the secret that it presented. The secret's own id finds the record, never the
    /// client id: a wrong secret costs the same whether there is such a client or not.
    pub fn client_authenticated<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Refusal> {
        let (credential, entry) = self
            .issued_entry(identity, &presented.id)
            .ok_or(Refusal::UnknownToken)?;
        if entry.hash != presented.hash {
            return Err(Refusal::WrongSecret);
        }
        self.secret_accepted(credential, entry, client_id, now)
    }

    /// A client and a secret that was brought for it, and has no id of ours. Its hash finds the record, never
    /// the client id, as above; several clients may have brought the same.
    pub fn client_with_brought_secret<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        hash: &TokenHash,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Refusal> {
        let mut refusal = Refusal::UnknownToken;
        for (credential, entry) in self.brought_entries(identity, hash) {
            match self.secret_accepted(credential, entry, client_id, now) {
                Ok(accepted) => return Ok(accepted),
                Err(found) if *entry.principal == *client_id => refusal = found,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// Whether a client may use a secret that is recorded for somebody.
    fn secret_accepted<'a>(
        &'a self,
        credential: &'a CredentialRecord,
        entry: &'a EntryRecord,
        client_id: &str,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'a>, Refusal> {
        if credential.owner.kind != OwnerKind::OAuthClient || *entry.principal != *client_id {
            return Err(Refusal::WrongSecret);
        }
        if credential.owner.uid != entry.client_uid {
            return Err(Refusal::OwnerGone);
        }
        let accepted = self.client_of(credential, entry, &credential.owner.key, now)?;
        if accepted.client.record.client_id != entry.principal {
            return Err(Refusal::PrincipalChanged);
        }
        if ends(entry).is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        Ok(AuthenticatedClient {
            client: accepted,
            credential,
            entry,
        })
    }

    /// The client of an access token that this Identity signed, if it may still use it, RFC 9068.
    /// A client that was deleted and created anew has another uid and none of the old one's tokens.
    pub fn access_token_client<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
        uid: &str,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<AcceptedClient<'a>, Refusal> {
        let accepted = self
            .active_client(identity, client_id)
            .ok_or(Refusal::ClientRefused)?;
        if *accepted.client.object.uid != *uid {
            return Err(Refusal::ClientGone);
        }
        if is_revoked(accepted.identity.record, issued_at, now) {
            return Err(Refusal::IssuedBeforeRevocation);
        }
        Ok(accepted)
    }

    /// The Credential of this Identity that knows a token id, and the entry.
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

    fn owning_token(
        &self,
        credential: &CredentialRecord,
    ) -> Result<Served<'_, ServiceTokenRecord>, Refusal> {
        let owner = &credential.owner;
        if owner.kind != OwnerKind::ServiceAccessToken {
            return Err(Refusal::UnknownToken);
        }
        let object = self
            .service_token(&owner.key)
            .filter(|object| object.uid == owner.uid)
            .ok_or(Refusal::OwnerGone)?;
        let record = object.record().ok_or(Refusal::OwnerGone)?;
        if record.revoked {
            Err(Refusal::OwnerRevoked)
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
    ) -> Result<AcceptedClient<'a>, Refusal> {
        let client = self
            .client(key)
            .filter(|client| client.uid == entry.client_uid && client.key.name == entry.client_name)
            .ok_or(Refusal::ClientGone)?;
        let accepted = self
            .accepted_client(client)
            .map_err(|_| Refusal::ClientRefused)?;
        if accepted.identity.object.key != credential.identity {
            return Err(Refusal::ClientRefused);
        }
        if accepted.client.record.disabled {
            return Err(Refusal::ClientDisabled);
        }
        if is_revoked(accepted.identity.record, entry.issued_at, now) {
            return Err(Refusal::IssuedBeforeRevocation);
        }
        Ok(accepted)
    }
}

/// Whether `revokeIssuedBefore` covers a moment of issue; a value ahead acts as now.
pub fn is_revoked(identity: &IdentityRecord, issued_at: Timestamp, now: Timestamp) -> bool {
    identity
        .revoke_issued_before
        .is_some_and(|before| issued_at < before.min(now))
}

/// When an entry ends: its own end or an earlier one that it was given.
pub fn ends(entry: &EntryRecord) -> Option<Timestamp> {
    [entry.expires_at, entry.not_after]
        .into_iter()
        .flatten()
        .min()
}

/// When a service token ends, with the Identity's ceilings and the owner's `expiresAt` of today on what was issued
/// yesterday. A `lifetime` that was made shorter is the operator's to carry out, since that ends nothing without another
/// token in its place.
fn service_token_end(
    identity: &IdentityRecord,
    owner: &ServiceTokenRecord,
    entry: &EntryRecord,
    now: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let end = ends(entry);
    if entry.expires_at.is_none() && !identity.never_expiring_tokens {
        return Err(Refusal::LimitExceeded);
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
        Err(Refusal::Expired)
    } else {
        Ok(end)
    }
}

impl<'a> ActiveToken<'a> {
    /// Its Identity.
    pub const fn identity(&self) -> Served<'a, IdentityRecord> {
        self.client.identity
    }
}
