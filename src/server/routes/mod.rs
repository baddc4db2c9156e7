//! The routes, one file each: read the request, let `oauth` decide, answer.

pub mod check_token;
pub mod document;
pub mod health;
pub mod introspect;
pub mod people;
pub mod revocation;
pub mod token;
