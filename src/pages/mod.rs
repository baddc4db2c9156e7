//! The HTML pages that people see: sign-in, consent, enrolment, sign-out, and what went wrong.
//!
//! Pure: plain structs go in, a [`Page`] comes out. Pages are complete without JavaScript. Texts that users, clients and
//! tenants chose are shown only as [`text::Shown`], which is bounded and cannot disguise itself; askama escapes
//! everything. Not here: cookies, CSRF tokens, the choice of the language, and what happens when a form is sent.

mod answer_form;
mod colour;
mod consent;
mod enrolment;
mod form;
mod language;
mod link;
mod notice;
mod page;
mod policy;
mod sign_in;
mod sign_out;
mod text;
mod theme;
mod way_back;

pub use answer_form::AnswerForm;
pub use consent::{Client, Consent, Learned, Scope, ScopeText};
pub use enrolment::{Enrolment, PasswordProblem, PasswordRules};
pub use form::{Field, Form, field};
pub use language::Language;
pub use link::{ClientUri, LocalPath, Place};
pub use notice::{Kind, Label, Notice, Way};
pub use page::{Context, Page};
pub use sign_in::{Person, Problem, SignIn};
pub use sign_out::{ConfirmSignOut, MAX_FRAMES, SignedOut};
pub use theme::{Theme, ThemeFault, ThemeFields};
pub use way_back::WayBack;
