//! Judges whether a presented access token is valid now: a reference token by its Credential, a JWT by its claims. Both
//! are joined with the directory at every use, so that every withdrawal takes effect at once.

use jiff::{SignedDuration, Timestamp};

use crate::directory::tables::record::{EntryRecord, IdentityRecord};
use crate::directory::{
    AcceptedClient, Barred, CredentialRecord, Directory, GrantedScope, Invalid, ObjectKey, Served,
    is_audience_of,
};
use crate::people::grant::Ended;
use crate::resources::GrantType;
use crate::tokens::claims::{Audience, ClaimError, PrincipalKind};
use crate::tokens::{AccessTokenClaims, TokenId, reference};

/// How far `nbf` and `iat` of a token of our own may be in the future: another replica's clock wrote them.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// A well-formed token; a JWT's signature is already verified.
#[derive(Clone, Copy, Debug)]
pub enum PresentedToken<'a> {
    /// An opaque token.
    Reference(reference::Presented<'a>),
    /// The claims of a JWT that this Identity signed.
    Jwt(&'a AccessTokenClaims),
}

/// Why a token is not valid: for logs and metrics, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inactive {
    /// Not a token of this issuer: another form, a wrong checksum, a wrong signature.
    Malformed,
    /// A secret of another kind.
    WrongKind,
    /// A token of another Identity.
    WrongIssuer,
    /// Issued by a clock that is too far ahead.
    NotYetValid,
    /// The directory refused the token.
    Invalid(Invalid),
    /// The grant of a person's token has ended.
    Ended(Ended),
    /// A personal access token has ended.
    TokenEnded(Ended),
    /// The person may not act.
    Barred(Barred),
    /// The token is valid, but not for this caller.
    WrongAudience,
}

impl Inactive {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongKind => "wrong_kind",
            Self::WrongIssuer => "wrong_issuer",
            Self::NotYetValid => "not_yet_valid",
            Self::Invalid(why) => why.as_str(),
            Self::Ended(why) => ended(why),
            Self::TokenEnded(why) => token_ended(why),
            Self::Barred(why) => why.as_str(),
            Self::WrongAudience => "wrong_audience",
        }
    }
}

impl From<ClaimError> for Inactive {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Expired => Self::Invalid(Invalid::Expired),
            ClaimError::NotYetValid => Self::NotYetValid,
            ClaimError::WrongIssuer => Self::WrongIssuer,
        }
    }
}

/// A token that is valid now.
#[derive(Clone, Debug)]
pub struct Active<'a> {
    /// The client that the token was issued to.
    pub client: AcceptedClient<'a>,
    /// The scopes that it still has; never empty.
    pub scopes: Vec<GrantedScope<'a>>,
    /// The audiences in its claims; `None` if the audiences of its scopes apply.
    pub audience: Option<&'a Audience>,
    /// The subject that the token acts as.
    pub subject: &'a str,
    /// The kind of the subject.
    pub kind: PrincipalKind,
    /// The token's ID.
    pub id: &'a str,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When the token expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// The record of a reference token.
    pub issued: Option<(&'a CredentialRecord, &'a EntryRecord)>,
}

impl<'a> Active<'a> {
    /// Returns the token's Identity.
    pub const fn identity(&self) -> Served<'a, IdentityRecord> {
        self.client.identity
    }

    /// Whether the token is for `audience` through `scope`.
    pub fn is_for(&self, scope: &GrantedScope<'_>, audience: &str) -> bool {
        is_audience_of(self.identity(), scope.scope, audience)
            && self.audience.is_none_or(|claim| claim.contains(audience))
    }
}

/// Returns the client of a JWT that is valid by its claims alone, and when the JWT expires: its Identity's present limit
/// also applies to earlier tokens.
///
/// # Errors
/// [`Inactive`].
pub(super) fn client_of<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    claims: &AccessTokenClaims,
    now: Timestamp,
) -> Result<(AcceptedClient<'a>, Timestamp), Inactive> {
    let client = directory
        .access_token_client(
            identity,
            &claims.client_id,
            &claims.client_uid,
            claims.iat,
            now,
        )
        .map_err(Inactive::Invalid)?;
    claims.check_issuer(&client.identity.record.issuer)?;
    claims.check_time(now, CLOCK_LEEWAY)?;
    let ceiling = client.identity.record.max_access_token_lifetime;
    let ceiling = claims.iat.saturating_add(ceiling).unwrap_or(claims.exp);
    let expires_at = claims.exp.min(ceiling);
    // The leeway is for clocks that are ahead. No token is accepted after its end.
    if expires_at <= now {
        return Err(Inactive::Invalid(Invalid::Expired));
    }
    Ok((client, expires_at))
}

/// Returns the name of the reason that a grant has ended.
const fn ended(why: Ended) -> &'static str {
    match why {
        Ended::Client => "grant_of_another_client",
        Ended::Revoked => "grant_revoked",
        Ended::Session => "signed_out",
        Ended::Account => "account_revoked",
        Ended::Expired => "grant_expired",
    }
}

/// Returns the name of the reason that a personal access token has ended.
const fn token_ended(why: Ended) -> &'static str {
    match why {
        Ended::Client => "token_of_another_client",
        Ended::Revoked => "token_revoked",
        Ended::Session | Ended::Account => "account_revoked",
        Ended::Expired => "expired",
    }
}

/// Judges a token at an Identity.
///
/// # Errors
/// [`Inactive`].
pub fn judge<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    presented: &'a PresentedToken<'a>,
    now: Timestamp,
) -> Result<Active<'a>, Inactive> {
    match presented {
        PresentedToken::Reference(token) => judge_reference(directory, identity, token, now),
        PresentedToken::Jwt(claims) => judge_jwt(directory, identity, claims, now),
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
        .map_err(Inactive::Invalid)?;
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
    let refused = |refusal| Err(Inactive::Invalid(refusal));
    // A person's token is only valid together with its grant, see `person_token`.
    if claims.principal_kind == PrincipalKind::Person {
        return Err(Inactive::WrongKind);
    }
    let (client, expires_at) = client_of(directory, identity, claims, now)?;
    let record = client.client.record;
    if !record.may_use(GrantType::ClientCredentials) {
        return refused(Invalid::ClientRefused);
    }
    if record.system_user.as_deref() != claims.client_system_user.as_deref() {
        return refused(Invalid::PrincipalChanged);
    }
    let kept = |value: &String| directory.granted_scope(&client, value);
    let scopes: Vec<_> = claims.scope.as_slice().iter().filter_map(kept).collect();
    if scopes.is_empty() {
        return refused(Invalid::NoScopeLeft);
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
