//! The pages that say what happened and lead on: errors, and news.

use askama::Template;

use super::language::{Html, Texts};
use super::link::LocalPath;
use super::page::{Context, Head, Page};
use super::policy::Policy;
use super::sign_in::{MAX_CLIENT, MAX_USERNAME, minutes};
use super::text::Shown;
use super::way_back::WayBack;

const MAX_REQUEST_ID: usize = 64;
const MAX_REASON: usize = 300;

/// A page with a message, and a way on.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// What happened.
    pub kind: Kind<'a>,
    /// The button that leads on.
    pub way: Option<Way<'a>>,
    /// The ID of the request, which an administrator finds in the log. It is shown on errors.
    pub request_id: Option<&'a str>,
}

/// Where the button of a notice leads.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// To a page of this server.
    Local(LocalPath<'a>, Label),
    /// To a client.
    Client(WayBack<'a>),
}

/// What a button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Sends the same request again.
    TryAgain,
    /// Starts the sign-in from its beginning.
    StartAgain,
    /// Leads to the sign-in page.
    SignIn,
    /// Leads to a sign-in as another person.
    AnotherAccount,
    /// Goes on.
    Continue,
    /// Leads to the page that asks whether to sign out.
    SignOut,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// The authorization request is not valid, and cannot be refused by a redirect.
    InvalidRequest {
        /// A fixed text in English, for the developer of the client.
        reason: &'static str,
    },
    /// The client does not exist or may not sign people in.
    UnknownClient,
    /// The redirect URI is not registered.
    UnknownRedirectUri,
    /// The person may not use this client.
    NotAllowed {
        /// The display name of the client, or its client ID.
        client: &'a str,
    },
    /// The sign-in was begun too long ago.
    FlowExpired,
    /// The sign-in was begun in another browser.
    OtherBrowser,
    /// The browser sent no cookie.
    NoCookies,
    /// The form was not made for this session, or too long ago.
    FormRefused,
    /// There were too many attempts.
    TooMany {
        /// The number of seconds until another attempt is admitted.
        retry_after: u64,
    },
    /// The server has more requests than it can answer.
    Busy {
        /// The number of seconds after which to try again.
        retry_after: u64,
    },
    /// The store of accounts cannot be reached.
    StoreUnavailable {
        /// The number of seconds after which to try again.
        retry_after: u64,
    },
    /// The enrolment link has expired or was replaced by a newer one.
    LinkExpired,
    /// The enrolment link was used.
    LinkUsed,
    /// The enrolment link is not one of this server.
    LinkUnknown,
    /// There is no such page.
    NotFound,
    /// The page is not for this method.
    MethodNotAllowed {
        /// The methods for which it is, as in the header `Allow`.
        allow: &'static str,
    },
    /// No people sign in at this Identity.
    NoSignIn,
    /// The request is too large.
    TooLarge,
    /// The server failed.
    Internal,
    /// The person has signed in, and no application waits.
    SignedIn {
        /// The username.
        person: &'a str,
    },
    /// The person is signed in already: after the back button, or a form that was sent twice.
    SignedInAlready {
        /// The username.
        person: &'a str,
    },
    /// The password is set.
    PasswordSet {
        /// The username.
        person: &'a str,
    },
    /// The person did not sign out.
    StaysSignedIn {
        /// The username.
        person: &'a str,
    },
}

