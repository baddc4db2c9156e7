//! ID tokens (OpenID Connect Core section 2): which claims they have, and what a hint, an ID token that comes back,
//! says.
//!
//! An ID token has the `typ` `JWT`, which an access token may have, too. The claims tell them apart: an ID token has
//! none of `client_id`, `client_uid`, `principal_kind`, `scope` and `events`; an access token has no `at_hash`, `c_hash`
//! and `nonce` (see `tokens::claims`). `azp` is left out, as section 2 advises without extensions.

use aws_lc_rs::digest::{self, SHA256, SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::sign_in::SignIn;
use crate::tokens::claims::{Audience, NoOtherKind};
use crate::tokens::jwt::TokenType;
use crate::tokens::{Algorithm, Released, TokenId};

/// The `typ` of ID tokens.
pub const TYPE: TokenType = TokenType::Jwt;

/// The claims of an ID token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdTokenClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    sid: TokenId,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c_hash: Option<String>,
    #[serde(flatten)]
    released: Released,
}

/// What an ID token says.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The person.
    pub subject: &'a str,
    /// The client that the token is for.
    pub client_id: &'a str,
    /// How the person signed in. A refresh does not change it (section 12.2). `auth_time` is required if the client
    /// asks for it, and optional otherwise: it is always there.
    pub sign_in: SignIn<'a>,
    /// The `nonce` of the authorization request; `None` in the reply to a refresh (section 12.2).
    pub nonce: Option<&'a str>,
    /// Facts about the person.
    pub released: Released,
}

impl IdTokenClaims {
    /// Returns the claims of a token that is valid from `now` for `lifetime`.
    pub fn new(facts: Facts<'_>, lifetime: SignedDuration, now: Timestamp) -> Self {
        let iat = now.as_second();
        let sign_in = facts.sign_in;
        Self {
            iss: facts.issuer.to_owned(),
            sub: facts.subject.to_owned(),
            aud: facts.client_id.to_owned(),
            exp: iat.saturating_add(lifetime.as_secs()),
            iat,
            auth_time: sign_in.at.as_second(),
            nonce: facts.nonce.map(str::to_owned),
            acr: sign_in.acr.map(str::to_owned),
            amr: methods(sign_in.methods),
            sid: sign_in.session,
            at_hash: None,
            c_hash: None,
            released: facts.released,
        }
    }

    /// Binds the token to the access token of the same reply (section 3.1.3.6). `algorithm` will sign the ID token.
    #[must_use]
    pub fn with_access_token(mut self, algorithm: Algorithm, access_token: &str) -> Self {
        self.at_hash = Some(half_hash(algorithm, access_token));
        self
    }

    /// Binds the token to the code of the same reply (section 3.3.2.11). `algorithm` will sign the ID token.
    #[must_use]
    pub fn with_code(mut self, algorithm: Algorithm, code: &str) -> Self {
        self.c_hash = Some(half_hash(algorithm, code));
        self
    }

    /// Serializes the claims as JSON.
    ///
    /// # Errors
    /// None in practice: every claim serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(768);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}

/// Splits the methods of a sign-in.
pub(super) fn methods(text: &str) -> Vec<String> {
    let methods = text.split(' ').filter(|method| !method.is_empty());
    methods.map(str::to_owned).collect()
}

/// Returns the base64url of the left half of the hash that the algorithm uses. `EdDSA` with Ed25519 hashes by SHA-512 (RFC
/// 8032 section 5.1).
fn half_hash(algorithm: Algorithm, text: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => &SHA256,
        Algorithm::EdDSA => &SHA512,
    };
    let hash = digest::digest(hash, text.as_bytes());
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}

/// An `id_token_hint` that this server issued, at any time: its expiry does not matter (section 3.1.2.1, OpenID Connect
/// RP-Initiated Logout 1.0 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The person.
    pub subject: String,
    /// The session.
    pub session: Option<TokenId>,
    /// The client that the token was issued to.
    pub client_id: String,
}

/// Why a text is not an ID token of this issuer. For logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAHint {
    /// Its payload is not that of an ID token.
    #[error("not the claims of an ID token")]
    Malformed,
    /// It is from another issuer.
    #[error("the ID token is from another issuer")]
    WrongIssuer,
}

/// The claims of a hint. Every ID token has them, and no other kind of token with the same type has all of them and none
/// of the others.
#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Audience,
    #[serde(rename = "exp")]
    _exp: i64,
    #[serde(rename = "iat")]
    _iat: i64,
    #[serde(rename = "auth_time")]
    _auth_time: i64,
    #[serde(default)]
    sid: Option<TokenId>,
    #[serde(
        default,
        rename = "client_uid",
        alias = "client_id",
        alias = "principal_kind",
        alias = "scope",
        alias = "jti",
        alias = "nbf",
        alias = "events",
        alias = "token_introspection",
        alias = "htm",
        alias = "htu",
        alias = "ath"
    )]
    _no_other_kind: NoOtherKind,
}

impl Hint {
    /// Reads the payload of a token that this server's keys signed with the type [`TYPE`].
    ///
    /// # Errors
    /// [`NotAHint`].
    pub fn from_json(json: &[u8], issuer: &str) -> Result<Self, NotAHint> {
        let payload: Payload = serde_json::from_slice(json).map_err(|_| NotAHint::Malformed)?;
        if payload.iss != issuer {
            return Err(NotAHint::WrongIssuer);
        }
        // This server writes one audience.
        let Audience::Single(client_id) = payload.aud else {
            return Err(NotAHint::Malformed);
        };
        if payload.sub.is_empty() {
            return Err(NotAHint::Malformed);
        }
        Ok(Self {
            subject: payload.sub,
            session: payload.sid,
            client_id,
        })
    }

