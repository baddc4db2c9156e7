//! The authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3): what a request asks for, and how
//! it is refused or answered.
//!
//! Pure: parameters and a client's registration go in. Not here: whether the person may use the client, which scopes
//! are granted, sessions, consent, and pages.

pub mod answer;
pub mod claims;
pub mod request;

pub use answer::{Answer, ResponseMode, ReturnTo};
pub use request::{AuthorizationRequest, Refused, Registration, ResponseType};
