//! Decides whether the bearer of a token may pass an enforcement point: the token is valid now, is for the audience of
//! the enforcement point, and has the scopes that it requires.
//!
//! The Identity's `gateways[]` says what is required, never the request: proxies forward what callers send. Not here:
//! the request of an enforcement point and the answer to it (`check_token`).

use std::sync::Arc;

use jiff::Timestamp;

use super::access_token::{self, Active, Inactive, PresentedToken};
use super::bearer::Unusable;
use crate::directory::tables::record::GatewayRecord;
use crate::directory::{Directory, GrantedScope, Invalid, ObjectKey};

/// Why the request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no usable token.
    Unusable(Unusable),
    /// The token is not valid here.
    Inactive(Inactive),
    /// The token is valid but lacks scopes that the gateway requires.
    InsufficientScope,
    /// The Identity has no such gateway.
    UnknownGateway,
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
            Self::UnknownGateway => "unknown_gateway",
        }
    }

    /// Whether the presented token was issued here, so that its ID is meaningful.
    pub const fn is_of_issued(self) -> bool {
        !matches!(
            self,
            Self::Unusable(_)
                | Self::UnknownGateway
                | Self::Inactive(
                    Inactive::Malformed
                        | Inactive::Invalid(Invalid::UnknownToken | Invalid::WrongSecret)
                )
        )
    }
}

/// A token that may pass.
#[derive(Clone, Debug)]
pub struct Passed<'a> {
    /// The token.
    pub token: Active<'a>,
    /// The token's scopes at the gateway's audience.
    pub scopes: Vec<GrantedScope<'a>>,
}

/// Judges a token at a gateway.
///
/// # Errors
/// [`Denial`].
pub fn check<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    gateway: &GatewayRecord,
    presented: &'a PresentedToken<'a>,
    now: Timestamp,
) -> Result<Passed<'a>, Denial> {
    let token =
        access_token::judge(directory, identity, presented, now).map_err(Denial::Inactive)?;
    admit(token, gateway)
}

/// Decides whether a valid token, also a person's, may pass a gateway.
///
/// # Errors
/// [`Denial`].
pub fn admit<'a>(token: Active<'a>, gateway: &GatewayRecord) -> Result<Passed<'a>, Denial> {
    let of_audience = |scope: &&GrantedScope<'_>| token.is_for(scope, &gateway.audience);
    let scopes: Vec<_> = token.scopes.iter().filter(of_audience).copied().collect();
    if scopes.is_empty() {
        return Err(Denial::Inactive(Inactive::WrongAudience));
    }
    let has = |required: &Arc<str>| scopes.iter().any(|scope| scope.value() == required);
    if gateway.scopes.iter().all(has) {
        Ok(Passed { token, scopes })
    } else {
        Err(Denial::InsufficientScope)
    }
}
