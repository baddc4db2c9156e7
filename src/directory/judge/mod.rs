//! The standing of each object among all others: its Identity, whether it is accepted, and what it is granted.
//! Conditions, diagnostics and HTTP replies use the same answers.
//!
//! Each kind has its own file. `served` has the types that prove that an object was judged, and `desired` says what the
//! owner of a Secret should have.

mod client;
pub(super) mod desired;
mod identity;
mod namespace;
pub mod person;
pub mod person_client;
pub mod person_scope;
pub(super) mod scope;
pub(super) mod served;
mod service_token;
pub mod token_size;
pub mod user;
#[cfg(test)]
mod user_tests;
