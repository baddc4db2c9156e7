//! The scope values that every Identity has.

/// Scope values that every Identity has without a Scope.
pub const BUILT_IN_SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
];
