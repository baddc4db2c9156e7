//! A file a route: read the request, ask the protocol core, answer.

pub mod check_token;
pub mod discovery;
pub mod introspect;
pub mod jwks;
pub mod revocation;
pub mod token;
