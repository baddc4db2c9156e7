//! The answer of the authorization endpoint: where it goes, and in which part of the URL or page (RFC 6749 section
//! 4.1.2, OAuth 2.0 Multiple Response Type Encoding Practices, OAuth 2.0 Form Post Response Mode, RFC 9207).

use serde::{Deserialize, Serialize};

use crate::oauth::OAuthError;
use crate::oauth::redirect_uri::{with_fragment, with_query};

/// How the parameters of an answer reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// In its fragment.
    Fragment,
    /// In a form that the browser posts.
    FormPost,
}

impl ResponseMode {
    /// Every mode, as listed in discovery.
    pub const ALL: [Self; 3] = [Self::Query, Self::Fragment, Self::FormPost];

    /// Returns the value of `response_mode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Fragment => "fragment",
            Self::FormPost => "form_post",
        }
    }
}

/// Where an answer goes: only to a redirect URI that the client has registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnTo {
    /// The redirect URI.
    pub redirect_uri: String,
    /// How the parameters are sent.
    pub mode: ResponseMode,
    /// The client's `state`, returned unchanged.
    pub state: Option<String>,
}

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A redirect with status 303 to this URI.
    Redirect(String),
    /// A page that posts these fields to the URI.
    Form {
        /// The action of the form.
        uri: String,
        /// The hidden fields, unescaped.
        fields: Vec<(&'static str, String)>,
    },
}

impl ReturnTo {
    /// Builds the answer that refuses the request.
    pub fn refuse(&self, issuer: &str, error: OAuthError) -> Answer {
        self.answer(
            issuer,
            vec![
                ("error", error.code.as_str().to_owned()),
                ("error_description", error.description.to_owned()),
            ],
        )
    }

    /// Builds an answer with these parameters, and with `state` and `iss` (RFC 9207).
    pub fn answer(&self, issuer: &str, mut fields: Vec<(&'static str, String)>) -> Answer {
        fields.extend(self.state.clone().map(|state| ("state", state)));
        fields.push(("iss", issuer.to_owned()));
        let pairs = fields.iter().map(|(name, value)| (*name, value.as_str()));
        match self.mode {
            ResponseMode::Query => Answer::Redirect(with_query(&self.redirect_uri, pairs)),
            ResponseMode::Fragment => Answer::Redirect(with_fragment(&self.redirect_uri, pairs)),
            ResponseMode::FormPost => Answer::Form {
                uri: self.redirect_uri.clone(),
                fields,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ISSUER: &str = "https://id.example.com/id";

    fn return_to(redirect_uri: &str, mode: ResponseMode, state: Option<&str>) -> ReturnTo {
        ReturnTo {
            redirect_uri: redirect_uri.to_owned(),
            mode,
            state: state.map(str::to_owned),
        }
    }

    #[rstest]
    #[case::query(
        "https://a.example/cb",
        ResponseMode::Query,
        "https://a.example/cb?code=x%26y&state=s+t&iss=https%3A%2F%2Fid.example.com%2Fid"
    )]
    #[case::own_query_stays(
        "https://a.example/cb?t=1",
        ResponseMode::Query,
        "https://a.example/cb?t=1&code=x%26y&state=s+t&iss=https%3A%2F%2Fid.example.com%2Fid"
    )]
    #[case::empty_query(
        "https://a.example/cb?",
        ResponseMode::Query,
        "https://a.example/cb?code=x%26y&state=s+t&iss=https%3A%2F%2Fid.example.com%2Fid"
    )]
    #[case::fragment(
        "https://a.example/cb?t=1",
        ResponseMode::Fragment,
        "https://a.example/cb?t=1#code=x%26y&state=s+t&iss=https%3A%2F%2Fid.example.com%2Fid"
    )]
    fn parameters_are_appended_and_escaped(
        #[case] uri: &str,
        #[case] mode: ResponseMode,
        #[case] wanted: &str,
    ) {
        let answer = return_to(uri, mode, Some("s t")).answer(ISSUER, vec![("code", "x&y".into())]);
        assert_eq!(answer, Answer::Redirect(wanted.to_owned()));
    }

    #[test]
    fn a_form_has_the_fields_as_they_are() {
        let to = return_to(
            "https://a.example/cb?t=1",
            ResponseMode::FormPost,
            Some("<s>"),
        );
        let Answer::Form { uri, fields } = to.answer(ISSUER, vec![("code", "x".into())]) else {
            panic!("no form");
        };
        assert_eq!(uri, "https://a.example/cb?t=1");
        let wanted = [("code", "x"), ("state", "<s>"), ("iss", ISSUER)];
        assert_eq!(fields, wanted.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn an_error_names_the_issuer_too() {
        let to = return_to("https://a.example/cb", ResponseMode::Query, None);
        let answer = to.refuse(ISSUER, OAuthError::invalid_request("nonce is missing"));
        let wanted = "https://a.example/cb?error=invalid_request&error_description=nonce+is+missing&iss=https%3A%2F%2Fid.example.com%2Fid";
        assert_eq!(answer, Answer::Redirect(wanted.to_owned()));
    }

    proptest! {
        /// A state cannot add a parameter, end the query or leave the URI.
        #[test]
        fn any_state_reads_back(state in any::<String>()) {
            let to = return_to("https://a.example/cb", ResponseMode::Query, Some(&state));
            let Answer::Redirect(uri) = to.answer(ISSUER, vec![("code", "x".into())]) else {
                panic!("no redirect");
            };
            let query = uri.strip_prefix("https://a.example/cb?").unwrap();
            let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let wanted = [("code", "x"), ("state", &*state), ("iss", ISSUER)];
            prop_assert_eq!(pairs, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}
