//! Whether a presented access token is good now, whichever kind it is: a reference token by its Credential, a JWT by
//! its claims. Either is joined with the directory at every use, so that every withdrawal is immediate.

use jiff::{SignedDuration, Timestamp};

use crate::directory::record::{EntryRecord, IdentityRecord};
use crate::directory::{
    AcceptedClient, CredentialRecord, Directory, GrantedScope, ObjectKey, Refusal, Served,
    is_audience_of,
};
use crate::tokens::claims::{Audience, PrincipalKind};
use crate::tokens::{AccessTokenClaims, TokenId, reference};

/// How far ahead `nbf` and `iat` of a token of our own may be: another replica's clock wrote them.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A token that is well-formed; a JWT's signature was verified.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// An opaque token.
    Reference(reference::Presented<'a>),
    /// The claims of a JWT that this Identity signed.
    Jwt(&'a AccessTokenClaims),
}

/// Why a token is not good: for logs and metrics, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inactive {
    /// It is no token of ours: another form, a broken checksum, a wrong signature.
    Malformed,
    /// It is a secret of another kind.
    WrongKind,
    /// Another Identity's.
    WrongIssuer,
    /// From a clock far ahead.
    NotYetValid,
    /// The directory refuses it.
    Refused(Refusal),
    /// It is good, and not for who asks.
    WrongAudience,
}

impl Inactive {
    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongKind => "wrong_kind",
            Self::WrongIssuer => "wrong_issuer",
            Self::NotYetValid => "not_yet_valid",
            Self::Refused(refusal) => refusal.as_str(),
            Self::WrongAudience => "wrong_audience",
        }
    }
}

/// A token that is good now.
#[derive(Clone, Debug)]
pub struct Active<'a> {
    /// The client that it was issued to.
    pub client: AcceptedClient<'a>,
    /// What it may still do; never empty.
    pub scopes: Vec<GrantedScope<'a>>,
    /// The audiences that it was made out to, where it says; else those of its scopes.
    pub audience: Option<&'a Audience>,
    /// Whom it acts as.
    pub subject: &'a str,
    /// Of what kind that is.
    pub kind: PrincipalKind,
    /// Its own id.
    pub id: &'a str,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Where a reference token is recorded.
    pub issued: Option<(&'a CredentialRecord, &'a EntryRecord)>,
}

impl<'a> Active<'a> {
    /// Its Identity.
    pub const fn identity(&self) -> Served<'a, IdentityRecord> {
        self.client.identity
    }

    /// Whether the token is for `audience` by way of `scope`.
    pub fn is_for(&self, scope: &GrantedScope<'_>, audience: &str) -> bool {
        is_audience_of(self.identity(), scope.scope, audience)
            && self.audience.is_none_or(|claim| claim.contains(audience))
    }
}

/// Judges a token at an Identity.
///
/// # Errors
/// [`Inactive`].
pub fn judge<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    presented: &'a Presented<'a>,
    now: Timestamp,
) -> Result<Active<'a>, Inactive> {
    match presented {
        Presented::Reference(token) => judge_reference(directory, identity, token, now),
        Presented::Jwt(claims) => judge_jwt(directory, identity, claims, now),
    }
}

fn judge_reference<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    token: &reference::Presented<'_>,
    now: Timestamp,
) -> Result<Active<'a>, Inactive> {
    if token.kind != reference::Kind::ServiceAccessToken {
        return Err(Inactive::WrongKind);
    }
    let token = directory
        .service_token_presented(identity, token, now)
        .map_err(Inactive::Refused)?;
    Ok(Active {
        client: token.client,
        scopes: token.scopes,
        audience: None,
        subject: &token.entry.principal,
        kind: PrincipalKind::System,
        id: TokenId::as_str(&token.entry.token_id),
        issued_at: token.entry.issued_at,
        expires_at: token.expires_at,
        issued: Some((token.credential, token.entry)),
    })
}

fn judge_jwt<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    claims: &'a AccessTokenClaims,
    now: Timestamp,
) -> Result<Active<'a>, Inactive> {
    let refused = |refusal| Err(Inactive::Refused(refusal));
    let client = directory
        .access_token_client(
            identity,
            &claims.client_id,
            &claims.client_uid,
            claims.iat,
            now,
        )
        .map_err(Inactive::Refused)?;
    if *claims.iss != *client.identity.record.issuer {
        return Err(Inactive::WrongIssuer);
    }
    if claims.nbf.max(claims.iat).duration_since(now) > CLOCK_LEEWAY {
        return Err(Inactive::NotYetValid);
    }
    let ceiling = client.identity.record.max_access_token_lifetime;
    let expires_at = claims
        .exp
        .min(claims.iat.saturating_add(ceiling).unwrap_or(claims.exp));
    if expires_at <= now {
        return refused(Refusal::Expired);
    }
    let record = client.client.record;
    if !record.client_credentials {
        return refused(Refusal::ClientRefused);
    }
    if record.system_user.as_deref() != claims.client_system_user.as_deref() {
        return refused(Refusal::PrincipalChanged);
    }
    let kept = |value: &String| directory.granted_scope(&client, value);
    let scopes: Vec<_> = claims.scope.as_slice().iter().filter_map(kept).collect();
    if scopes.is_empty() {
        return refused(Refusal::NoScopeLeft);
    }
    Ok(Active {
        client,
        scopes,
        audience: Some(&claims.aud),
        subject: &claims.sub,
        kind: claims.principal_kind,
        id: &claims.jti,
        issued_at: claims.iat,
        expires_at: Some(expires_at),
        issued: None,
    })
}
