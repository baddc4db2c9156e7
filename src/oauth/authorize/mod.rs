//! The authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3): what a request asks for, how it is
//! refused or answered, and which page comes next.
//!
//! Pure: parameters, a client's registration and a session go in. Not here: whether the person may use the client,
//! which scopes the client and the person may have, the records of sessions and consent, and the content of pages.

pub mod allowed;
pub mod answer;
pub mod claims;
pub mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod next;
pub mod request;

pub use allowed::Allowed;
pub use answer::{Answer, ResponseMode, ReturnTo};
pub use flow::Flow;
pub use next::{Situation, Step, next};
pub use request::{AuthorizationRequest, Refused, Registration, ResponseType};
