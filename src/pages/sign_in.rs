//! The page on which a person signs in with a username and a password.

use askama::Template;

use super::form::{Form, field};
use super::language::{Html, Texts};
use super::link::LocalPath;
use super::page::{Context, Head, Page};
use super::policy::{Forms, Policy};
use super::text::Shown;

/// The length of the longest username or address that is shown, in characters.
pub(super) const MAX_USERNAME: usize = 254;
/// The length of the longest name of a client that is shown, in characters.
pub(super) const MAX_CLIENT: usize = 128;
const SECONDS_OF_A_MINUTE: u64 = 60;

/// The sign-in page.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// Where the form goes. The answer may redirect to a client.
    pub form: Form<'a>,
    /// The display name of the client that asks for the sign-in, or its client ID.
    pub client: Option<&'a str>,
    /// Who signs in.
    pub person: Person<'a>,
    /// Whether the person wants to stay signed in; `None` if this is not offered.
    pub remember: Option<bool>,
    /// Whether the person can go back to the client without signing in.
    pub can_refuse: bool,
    /// What was wrong with the previous attempt.
    pub problem: Option<Problem>,
}

/// Who signs in.
#[derive(Clone, Copy, Debug)]
pub enum Person<'a> {
    /// Any person. The username of a `login_hint` or of the previous attempt is filled in; it may be empty.
    Any(&'a str),
    /// Only this person, who is signed in and must prove it again.
    Again {
        /// The username.
        username: &'a str,
        /// Leads to a sign-in as another person.
        not_you: LocalPath<'a>,
    },
}

/// What was wrong with an attempt to sign in. Nothing here tells whether a person exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No username was sent.
    NoUsername,
    /// No password was sent.
    NoPassword,
    /// The username or the password is wrong.
    Wrong,
    /// There were too many attempts.
    TooMany {
        /// The number of seconds until another attempt is admitted.
        retry_after: u64,
    },
    /// The server checks as many passwords as it can at once.
    Busy {
        /// The number of seconds after which to try again.
        retry_after: u64,
    },
}

impl Problem {
    const fn status(self) -> u16 {
        match self {
            Self::NoUsername | Self::NoPassword | Self::Wrong => 400,
            Self::TooMany { .. } => 429,
            Self::Busy { .. } => 503,
        }
    }

    pub(super) const fn retry_after(self) -> Option<u64> {
        match self {
            Self::NoUsername | Self::NoPassword | Self::Wrong => None,
            Self::TooMany { retry_after } | Self::Busy { retry_after } => Some(retry_after),
        }
    }

    fn text(self, texts: &Texts) -> Html {
        match self {
            Self::NoUsername => texts.say("problem-no-username"),
            Self::NoPassword => texts.say("problem-no-password"),
            Self::Wrong => texts.say("problem-wrong"),
            Self::TooMany { retry_after } => {
                texts.count("problem-too-many", "minutes", minutes(retry_after))
            }
            Self::Busy { .. } => texts.say("problem-busy"),
        }
    }
}

/// Returns a time to wait in minutes, at least one.
pub(super) fn minutes(seconds: u64) -> u64 {
    seconds.div_ceil(SECONDS_OF_A_MINUTE).max(1)
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct View<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    title: &'static str,
    form: Form<'a>,
    problem: Option<Html>,
    client: Option<Shown>,
    is_again: bool,
    username: Shown,
    not_you: Option<(LocalPath<'a>, Html)>,
    is_username_wrong: bool,
    is_password_wrong: bool,
    /// The ID of the field that has the focus; the problem has it if there is one.
    focus: Option<&'static str>,
    remember: Option<bool>,
    cancel: Option<Html>,
}

impl SignIn<'_> {
    /// Renders the page. Its status is 200, or that of the problem.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let (username, not_you) = match self.person {
            Person::Any(username) => (Shown::new(username, MAX_USERNAME), None),
            Person::Again { username, not_you } => {
                let username = Shown::new(username, MAX_USERNAME);
                let text = texts.say_of("not-you", "person", &username);
                (username, Some((not_you, text)))
            }
        };
        let is_again = not_you.is_some();
        let title = if is_again {
            "sign-in-again-title"
        } else {
            "sign-in-title"
        };
        let client = self.client.map(|name| Shown::new(name, MAX_CLIENT));
        let cancel = client.as_ref().filter(|_| self.can_refuse);
        let problem = self.problem;
        let is_free = problem.is_none();
        let first_empty = if username.is_empty() {
            "username"
        } else {
            "password"
        };
        let view = View {
            head: context.head(title, !is_free),
            texts,
            title,
            form: self.form,
            problem: problem.map(|it| it.text(texts)),
            cancel: cancel.map(|client| texts.say_of("sign-in-refuse", "client", client)),
            client,
            is_again,
            username,
            not_you,
            is_username_wrong: matches!(problem, Some(Problem::NoUsername | Problem::Wrong)),
            is_password_wrong: matches!(problem, Some(Problem::NoPassword | Problem::Wrong)),
            focus: is_free.then_some(first_empty),
            remember: self.remember,
        };
        let policy = Policy {
            forms: Forms::ToClients,
            ..Policy::default()
        };
        let status = problem.map_or(200, Problem::status);
        let page = context.page(status, &policy, &view);
        match problem.and_then(Problem::retry_after) {
            Some(seconds) => page.with("retry-after", seconds),
            None => page,
        }
    }
}
