//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 section 2.4): the server tells a client that a session has
//! ended.
//!
//! The `typ` is `logout+jwt` and there is never a `nonce`, so that no logout token passes as an ID token.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::tokens::TokenId;
use crate::tokens::jwt::TokenType;

/// The `typ` of logout tokens.
pub const TYPE: TokenType = TokenType::LogoutJwt;
/// How long a token is valid: the longest time that the specification recommends. Each try gets a new one, with the same
/// `jti`, so that the client knows what it was told before.
pub const LIFETIME: SignedDuration = SignedDuration::from_mins(2);
/// The event.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// One session.
    Session(TokenId),
    /// Every session of the person at this client (section 2.5): the account was revoked.
    Account,
}

/// The claims of a logout token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogoutTokenClaims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    jti: TokenId,
    events: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<TokenId>,
}

/// The claim `events`: always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event;

impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(EVENT, Value::Object(Map::new()))])
    }
}

impl LogoutTokenClaims {
    /// Returns the claims of a token for this client, with the ID of what it is told. It always names the person; with the
    /// session, if one ended.
    pub fn new(
        issuer: &str,
        subject: &str,
        client_id: &str,
        ended: Ended,
        now: Timestamp,
        id: TokenId,
    ) -> Self {
        let iat = now.as_second();
        Self {
            iss: issuer.to_owned(),
            sub: subject.to_owned(),
            aud: client_id.to_owned(),
            iat,
            exp: iat.saturating_add(LIFETIME.as_secs()),
            jti: id,
            events: Event,
            sid: match ended {
                Ended::Session(session) => Some(session),
                Ended::Account => None,
            },
        }
    }

    /// Returns the token's ID, for the log.
    pub const fn id(&self) -> TokenId {
        self.jti
    }

    /// Serializes the claims as JSON.
    ///
    /// # Errors
    /// None in practice: every claim serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oauth::id_token::Hint;
    use crate::oauth::id_token::tests::ISSUER;
    use crate::tokens::{AccessTokenClaims, SeededEntropy};

    fn claims(ended: Ended, seed: u64) -> LogoutTokenClaims {
        let now = Timestamp::from_second(1_000).unwrap();
        let id = TokenId::random(&mut SeededEntropy::new(seed));
        LogoutTokenClaims::new(ISSUER, "0198", "blue.shop", ended, now, id)
    }

    #[test]
    fn a_logout_token_has_the_claims_of_the_specification() {
        let session = "SSSSSSSSSSSSSSSS".parse().unwrap();
        let claims = claims(Ended::Session(session), 1);
        let json: Value = serde_json::from_slice(&claims.to_json().unwrap()).unwrap();
        assert_eq!(
            json,
            json!({
                "iss": ISSUER, "sub": "0198", "aud": "blue.shop", "iat": 1000, "exp": 1120, "jti": claims.id(),
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "SSSSSSSSSSSSSSSS",
            })
        );
    }

    #[test]
    fn the_end_of_an_account_names_no_session() {
        let json = claims(Ended::Account, 1).to_json().unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((json.get("sid"), json.get("nonce")), (None, None));
        assert_ne!(
            claims(Ended::Account, 1).id(),
            claims(Ended::Account, 2).id()
        );
    }

    #[test]
    fn a_logout_token_is_no_other_kind_of_token() {
        let json = claims(Ended::Account, 1).to_json().unwrap();
        assert!(Hint::from_json(&json, ISSUER).is_err());
        assert!(AccessTokenClaims::from_json(&json).is_err());
        assert_eq!(TYPE.as_str(), "logout+jwt");
    }
}
