//! The grant of a refresh token (RFC 6749 section 6, OpenID Connect Core section 12).
//!
//! What a refresh token means for its family is decided in `people::refresh`. Here: the policy of a client, what a
//! request says, and what a refresh gives. The scope never widens, and no refresh changes when the person signed in.

use jiff::Timestamp;

use super::person::{self, Holding, Parameters, REFUSED, Refused, UnsignedTokens};
use crate::directory::tables::record::RefreshSettings;
use crate::directory::{PersonClient, PersonScope, StandardScope};
use crate::oauth::{ErrorCode, Form, OAuthError, redirect_uri, scope};
use crate::people::grant::EndsWith;
use crate::people::refresh::{Policy, Presented, Rotation};
use crate::resources::RefreshTokenEnd;
use crate::tokens::Entropy;
use crate::tokens::reference::Prefix;

/// Returns the policy for a client. `is_bound` says that its tokens are bound to a key (RFC 9700 section 4.14.2): a
/// stolen one is of no use, so that it need not rotate.
pub const fn policy(settings: &RefreshSettings, is_public: bool, is_bound: bool) -> Policy {
    Policy {
        rotation: if settings.always_rotates || (is_public && !is_bound) {
            Rotation::Rotate
        } else {
            Rotation::Stable
        },
        grace: settings.reuse_grace,
        idle: if is_public {
            settings.public
        } else {
            settings.confidential
        },
        max_age: settings.max_age,
    }
}

/// Returns what else ends a grant. Without a choice of the client, a grant of an application on the person's own device
/// outlives the browser's session: all redirect URIs are loopback ones or have private schemes.
pub fn ends_with<'r>(
    chosen: Option<RefreshTokenEnd>,
    redirect_uris: impl IntoIterator<Item = &'r str>,
) -> EndsWith {
    let is_native = || redirect_uris.into_iter().all(redirect_uri::is_native);
    match chosen {
        Some(RefreshTokenEnd::Grant) => EndsWith::Grant,
        None if is_native() => EndsWith::Grant,
        Some(RefreshTokenEnd::Session) | None => EndsWith::Session,
    }
}

/// A request to refresh.
#[derive(Clone)]
pub struct Request<'f> {
    /// The token, for `people::refresh`.
    pub presented: Presented,
    /// The requested scope values; `None` for all.
    scopes: Option<Vec<&'f str>>,
    resources: Vec<String>,
}

impl<'f> Request<'f> {
    /// Parses the form. `prefix` is the installation's.
    ///
    /// # Errors
    /// `invalid_request` without a token, `invalid_scope` for a malformed scope, [`REFUSED`] for a text that cannot be a
    /// refresh token.
    pub fn parse(form: &'f Form<'_>, prefix: &Prefix) -> Result<Self, OAuthError> {
        let token = form.require("refresh_token", "refresh_token is missing")?;
        let scopes = form.get("scope").map(scope::values).transpose()?;
        Ok(Self {
            presented: Presented::parse(token, prefix).ok_or(REFUSED)?,
            scopes,
            resources: form.get_all("resource").map(str::to_owned).collect(),
        })
    }
}

/// Checks that a client may refresh at all, before its token is looked up.
///
/// # Errors
/// `unauthorized_client`.
pub fn check_client(client: &PersonClient<'_>) -> Result<(), OAuthError> {
    if client.may_refresh {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::UnauthorizedClient,
        "this client may not use refresh_token",
    ))
}

/// Decides what a refresh gives, before the family changes.
///
/// # Errors
/// [`Refused`], with [`REFUSED`] for a grant that gives nothing more, and `invalid_scope` for a scope that the grant
/// does not have or that was withdrawn.
pub fn decide(
    request: &Request<'_>,
    holding: &Holding<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Result<UnsignedTokens, Refused> {
    check_client(&holding.client)?;
    let who = person::holder(holding, now)?;
    let held = &holding.scopes;
    // A person who may no longer be acted for offline has no refresh tokens.
    if !held
        .iter()
        .any(|scope| scope.is(StandardScope::OfflineAccess))
    {
        return Err(REFUSED.into());
    }
    let scopes = narrowed(held, request.scopes.as_deref())?;
    let resources = person::resources(&holding.grant.resources, &request.resources)?;
    // A nonce belongs to the authorization request alone (section 12.2).
    let parameters = Parameters {
        resources: &resources,
        nonce: None,
    };
    let issue = person::issue(holding, who, &scopes, parameters, now, entropy)?;
    Ok(issue)
}

/// Selects the requested scopes, all of which must be held.
fn narrowed<'a>(
    held: &[PersonScope<'a>],
    requested: Option<&[&str]>,
) -> Result<Vec<PersonScope<'a>>, OAuthError> {
    let Some(requested) = requested else {
        return Ok(held.to_vec());
    };
    let find = |value: &&str| {
        let scope = held.iter().find(|scope| scope.value() == *value);
        scope.copied().ok_or(OAuthError::new(
            ErrorCode::InvalidScope,
            "a scope was not granted, or was withdrawn",
        ))
    };
    requested.iter().map(find).collect()
}
