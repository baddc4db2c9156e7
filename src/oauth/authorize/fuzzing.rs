//! Fuzz targets: authorization requests and requests to sign out, which any page can have a browser send. Where an answer
//! may go is compared with a second, naive judge.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::sync::LazyLock;

use regex::Regex;

use super::claims::ClaimsRequest;
use super::request::{MAX_STORED, check};
use super::{
    Answer, AuthorizationRequest, Refused, Registration, ResponseMode, ResponseType, ReturnTo,
};
use crate::fuzzing::Input;
use crate::oauth::end_session::{self, Case, Decision, Next};
use crate::oauth::id_token::Hint;
use crate::oauth::{Form, OAuthError};
use crate::tokens::{SeededEntropy, TokenId};

const ISSUER: &str = "https://id.example.com/id";
const URIS: [&str; 4] = [
    "https://app.example.com/cb?keep=1",
    "http://localhost/cb",
    "http://[::1]:8000",
    "com.example.app:/cb",
];

static LOOPBACK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)\Ahttp://(127\.0\.0\.1|\[::1\]|localhost)(?::([0-9]+))?([/?#].*)?\z").unwrap()
});

/// Splits a loopback URI into its host and what follows the port.
fn naive_loopback(uri: &str) -> Option<(String, String)> {
    let parts = LOOPBACK.captures(uri)?;
    let port: u64 = match parts.get(2) {
        Some(port) => port.as_str().parse().ok()?,
        None => 80,
    };
    let rest = parts.get(3).map_or("", |rest| rest.as_str());
    (port < 65_536).then(|| (parts[1].to_owned(), rest.to_owned()))
}

fn naive_is_registered(uri: &str) -> bool {
    let same = |known: &&str| {
        *known == uri || naive_loopback(uri).is_some_and(|uri| naive_loopback(known) == Some(uri))
    };
    uri.len() <= 2048 && URIS.iter().any(same)
}

/// An answer goes only to a registered URI, contains what was put into it, and is one line of visible ASCII.
fn returns(to: &ReturnTo) {
    assert!(naive_is_registered(&to.redirect_uri), "{to:?}");
    let fields = vec![("code", "c&d =\u{e9}".to_owned())];
    let mut wanted = vec![("code".to_owned(), "c&d =\u{e9}".to_owned())];
    wanted.extend(to.state.clone().map(|state| ("state".to_owned(), state)));
    wanted.push(("iss".to_owned(), ISSUER.to_owned()));
    match to.answer(ISSUER, fields) {
        Answer::Redirect(uri) => {
            let rest = uri.strip_prefix(&*to.redirect_uri).unwrap();
            assert!(rest.bytes().all(|byte| byte.is_ascii_graphic()), "{uri:?}");
            let separator = if to.mode == ResponseMode::Fragment {
                "#"
            } else {
                "&?"
            };
            let sent = rest.strip_prefix(|c| separator.contains(c)).unwrap_or(rest);
            let sent: Vec<_> = form_urlencoded::parse(sent.as_bytes())
                .into_owned()
                .collect();
            assert_eq!(sent, wanted, "{uri:?}");
        }
        Answer::Form { uri, fields } => {
            assert_eq!(uri, to.redirect_uri);
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            assert_eq!(fields.collect::<Vec<_>>(), wanted);
        }
    }
}

/// What a request is accepted as: bounded, and the same after it was stored.
fn accepted(request: &AuthorizationRequest, client: &Registration<'_>) {
    returns(&request.return_to);
    assert!(request.challenge.is_some() || !client.needs_pkce);
    assert!(client.response_types.contains(&request.response_type));
    if request.response_type == ResponseType::CodeIdToken {
        assert!(request.nonce.is_some() && request.is_openid());
        assert_ne!(request.return_to.mode, ResponseMode::Query);
    }
    if let Ok(stored) = request.to_stored() {
        assert!(stored.len() <= MAX_STORED);
        let read: AuthorizationRequest = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, *request);
    }
}

fn said(error: &OAuthError) {
    let json = error.to_json();
    assert!(json.len() < 512, "{json}");
}

