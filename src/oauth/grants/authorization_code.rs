//! The grant of an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5, OpenID Connect Core section
//! 3.1.3).
//!
//! What a code means for its row is decided in `people::code`. Here: what a request says, and what a redeemed code
//! gives. Every refusal of a code is the same `invalid_grant`.

use jiff::Timestamp;

use super::person::{self, Holding, Parameters, REFUSED, Refused, UnsignedTokens};
use crate::directory::{PersonClient, StandardScope};
use crate::oauth::pkce::Challenge;
use crate::oauth::{ErrorCode, Form, OAuthError};
use crate::people::code::Use;
use crate::people::grant as people;
use crate::people::later;
use crate::people::refresh::Policy;
use crate::tokens::reference::{self, Kind, Prefix};
use crate::tokens::{Entropy, TokenHash, TokenId};

/// A request to redeem a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    id: TokenId,
    hash: TokenHash,
    redirect_uri: String,
    challenge: Option<Challenge>,
    resources: Vec<String>,
}

impl Request {
    /// Parses the form. `prefix` is the installation's.
    ///
    /// # Errors
    /// `invalid_request` if a parameter is missing or malformed, [`REFUSED`] for a text that cannot be a code.
    pub fn parse(form: &Form<'_>, prefix: &Prefix) -> Result<Self, OAuthError> {
        let code = form.require("code", "code is missing")?;
        let challenge = match form.get("code_verifier") {
            None => None,
            Some(verifier) => Some(Challenge::of_verifier(verifier).ok_or(
                OAuthError::invalid_request(
                    "the code_verifier must have 43 to 128 letters, digits and -._~",
                ),
            )?),
        };
        let code = reference::parse(code).map_err(|_| REFUSED)?;
        if code.kind != Kind::AuthorizationCode || code.prefix != prefix.as_str() {
            return Err(REFUSED);
        }
        Ok(Self {
            id: code.id,
            hash: code.hash,
            redirect_uri: form.get("redirect_uri").unwrap_or_default().to_owned(),
            challenge,
            resources: form.get_all("resource").map(str::to_owned).collect(),
        })
    }

    /// Returns what `people::code` judges: the request of this client, which arrived at this time.
    pub fn of_client<'a>(&self, client: people::Client<'a>, arrived_at: Timestamp) -> Use<'a> {
        Use {
            id: self.id,
            hash: self.hash,
            client,
            redirect_uri: self.redirect_uri.clone(),
            challenge: self.challenge.clone().map(String::from),
            arrived_at,
        }
    }
}

/// What a code gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Redeemed {
    /// The tokens.
    pub tokens: UnsignedTokens,
    /// When the new family of refresh tokens reaches its absolute end; `None` if the client gets no refresh token.
    pub family_ends_at: Option<Timestamp>,
    /// When everything that was issued has expired: the end of the grant.
    pub grant_ends_at: Timestamp,
}

/// Checks that a client may redeem codes at all, before its code is looked up.
///
/// # Errors
/// `unauthorized_client`.
pub fn check_client(client: &PersonClient<'_>) -> Result<(), OAuthError> {
    if client.may_use_codes {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::UnauthorizedClient,
        "this client may not use authorization_code",
    ))
}

/// Decides what a code gives that `people::code` found good. `nonce` is the code's. `policy` is the client's for refresh
/// tokens.
///
/// # Errors
/// [`Refused`]. The code must stay unused then, so that a request with a correct `resource` can follow.
pub fn decide(
    request: &Request,
    holding: &Holding<'_>,
    nonce: Option<&str>,
    policy: &Policy,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<Redeemed, Refused> {
    let client = &holding.client;
    check_client(client)?;
    let who = person::holder(holding, now)?;
    let mut scopes = holding.scopes.clone();
    // A client that may not refresh asks for offline access in vain (OpenID Connect Core section 11).
    scopes.retain(|scope| client.may_refresh || !scope.is(StandardScope::OfflineAccess));
    if scopes.is_empty() {
        return Err(REFUSED.into());
    }
    let is_offline = scopes
        .iter()
        .any(|scope| scope.is(StandardScope::OfflineAccess));
    let resources = person::resources(&holding.grant.resources, &request.resources)?;
    let parameters = Parameters {
        resources: &resources,
        nonce,
    };
    let tokens = person::issue(holding, who, &scopes, parameters, now, entropy)?;
    let family_ends_at = is_offline.then(|| later(now, policy.max_age));
    // An access token of the last refresh outlives the family.
    let tail = tokens.expires_at.duration_since(now);
    let last = family_ends_at.and_then(|end| end.checked_add(tail).ok());
    Ok(Redeemed {
        grant_ends_at: last.unwrap_or(tokens.expires_at),
        family_ends_at,
        tokens,
    })
}
