//! The end session endpoint (OpenID Connect RP-Initiated Logout 1.0): a client sends the browser here to sign the person
//! out.
//!
//! Any page can send a browser here, so the person is asked unless the client proves by an ID token that it belongs to
//! the very session of the browser. The browser returns to the client only by a registered URI of a known client.

use super::id_token::Hint;
use super::redirect_uri::{is_registered, with_query};
use super::{Form, OAuthError};
use crate::tokens::TokenId;

/// The longest `state` that is returned, in bytes.
const MAX_STATE: usize = 2048;

/// A request, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// An ID token of the session.
    pub id_token_hint: Option<String>,
    /// The client.
    pub client_id: Option<String>,
    /// Where the browser goes afterwards.
    pub post_logout_redirect_uri: Option<String>,
    /// Returned unchanged.
    pub state: Option<String>,
    /// The languages of the pages, the preferred first (BCP 47), separated by spaces.
    pub ui_locales: Option<String>,
}

impl Request {
    /// Reads the query of a GET or the form of a POST. Unknown parameters are ignored.
    ///
    /// # Errors
    /// `invalid_request` for a `state` that is too long.
    pub fn of(form: &Form<'_>) -> Result<Self, OAuthError> {
        let owned = |name| form.get(name).map(str::to_owned);
        let state = owned("state");
        if state.as_ref().is_some_and(|state| state.len() > MAX_STATE) {
            return Err(OAuthError::invalid_request("state is too long"));
        }
        Ok(Self {
            id_token_hint: owned("id_token_hint"),
            client_id: owned("client_id"),
            post_logout_redirect_uri: owned("post_logout_redirect_uri"),
            state,
            ui_locales: owned("ui_locales"),
        })
    }

    /// Returns the client that the request is about: the one that it names, else the one of the hint.
    pub fn client<'r>(&'r self, hint: Option<&'r Hint>) -> Option<&'r str> {
        let of_hint = hint.map(|hint| &*hint.client_id);
        self.client_id.as_deref().or(of_hint)
    }
}

/// What the request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The hint, if the request has one that this server issued. A hint that cannot be verified counts as none: its key
    /// may be retired.
    pub hint: Option<&'a Hint>,
    /// The registered URIs of [`Request::client`]; `None` if there is no such client.
    pub registered: Option<&'a [&'a str]>,
    /// The browser's session and its person, if the person is signed in.
    pub session: Option<(TokenId, &'a str)>,
}

/// Where the browser goes after sign-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// To a page of the server.
    Page,
    /// To the client, with status 303.
    Redirect(String),
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// End the browser's session, then go on.
    End(Next),
    /// Ask the person whether to end the browser's session. If the person agrees, go on; else show a page.
    Ask(Next),
    /// The browser has no session: go on.
    Nothing(Next),
    /// Show an error page, and end nothing.
    Refuse(Fault),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The client is unknown.
    #[error("the client is unknown")]
    UnknownClient,
    /// The hint was issued to a client other than the one that the request names.
    #[error("the id_token_hint was issued to another client")]
    OtherClient,
    /// The URI is not one of the client's.
    #[error("the post_logout_redirect_uri is not registered for this client")]
    UnknownUri,
}

/// Decides a request.
pub fn decide(request: &Request, case: &Case<'_>) -> Decision {
    let next = match next(request, case) {
        Ok(next) => next,
        Err(fault) => return Decision::Refuse(fault),
    };
    match (case.session, case.hint) {
        (None, _) => Decision::Nothing(next),
        (Some((session, subject)), Some(hint))
            if hint.session == Some(session) && hint.subject == subject =>
        {
            Decision::End(next)
        }
        // The hint of another session, or none: the person may not know of this request.
        (Some(_), _) => Decision::Ask(next),
    }
}

