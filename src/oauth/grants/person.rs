//! What a grant of a person issues: an access token, an ID token, a refresh token. The grants of authorization codes
//! and of refresh tokens share these rules.
//!
//! The grant, the client, the person and every scope are judged again at each use. A refusal says no more than the RFC
//! asks for; why is for the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::directory::judge::person_scope;
use crate::directory::names::audience_owner;
use crate::directory::tables::record::IdentityRecord;
use crate::directory::{
    ApiScope, Barred, Person, PersonClient, PersonScope, Served, StandardScope, audiences_of,
    is_revoked,
};
use crate::oauth::authorize::claims::{ClaimsRequest, RequestedClaim};
use crate::oauth::id_token::{self, IdTokenClaims};
use crate::oauth::sign_in::{self, SignIn};
use crate::oauth::{ErrorCode, OAuthError, resource, scope};
use crate::people::grant::Grant;
use crate::resources::{AudienceMode, IdTokenContent, ScopeClaim};
use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};
use crate::tokens::jwt::{self, TokenType};
use crate::tokens::{
    AccessTokenClaims, Algorithm, Entropy, PersonAccessToken, PersonClaims, TokenId,
};

/// What a grant stands for now.
#[derive(Clone, Debug)]
pub struct Holding<'a> {
    /// The client that presents a code or a refresh token of the grant.
    pub client: PersonClient<'a>,
    /// The grant, which has not ended.
    pub grant: &'a Grant,
    /// The sign-in in which the person allowed it.
    pub sign_in: SignIn<'a>,
    /// The person, if the person may use the client now.
    pub person: Result<Person<'a>, Barred>,
    /// The scopes of the grant that the client and the person still have (see [`person_scope::still_held`]).
    pub scopes: Vec<PersonScope<'a>>,
    /// The claims that the authorization request asked for one by one.
    pub claims: &'a ClaimsRequest,
    /// Further scopes whose claims may be released for `claims`: the client may have them, and the person consented.
    pub also_allowed: &'a [PersonScope<'a>],
}

/// Tokens to be issued, complete except for signatures and for the refresh token.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsignedTokens {
    /// The payload of the access token.
    pub access_token: Vec<u8>,
    /// The ID of the access token, for the log.
    pub token_id: TokenId,
    /// The `typ` of the access token.
    pub typ: TokenType,
    /// The algorithm that the client is configured with, for both tokens; `None` for the Identity's default.
    pub algorithm: Option<Algorithm>,
    /// The `expires_in` of the answer, in whole seconds.
    pub expires_in: i64,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// The `scope` of the answer (RFC 6749 section 5.1).
    pub scope: String,
    /// The ID token, if the scopes have `openid`. The answer's access token is bound to it.
    pub id_token: Option<IdTokenClaims>,
}

impl UnsignedTokens {
    /// Returns the payload of the ID token, bound to the signed access token. `algorithm` signs both.
    ///
    /// # Errors
    /// None in practice: every claim serializes.
    pub fn id_token(
        &self,
        algorithm: Algorithm,
        access_token: &str,
    ) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let claims = self.id_token.clone();
        claims
            .map(|claims| claims.with_access_token(algorithm, access_token).to_json())
            .transpose()
    }

    /// Renders the body of the answer (RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3). Nothing needs
    /// escaping: tokens are base64url or base62, and a scope has no quotation mark.
    pub fn render(
        &self,
        access_token: &str,
        id_token: Option<&str>,
        refresh_token: Option<&str>,
    ) -> String {
        let (expires_in, scope) = (self.expires_in, &self.scope);
        let mut body = format!(
            r#"{{"access_token":"{access_token}","token_type":"Bearer","expires_in":{expires_in},"scope":"{scope}""#
        );
        for (name, token) in [("refresh_token", refresh_token), ("id_token", id_token)] {
            if let Some(token) = token {
                body.extend([",\"", name, "\":\"", token, "\""]);
            }
        }
        body.push('}');
        body
    }
}

/// The answer to every code and refresh token that is not good for tokens. One text for all: the caller learns nothing
/// about a token that is not its own, nor about the person.
pub const REFUSED: OAuthError = OAuthError::new(
    ErrorCode::InvalidGrant,
    "the code or refresh token is not valid: it is unknown, expired, revoked or used, was issued to another client, or does not match the redirect_uri or code_verifier",
);

/// Why a grant gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The person may not act. The client gets [`REFUSED`].
    Barred(Barred),
    /// The protocol refuses the request.
    Protocol(OAuthError),
}

