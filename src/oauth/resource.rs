//! The parameter `resource`, RFC 8707, and the rule of RFC 9068 section 3: one token, one resource.
//!
//! Without `resource`, the audiences of a token are those of its scopes; they must all have one owner, since two
//! owners' scopes in one token would let each resource server use the token at the other. With it, only its scopes
//! stay. The Identity's `tokens.audience: Many` lifts the rule.

use std::sync::Arc;

use super::{ErrorCode, OAuthError, scope};
use crate::directory::names::audience_owner;
use crate::directory::record::IdentityRecord;
use crate::directory::{GrantedScope, Served, audiences_of, is_normal_audience};
use crate::resources::AudienceMode;
use crate::tokens::jwt;
use crate::tokens::size::listed_length;

/// The most resources that one request may name.
const MAX_RESOURCES: usize = 8;

/// Leaves those scopes that belong to the resources asked for and says whom the token is for: at least one.
///
/// # Errors
/// `invalid_target`; `invalid_scope` where the audiences alone are more than a token may hold.
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
            "the scopes belong to several resources: name one of them in the parameter resource"
        } else {
            "the resources have different owners: ask for a token for each"
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

/// The bounds and the normal form of an audience; RFC 8707 section 2: no fragment.
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
    // Scopes times audiences may be hundreds of thousands of bytes: no more is gathered than a token may hold.
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
            "a resource is unknown, or none of these scopes belongs to it",
        ));
    }
    Ok(asked.iter().map(|resource| Arc::from(*resource)).collect())
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidTarget, description)
}
