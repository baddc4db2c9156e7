//! The routes, one file each: read the request, let `oauth` decide, answer.

pub mod check_token;
pub mod discovery;
pub mod health;
pub mod introspect;
pub mod jwks;
pub mod revocation;
pub mod token;
