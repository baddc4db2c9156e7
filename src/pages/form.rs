//! What the forms of all pages have in common.

use super::link::LocalPath;

/// Names of the fields that a person fills in, and the values of buttons.
pub mod field {
    /// The username or e-mail address at sign-in.
    pub const USERNAME: &str = "username";
    /// The password, or the new one at enrolment.
    pub const PASSWORD: &str = "password";
    /// The new password again, at enrolment.
    pub const REPEATED: &str = "repeated";
    /// Present if the person wants to stay signed in. Its value is `yes`.
    pub const REMEMBER: &str = "remember";
    /// The button that was pressed, with one of the values below.
    pub const DECISION: &str = "decision";
    /// The person goes on: signs in, allows, or signs out.
    pub const ACCEPT: &str = "accept";
    /// The person goes back to the client without signing in, denies, or stays signed in.
    pub const REFUSE: &str = "refuse";
}

/// Where a form goes, and what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The path that the form is posted to.
    pub action: LocalPath<'a>,
    /// Hidden fields: the sealed flow, the CSRF token. They must have no NUL and no line ends, which browsers change.
    pub hidden: &'a [Field<'a>],
}

/// A hidden field of a form.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value, unescaped.
    pub value: &'a str,
}
