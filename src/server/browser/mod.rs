//! What the server gives to a browser and takes back, apart from pages: cookies, the proof that a form is its own, and
//! the language.
//!
//! Pure. Not here: routes, and what a cookie's value means (see `people`).

pub mod cookie;
pub mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod language;

pub use cookie::{Cookie, Cookies};
pub use form::FormKeys;
