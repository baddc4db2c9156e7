//! A flow: one authorization request on its way through the pages, before anything is written to the store.
//!
//! The browser carries it as a sealed value in the URL, so several tabs work side by side, and anonymous requests cost
//! the store nothing. A flow ends ten minutes after it began, however often it is sealed again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::allowed::words;
use super::next::SignedIn;
use super::request::AuthorizationRequest;
use crate::oauth::OAuthError;
use crate::tokens::sealed_value::{MAX_LIFETIME, MAX_VALUE, Place, ValueKeys};
use crate::tokens::{Entropy, TokenHash, TokenId, fields};

/// The kind of the sealed value.
const KIND: &str = "authorize";
/// What the pages add to a flow, in bytes: a sign-in and a consent page. A new flow leaves room for it.
const ROOM: usize = 192;

/// The error for a request that does not fit into a URL when sealed.
pub const TOO_LONG: OAuthError = OAuthError::invalid_request(
    "the request is too long: push it to the PAR endpoint, or send fewer parameters",
);

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The client's ID.
    pub client: String,
    /// The uid of the client's resource. A flow of a client that was recreated since ends with an error.
    pub client_uid: String,
    /// What the client asks for.
    pub request: Requested,
    /// When the request arrived.
    pub begun_at: Timestamp,
    /// The sign-in that was completed for this request.
    pub signed_in: Option<SignedIn>,
    /// What the consent page showed, see [`shown`]. Only this is allowed by its form.
    pub shown: Option<TokenHash>,
}

/// Where the parameters of a request are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requested {
    /// In the flow.
    Here(Box<AuthorizationRequest>),
    /// In the store: the client pushed them (RFC 9126).
    Pushed {
        /// The ID of the reference.
        id: TokenId,
        /// Its hash.
        hash: TokenHash,
    },
}

impl Flow {
    /// Begins a flow.
    pub fn begin(client: String, client_uid: String, request: Requested, now: Timestamp) -> Self {
        Self {
            client,
            client_uid,
            request,
            begun_at: now,
            signed_in: None,
            shown: None,
        }
    }

