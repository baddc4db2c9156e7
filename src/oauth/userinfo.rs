//! The userinfo endpoint (OpenID Connect Core section 5.3): facts about the person of an access token, as JSON or as a
//! signed JWT.
//!
//! The token must have the scope `openid`, whatever its audience. A refusal has the form of RFC 6750.

use jiff::Timestamp;
use serde::Serialize;

use super::access_token::Inactive;
use super::authorization::credentials;
use super::authorize::claims::ClaimsRequest;
use super::bearer::{self, Unusable};
use super::grants::person::{allowed, wishes};
use super::person_token::ActivePerson;
use super::{ErrorCode, Form};
use crate::directory::{PersonScope, StandardScope};
use crate::tokens::Released;
use crate::tokens::jwt::TokenType;

/// The `typ` of a signed answer.
pub const TYPE: TokenType = TokenType::Jwt;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no usable token.
    Unusable(Unusable),
    /// The token is not valid, or is not a person's.
    Inactive(Inactive),
    /// The token lacks the scope `openid`.
    InsufficientScope,
}

impl Denial {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unusable(Unusable::Missing) => "no_token",
            Self::Unusable(Unusable::SeveralWays) => "several_ways",
            Self::Unusable(Unusable::Malformed) => "malformed",
            Self::Inactive(inactive) => inactive.as_str(),
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// Returns the HTTP status (RFC 6750 section 3.1).
    pub const fn status(self) -> u16 {
        match self.code() {
            None => 401,
            Some(code) => code.status(),
        }
    }

    /// Returns the error code; `None` if no token was sent.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Unusable(Unusable::Missing) => None,
            Self::Unusable(Unusable::SeveralWays | Unusable::Malformed) => {
                Some(ErrorCode::InvalidRequest)
            }
            Self::Inactive(_) => Some(ErrorCode::InvalidToken),
            Self::InsufficientScope => Some(ErrorCode::InsufficientScope),
        }
    }

    /// Renders the value of `WWW-Authenticate`, which stands in every refusal.
    pub fn challenge(self, issuer: &str) -> String {
        let needed = match self {
            Self::InsufficientScope => StandardScope::OpenId.as_str(),
            _ => "",
        };
        bearer::challenge(issuer, self.code(), needed)
    }
}

/// Extracts the token of a request from the header `Authorization` or from the form of a POST (RFC 6750 sections 2.1 and
/// 2.2), one of them. `form` is `None` for a GET, and for a POST whose body is not a form.
///
/// # Errors
/// [`Unusable`].
pub fn token<'t>(
    authorization: impl Iterator<Item = &'t [u8]>,
    form: Option<&'t Form<'_>>,
) -> Result<&'t str, Unusable> {
    // Another scheme sends no token.
    let bearers = authorization.filter(|header| credentials(header, "Bearer").is_some());
    let in_form = form.and_then(|form| form.get("access_token"));
    bearer::extract(bearers, in_form.map(str::as_bytes).into_iter())
}

/// The facts about the person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserInfo<'a> {
    /// The issuer, in a signed answer alone (section 5.3.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    /// The client, in a signed answer alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    /// When it was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    sub: &'a str,
    #[serde(flatten)]
    released: Released,
}

/// Decides the answer for a valid token. `claims` are those that the authorization request asked for one by one, within
/// the scopes of the token and `also_allowed`, as in [`super::grants::person::Holding`].
///
/// # Errors
/// [`Denial::InsufficientScope`].
pub fn answer<'a>(
    active: &'a ActivePerson<'a>,
    claims: &ClaimsRequest,
    also_allowed: &[PersonScope<'a>],
) -> Result<UserInfo<'a>, Denial> {
    if !active.has(StandardScope::OpenId) {
        return Err(Denial::InsufficientScope);
    }
    let person = &active.person;
    let mut released = person.released_by(&active.scopes);
    let allowed = allowed(&active.scopes, also_allowed);
    released.extend(person.asked(wishes(&claims.userinfo), &allowed));
    Ok(UserInfo {
        iss: None,
        aud: None,
        iat: None,
        sub: active.token.subject,
        released,
    })
}

impl<'a> UserInfo<'a> {
    /// Returns the payload of a signed answer for this client: with issuer and audience, and without an expiry, so that
    /// it passes neither as an ID token nor as an access token.
    #[must_use]
    pub fn signed_for(self, issuer: &'a str, client_id: &'a str, now: Timestamp) -> Self {
        Self {
            iss: Some(issuer),
            aud: Some(client_id),
            iat: Some(now.as_second()),
            ..self
        }
    }

    /// Serializes the answer as JSON.
    ///
    /// # Errors
    /// None in practice: every member serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}
