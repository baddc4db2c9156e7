//! `/connect/checktoken/<gateway>`: may the bearer of this token pass this gateway?
//!
//! What is required stands in the Identity's `gateways[]`, never in the request: proxies append what callers send.
//! The answer is 204, 401 or 403 and nothing else, since nginx makes any other a 500; so RFC 6750's 400 is 401 here.

use std::sync::Arc;

use jiff::Timestamp;

use super::access_token::{self, Active, Inactive, Presented};
use super::bearer::Unusable;
use super::{ErrorCode, scope};
use crate::directory::record::GatewayRecord;
use crate::directory::{Directory, GrantedScope, ObjectKey, Refusal};

/// Why nobody passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// No token to look at.
    Unusable(Unusable),
    /// The token is not good here.
    Invalid(Inactive),
    /// The token is good and lacks scopes: these are required.
    InsufficientScope(&'a [Arc<str>]),
    /// The Identity has no such gateway.
    UnknownGateway,
}

impl Denial<'_> {
    /// The HTTP status: 401 or 403.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unusable(_) | Self::Invalid(_) => 401,
            Self::InsufficientScope(_) | Self::UnknownGateway => 403,
        }
    }

    /// The code in the challenge; none if nothing was sent (RFC 6750 section 3.1).
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Unusable(Unusable::Missing) | Self::UnknownGateway => None,
            Self::Unusable(Unusable::SeveralWays | Unusable::Malformed) => {
                Some(ErrorCode::InvalidRequest)
            }
            Self::Invalid(_) => Some(ErrorCode::InvalidToken),
            Self::InsufficientScope(_) => Some(ErrorCode::InsufficientScope),
        }
    }

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unusable(Unusable::Missing) => "no_token",
            Self::Unusable(Unusable::SeveralWays) => "several_ways",
            Self::Unusable(Unusable::Malformed) => "malformed",
            Self::Invalid(inactive) => inactive.as_str(),
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::UnknownGateway => "unknown_gateway",
        }
    }

    /// Whether the token is one that was issued: whether its id says anything of it.
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

    /// The scopes that the challenge names, separated by spaces.
    pub fn required(self) -> String {
        match self {
            Self::InsufficientScope(scopes) => scope::join_values(scopes.iter()),
            _ => String::new(),
        }
    }
}

/// The most bytes of scopes that a gateway is told: common proxies take no longer header. A reference token may have more.
const MOST_SCOPES: usize = 8 * 1024;

/// Who passed.
#[derive(Clone, Debug)]
pub struct Passed<'a> {
    /// The token.
    pub token: Active<'a>,
    /// Its scopes of the gateway's audience.
    pub scopes: Vec<GrantedScope<'a>>,
}

impl Passed<'_> {
    /// The scopes to tell, separated by spaces: those that the gateway requires, then the token's others while there is
    /// room. A scope is left out or whole.
    pub fn told(&self, gateway: &GatewayRecord) -> String {
        let is_required = |scope: &&Arc<str>| gateway.scopes.contains(scope);
        let all: Vec<_> = self.scopes.iter().map(GrantedScope::value).collect();
        let length: usize = all.iter().map(|scope| scope.len() + 1).sum();
        if length <= MOST_SCOPES {
            return scope::join(&self.scopes);
        }
        let (mut first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(is_required);
        first.extend(rest);
        scope::join_within(&first, MOST_SCOPES)
    }
}

/// The requirements of a gateway.
pub fn gateway<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    name: &str,
) -> Option<&'a GatewayRecord> {
    let identity = directory.served_identity(identity).ok()?;
    identity.record.gateways.get(name)
}

/// Judges a token at a gateway.
///
/// # Errors
/// [`Denial`].
pub fn check<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    gateway: &'a GatewayRecord,
    presented: &'a Presented<'a>,
    now: Timestamp,
) -> Result<Passed<'a>, Denial<'a>> {
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
        Err(Denial::InsufficientScope(&gateway.scopes))
    }
}
