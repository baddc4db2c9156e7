//! Token revocation, RFC 7009: decides what a client's request means; writes nothing.
//!
//! A client can revoke only its own tokens. A JWT access token cannot be revoked, since a resource server verifies it
//! without asking this server; the answer is `unsupported_token_type`. An unknown token may be one that the server has not
//! seen yet: it must be refused as soon as a Credential records it.

use jiff::{SignedDuration, Timestamp};

use super::{ErrorCode, OAuthError};
use crate::directory::tables::record::EntryRecord;
use crate::directory::{AcceptedClient, CredentialRecord, Directory, ObjectKey, OwnerRecord, ends};
use crate::resources::OwnerKind;
use crate::tokens::{AccessTokenClaims, reference};

/// A token that ended this recently is still revoked: by another server's clock it may not have ended yet.
const CLOCKS: SignedDuration = SignedDuration::from_hours(1);

/// What to do about a revocation request.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// Record the token as revoked, then answer 200. The owner's other tokens stay valid.
    Revoke {
        /// The Credential that records the token.
        credential: &'a CredentialRecord,
        /// The token's entry.
        entry: &'a EntryRecord,
        /// The token's owner.
        owner: &'a OwnerRecord,
    },
    /// No known Credential records the token. It may be invented or have ended, but also be so new that the server has
    /// not seen it yet, or be on its way to another Credential.
    Unknown,
    /// Answer 200: there is nothing to revoke.
    Nothing,
}

/// Returns whether a token was issued to the client of this name. The uid does not matter: a recreated client may end the
/// tokens of its predecessor, which are refused already, but which a restore could bring back.
pub fn is_issued_to(
    client: &ObjectKey,
    credential: &CredentialRecord,
    entry: &EntryRecord,
) -> bool {
    credential.owner.kind == OwnerKind::ServiceAccessToken
        && credential.owner.key.namespace == client.namespace
        && entry.client_name == client.name
}

/// Decides the revocation of a reference token. Its prefix does not matter: tokens from before a change of
/// `tokens.referencePrefix` are still accepted.
pub fn reference_token<'a>(
    directory: &'a Directory,
    caller: &AcceptedClient<'_>,
    token: &reference::Presented<'_>,
    now: Timestamp,
) -> Decision<'a> {
    if token.kind != reference::Kind::ServiceAccessToken {
        return Decision::Nothing;
    }
    let found = directory.issued_entry(&caller.identity.object.key, &token.id);
    let Some((credential, entry)) = found else {
        return Decision::Unknown;
    };
    let is_own =
        entry.hash == token.hash && is_issued_to(&caller.client.object.key, credential, entry);
    let has_ended = ends(entry).is_some_and(|end| now.duration_since(end) >= CLOCKS);
    if is_own && !has_ended {
        Decision::Revoke {
            credential,
            entry,
            owner: &credential.owner,
        }
    } else {
        Decision::Nothing
    }
}

/// Decides the revocation of a JWT whose signature was verified.
///
/// # Errors
/// `unsupported_token_type` (RFC 7009 section 2.2.1) if the token is the caller's own and still valid.
pub fn access_token(
    caller: &AcceptedClient<'_>,
    claims: &AccessTokenClaims,
    now: Timestamp,
) -> Result<(), OAuthError> {
    if *claims.client_id != *caller.client.record.client_id || claims.exp <= now {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::UnsupportedTokenType,
        "a JWT access token is valid until it expires: to end it, disable the client or set revokeIssuedBefore",
    ))
}
