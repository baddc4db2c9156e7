//! `/connect/checktoken/<gateway>`: tells a gateway whether a request may pass. `enforcement` decides that.
//!
//! A judgement is always 200, 401 or 403: nginx turns any other status into 500, and Envoy lets a request pass only
//! with 200. So RFC 6750's 400 becomes 401 here.

use std::sync::Arc;

use super::bearer::{self, Unusable};
use super::enforcement::{Denial, Passed};
use super::{ErrorCode, scope};
use crate::directory::GrantedScope;
use crate::directory::tables::record::GatewayRecord;

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
            Self::Unusable(_) | Self::Inactive(_) => 401,
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
            Self::Inactive(_) => Some(ErrorCode::InvalidToken),
            Self::InsufficientScope => Some(ErrorCode::InsufficientScope),
        }
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

/// The most bytes of scopes that a gateway receives: common proxies refuse a longer header. A reference token may have
/// more.
const MAX_SCOPES: usize = 8 * 1024;

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
