//! The pages of a sign-out: the question, and its end (OpenID Connect RP-Initiated Logout 1.0, Front-Channel Logout 1.0).

use askama::Template;

use super::form::{Form, field};
use super::language::{Html, Texts};
use super::link::ClientUri;
use super::page::{Context, Head, Page};
use super::policy::{Forms, Policy};
use super::sign_in::{MAX_CLIENT, MAX_USERNAME};
use super::text::{Shown, html_bytes};
use super::theme::hash_source;
use super::way_back::WayBack;

/// The largest number of clients that one page tells about a sign-out.
pub const MAX_FRAMES: usize = 32;
/// The bytes that the URIs of all frames share.
const FRAME_BYTES: usize = 24 * 1024;
/// The markup of one frame.
const FRAME_MARKUP: usize = 120;
/// Goes back to the client when all frames are loaded, or after some seconds, since a client may not answer.
const SCRIPT: &str = "(()=>{const go=()=>location.replace(document.getElementById(\"back\").href);addEventListener(\"load\",go);setTimeout(go,5000)})()";

/// The page that asks whether to sign out, since a link or another page may have led the person here.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmSignOut<'a> {
    /// Where the form goes. The answer may redirect to a client.
    pub form: Form<'a>,
    /// The username of the person who is signed in.
    pub person: &'a str,
    /// The display name of the client that asks, or its client ID.
    pub client: Option<&'a str>,
}

/// The page that a person sees after a sign-out. It loads a frame for each client of the session.
#[derive(Clone, Copy, Debug)]
pub struct SignedOut<'a> {
    /// The front-channel logout URIs of the clients of the session, with `iss` and `sid` if they want them.
    pub frames: &'a [ClientUri<'a>],
    /// The way back to the client that asked for the sign-out: the post-logout redirect URI, with `state`.
    pub back: Option<WayBack<'a>>,
}

#[derive(Template)]
#[template(path = "confirm_sign_out.html")]
struct ConfirmView<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    form: Form<'a>,
    person: Shown,
    client: Option<Shown>,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutView<'a> {
    head: Head<'a>,
    texts: &'a Texts,
    frames: Vec<(ClientUri<'a>, String)>,
    back: Option<(ClientUri<'a>, Html)>,
    script: Option<Html>,
}

impl ConfirmSignOut<'_> {
    /// Renders the page.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let view = ConfirmView {
            head: context.head("sign-out-title", false),
            texts: context.texts(),
            form: self.form,
            person: Shown::new(self.person, MAX_USERNAME),
            client: self.client.map(|name| Shown::new(name, MAX_CLIENT)),
        };
        let policy = Policy {
            forms: Forms::ToClients,
            ..Policy::default()
        };
        context.page(200, &policy, &view)
    }
}

impl<'a> SignedOut<'a> {
    /// Returns the frames that the page loads: the first ones that fit into it. Private schemes cannot be framed.
    pub fn framed(&self) -> Vec<ClientUri<'a>> {
        let mut bytes = 0;
        self.frames
            .iter()
            .filter(|uri| uri.origin().is_some())
            .take(MAX_FRAMES)
            .take_while(|uri| {
                bytes += html_bytes(&uri.to_string()) + FRAME_MARKUP;
                bytes <= FRAME_BYTES
            })
            .copied()
            .collect()
    }

    /// Renders the page. If there are frames and a way back, a script goes back when the frames are loaded; without
    /// JavaScript the person presses a button.
    pub fn render(&self, context: &Context<'_>) -> Page {
        let texts = context.texts();
        let framed = self.framed();
        let mut origins: Vec<String> = framed.iter().filter_map(ClientUri::origin).collect();
        origins.sort_unstable();
        origins.dedup();
        let goes_back = self.back.is_some() && !framed.is_empty();
        let policy = Policy {
            script: goes_back.then(|| hash_source(SCRIPT)),
            frames: origins,
            forms: Forms::None,
        };
        let frames = framed.into_iter().zip(1..);
        let view = SignedOutView {
            head: context.head("signed-out-title", false),
            texts,
            frames: frames
                .map(|(uri, number)| (uri, texts.label("signed-out-frame", "number", number)))
                .collect(),
            back: self.back.map(|back| (back.uri, back.label(texts))),
            script: goes_back.then(|| Html::of_own(SCRIPT)),
        };
        context.page(200, &policy, &view)
    }
}
