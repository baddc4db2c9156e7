//! Token revocation, RFC 7009: what the request of a client means; nothing is written here.
//!
//! A client can revoke its own tokens alone. A JWT access token cannot be revoked, since whoever verifies it asks
//! nobody: `unsupported_token_type` says so. An unknown token is already what the client wants it to be.

use jiff::Timestamp;

use super::{ErrorCode, OAuthError};
use crate::directory::record::EntryRecord;
use crate::directory::{AcceptedClient, CredentialRecord, Directory, OwnerRecord, ends};
use crate::resources::OwnerKind;
use crate::tokens::{AccessTokenClaims, reference};

/// What a revocation comes to.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// Record that this token was revoked, then answer 200. The owner's other tokens stay.
    Revoke {
        /// It holds the verifier of the token.
        credential: &'a CredentialRecord,
        /// The token's entry.
        entry: &'a EntryRecord,
        /// Whose it is.
        owner: &'a OwnerRecord,
    },
    /// Answer 200: there is nothing to take away.
    Nothing,
}

/// Decides about a reference token.
pub fn reference_token<'a>(
    directory: &'a Directory,
    caller: &AcceptedClient<'_>,
    token: &reference::Presented<'_>,
    now: Timestamp,
) -> Decision<'a> {
    let found = directory.issued_entry(&caller.identity.object.key, &token.id);
    let Some((credential, entry)) = found.filter(|(_, entry)| entry.hash == token.hash) else {
        return Decision::Nothing;
    };
    let is_own = entry.client_uid == caller.client.object.uid;
    let is_token = token.kind == reference::Kind::ServiceAccessToken
        && credential.owner.kind == OwnerKind::ServiceAccessToken;
    let has_ended = ends(entry).is_some_and(|end| end <= now);
    if is_own && is_token && !has_ended {
        Decision::Revoke {
            credential,
            entry,
            owner: &credential.owner,
        }
    } else {
        Decision::Nothing
    }
}

/// Decides about a JWT whose signature was verified.
///
/// # Errors
/// `unsupported_token_type` (RFC 7009 section 2.2.1) if it is the caller's own and still good.
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
        "a JWT access token lives until it expires: disable the client, or set revokeIssuedBefore",
    ))
}
