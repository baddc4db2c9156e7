//! The page on which a person allows or denies what a client asks for.

use askama::Template;

use super::form::{Form, field};
use super::language::{Html, Texts};
use super::link::{ClientUri, LocalPath, Place};
use super::page::{Context, Head, Page};
use super::policy::{Forms, Policy};
use super::sign_in::{MAX_CLIENT, MAX_USERNAME};
use super::text::Shown;

const MAX_NAME: usize = 128;
const MAX_DESCRIPTION: usize = 1024;
const MAX_VALUE: usize = 256;
const MAX_ID: usize = 255;
/// The longest namespace (RFC 1123).
const MAX_OWNER: usize = 63;
/// The bytes that all scopes share. Every scope is listed; its texts are cut if they are long together.
const SCOPE_BYTES: usize = 16 * 1024;
/// The markup of one scope.
const SCOPE_MARKUP: usize = 90;
/// The bytes that all values share which the client will learn.
const LEARNED_BYTES: usize = 5 * 1024;
/// The markup of one such value, with its label.
const LEARNED_MARKUP: usize = 70;

/// The consent page.
#[derive(Clone, Copy, Debug)]
pub struct Consent<'a> {
    /// Where the form goes. The answer redirects to the client.
    pub form: Form<'a>,
    /// Who asks.
    pub client: Client<'a>,
    /// The username of the person who is signed in.
    pub person: &'a str,
    /// Leads to a sign-in as another person.
    pub not_you: Option<LocalPath<'a>>,
    /// The scopes that are granted with the consent: each of them.
    pub scopes: &'a [Scope<'a>],
    /// What the client will learn about the person.
    pub learns: &'a [Learned<'a>],
    /// The redirect URI.
    pub redirect_uri: ClientUri<'a>,
}

/// The client that asks.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its client ID.
    pub id: &'a str,
    /// Its display name.
    pub name: Option<&'a str>,
    /// The namespace that owns it.
    pub owner: &'a str,
}

/// A scope that a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Its value, as in the request.
    pub value: &'a str,
    /// What it means.
    pub text: ScopeText<'a>,
}

/// What a scope means, in the words of this program or of the scope's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeText<'a> {
    /// `openid`.
    OpenId,
    /// `profile`.
    Profile,
    /// `email`.
    Email,
    /// `groups`.
    Groups,
    /// `offline_access`.
    OfflineAccess,
    /// A scope that a resource declares.
    Declared {
        /// Its display name.
        name: Option<&'a str>,
        /// Its description.
        description: Option<&'a str>,
    },
}

/// Something that the client will learn about the person, with its present value.
#[derive(Clone, Copy, Debug)]
pub enum Learned<'a> {
    /// The username.
    Username(&'a str),
    /// The display name.
    Name(&'a str),
    /// The e-mail address.
    Email(&'a str),
    /// The names of the groups.
    Groups(&'a [&'a str]),
    /// An attribute of the User: its name and its value.
    Attribute(&'a str, &'a str),
}

struct ScopeView {
    name: Html,
    value: Option<Shown>,
    description: Option<Shown>,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct View<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    form: Form<'a>,
    client: Shown,
    id: Shown,
    who: Html,
    person: Shown,
    not_you: Option<(LocalPath<'a>, Html)>,
    scopes: Vec<ScopeView>,
    learns: Vec<(Html, Shown)>,
    destination: Html,
}

impl Consent<'_> {
    /// Renders the page.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let id = Shown::new(self.client.id, MAX_ID);
        let name = self
            .client
            .name
            .map(|name| Shown::new(name, MAX_CLIENT))
            .filter(|name| !name.is_empty());
        let person = Shown::new(self.person, MAX_USERNAME);
        let owner = Shown::new(self.client.owner, MAX_OWNER);
        let another = |path| (path, texts.say("consent-not-you"));
        let view = View {
            head: context.head("consent-title", false),
            texts,
            form: self.form,
            client: name.unwrap_or_else(|| id.clone()),
            id,
            who: texts.say_of("consent-owner", "owner", &owner),
            person,
            not_you: self.not_you.map(another),
            scopes: scopes(texts, self.scopes),
            learns: learned(texts, self.learns),
            destination: destination(texts, self.redirect_uri.place()),
        };
        let policy = Policy {
            forms: Forms::ToClients,
            ..Policy::default()
        };
        context.page(200, &policy, &view)
    }
}