impl Kind<'_> {
    /// Returns the status code of the page.
    pub const fn status(self) -> u16 {
        match self {
            Self::SignedIn { .. }
            | Self::SignedInAlready { .. }
            | Self::PasswordSet { .. }
            | Self::StaysSignedIn { .. } => 200,
            Self::InvalidRequest { .. }
            | Self::UnknownClient
            | Self::UnknownRedirectUri
            | Self::FlowExpired
            | Self::OtherBrowser
            | Self::NoCookies => 400,
            Self::NotAllowed { .. } | Self::FormRefused => 403,
            Self::NotFound | Self::NoSignIn | Self::LinkUnknown => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::LinkExpired | Self::LinkUsed => 410,
            Self::TooLarge => 413,
            Self::TooMany { .. } => 429,
            Self::Internal => 500,
            Self::Busy { .. } | Self::StoreUnavailable { .. } => 503,
        }
    }

    /// Returns whether something went wrong.
    const fn is_error(self) -> bool {
        self.status() >= 400
    }

    /// Returns the texts: the keys of the title, of what happened, and of what to do.
    const fn keys(self) -> [&'static str; 3] {
        match self {
            Self::InvalidRequest { .. } => [
                "invalid-request-title",
                "invalid-request-text",
                "invalid-request-do",
            ],
            Self::UnknownClient => [
                "unknown-client-title",
                "unknown-client-text",
                "unknown-client-do",
            ],
            Self::UnknownRedirectUri => [
                "unknown-redirect-title",
                "unknown-redirect-text",
                "unknown-redirect-do",
            ],
            Self::NotAllowed { .. } => ["not-allowed-title", "not-allowed-text", "not-allowed-do"],
            Self::FlowExpired => ["flow-expired-title", "flow-expired-text", "flow-expired-do"],
            Self::OtherBrowser => [
                "other-browser-title",
                "other-browser-text",
                "other-browser-do",
            ],
            Self::NoCookies => ["no-cookies-title", "no-cookies-text", "no-cookies-do"],
            Self::FormRefused => ["form-refused-title", "form-refused-text", "form-refused-do"],
            Self::TooMany { .. } => ["too-many-title", "too-many-text", "too-many-do"],
            Self::Busy { .. } => ["busy-title", "busy-text", "busy-do"],
            Self::StoreUnavailable { .. } => ["store-title", "store-text", "store-do"],
            Self::LinkExpired => ["link-expired-title", "link-expired-text", "link-do"],
            Self::LinkUsed => ["link-used-title", "link-used-text", "link-used-do"],
            Self::LinkUnknown => ["link-unknown-title", "link-unknown-text", "link-do"],
            Self::NotFound => ["not-found-title", "not-found-text", "not-found-do"],
            Self::MethodNotAllowed { .. } => ["method-title", "method-text", "method-do"],
            Self::NoSignIn => ["no-sign-in-title", "no-sign-in-text", "no-sign-in-do"],
            Self::TooLarge => ["too-large-title", "too-large-text", "too-large-do"],
            Self::Internal => ["internal-title", "internal-text", "internal-do"],
            Self::SignedIn { .. } => ["signed-in-title", "signed-in-text", "signed-in-do"],
            Self::SignedInAlready { .. } => ["already-title", "already-text", "already-do"],
            Self::PasswordSet { .. } => {
                ["password-set-title", "password-set-text", "password-set-do"]
            }
            Self::StaysSignedIn { .. } => ["stays-title", "stays-text", "stays-do"],
        }
    }

    /// Returns the text that says what happened.
    fn text(self, texts: &Texts) -> Html {
        let [_, key, _] = self.keys();
        match self {
            Self::NotAllowed { client } => {
                texts.say_of(key, "client", &Shown::new(client, MAX_CLIENT))
            }
            Self::TooMany { retry_after } => texts.count(key, "minutes", minutes(retry_after)),
            Self::SignedIn { person }
            | Self::SignedInAlready { person }
            | Self::PasswordSet { person }
            | Self::StaysSignedIn { person } => {
                texts.say_of(key, "person", &Shown::new(person, MAX_USERNAME))
            }
            _ => texts.say(key),
        }
    }
}

impl Label {
    const fn key(self) -> &'static str {
        match self {
            Self::TryAgain => "try-again",
            Self::StartAgain => "start-again",
            Self::SignIn => "go-to-sign-in",
            Self::AnotherAccount => "another-account",
            Self::Continue => "continue",
            Self::SignOut => "sign-out-accept",
        }
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct View<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    is_error: bool,
    title: Html,
    what_happened: Html,
    what_to_do: Html,
    way: Option<(String, Html)>,
    reason: Option<Shown>,
    request_id: Option<Shown>,
}

impl Notice<'_> {
    /// Renders the page.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let kind = self.kind;
        let [title, _, what_to_do] = kind.keys();
        let way = |way: Way<'_>| match way {
            Way::Local(path, label) => (path.to_string(), texts.say(label.key())),
            Way::Client(back) => (back.uri.to_string(), back.label(texts)),
        };
        let request_id = self.request_id.filter(|_| kind.is_error());
        let reason = match kind {
            Kind::InvalidRequest { reason } => Some(Shown::new(reason, MAX_REASON)),
            _ => None,
        };
        let view = View {
            head: context.head(title, kind.is_error()),
            texts,
            is_error: kind.is_error(),
            title: texts.say(title),
            what_happened: kind.text(texts),
            what_to_do: texts.say(what_to_do),
            way: self.way.map(way),
            reason,
            request_id: request_id.map(|id| Shown::new(id, MAX_REQUEST_ID)),
        };
        let page = context.page(kind.status(), &Policy::default(), &view);
        match kind {
            Kind::TooMany { retry_after }
            | Kind::Busy { retry_after }
            | Kind::StoreUnavailable { retry_after } => page.with("retry-after", retry_after),
            Kind::MethodNotAllowed { allow } => page.with("allow", allow),
            _ => page,
        }
    }
}
