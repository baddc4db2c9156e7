//! Headers of the answers to gateways, encoded once per change of the Identity.

use std::sync::LazyLock;

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderName, HeaderValue};

use crate::directory::tables::record::GatewayRecord;
use crate::oauth::check_token;
use crate::oauth::enforcement::Denial;

/// Names the token's subject.
pub(super) const SUBJECT: HeaderName = HeaderName::from_static("x-auth-subject");
/// Names the kind of the subject.
pub(super) const KIND: HeaderName = HeaderName::from_static("x-auth-kind");
/// Names the token's client.
pub(super) const CLIENT_ID: HeaderName = HeaderName::from_static("x-auth-client-id");
/// Names the token's scopes at the gateway.
pub(super) const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");
/// The headers that every answer has, so that no proxy passes on the caller's own.
pub(super) const IDENTITY: [HeaderName; 4] = [SUBJECT, KIND, CLIENT_ID, SCOPE];

/// Lists the caller's headers that Envoy removes from the request that it passes on.
pub(super) const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The headers besides `Authorization` in which a caller may present a token.
pub(super) const KEYS: [&str; 2] = ["x-api-key", "api-key"];

/// A gateway of the Identity.
#[derive(Debug)]
pub(super) struct ServedGateway {
    pub record: GatewayRecord,
    /// The `WWW-Authenticate` values, in the order of [`Denial::CODES`].
    challenges: [HeaderValue; Denial::CODES.len()],
}

impl ServedGateway {
    /// Encodes the challenges of a gateway.
    ///
    /// # Errors
    /// If the issuer or a scope has characters that a header cannot have. The schema of Identities prevents that.
    pub fn new(issuer: &str, record: &GatewayRecord) -> Result<Self, InvalidHeaderValue> {
        let encode = |code| HeaderValue::try_from(check_token::challenge(issuer, record, code));
        let [none, request, token, scope] = Denial::CODES.map(encode);
        Ok(Self {
            record: record.clone(),
            challenges: [none?, request?, token?, scope?],
        })
    }

    /// Returns the `WWW-Authenticate` value of a denial.
    pub fn challenge(&self, denial: Denial) -> HeaderValue {
        let codes = Denial::CODES.into_iter().zip(&self.challenges);
        let mut fitting = codes.filter(|(code, _)| *code == denial.code());
        let (_, challenge) = fitting.next().unwrap_or((None, &self.challenges[0]));
        challenge.clone()
    }
}

/// Encodes the challenge of a gateway that the Identity does not have.
///
/// # Errors
/// As [`ServedGateway::new`].
pub(super) fn challenge_of_unknown(issuer: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(check_token::challenge_of_unknown(issuer))
}

/// Returns the value of [`TO_REMOVE`]: the names that CGI, WSGI and PHP read as one of [`IDENTITY`], and the headers
/// with the caller's token. `Authorization` stays: a backend may verify the token too.
pub(super) fn to_remove() -> HeaderValue {
    static VALUE: LazyLock<HeaderValue> = LazyLock::new(|| {
        let aliases = IDENTITY.into_iter().flat_map(|name| aliases(name.as_str()));
        let names: Vec<String> = aliases.chain(KEYS.map(str::to_owned)).collect();
        // Every name is ASCII.
        HeaderValue::try_from(names.join(",")).unwrap_or(HeaderValue::from_static(""))
    });
    VALUE.clone()
}

/// Returns the other spellings of a header: with `_` or `.` in place of some or all of its hyphens.
fn aliases(name: &str) -> Vec<String> {
    let words = name.split('-');
    let spellings = words.fold(Vec::new(), |begun: Vec<String>, word| {
        if begun.is_empty() {
            return vec![word.to_owned()];
        }
        let longer = |begun: &String| ['-', '_', '.'].map(|joint| format!("{begun}{joint}{word}"));
        begun.iter().flat_map(longer).collect()
    });
    let others = spellings.into_iter().filter(|it| it != name);
    others.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_to_remove_are_every_other_spelling_of_an_identity_header_and_the_keys() {
        let value = to_remove();
        let names: Vec<&str> = value.to_str().unwrap().split(',').collect();
        for name in [
            "x_auth_subject",
            "x.auth.subject",
            "x-auth_kind",
            "x_auth-kind",
            "x.auth_client-id",
            "x-auth-client_id",
            "x_auth_scope",
            "x-api-key",
            "api-key",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for name in IDENTITY {
            assert!(
                !names.contains(&name.as_str()),
                "{name} is the answer's own"
            );
        }
        assert!(!names.contains(&"authorization"));
        assert_eq!(names.len(), 8 + 8 + 26 + 8 + 2);
    }
}
