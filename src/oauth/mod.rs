//! The protocol core: what OAuth 2.1 and its neighbours ask of each request, a file per endpoint, grant or RFC.
//!
//! Pure: bytes and a directory come in, a decision comes out. Time and randomness are parameters; absent are
//! signatures (`keys`), HTTP types and every kind of IO (`server`). Order of checks at an endpoint: form, client,
//! then what was asked.

pub mod access_token;
pub mod bearer;
pub mod check_token;
pub mod client_auth;
pub mod discovery;
pub mod error;
pub mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grants;
pub mod introspection;
pub mod resource;
pub mod revocation;
pub mod scope;

#[cfg(test)]
mod size_tests;
#[cfg(test)]
mod tests;

pub use error::{ErrorCode, OAuthError};
pub use form::Form;
