//! Revocation of people's tokens (RFC 7009): decides what a client's request means; writes nothing.
//!
//! A client revokes only its own tokens. A refresh token takes its access tokens with it: the whole grant ends. So does
//! an access token, since nothing smaller can end (RFC 7009 section 2.1 allows it): our endpoints refuse it at once, and
//! other verifiers accept the JWT until it expires.

use super::person_introspection::is_own_grant;
use crate::directory::AcceptedClient;
use crate::people::account::AccountId;
use crate::people::grant::GrantStanding;
use crate::people::personal_token::PersonalTokenStanding;
use crate::people::refresh::{Family, RefreshVerdict};
use crate::tokens::{AccessTokenClaims, PersonClaims, TokenId, reference};

/// What to do about a revocation request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// End this grant, then answer 200.
    EndGrant(TokenId),
    /// End this personal access token, then answer 200.
    EndPersonalToken(AccountId, TokenId),
    /// Answer 200: there is nothing to revoke.
    Nothing,
}

/// Decides the revocation of a refresh token, by what `people::refresh` says of it. Every genuine generation of a family
/// revokes it: a client may have lost the newest.
pub fn refresh_token(
    caller: &AcceptedClient<'_>,
    family: &Family,
    verdict: &RefreshVerdict,
    standing: &GrantStanding,
) -> Decision {
    let is_genuine = match verdict {
        RefreshVerdict::Rotate(_)
        | RefreshVerdict::Keep { .. }
        | RefreshVerdict::Repeat(_)
        | RefreshVerdict::Reuse
        | RefreshVerdict::Ahead
        | RefreshVerdict::UnknownKey
        | RefreshVerdict::Expired => true,
        RefreshVerdict::Foreign | RefreshVerdict::Ended | RefreshVerdict::Guessed => false,
    };
    end(
        caller,
        standing,
        is_genuine && family.grant == standing.grant.id,
    )
}

/// Decides the revocation of a person's access token whose signature was verified. Its expiry does not matter: the grant
/// may live on.
pub fn access_token(
    caller: &AcceptedClient<'_>,
    token: &AccessTokenClaims,
    claims: &PersonClaims,
    standing: &GrantStanding,
) -> Decision {
    let is_own = token.client_id == *caller.client.record.client_id
        && token.client_uid == *caller.client.object.uid;
    end(
        caller,
        standing,
        is_own && claims.grant_id == standing.grant.id,
    )
}

/// Decides the revocation of a personal access token. It is for any client of its ID: a recreated one may end the tokens
/// of its predecessor, which are refused already.
pub fn personal_token(
    caller: &AcceptedClient<'_>,
    presented: &reference::Presented<'_>,
    standing: &PersonalTokenStanding,
) -> Decision {
    let token = &standing.token;
    let is_own = token.hash == presented.hash && token.client == *caller.client.record.client_id;
    if is_own && token.ended_at.is_none() {
        Decision::EndPersonalToken(token.account, token.id)
    } else {
        Decision::Nothing
    }
}

fn end(caller: &AcceptedClient<'_>, standing: &GrantStanding, is_genuine: bool) -> Decision {
    let is_alive = standing.grant.ended_at.is_none();
    if is_genuine && is_alive && is_own_grant(caller, standing) {
        Decision::EndGrant(standing.grant.id)
    } else {
        Decision::Nothing
    }
}
