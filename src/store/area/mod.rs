//! The areas of the store: for each, what a transaction can do, and the operations that carry out a verdict of
//! `people`.

pub mod account;
pub mod attempt;
pub mod code;
pub mod consent;
pub mod enrolment;
pub mod grant;
pub mod once;
pub mod outbox;
pub mod personal_token;
pub mod pushed;
pub mod refresh;
pub mod session;