    /// Whether the token was issued to this client.
    pub fn is_for(&self, client_id: &str) -> bool {
        self.client_id == client_id
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::directory::judge::person::testing::{ALICE, alice};
    use crate::directory::{PersonScope, StandardScope};
    use crate::tokens::AccessTokenClaims;

    pub(crate) const ISSUER: &str = "https://id.example.com/id";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn sign_in() -> SignIn<'static> {
        SignIn {
            session: "SSSSSSSSSSSSSSSS".parse().unwrap(),
            at: at(900),
            acr: Some("mfa"),
            methods: "pwd otp",
        }
    }

    fn claims(nonce: Option<&str>, released: Released) -> IdTokenClaims {
        let facts = Facts {
            issuer: ISSUER,
            subject: ALICE,
            client_id: "blue.shop",
            sign_in: sign_in(),
            nonce,
            released,
        };
        IdTokenClaims::new(facts, SignedDuration::from_mins(5), at(1_000))
    }

    fn json_of(claims: &IdTokenClaims) -> Value {
        serde_json::from_slice(&claims.to_json().unwrap()).unwrap()
    }

    #[test]
    fn an_id_token_says_who_signed_in_how_and_for_which_client() {
        let groups = alice().released_by(&[PersonScope::Standard(StandardScope::Groups)]);
        let claims = claims(Some("n-0S6_WzA2Mj"), groups).with_access_token(
            Algorithm::RS256,
            "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
        );
        assert_eq!(
            json_of(&claims),
            json!({
                "iss": ISSUER, "sub": ALICE, "aud": "blue.shop", "exp": 1300, "iat": 1000, "auth_time": 900,
                "nonce": "n-0S6_WzA2Mj", "acr": "mfa", "amr": ["pwd", "otp"], "sid": "SSSSSSSSSSSSSSSS",
                "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "groups": ["staff", "buyers"],
            })
        );
    }

    /// OpenID Connect Core appendices A.3, A.4 and A.6.
    #[rstest]
    #[case(
        "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
        "77QmUPtjPfzWtF2AnpK9RQ"
    )]
    #[case(
        "ya29.eQETFbFOkAs8nWHcmYXKwEi0Zz46NfsrUU_KuQLOLTwWS40y6Fb99aVzEXC0U14m61lcPMIr1hEIBA",
        "aUAkJG-u6x4RTWuILWy-CA"
    )]
    #[case(
        "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk",
        "LDktKdoQak3Pk0cnXxCltA"
    )]
    fn the_hashes_of_known_examples_hold(#[case] text: &str, #[case] hash: &str) {
        for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256] {
            assert_eq!(half_hash(algorithm, text), hash);
        }
    }

    /// The libraries of clients agree that Ed25519 uses SHA-512. The hash is Python's.
    #[test]
    fn ed25519_halves_sha_512() {
        let text =
            "ya29.eQETFbFOkAs8nWHcmYXKwEi0Zz46NfsrUU_KuQLOLTwWS40y6Fb99aVzEXC0U14m61lcPMIr1hEIBA";
        assert_eq!(
            half_hash(Algorithm::EdDSA, text),
            "-SwKSOVjnm-n_vp2gsAIywx3Kq1TssUGGY1-GfJUHIE"
        );
    }

    #[test]
    fn code_and_access_token_are_bound_in_claims_of_their_own() {
        let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
        let json = json_of(&claims(None, Released::default()).with_code(Algorithm::ES256, code));
        assert_eq!(json["c_hash"], "LDktKdoQak3Pk0cnXxCltA");
        assert_eq!(json.get("at_hash"), None);
        assert_eq!(json.get("nonce"), None);
    }

    #[test]
    fn an_id_token_comes_back_as_a_hint_and_never_as_an_access_token() {
        let claims = claims(None, Released::default());
        let json = claims.to_json().unwrap();
        let hint = Hint::from_json(&json, ISSUER).unwrap();
        let wanted = Hint {
            subject: ALICE.to_owned(),
            session: Some("SSSSSSSSSSSSSSSS".parse().unwrap()),
            client_id: "blue.shop".to_owned(),
        };
        assert_eq!(hint, wanted);
        assert!(hint.is_for("blue.shop") && !hint.is_for("blue.shop2"));
        assert!(AccessTokenClaims::from_json(&json).is_err());
        let elsewhere = Hint::from_json(&json, "https://id.example.com");
        assert_eq!(elsewhere, Err(NotAHint::WrongIssuer));
    }

    #[rstest]
    #[case::of_an_access_token("client_uid", json!("u"))]
    #[case::of_an_access_token("principal_kind", json!("person"))]
    #[case::of_an_access_token("scope", json!("openid"))]
    #[case::of_an_access_token("jti", json!("j"))]
    #[case::of_a_logout_token("events", json!({}))]
    #[case::of_an_introspection("token_introspection", json!({}))]
    #[case::of_a_proof("htm", json!("GET"))]
    #[case::several_audiences("aud", json!(["blue.shop", "other"]))]
    #[case::a_list("aud", json!(["blue.shop"]))]
    #[case::no_audience("aud", json!(""))]
    #[case::a_number("sub", json!(1))]
    #[case::nobody("sub", json!(""))]
    #[case::no_expiry("exp", Value::Null)]
    #[case::no_time("iat", Value::Null)]
    #[case::no_sign_in("auth_time", Value::Null)]
    #[case::another_session("sid", json!("short"))]
    fn another_kind_of_token_is_no_hint(#[case] name: &str, #[case] value: Value) {
        let mut json = json_of(&claims(Some("n"), Released::default()));
        json[name] = value;
        let read = Hint::from_json(json.to_string().as_bytes(), ISSUER);
        assert_eq!(read, Err(NotAHint::Malformed), "{json}");
    }
}
