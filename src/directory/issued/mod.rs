//! Tokens and secrets that were issued, as their Credentials record them: whether they are valid now, when they end,
//! and when they were last used. Not here: what should be issued (`judge::desired`).

pub(super) mod end;
pub(super) mod personal;
pub(super) mod revoked;
pub(super) mod seal;
pub mod usage;
pub(super) mod verify;
