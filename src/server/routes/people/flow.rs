//! Opens and seals the flow of a browser: an authorization request on its way through the pages.

use super::guest::{FLOW, Guest, Stop};
use crate::oauth::authorize::Flow;
use crate::oauth::authorize::flow::NotOpen;
use crate::oauth::{Endpoint, OAuthError};
use crate::pages::{Kind, Label, LocalPath, Way};
use crate::tokens::SystemEntropy;

/// The browser of a flow that began with a form of another site: that request has no cookies, so it is bound to the
/// browser that comes back with it. Such a flow is as good as the request itself, and no better.
const NO_BROWSER: &str = "";

/// Opens the flow with this text.
///
/// # Errors
/// The page that says why it does not open, and leads on.
pub fn open(guest: &mut Guest, text: &str) -> Result<Flow, Stop> {
    let browser = guest.known_browser().map(str::to_owned);
    let opened = browser
        .as_deref()
        .map(|browser| open_for(guest, browser, text));
    let opened = match opened {
        Some(Err(NotOpen::Foreign)) | None => {
            let unbound = open_for(guest, NO_BROWSER, text);
            // Nothing that was decided on a page counts here: the pages seal for a browser.
            unbound.map(|flow| Flow {
                signed_in: None,
                shown: None,
                ..flow
            })
        }
        Some(opened) => opened,
    };
    match opened {
        Ok(flow) => Ok(flow),
        Err(NotOpen::Expired(again)) => {
            let sealed = seal(guest, &again)?;
            let path = guest.path(Endpoint::Authorize, &[(FLOW, &sealed)]);
            let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::StartAgain));
            Err(guest.stop(Kind::FlowExpired, way))
        }
        Err(NotOpen::Foreign) => {
            let is_without_cookies = browser.is_none();
            let kind = if is_without_cookies {
                Kind::NoCookies
            } else {
                Kind::OtherBrowser
            };
            let path = guest.path(Endpoint::SignIn, &[]);
            let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::SignIn));
            Err(guest.stop(kind, way))
        }
    }
}

fn open_for(guest: &Guest, browser: &str, text: &str) -> Result<Flow, NotOpen> {
    let (keys, issuer) = (&guest.people.keys.flows, &guest.site.issuer);
    Flow::open(keys, issuer, browser, text, guest.now)
}

/// Seals a flow for this browser, which gets a cookie if it has none.
///
/// # Errors
/// The flow is too long.
pub fn seal(guest: &mut Guest, flow: &Flow) -> Result<String, OAuthError> {
    let browser = guest.browser();
    seal_for(guest, flow, &browser)
}

/// Seals a new flow for the browser that comes back with it.
///
/// # Errors
/// The flow is too long.
pub fn seal_unbound(guest: &Guest, flow: &Flow) -> Result<String, OAuthError> {
    seal_for(guest, flow, NO_BROWSER)
}

fn seal_for(guest: &Guest, flow: &Flow, browser: &str) -> Result<String, OAuthError> {
    let (keys, issuer) = (&guest.people.keys.flows, &guest.site.issuer);
    flow.seal(keys, issuer, browser, guest.now, &mut SystemEntropy)
}