/// A request leads to a page, or to an answer at a URI of the client. The first byte chooses the client's registration.
pub fn authorize(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let client = Registration {
        redirect_uris: if kind & 1 == 0 { &URIS } else { &URIS[..1] },
        response_types: if kind & 2 == 0 {
            &ResponseType::ALL
        } else {
            &ResponseType::ALL[..1]
        },
        needs_pkce: kind & 4 == 0,
        needs_par: kind & 8 != 0,
    };
    let is_pushed = kind & 16 != 0;
    let Ok(form) = Form::parse(input.0) else {
        return;
    };
    let checked = check(&form, &client, is_pushed);
    let named = form.get("redirect_uri");
    let is_known =
        named.is_some_and(|uri| naive_is_registered(uri) && (kind & 1 == 0 || uri == URIS[0]));
    match &checked {
        Ok(request) => {
            accepted(request, &client);
            assert!(is_pushed || !client.needs_par);
        }
        Err(Refused::Page(error)) => {
            assert!(!is_known, "{named:?}");
            said(error);
        }
        Err(Refused::Client(to, error)) => {
            returns(to);
            said(error);
        }
    }
    if let (Some(uri), Ok(_) | Err(Refused::Client(..))) = (named, &checked) {
        assert!(is_known, "{uri:?}");
    }
    if let Some(Ok(claims)) = form.get("claims").map(ClaimsRequest::parse) {
        let json = serde_json::to_string(&claims).unwrap();
        assert_eq!(
            serde_json::from_str::<ClaimsRequest>(&json).unwrap(),
            claims
        );
    }
}

/// A session ends without a question only for an ID token of this very session, and the browser goes only to a URI of the
/// client. The first byte chooses the session and the hint.
pub fn sign_out(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let Ok(form) = Form::parse(input.0) else {
        return;
    };
    let Ok(request) = end_session::Request::of(&form) else {
        return;
    };
    let mut entropy = SeededEntropy::new(1);
    let (own, other) = (TokenId::random(&mut entropy), TokenId::random(&mut entropy));
    let hint = Hint {
        subject: if kind & 1 == 0 { "alice" } else { "bob" }.to_owned(),
        client_id: "blue.app".to_owned(),
        session: [Some(own), Some(other), None][usize::from(kind >> 1 & 3) % 3],
    };
    let hint = (kind & 8 == 0).then_some(hint);
    let named = request.client(hint.as_ref());
    let case = Case {
        hint: hint.as_ref(),
        registered: (named == Some("blue.app")).then_some(&URIS),
        session: (kind & 16 == 0).then_some((own, "alice")),
    };
    let decision = end_session::decide(&request, &case);
    if let Decision::End(_) = decision {
        let hint = hint.as_ref().unwrap();
        assert_eq!((hint.session, &*hint.subject), (Some(own), "alice"));
        assert!(case.session.is_some());
    }
    if let Decision::Ask(_) = decision {
        assert!(case.session.is_some());
    }
    let (Decision::End(next) | Decision::Ask(next) | Decision::Nothing(next)) = decision else {
        return;
    };
    let Next::Redirect(uri) = next else {
        return;
    };
    let registered = request.post_logout_redirect_uri.unwrap();
    assert!(naive_is_registered(&registered) && case.registered.is_some());
    let rest = uri.strip_prefix(&*registered).unwrap();
    assert!(rest.bytes().all(|byte| byte.is_ascii_graphic()), "{uri:?}");
    let state = rest.strip_prefix(['?', '&']).unwrap_or(rest);
    let state: Vec<_> = form_urlencoded::parse(state.as_bytes())
        .into_owned()
        .collect();
    let wanted = request.state.map(|state| ("state".to_owned(), state));
    assert_eq!(state, wanted.into_iter().collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_authorization_requests_go_only_to_registered_uris() {
        replay("authorize", super::authorize);
    }

    #[test]
    fn kept_sign_outs_end_only_their_own_session_unasked() {
        replay("sign_out", super::sign_out);
    }
}
