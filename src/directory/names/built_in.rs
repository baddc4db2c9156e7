//! The scope values that every Identity has.

use crate::resources::Extent;

/// Scope values that every Identity has without a Scope. With people, `groups` is one more.
const BUILT_IN_SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
];

/// Returns whether every Identity has a scope value without a Scope.
pub fn is_built_in(value: &str, extent: Extent) -> bool {
    BUILT_IN_SCOPES.contains(&value) || (extent.has_people() && value == "groups")
}