fn next(request: &Request, case: &Case<'_>) -> Result<Next, Fault> {
    if let (Some(client), Some(hint)) = (&request.client_id, case.hint)
        && !hint.is_for(client)
    {
        return Err(Fault::OtherClient);
    }
    let is_named = request.client(case.hint).is_some();
    let registered = match case.registered {
        Some(registered) => registered,
        // A deleted client's person still signs out, but goes nowhere.
        None if is_named && request.client_id.is_some() => return Err(Fault::UnknownClient),
        None => return Ok(Next::Page),
    };
    match &request.post_logout_redirect_uri {
        None => Ok(Next::Page),
        Some(uri) if is_registered(registered.iter().copied(), uri) => {
            Ok(Next::Redirect(match &request.state {
                None => uri.clone(),
                Some(state) => with_query(uri, [("state", state.as_str())]),
            }))
        }
        Some(_) => Err(Fault::UnknownUri),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const URIS: [&str; 2] = [
        "https://shop.example.com/bye",
        "https://shop.example.com/bye?a=1",
    ];

    fn session() -> TokenId {
        "SSSSSSSSSSSSSSSS".parse().unwrap()
    }

    fn hint() -> Hint {
        Hint {
            subject: "0198".to_owned(),
            session: Some(session()),
            client_id: "blue.shop".to_owned(),
        }
    }

    fn request(query: &str) -> Request {
        Request::of(&Form::parse(query.as_bytes()).unwrap()).unwrap()
    }

    /// Decides a request in a browser with the session of [`hint`].
    fn decided(query: &str, hint: Option<&Hint>) -> Decision {
        let request = request(query);
        let registered = request.client(hint).filter(|it| *it == "blue.shop");
        let case = Case {
            hint,
            registered: registered.map(|_| &URIS[..]),
            session: Some((session(), "0198")),
        };
        decide(&request, &case)
    }

    const TO_SHOP: &str = "post_logout_redirect_uri=https%3A%2F%2Fshop.example.com%2Fbye";

    fn to_shop() -> Next {
        Next::Redirect(URIS[0].to_owned())
    }

    #[test]
    fn a_hint_of_the_browsers_session_signs_out_at_once() {
        let hint = hint();
        assert_eq!(decided("", Some(&hint)), Decision::End(Next::Page));
        assert_eq!(decided(TO_SHOP, Some(&hint)), Decision::End(to_shop()));
        let named = format!("client_id=blue.shop&{TO_SHOP}");
        assert_eq!(decided(&named, Some(&hint)), Decision::End(to_shop()));
    }

    #[test]
    fn without_a_hint_of_the_browsers_session_the_person_is_asked() {
        let mut another = hint();
        another.session = Some("TTTTTTTTTTTTTTTT".parse().unwrap());
        let mut unknown = hint();
        unknown.session = None;
        let mut other_person = hint();
        other_person.subject = "0199".to_owned();
        let named = format!("client_id=blue.shop&{TO_SHOP}");
        for hint in [None, Some(&another), Some(&unknown), Some(&other_person)] {
            assert_eq!(decided("", hint), Decision::Ask(Next::Page), "{hint:?}");
            assert_eq!(decided(&named, hint), Decision::Ask(to_shop()), "{hint:?}");
        }
    }

    #[test]
    fn without_a_session_there_is_nothing_to_ask() {
        let hint = hint();
        let case = Case {
            hint: Some(&hint),
            registered: Some(&URIS),
            session: None,
        };
        let decision = decide(&request(TO_SHOP), &case);
        assert_eq!(decision, Decision::Nothing(to_shop()));
    }

    #[rstest]
    #[case::unknown_client("client_id=other", None, Fault::UnknownClient)]
    #[case::of_another_client("client_id=other", Some(hint()), Fault::OtherClient)]
    #[case::unregistered(
        "post_logout_redirect_uri=https://evil.example.com",
        Some(hint()),
        Fault::UnknownUri
    )]
    #[case::longer(
        "post_logout_redirect_uri=https://shop.example.com/bye/",
        Some(hint()),
        Fault::UnknownUri
    )]
    #[case::another_case(
        "post_logout_redirect_uri=https://SHOP.example.com/bye",
        Some(hint()),
        Fault::UnknownUri
    )]
    fn a_contradiction_ends_nothing_and_goes_nowhere(
        #[case] query: &str,
        #[case] hint: Option<Hint>,
        #[case] fault: Fault,
    ) {
        assert_eq!(decided(query, hint.as_ref()), Decision::Refuse(fault));
    }

    #[test]
    fn an_application_on_a_port_of_its_own_is_left_as_it_was_entered() {
        let request = request("post_logout_redirect_uri=http://127.0.0.1:3000/signed-out");
        let decided = |registered: &str| {
            let case = Case {
                hint: Some(&hint()),
                registered: Some(&[registered]),
                session: None,
            };
            decide(&request, &case)
        };
        let back = "http://127.0.0.1:3000/signed-out".to_owned();
        assert_eq!(
            decided("http://127.0.0.1/signed-out"),
            Decision::Nothing(Next::Redirect(back))
        );
        assert_eq!(
            decided("http://127.0.0.1/other"),
            Decision::Refuse(Fault::UnknownUri)
        );
    }

    #[test]
    fn a_redirect_needs_a_known_client() {
        // Nothing says whose URI it is.
        assert_eq!(decided(TO_SHOP, None), Decision::Ask(Next::Page));
        // The client of the hint was deleted: the person still signs out.
        let mut deleted = hint();
        deleted.client_id = "gone".to_owned();
        assert_eq!(decided(TO_SHOP, Some(&deleted)), Decision::End(Next::Page));
    }

    #[test]
    fn a_state_is_bounded_and_returned_only_with_a_redirect() {
        let hint = hint();
        let end = |uri: &str| Decision::End(Next::Redirect(uri.to_owned()));
        let query = format!("{TO_SHOP}&state=a%26b");
        assert_eq!(
            decided(&query, Some(&hint)),
            end("https://shop.example.com/bye?state=a%26b")
        );
        let query = format!("{TO_SHOP}%3Fa%3D1&state=s");
        assert_eq!(
            decided(&query, Some(&hint)),
            end("https://shop.example.com/bye?a=1&state=s")
        );
        assert_eq!(decided("state=s", Some(&hint)), Decision::End(Next::Page));
        let long = format!("state={}", "a".repeat(MAX_STATE + 1));
        assert!(Request::of(&Form::parse(long.as_bytes()).unwrap()).is_err());
    }

    proptest! {
        /// Whatever is sent, the browser only goes to a registered URI, and a session ends unasked only by its own hint.
        #[test]
        fn no_request_leads_elsewhere(
            client in proptest::option::of(prop_oneof![Just("blue.shop".to_owned()), ".{0,8}"]),
            uri in proptest::option::of(prop_oneof![prop::sample::select(URIS.to_vec()).prop_map(str::to_owned), ".{0,40}"]),
            state in proptest::option::of(".{0,20}"),
            hinted in proptest::option::of(any::<(bool, bool)>()),
        ) {
            let hint = hinted.map(|(is_session, is_person)| Hint {
                session: is_session.then(session),
                subject: if is_person { "0198" } else { "0199" }.to_owned(),
                client_id: "blue.shop".to_owned(),
            });
            let request = Request { client_id: client, post_logout_redirect_uri: uri, state: state.clone(), ..Request::default() };
            let is_known = request.client(hint.as_ref()) == Some("blue.shop");
            let case = Case { hint: hint.as_ref(), registered: is_known.then_some(&URIS[..]), session: Some((session(), "0198")) };
            let decision = decide(&request, &case);
            if let Decision::End(_) = decision {
                prop_assert_eq!(hinted, Some((true, true)));
            }
            if let Decision::End(Next::Redirect(to)) | Decision::Ask(Next::Redirect(to)) = decision {
                prop_assert!(is_known);
                prop_assert!(URIS.iter().any(|uri| to.strip_prefix(uri).is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '&']))));
                if let Some(state) = state {
                    let query = to.split_once('?').unwrap().1;
                    let sent = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state");
                    prop_assert_eq!(sent.unwrap().1, state);
                }
            }
        }
    }
}
