//! The parameter `resource` (RFC 8707), and the rule of RFC 9068 section 3: one token, one resource.
//!
//! Without `resource`, a token has the audiences of its scopes. These must all have one owner: with scopes of two
//! owners in one token, each resource server could use it at the other. With `resource`, only that resource's scopes
//! remain. The Identity's `tokens.audience: Many` lifts the rule.

use std::sync::Arc;

use super::{ErrorCode, OAuthError, scope};
use crate::directory::names::audience_owner;
use crate::directory::tables::record::IdentityRecord;
use crate::directory::{GrantedScope, Served, audiences_of, is_normal_audience};
use crate::resources::AudienceMode;
use crate::tokens::jwt;
use crate::tokens::size::listed_length;

/// The most resources that one request may name.
const MAX_RESOURCES: usize = 8;

/// Keeps the scopes of the requested resources and returns the token's audiences: at least one.
///
/// # Errors
/// `invalid_target`; `invalid_scope` if the audiences alone exceed the length of a token.
pub fn target<'r>(
    identity: Served<'_, IdentityRecord>,
    scopes: &mut Vec<GrantedScope<'_>>,
    resources: impl Iterator<Item = &'r str>,
) -> Result<Vec<Arc<str>>, OAuthError> {
    let asked = asked(resources)?;
    let audiences = if asked.is_empty() {
        audiences_of_all(identity, scopes)?
    } else {
        restrict(identity, scopes, &asked)?
    };
    let owner = |audience| audience_owner(identity.object, identity.record, audience);
    let mut owners = audiences.iter().map(|audience| owner(audience));
    let first = owners.next();
    if identity.record.audience == AudienceMode::Single && owners.any(|other| Some(other) != first)
    {
        return Err(invalid(if asked.is_empty() {
            "the scopes belong to several resources: name one in the resource parameter"
        } else {
            "the resources have different owners: request one token for each"
        }));
    }
    Ok(audiences)
}

fn asked<'r>(resources: impl Iterator<Item = &'r str>) -> Result<Vec<&'r str>, OAuthError> {
    let mut asked = Vec::new();
    for resource in resources {
        if asked.len() == MAX_RESOURCES || !is_resource(resource) {
            return Err(invalid("a resource is malformed"));
        }
        if !asked.contains(&resource) {
            asked.push(resource);
        }
    }
    Ok(asked)
}

/// Whether `resource` has the bounds and the normal form of an audience, and no fragment (RFC 8707 section 2).
fn is_resource(resource: &str) -> bool {
    resource.len() <= 512
        && !resource.contains('#')
        && resource.bytes().all(|b| b.is_ascii_graphic())
        && is_normal_audience(resource)
}

fn audiences_of_all(
    identity: Served<'_, IdentityRecord>,
    scopes: &[GrantedScope<'_>],
) -> Result<Vec<Arc<str>>, OAuthError> {
    let mut audiences = Vec::new();
    // Scopes times audiences may be hundreds of thousands of bytes, so collecting stops at the length of a token.
    let mut length = 0;
    for audience in scopes
        .iter()
        .flat_map(|scope| audiences_of(identity, scope.scope))
    {
        if !audiences.contains(&audience) {
            length += listed_length(&audience);
            if length > jwt::MAX_LENGTH {
                return Err(scope::TOO_LONG);
            }
            audiences.push(audience);
        }
    }
    Ok(audiences)
}

fn restrict(
    identity: Served<'_, IdentityRecord>,
    scopes: &mut Vec<GrantedScope<'_>>,
    asked: &[&str],
) -> Result<Vec<Arc<str>>, OAuthError> {
    let mut reached = vec![false; asked.len()];
    scopes.retain(|scope| {
        let audiences = audiences_of(identity, scope.scope);
        let mut stays = false;
        for (resource, reached) in asked.iter().zip(&mut reached) {
            if audiences.iter().any(|audience| **audience == **resource) {
                (*reached, stays) = (true, true);
            }
        }
        stays
    });
    if reached.contains(&false) {
        return Err(invalid(
            "a resource is unknown, or has none of these scopes",
        ));
    }
    Ok(asked.iter().map(|resource| Arc::from(*resource)).collect())
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, description)
}
