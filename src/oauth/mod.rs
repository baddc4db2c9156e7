//! The protocol core: the rules of OAuth 2.1 and related specifications, a file per endpoint, grant or RFC.
//!
//! Pure: bytes and a directory go in, a decision comes out. Time and randomness are parameters. Not here: signatures
//! (`keys`), HTTP types and all IO (`server`). An endpoint checks the form, then the client, then the request.

pub mod access_token;
pub mod acr;
mod authorization;
pub mod authorize;
pub mod bearer;
pub mod check_token;
pub mod client_auth;
pub mod cors;
pub mod discovery;
pub mod end_session;
pub mod endpoint;
pub mod enforcement;
pub mod error;
pub mod form;
pub mod frontchannel_logout;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grants;
pub mod id_token;
pub mod introspection;
pub mod logout_token;
pub mod person_introspection;
pub mod person_revocation;
pub mod person_token;
pub mod personal_token;
pub mod pkce;
pub mod redirect_uri;
pub mod refusal;
pub mod resource;
pub mod revocation;
pub mod scope;
pub mod sign_in;
pub mod userinfo;

#[cfg(test)]
mod person_tests;
#[cfg(test)]
mod size_tests;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use error::{ErrorCode, OAuthError};
pub use form::Form;
pub use refusal::Refusal;
