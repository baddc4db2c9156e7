//! What the tokens of a person say beyond the tokens of a client: the sign-in, and facts about the person.
//!
//! Facts come from what users and administrators wrote, so their names are checked here: no fact has the name of a
//! claim that the protocol gives a meaning to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::claims::numeric_date;
use super::{AccessTokenClaims, TokenId};

/// Claims to which the protocol gives a meaning: those of every kind of token (RFC 7519, RFC 9068, OpenID Connect Core
/// section 2, OpenID Connect Back-Channel Logout section 2.4, RFC 8417, RFC 9449, RFC 9701), of proofs of possession
/// and delegation (RFC 7800, RFC 8693), of an introspection response (RFC 7662), of distributed claims (OpenID Connect
/// Core section 5.6), and our own.
const PROTOCOL: [&str; 46] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "client_uid",
    "client_system_user",
    "principal_kind",
    "grant_id",
    "scope",
    "sid",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "rt_hash",
    "events",
    "toe",
    "txn",
    "sub_id",
    "sub_jwk",
    "cnf",
    "act",
    "may_act",
    "htm",
    "htu",
    "ath",
    "active",
    "username",
    "token_type",
    "token_introspection",
    "authorization_details",
    "idp",
    "_claim_names",
    "_claim_sources",
    "typ",
    "alg",
    "kid",
    "crit",
];

/// Returns whether a claim has a meaning of its own in the protocol, so that no fact about a person can have its name.
/// The comparison ignores case: some verifiers do, too.
pub fn is_protocol_claim(name: &str) -> bool {
    PROTOCOL
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The claims of a person's access token that lead to the grant, and tell how the person signed in (RFC 9068 section
/// 2.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonClaims {
    /// A claim of our own: the grant that the token belongs to. The token ends with it.
    pub grant_id: TokenId,
    /// The session in which the person allowed the grant (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub sid: TokenId,
    /// When the person signed in, in whole seconds.
    #[serde(with = "numeric_date")]
    pub auth_time: Timestamp,
    /// How strong the sign-in was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// How the person signed in (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

impl PersonClaims {
    /// Parses them from the payload of a verified access token.
    ///
    /// # Errors
    /// A required claim is missing, repeated or of the wrong type.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// Facts about a person, ready for a token or a reply. None has the name of a protocol claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Released(Map<String, Value>);

impl Released {
    /// Adds a fact, unless its name is a protocol claim or is already there.
    pub fn add(&mut self, name: &str, value: Value) {
        if !is_protocol_claim(name) && !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Adds every fact of `other` that is not there yet.
    pub fn extend(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// Returns every fact with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns a fact.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// The claims of a person's access token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PersonAccessToken {
    /// The claims that every access token has.
    #[serde(flatten)]
    pub token: AccessTokenClaims,
    /// The grant and the sign-in.
    #[serde(flatten)]
    pub person: PersonClaims,
    /// What the scopes release.
    #[serde(flatten)]
    pub released: Released,
}

impl PersonAccessToken {
    /// Serializes the claims as JSON.
    ///
    /// # Errors
    /// None in practice: every claim serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(1024);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(released: Released) -> PersonAccessToken {
        PersonAccessToken {
            token: AccessTokenClaims {
                iss: "https://host/id".into(),
                sub: "0198".into(),
                aud: Audience::Single("https://host/id".into()),
                client_id: "team.app".into(),
                client_uid: "uid-1".into(),
                iat: at(1_000),
                nbf: at(1_000),
                exp: at(4_600),
                jti: "AAAAAAAAAAAAAAAA".into(),
                scope: Scopes::Text(vec!["openid".into()]),
                principal_kind: PrincipalKind::Person,
                client_system_user: None,
                no_other_kind: NoOtherKind,
            },
            person: PersonClaims {
                grant_id: "GGGGGGGGGGGGGGGG".parse().unwrap(),
                sid: "SSSSSSSSSSSSSSSS".parse().unwrap(),
                auth_time: at(900),
                acr: Some("pwd".into()),
                amr: vec!["pwd".into()],
            },
            released,
        }
    }

    #[test]
    fn a_persons_token_reads_back_as_an_access_token_and_as_a_persons() {
        let mut released = Released::default();
        released.add("email", json!("a@example.com"));
        let token = token(released);
        let json = token.to_json().unwrap();
        assert_eq!(AccessTokenClaims::from_json(&json).unwrap(), token.token);
        assert_eq!(PersonClaims::from_json(&json).unwrap(), token.person);
        let read: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(read["email"], "a@example.com");
        assert_eq!(read["sid"], "SSSSSSSSSSSSSSSS");
        assert_eq!(read["auth_time"], 900);
    }

    #[test]
    fn a_clients_token_is_not_a_persons() {
        let json = token(Released::default()).token.to_json().unwrap();
        assert!(PersonClaims::from_json(&json).is_err());
    }

    #[test]
    fn every_claim_that_the_server_writes_is_a_protocol_claim() {
        let written = serde_json::to_value(token(Released::default())).unwrap();
        for name in written.as_object().unwrap().keys() {
            assert!(is_protocol_claim(name), "{name}");
        }
        for name in ["SUB", "Client_Uid", "nonce", "events", "htm", "cnf"] {
            assert!(is_protocol_claim(name), "{name}");
        }
        for name in ["email", "department", "sub.department", "subs", ""] {
            assert!(!is_protocol_claim(name), "{name}");
        }
    }

    proptest! {
        /// No fact changes what the protocol says about the token.
        #[test]
        fn facts_change_no_claim_of_the_protocol(
            facts in proptest::collection::vec((prop_oneof![
                prop::sample::select(PROTOCOL.to_vec()).prop_map(str::to_owned), "[a-zA-Z_]{1,12}", any::<String>(),
            ], any::<String>()), 0..12),
        ) {
            let mut released = Released::default();
            for (name, value) in facts {
                released.add(&name, Value::from(value));
            }
            let token = token(released);
            let json = token.to_json().unwrap();
            prop_assert_eq!(AccessTokenClaims::from_json(&json).unwrap(), token.token);
            prop_assert_eq!(PersonClaims::from_json(&json).unwrap(), token.person);
        }
    }
}
