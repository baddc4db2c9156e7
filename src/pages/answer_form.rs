//! The page that posts the answer of the authorization endpoint to the client (OAuth 2.0 Form Post Response Mode).

use askama::Template;

use super::form::Field;
use super::language::{Html, Texts};
use super::link::{ClientUri, Place};
use super::page::{Context, Head, Page};
use super::policy::{Forms, Policy};
use super::text::Shown;
use super::theme::hash_source;

/// A field named `submit` would hide the form's own method.
const SCRIPT: &str = "HTMLFormElement.prototype.submit.call(document.forms[0])";
/// A URI is bounded, and so is its host.
const MAX_HOST: usize = 256;

/// The page that posts an answer: a script sends it at once, and without JavaScript a button does.
#[derive(Clone, Copy, Debug)]
pub struct AnswerForm<'a> {
    /// The redirect URI.
    pub uri: ClientUri<'a>,
    /// The parameters of the answer.
    pub fields: &'a [Field<'a>],
}

#[derive(Template)]
#[template(path = "answer_form.html")]
struct View<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    destination: Html,
    uri: ClientUri<'a>,
    fields: &'a [Field<'a>],
    script: Html,
}

impl AnswerForm<'_> {
    /// Renders the page.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let destination = match self.uri.place() {
            Place::Host(host) => {
                texts.say_of("answer-to-host", "host", &Shown::new(host, MAX_HOST))
            }
            Place::Device => texts.say("answer-to-device"),
        };
        let view = View {
            head: context.head("answer-title", false),
            texts,
            destination,
            uri: self.uri,
            fields: self.fields,
            script: Html::of_own(SCRIPT),
        };
        let policy = Policy {
            script: Some(hash_source(SCRIPT)),
            forms: Forms::ToClients,
            ..Policy::default()
        };
        context.page(200, &policy, &view)
    }
}
