//! The scope values that every Identity has.

/// Scope values that every Identity has without a Scope.
const BUILT_IN_SCOPES: [&str; 7] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "groups",
    "offline_access",
];

/// Returns whether every Identity has a scope value without a Scope.
pub fn is_built_in(value: &str) -> bool {
    BUILT_IN_SCOPES.contains(&value)
}
