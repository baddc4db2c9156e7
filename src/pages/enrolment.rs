//! The page on which a person sets a password, opened by an enrolment link. To show it changes nothing: only the form
//! uses the link up.

use askama::Template;

use super::form::{Form, field};
use super::language::{Html, Texts};
use super::page::{Context, Head, Page};
use super::policy::{Forms, Policy};
use super::sign_in::MAX_USERNAME;
use super::text::Shown;

/// The enrolment page.
#[derive(Clone, Copy, Debug)]
pub struct Enrolment<'a> {
    /// Where the form goes. The answer does not redirect to a client.
    pub form: Form<'a>,
    /// The username of the person who enrols.
    pub username: &'a str,
    /// The rules for the password.
    pub rules: PasswordRules,
    /// Why the previous password was refused.
    pub problem: Option<PasswordProblem>,
}

/// The rules for a password, which the page states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// The length of the shortest password, in characters.
    pub min_length: u64,
    /// The length of the longest password, in characters.
    pub max_length: u64,
    /// Whether common passwords are refused.
    pub refuses_common: bool,
}

/// Why a password was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordProblem {
    /// No password was sent.
    Missing,
    /// It has too few characters.
    TooShort,
    /// It has too many characters.
    TooLong,
    /// It is a common password, or close to the person's name.
    Common,
    /// The two passwords differ.
    Different,
    /// The server hashes as many passwords as it can at once.
    Busy {
        /// The number of seconds after which to try again.
        retry_after: u64,
    },
}

#[derive(Template)]
#[template(path = "enrolment.html")]
struct View<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    form: Form<'a>,
    username: Shown,
    rules: Vec<Html>,
    min_length: u64,
    problem: Option<Html>,
    is_password_wrong: bool,
    is_repeated_wrong: bool,
}

impl PasswordRules {
    fn texts(self, texts: &Texts) -> Vec<Html> {
        let common = self.refuses_common.then(|| texts.say("rule-common"));
        [
            texts.count("rule-min-length", "count", self.min_length),
            texts.count("rule-max-length", "count", self.max_length),
        ]
        .into_iter()
        .chain(common)
        .chain([texts.say("rule-any-characters")])
        .collect()
    }
}

impl Enrolment<'_> {
    /// Renders the page. Its status is 200, or 400 or 503 if there was a problem.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let rules = self.rules;
        let text = |problem| match problem {
            PasswordProblem::Missing => texts.say("problem-no-password"),
            PasswordProblem::TooShort => {
                texts.count("problem-too-short", "count", rules.min_length)
            }
            PasswordProblem::TooLong => texts.count("problem-too-long", "count", rules.max_length),
            PasswordProblem::Common => texts.say("problem-common"),
            PasswordProblem::Different => texts.say("problem-different"),
            PasswordProblem::Busy { .. } => texts.say("problem-busy"),
        };
        let is_wrong = |problem: &PasswordProblem| {
            !matches!(
                problem,
                PasswordProblem::Busy { .. } | PasswordProblem::Different
            )
        };
        let view = View {
            head: context.head("enrolment-title", self.problem.is_some()),
            texts,
            form: self.form,
            username: Shown::new(self.username, MAX_USERNAME),
            rules: rules.texts(texts),
            min_length: rules.min_length,
            problem: self.problem.map(text),
            is_password_wrong: self.problem.as_ref().is_some_and(is_wrong),
            is_repeated_wrong: self.problem == Some(PasswordProblem::Different),
        };
        let policy = Policy {
            forms: Forms::Own,
            ..Policy::default()
        };
        match self.problem {
            None => context.page(200, &policy, &view),
            Some(PasswordProblem::Busy { retry_after }) => context
                .page(503, &policy, &view)
                .with("retry-after", retry_after),
            Some(_) => context.page(400, &policy, &view),
        }
    }
}
