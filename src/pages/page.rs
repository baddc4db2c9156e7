//! A page, ready to be sent, and what all pages have in common.

use askama::Template;

use super::language::{Html, Language, Texts};
use super::link::LocalPath;
use super::policy::Policy;
use super::theme::Theme;

/// An HTML page, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The HTML in UTF-8.
    pub body: Vec<u8>,
}

/// What every page shows.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The language of the page.
    pub language: Language,
    /// The theme of the Identity.
    pub theme: &'a Theme,
    /// Links to this page in other languages.
    pub other_languages: &'a [(Language, LocalPath<'a>)],
}

/// The headers of every page besides its policy. HTTP Strict Transport Security is a matter of the server.
const HEADERS: [(&str, &str); 7] = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), \
         magnetometer=(), microphone=(), midi=(), payment=(), usb=()",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What the layout of a page needs.
#[derive(Clone, Debug)]
pub(super) struct Head<'a> {
    pub(super) language: Language,
    pub(super) theme: &'a Theme,
    pub(super) other_languages: &'a [(Language, LocalPath<'a>)],
    /// The title of the window, as plain text.
    pub(super) title: String,
}

impl Head<'_> {
    /// Returns the style. A theme puts nothing into it but colours, so it cannot end its element.
    pub(super) fn style(&self) -> Html {
        Html::of_own(&self.theme.style)
    }
}

impl<'a> Context<'a> {
    /// Returns the texts in the language of the page.
    pub(super) fn texts(&self) -> &'static Texts {
        self.language.texts()
    }

    /// Builds the head of a page. The title of the window starts with the error if there is one.
    pub(super) fn head(&self, title: &str, is_error: bool) -> Head<'a> {
        Head {
            language: self.language,
            theme: self.theme,
            other_languages: self.other_languages,
            title: self.texts().title(title, &self.theme.name, is_error),
        }
    }

    /// Renders a template as a page.
    pub(super) fn page(&self, status: u16, policy: &Policy, template: &impl Template) -> Page {
        let mut headers: Vec<_> = HEADERS
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        headers.push(("content-language", self.language.tag().to_owned()));
        headers.push(("content-security-policy", policy.header(self.theme)));
        // A template fails only if its output does, and a string does not.
        let body = template.render().unwrap_or_default().into_bytes();
        Page {
            status,
            headers,
            body,
        }
    }
}

impl Page {
    /// Returns the page with one more header.
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}