    /// Seals the flow for the browser whose cookie has this secret.
    ///
    /// # Errors
    /// [`TOO_LONG`].
    pub fn seal(
        &self,
        keys: &ValueKeys,
        issuer: &str,
        browser: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<String, OAuthError> {
        let value = serde_json::to_vec(self).map_err(|_| TOO_LONG)?;
        let is_new = self.signed_in.is_none() && self.shown.is_none();
        if is_new && value.len() + ROOM > MAX_VALUE {
            return Err(TOO_LONG);
        }
        let end = self.begun_at.checked_add(MAX_LIFETIME);
        let end = end.unwrap_or(Timestamp::MAX);
        let sealed = keys.seal(place(issuer, browser), &value, end, now, entropy);
        sealed.map_err(|_| TOO_LONG)
    }

    /// Opens a flow.
    ///
    /// # Errors
    /// See [`NotOpen`].
    pub fn open(
        keys: &ValueKeys,
        issuer: &str,
        browser: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<Self, NotOpen> {
        let opened = keys.open_at_any_time(place(issuer, browser), text);
        let (value, expires_at) = opened.ok_or(NotOpen::Foreign)?;
        // Another version of the program may have sealed other fields.
        let flow: Self = serde_json::from_slice(&value).map_err(|_| NotOpen::Foreign)?;
        if now < expires_at {
            return Ok(flow);
        }
        let Self {
            client,
            client_uid,
            request,
            ..
        } = flow;
        let again = Self::begin(client, client_uid, request, now);
        Err(NotOpen::Expired(Box::new(again)))
    }
}

/// Why a flow does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpen {
    /// Its ten minutes are over. The same request can begin again with this flow if the person wants to: any page can
    /// send a browser to the authorization endpoint with it.
    Expired(Box<Flow>),
    /// It was changed or cut, or belongs to another browser or issuer. The usual cause is a browser without cookies.
    Foreign,
}

const fn place<'a>(issuer: &'a str, browser: &'a str) -> Place<'a> {
    Place {
        kind: KIND,
        issuer,
        browser,
    }
}

/// Returns a hash of what a consent page shows: the person, the scopes and the claims that these release, in any order.
/// If it differs when the form arrives, the page is shown again.
pub fn shown(subject: &str, scopes: &[&str], claims: &[&str]) -> TokenHash {
    let mut sorted = words(scopes, claims);
    sorted.sort_unstable();
    let sorted = sorted.iter().map(String::as_str);
    TokenHash::from_bytes(fields::sha256([subject].into_iter().chain(sorted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::authorize::{Registration, ResponseType, request};
    use crate::oauth::{Form, pkce};
    use crate::tokens::{KeyMaterial, SeededEntropy};

    const ISSUER: &str = "https://id.example.com";

    fn keys() -> ValueKeys {
        ValueKeys::new(&KeyMaterial::sample(1), None)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn flow(state: &str) -> Flow {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", "https://app.example.com/cb")
            .append_pair("scope", "openid profile")
            .finish();
        let client = Registration {
            redirect_uris: &["https://app.example.com/cb"],
            response_types: &[ResponseType::Code],
            needs_pkce: false,
            needs_par: false,
        };
        let form = Form::parse(query.as_bytes()).unwrap();
        let mut request = request::check(&form, &client, false).unwrap();
        // Longer than a client may send it.
        request.return_to.state = Some(state.to_owned());
        request.challenge = pkce::Challenge::parse(&"A".repeat(43)).ok();
        let request = Requested::Here(Box::new(request));
        Flow::begin("shop".to_owned(), "uid-1".to_owned(), request, at(100))
    }

    fn sealed(flow: &Flow, now: i64) -> Result<String, OAuthError> {
        flow.seal(&keys(), ISSUER, "b1", at(now), &mut SeededEntropy::new(1))
    }

    fn opened(text: &str, now: i64) -> Result<Flow, NotOpen> {
        Flow::open(&keys(), ISSUER, "b1", text, at(now))
    }

    fn through_every_page(flow: &Flow) -> Flow {
        let at = "2026-12-01T02:39:38.123456789Z".parse().unwrap();
        let session = "AAAAAAAAAAAAAAAA".parse().unwrap();
        Flow {
            signed_in: Some(SignedIn { session, at }),
            shown: Some(shown("me", &["openid"], &[])),
            ..flow.clone()
        }
    }

    /// A replica of another release compares it.
    #[test]
    fn the_hash_of_what_a_page_shows_is_fixed() {
        let hash = shown("alice", &["b", "a"], &[]);
        assert_eq!(
            hash.to_string(),
            "4873f86fb8aab9fa1b3a105a121a44a79947270d6ecba78b098281e8a3a5b8c0"
        );
    }

    #[test]
    fn a_flow_reads_back_in_its_browser() {
        let pushed = Requested::Pushed {
            id: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            hash: TokenHash::of("reference"),
        };
        let pushed = Flow::begin("shop".to_owned(), "uid-1".to_owned(), pushed, at(100));
        for flow in [flow("s"), through_every_page(&flow("s")), pushed] {
            let text = sealed(&flow, 100).unwrap();
            assert_eq!(opened(&text, 101).unwrap(), flow);
            let other = Flow::open(&keys(), ISSUER, "b2", &text, at(101));
            assert_eq!(other, Err(NotOpen::Foreign));
            let other = Flow::open(&keys(), "https://other.example.com", "b1", &text, at(101));
            assert_eq!(other, Err(NotOpen::Foreign));
        }
    }

    #[test]
    fn sealing_again_does_not_prolong_a_flow() {
        let text = sealed(&flow("s"), 650).unwrap();
        assert!(opened(&text, 699).is_ok());
        assert!(matches!(opened(&text, 700), Err(NotOpen::Expired(_))));
    }

    #[test]
    fn an_expired_flow_can_begin_again_without_its_sign_in() {
        let text = sealed(&through_every_page(&flow("s")), 100).unwrap();
        let Err(NotOpen::Expired(again)) = opened(&text, 9999) else {
            panic!("not expired");
        };
        let Flow {
            client,
            client_uid,
            request,
            ..
        } = flow("s");
        let wanted = Flow::begin(client, client_uid, request, at(9999));
        assert_eq!(*again, wanted);
        let other = Flow::open(&keys(), ISSUER, "b2", &text, at(9999));
        assert_eq!(other, Err(NotOpen::Foreign));
    }

    #[test]
    fn a_value_of_another_kind_is_no_flow() {
        let json = serde_json::to_vec(&flow("s")).unwrap();
        let elsewhere = Place {
            kind: "other",
            ..place(ISSUER, "b1")
        };
        let mut entropy = SeededEntropy::new(1);
        let text = keys().seal(elsewhere, &json, at(200), at(100), &mut entropy);
        assert_eq!(opened(&text.unwrap(), 101), Err(NotOpen::Foreign));
        let here = place(ISSUER, "b1");
        let text = keys().seal(here, b"{}", at(200), at(100), &mut entropy);
        assert_eq!(opened(&text.unwrap(), 101), Err(NotOpen::Foreign));
    }

    #[test]
    fn a_flow_that_begins_can_be_finished_and_a_longer_one_needs_par() {
        let length = |state: usize| serde_json::to_vec(&flow(&"s".repeat(state))).unwrap().len();
        let longest = MAX_VALUE - ROOM - length(0);
        let flow_of = |state: usize| flow(&"s".repeat(state));
        assert!(sealed(&flow_of(longest), 100).is_ok());
        assert!(sealed(&through_every_page(&flow_of(longest)), 100).is_ok());
        assert_eq!(sealed(&flow_of(longest + 1), 100).err(), Some(TOO_LONG));
    }

    #[test]
    fn a_consent_page_is_known_by_its_person_scopes_and_claims() {
        let page = shown("me", &["openid", "email"], &["email", "name"]);
        assert_eq!(page, shown("me", &["email", "openid"], &["name", "email"]));
        let claims = &["email", "name"];
        for other in [
            shown("you", &["openid", "email"], claims),
            shown("me", &["openid"], claims),
            shown("me", &["openid", "email", "orders.read"], claims),
            shown("me", &["openidemail"], claims),
            shown("meopenid", &["email"], claims),
            shown("me", &["openid", "email"], &["email"]),
            shown("me", &["openid", "email"], &["email", "name", "groups"]),
            shown("me", &["openid", "email", "name"], &["email"]),
        ] {
            assert_ne!(page, other);
        }
    }
}