impl Refused {
    /// Returns the error for the client.
    pub const fn error(self) -> OAuthError {
        match self {
            Self::Barred(_) => REFUSED,
            Self::Protocol(error) => error,
        }
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Barred> for Refused {
    fn from(barred: Barred) -> Self {
        Self::Barred(barred)
    }
}

/// Checks that the grant is this client's and that the person may act.
///
/// # Errors
/// [`Barred`].
pub(super) fn holder<'h, 'a>(
    holding: &'h Holding<'a>,
    now: Timestamp,
) -> Result<&'h Person<'a>, Barred> {
    let grant = holding.grant;
    let own = &holding.client.accepted.client;
    // A recreated client has another uid and none of the grants of the deleted one.
    if *grant.client != *own.record.client_id || *grant.client_uid != *own.object.uid {
        return Err(Barred::ClientNotAllowed);
    }
    let person = holding.person.as_ref().map_err(|barred| *barred)?;
    let is_too_old = is_revoked(
        holding.client.accepted.identity.record,
        grant.created_at,
        now,
    );
    if is_too_old || person.is_revoked(grant.created_at, now) {
        return Err(Barred::IssuedBeforeRevocation);
    }
    sign_in::check(own.record, grant, now)?;
    Ok(person)
}

/// Decides what `scopes` of a grant give.
///
/// # Errors
/// `invalid_target`, or `invalid_scope` if the access token would be too long for our own endpoints.
pub(super) fn issue(
    holding: &Holding<'_>,
    person: &Person<'_>,
    scopes: &[PersonScope<'_>],
    parameters: Parameters<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<UnsignedTokens, OAuthError> {
    let accepted = &holding.client.accepted;
    let identity = accepted.identity;
    let mut kept = scopes.to_vec();
    let audiences = target(identity, &mut kept, parameters.resources)?;
    let lifetime = SignedDuration::from_secs(accepted.access_token_lifetime().as_secs());
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let expires_at = issued_at.checked_add(lifetime).map_err(|_| {
        OAuthError::new(ErrorCode::ServerError, "the lifetime cannot be represented")
    })?;
    let token_id = TokenId::random(entropy);
    let record = accepted.client.record;
    let claims = PersonAccessToken {
        token: AccessTokenClaims {
            iss: identity.record.issuer.as_ref().to_owned(),
            sub: person.subject.to_owned(),
            aud: audience(&audiences),
            client_id: record.client_id.as_ref().to_owned(),
            client_uid: accepted.client.object.uid.as_ref().to_owned(),
            iat: issued_at,
            nbf: issued_at,
            exp: expires_at,
            jti: token_id.as_str().to_owned(),
            scope: scope_claim(identity.record, &kept),
            principal_kind: PrincipalKind::Person,
            // The person acts, not the client's system user.
            client_system_user: None,
            no_other_kind: NoOtherKind,
        },
        person: PersonClaims {
            grant_id: holding.grant.id,
            sid: holding.sign_in.session,
            auth_time: holding.sign_in.at,
            acr: holding.sign_in.acr.map(str::to_owned),
            amr: id_token::methods(holding.sign_in.methods),
        },
        released: person.released_by(&kept),
    };
    let access_token = claims
        .to_json()
        .map_err(|_| OAuthError::new(ErrorCode::ServerError, "the token cannot be serialized"))?;
    if jwt::longest(access_token.len()) > jwt::MAX_LENGTH {
        return Err(scope::TOO_LONG);
    }
    let is_openid = scopes.iter().any(|scope| scope.is(StandardScope::OpenId));
    Ok(UnsignedTokens {
        access_token,
        token_id,
        typ: accepted.access_token_type(),
        algorithm: record.algorithm.map(Algorithm::from),
        expires_in: lifetime.as_secs(),
        expires_at,
        scope: person_scope::join(&kept),
        id_token: is_openid.then(|| id_token(holding, person, scopes, parameters.nonce, issued_at)),
    })
}

/// What a token request says about the tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parameters<'a> {
    /// The resources (RFC 8707), checked against those of the grant.
    pub(super) resources: &'a [&'a str],
    /// The `nonce` of the authorization request.
    pub(super) nonce: Option<&'a str>,
}

/// Returns the claims of the ID token for `scopes`, not bound to other tokens.
fn id_token(
    holding: &Holding<'_>,
    person: &Person<'_>,
    scopes: &[PersonScope<'_>],
    nonce: Option<&str>,
    now: Timestamp,
) -> IdTokenClaims {
    let client = &holding.client;
    let accepted = &client.accepted;
    let is_in = |scope: &&PersonScope<'_>| {
        let is_of_userinfo = scope.is(StandardScope::Profile) || scope.is(StandardScope::Email);
        client.id_token_claims == IdTokenContent::Full || !is_of_userinfo
    };
    let mut released = person.released_by(scopes.iter().filter(is_in));
    released.extend(person.asked(
        wishes(&holding.claims.id_token),
        &allowed(scopes, holding.also_allowed),
    ));
    let facts = id_token::Facts {
        issuer: &accepted.identity.record.issuer,
        subject: person.subject,
        client_id: &accepted.client.record.client_id,
        sign_in: holding.sign_in,
        nonce,
        released,
    };
    IdTokenClaims::new(facts, client.id_token_lifetime, now)
}

/// Returns the ID token of an authorization response with the type `code id_token` (OpenID Connect Core section
/// 3.3.2.11), bound to the code. `algorithm` will sign it.
///
/// # Errors
/// [`Barred`].
pub fn front_channel_id_token(
    holding: &Holding<'_>,
    nonce: &str,
    code: &str,
    algorithm: Algorithm,
    now: Timestamp,
) -> Result<IdTokenClaims, Barred> {
    let person = holder(holding, now)?;
    let claims = id_token(holding, person, &holding.scopes, Some(nonce), now);
    Ok(claims.with_code(algorithm, code))
}

/// Returns each claim that a client asks for, with the values that it accepts.
pub fn wishes(wishes: &BTreeMap<String, RequestedClaim>) -> impl Iterator<Item = (&str, &[Value])> {
    wishes
        .iter()
        .map(|(name, wish)| (name.as_str(), wish.values.as_slice()))
}

/// Returns the scopes whose claims may be released.
pub fn allowed<'s>(scopes: &[PersonScope<'s>], also: &[PersonScope<'s>]) -> Vec<PersonScope<'s>> {
    scopes.iter().chain(also).copied().collect()
}

/// Checks the resources of a token request against those of the grant, and returns those of the token: the requested
/// ones, or all (RFC 8707 section 2.2).
///
/// # Errors
/// `invalid_target` if the request names another one.
pub(super) fn resources<'r>(
    granted: &'r str,
    requested: &'r [String],
) -> Result<Vec<&'r str>, OAuthError> {
    let granted: Vec<&str> = granted.split(' ').filter(|it| !it.is_empty()).collect();
    if requested.is_empty() {
        return Ok(granted);
    }
    let is_granted = |it: &String| granted.is_empty() || granted.contains(&&**it);
    if !requested.iter().all(is_granted) {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "a requested resource was not in the authorization request",
        ));
    }
    Ok(requested.iter().map(String::as_str).collect())
}

