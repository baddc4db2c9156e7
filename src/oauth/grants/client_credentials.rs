//! The client credentials grant (RFC 6749 section 4.4): a client requests an access token (RFC 9068) for itself.
//!
//! It never issues a refresh token and never grants a built-in scope.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::directory::judge::token_size::access_token_length;
use crate::directory::{AcceptedClient, Directory};
use crate::oauth::{ErrorCode, Form, OAuthError, resource, scope};
use crate::resources::{GrantType, ScopeClaim};
use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};
use crate::tokens::jwt::{self, TokenType};
use crate::tokens::{AccessTokenClaims, Algorithm, Entropy, TokenId};

/// A token to be issued, complete except for its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedToken {
    /// The token's claims.
    pub claims: AccessTokenClaims,
    /// The algorithm that the client is configured with; `None` for the Identity's default.
    pub algorithm: Option<Algorithm>,
    /// The `typ` in the token's header.
    pub typ: TokenType,
    /// The `expires_in` of the answer, in whole seconds.
    pub expires_in: i64,
    /// The `scope` of the answer (RFC 6749 section 5.1).
    pub scope: String,
}

/// Decides the request of an authenticated client.
///
/// # Errors
/// `unauthorized_client`, `invalid_scope` or `invalid_target`. A token too long for our own endpoints to read is an
/// `invalid_scope`.
pub fn decide(
    directory: &Directory,
    client: &AcceptedClient<'_>,
    form: &Form<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<UnsignedToken, OAuthError> {
    let record = client.client.record;
    if !record.may_use(GrantType::ClientCredentials) {
        return Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "this client may not use client_credentials",
        ));
    }
    let mut scopes = scope::select(directory, client, form.get("scope"))?;
    let audiences = resource::target(client.identity, &mut scopes, form.get_all("resource"))?;
    if access_token_length(client, &scopes, &audiences) > jwt::MAX_LENGTH {
        return Err(scope::TOO_LONG);
    }
    let lifetime = lifetime(client);
    let issued_at = whole_second(now);
    let exp = issued_at.checked_add(lifetime).map_err(|_| {
        OAuthError::new(ErrorCode::ServerError, "the lifetime cannot be represented")
    })?;
    let values = scopes
        .iter()
        .map(|scope| scope.value().as_ref().to_owned())
        .collect();
    Ok(UnsignedToken {
        scope: scope::join(&scopes),
        algorithm: record.algorithm.map(Algorithm::from),
        typ: client.access_token_type(),
        expires_in: lifetime.as_secs(),
        claims: AccessTokenClaims {
            iss: client.identity.record.issuer.as_ref().to_owned(),
            sub: record.client_id.as_ref().to_owned(),
            aud: audience(&audiences),
            client_id: record.client_id.as_ref().to_owned(),
            client_uid: client.client.object.uid.as_ref().to_owned(),
            iat: issued_at,
            nbf: issued_at,
            exp,
            jti: TokenId::random(entropy).as_str().to_owned(),
            scope: match client.identity.record.scope_claim {
                ScopeClaim::String => Scopes::Text(values),
                ScopeClaim::Array => Scopes::List(values),
            },
            principal_kind: PrincipalKind::Client,
            client_system_user: record.system_user.as_deref().map(str::to_owned),
            no_other_kind: NoOtherKind,
        },
    })
}

/// Truncates the lifetime to whole seconds, the unit of `expires_in`.
fn lifetime(client: &AcceptedClient<'_>) -> SignedDuration {
    SignedDuration::from_secs(client.access_token_lifetime().as_secs())
}

fn audience(audiences: &[Arc<str>]) -> Audience {
    match audiences {
        [one] => Audience::Single(one.as_ref().to_owned()),
        many => Audience::Many(many.iter().map(|one| one.as_ref().to_owned()).collect()),
    }
}

fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