fn destination(texts: &Texts, place: Place<'_>) -> Html {
    match place {
        // A host is at most 253 characters, and a URI is bounded.
        Place::Host(host) => texts.say_of("consent-to-host", "host", &Shown::new(host, MAX_VALUE)),
        Place::Device => texts.say("consent-to-device"),
    }
}

fn scopes(texts: &Texts, scopes: &[Scope<'_>]) -> Vec<ScopeView> {
    let share = (SCOPE_BYTES / scopes.len().max(1)).saturating_sub(SCOPE_MARKUP);
    scopes
        .iter()
        .map(|scope| scope_view(texts, scope, share))
        .collect()
}

/// Describes a scope in at most `share` bytes. Its value is the most important, then its name.
fn scope_view(texts: &Texts, scope: &Scope<'_>, share: usize) -> ScopeView {
    let own = |key| ScopeView {
        name: texts.say(key),
        value: None,
        description: None,
    };
    let (name, description) = match scope.text {
        ScopeText::OpenId => return own("scope-openid"),
        ScopeText::Profile => return own("scope-profile"),
        ScopeText::Email => return own("scope-email"),
        ScopeText::Groups => return own("scope-groups"),
        ScopeText::OfflineAccess => return own("scope-offline-access"),
        ScopeText::Declared { name, description } => (name, description),
    };
    // The name has at least the half of the share.
    let value = Shown::within(scope.value, MAX_NAME, share / 2);
    let rest = share - value.bytes();
    let name = name
        .map(|name| Shown::within(name, MAX_NAME, rest))
        .filter(|name| !name.is_empty() && *name != value);
    let rest = rest - name.as_ref().map_or(0, Shown::bytes);
    let description = description
        .map(|text| Shown::within(text, MAX_DESCRIPTION, rest))
        .filter(|text| !text.is_empty());
    match name {
        Some(name) => ScopeView {
            name: Html::shown(&name),
            value: Some(value),
            description,
        },
        None => ScopeView {
            name: Html::shown(&value),
            value: None,
            description,
        },
    }
}

fn learned(texts: &Texts, learns: &[Learned<'_>]) -> Vec<(Html, Shown)> {
    let share = (LEARNED_BYTES / learns.len().max(1)).saturating_sub(LEARNED_MARKUP);
    let value = |text: &str| Shown::within(text, MAX_VALUE, share / 2);
    learns
        .iter()
        .map(|it| match *it {
            Learned::Username(text) => (texts.say("learned-username"), value(text)),
            Learned::Name(text) => (texts.say("learned-name"), value(text)),
            Learned::Email(text) => (texts.say("learned-email"), value(text)),
            Learned::Groups(groups) => (texts.say("learned-groups"), value(&groups.join(", "))),
            Learned::Attribute(name, text) => (Html::shown(&value(name)), value(text)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::pages::{Language, Theme, ThemeFields};

    fn page_with(scopes: &[Scope<'_>]) -> Page {
        let fields = ThemeFields {
            name: "Example",
            ..ThemeFields::default()
        };
        let context = Context {
            language: Language::English,
            theme: &Theme::new(fields).unwrap(),
            other_languages: &[],
        };
        let consent = Consent {
            form: Form {
                action: LocalPath::new("/").unwrap(),
                hidden: &[],
            },
            client: Client {
                id: "shop",
                name: None,
                owner: "shop",
            },
            person: "alice",
            not_you: None,
            scopes,
            learns: &[],
            redirect_uri: ClientUri::new("https://shop.example/").unwrap(),
        };
        consent.render(&context)
    }

    /// However many and long they are. The value comes before the texts of its owner.
    #[rstest]
    #[case(1)]
    #[case(16)]
    #[case(128)]
    fn each_scope_is_listed_by_its_value_and_all_fit_into_their_bytes(#[case] count: usize) {
        let long = "<".repeat(2 * MAX_DESCRIPTION);
        let [value, name, description] =
            ["value", "name", "description"].map(|start| format!("{start}{long}"));
        let scope = Scope {
            value: &value,
            text: ScopeText::Declared {
                name: Some(&name),
                description: Some(&description),
            },
        };
        let page = page_with(&vec![scope; count]);
        let html = std::str::from_utf8(&page.body).unwrap();
        assert_eq!(html.matches("<code><bdi>value").count(), count);
        assert_eq!(html.matches("<li><bdi>name").count(), count);
        assert!(html.len() - page_with(&[]).body.len() <= SCOPE_BYTES);
    }
}