/// Keeps the scopes of the requested resources, and returns the audiences of a person's token: at least one. The
/// standard scopes belong to the issuer itself. With `resources`, they stay only if the issuer is one of them; without,
/// they always stay, and the issuer is the audience if no scope of an API is left.
///
/// # Errors
/// As [`resource::target`].
pub fn target(
    identity: Served<'_, IdentityRecord>,
    scopes: &mut Vec<PersonScope<'_>>,
    resources: &[&str],
) -> Result<Vec<Arc<str>>, OAuthError> {
    let issuer = &identity.record.issuer;
    let is_own = |resource: &str| *resource == **issuer;
    let apis: Vec<ApiScope<'_>> = scopes.iter().filter_map(PersonScope::api).collect();
    let serves_issuer =
        |api: &ApiScope<'_>| audiences_of(identity, api.granted.scope).contains(issuer);
    if resources.is_empty() {
        if apis.is_empty() {
            return Ok(vec![Arc::clone(issuer)]);
        }
        let mut granted = apis.iter().map(|api| api.granted).collect();
        return resource::target(identity, &mut granted, std::iter::empty());
    }
    let names_issuer = resources.iter().any(|resource| is_own(resource));
    // The issuer itself is reached by the standard scopes, which are no Scopes.
    let by_scopes = !names_issuer || apis.iter().any(serves_issuer);
    let others = resources.iter().copied();
    let others: Vec<&str> = others.filter(|it| by_scopes || !is_own(it)).collect();
    let mut granted: Vec<_> = apis.iter().map(|api| api.granted).collect();
    let mut audiences = Vec::new();
    if others.is_empty() {
        granted.clear();
    } else {
        audiences = resource::target(identity, &mut granted, others.into_iter())?;
    }
    if names_issuer && !by_scopes {
        let of_issuer = audience_owner(identity.object, identity.record, issuer);
        let is_alone = audiences
            .iter()
            .all(|it| audience_owner(identity.object, identity.record, it) == of_issuer);
        if identity.record.audience == AudienceMode::Single && !is_alone {
            return Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "the resources have different owners: request one token for each",
            ));
        }
        audiences.push(Arc::clone(issuer));
    }
    scopes.retain(|scope| match scope.api() {
        None => names_issuer,
        Some(api) => granted.iter().any(|it| it.value() == api.granted.value()),
    });
    if scopes.is_empty() {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "the resources have none of these scopes",
        ));
    }
    Ok(audiences)
}

fn audience(audiences: &[Arc<str>]) -> Audience {
    match audiences {
        [one] => Audience::Single(one.as_ref().to_owned()),
        many => Audience::Many(many.iter().map(|one| one.as_ref().to_owned()).collect()),
    }
}

fn scope_claim(identity: &IdentityRecord, scopes: &[PersonScope<'_>]) -> Scopes {
    let values = scopes
        .iter()
        .map(|scope| scope.value().to_owned())
        .collect();
    match identity.scope_claim {
        ScopeClaim::String => Scopes::Text(values),
        ScopeClaim::Array => Scopes::List(values),
    }
}
