//! `/connect/checktoken/<gateway>`: decides whether the bearer of a token may pass a gateway.
//!
//! The Identity's `gateways[]` says what is required, never the request: proxies forward what callers send. A judgement
//! is always 200, 401 or 403: nginx turns any other status into 500, and Envoy lets a request pass only with 200. So
//! RFC 6750's 400 becomes 401 here.

use std::sync::Arc;

use jiff::Timestamp;

use super::access_token::{self, Active, Inactive, Presented};
use super::bearer::{self, Unusable};
use super::{ErrorCode, scope};
use crate::directory::tables::record::GatewayRecord;
use crate::directory::{Directory, GrantedScope, ObjectKey, Refusal};

/// Why the request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There is no usable token.
    Unusable(Unusable),
    /// The token is not valid here.
    Invalid(Inactive),
    /// The token is valid but lacks scopes that the gateway requires.
    InsufficientScope,
    /// The Identity has no such gateway.
    UnknownGateway,
}

impl Denial {
    /// Every value of [`Denial::code`].
    pub const CODES: [Option<ErrorCode>; 4] = [
        None,
        Some(ErrorCode::InvalidRequest),
        Some(ErrorCode::InvalidToken),
        Some(ErrorCode::InsufficientScope),
    ];

    /// Returns the HTTP status: 401 or 403.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unusable(_) | Self::Invalid(_) => 401,
            Self::InsufficientScope | Self::UnknownGateway => 403,
        }
    }

    /// Returns the error code for the challenge; `None` if no token was sent (RFC 6750 section 3.1).
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Unusable(Unusable::Missing) | Self::UnknownGateway => None,
            Self::Unusable(Unusable::SeveralWays | Unusable::Malformed) => {
                Some(ErrorCode::InvalidRequest)
            }
            Self::Invalid(_) => Some(ErrorCode::InvalidToken),
            Self::InsufficientScope => Some(ErrorCode::InsufficientScope),
        }
    }

    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unusable(Unusable::Missing) => "no_token",
            Self::Unusable(Unusable::SeveralWays) => "several_ways",
            Self::Unusable(Unusable::Malformed) => "malformed",
            Self::Invalid(inactive) => inactive.as_str(),
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
                | Self::Invalid(
                    Inactive::Malformed
                        | Inactive::Refused(Refusal::UnknownToken | Refusal::WrongSecret)
                )
        )
    }
}

/// Renders the challenge of a gateway for a [`Denial::code`]. It always names the scopes that the gateway requires, so
/// that a caller without a token learns what to request (RFC 6750 section 3).
pub fn challenge(issuer: &str, gateway: &GatewayRecord, code: Option<ErrorCode>) -> String {
    bearer::challenge(issuer, code, &scope::join_values(gateway.scopes.iter()))
}

/// Renders the challenge of a gateway that the Identity does not have.
pub fn challenge_of_unknown(issuer: &str) -> String {
    bearer::challenge(issuer, None, "")
}

/// The most bytes of scopes that a gateway receives: common proxies accept no longer header. A reference token may have
/// more.
const MAX_SCOPES: usize = 8 * 1024;

/// A token that may pass.
#[derive(Clone, Debug)]
pub struct Passed<'a> {
    /// The token.
    pub token: Active<'a>,
    /// The token's scopes at the gateway's audience.
    pub scopes: Vec<GrantedScope<'a>>,
}

impl Passed<'_> {
    /// Returns the scopes for the gateway, separated by spaces: first those that it requires, then others while there
    /// is room. No scope is truncated.
    pub fn told(&self, gateway: &GatewayRecord) -> String {
        let all = || self.scopes.iter().map(GrantedScope::value);
        let length: usize = all().map(|scope| scope.len() + 1).sum();
        if length <= MAX_SCOPES {
            return scope::join(&self.scopes);
        }
        let is_required = |scope: &&Arc<str>| gateway.scopes.contains(scope);
        let (mut first, rest): (Vec<_>, Vec<_>) = all().partition(is_required);
        first.extend(rest);
        scope::join_within(&first, MAX_SCOPES)
    }
}

/// Judges a token at a gateway.
///
/// # Errors
/// [`Denial`].
pub fn check<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    gateway: &GatewayRecord,
    presented: &'a Presented<'a>,
    now: Timestamp,
) -> Result<Passed<'a>, Denial> {
    let token =
        access_token::judge(directory, identity, presented, now).map_err(Denial::Invalid)?;
    let of_audience = |scope: &&GrantedScope<'_>| token.is_for(scope, &gateway.audience);
    let scopes: Vec<_> = token.scopes.iter().filter(of_audience).copied().collect();
    if scopes.is_empty() {
        return Err(Denial::Invalid(Inactive::WrongAudience));
    }
    let has = |required: &Arc<str>| scopes.iter().any(|scope| scope.value() == required);
    if gateway.scopes.iter().all(has) {
        Ok(Passed { token, scopes })
    } else {
        Err(Denial::InsufficientScope)
    }
}
