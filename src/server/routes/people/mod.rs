//! The routes for people: the pages, and the endpoints that need the store.
//!
//! An Identity without people has none of them. `guest` is a browser at a page, `proceed` decides what comes next with an
//! authorization request, `issue` answers it with a code, and `join` judges the tokens of people.

pub mod authorize;
pub mod consent;
pub mod end_session;
pub mod enrolment;
mod flow;
mod guest;
pub mod introspection;
mod issue;
mod join;
pub mod par;
pub mod personal_token;
mod proceed;
pub mod revocation;
pub mod sign_in;
mod store;
pub mod token;
pub mod userinfo;

pub use guest::refused;
pub use join::{
    PresentedPersonal, TokenOfPerson, active, active_personal, claims_of, personal_standing,
    standing,
};
pub use store::{carry_out, people, unavailable};
