//! The claims of a JWT access token (RFC 9068 section 2.2) and the checks that need no key.
//!
//! Parsing is strict, although it only reads tokens of this server: a missing, empty or wrongly typed `iss`, `aud`,
//! `exp`, `nbf`, `iat`, `sub`, `client_id` or `jti` is refused (RFC 8725 section 3.8 and faults of other
//! implementations). Unknown claims are skipped, so that an older replica can read a newer one's tokens. The clock is a
//! parameter.
//!
//! The claims tell an access token from the other kinds of tokens that the same keys sign, whatever the `typ` of its
//! header says (RFC 8725 section 3.12). Every access token has `client_id`, `client_uid`, `jti`, `nbf` and
//! `principal_kind`, and none of the claims of [`NoOtherKind`]. So no other kind of token may have all five, and users
//! must not be able to put any of these claims into a token.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The issuer, exactly as configured.
    #[serde(deserialize_with = "filled")]
    pub iss: String,
    /// The subject that the token acts as. Its kind is in `principal_kind`.
    #[serde(deserialize_with = "filled")]
    pub sub: String,
    /// The resource servers that the token is for.
    pub aud: Audience,
    /// The client that the token was issued to (RFC 8693 section 4.3).
    #[serde(deserialize_with = "filled")]
    pub client_id: String,
    /// A claim of our own: the uid of the client object, so that a client recreated with the same ID inherits no
    /// tokens.
    #[serde(deserialize_with = "filled")]
    pub client_uid: String,
    /// When the token was issued, in whole seconds.
    #[serde(with = "numeric_date")]
    pub iat: Timestamp,
    /// When the token becomes valid, in whole seconds.
    #[serde(with = "numeric_date")]
    pub nbf: Timestamp,
    /// When the token expires, in whole seconds.
    #[serde(with = "numeric_date")]
    pub exp: Timestamp,
    /// The token's ID.
    #[serde(deserialize_with = "filled")]
    pub jti: String,
    /// The granted scopes; omitted if there are none.
    #[serde(default, skip_serializing_if = "Scopes::is_empty")]
    pub scope: Scopes,
    /// A claim of our own: the kind of `sub`, so that resource servers need not guess it from the spelling.
    pub principal_kind: PrincipalKind,
    /// A claim of our own: the client's system user, if it has one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "filled_if_present"
    )]
    pub client_system_user: Option<String>,
    /// Always absent: claims of other kinds of tokens.
    #[serde(
        default,
        skip_serializing,
        rename = "nonce",
        alias = "at_hash",
        alias = "c_hash",
        alias = "s_hash",
        alias = "azp",
        alias = "events",
        alias = "token_introspection",
        alias = "htm",
        alias = "htu",
        alias = "ath"
    )]
    pub no_other_kind: NoOtherKind,
}

/// Claims that mark other kinds of tokens. A token with one of them is not an access token:
/// - ID tokens: `nonce`, `at_hash`, `c_hash`, `s_hash`, `azp` (`OpenID` Connect Core sections 2 and 3.3.2.11, FAPI 1.0
///   part 2 section 5.1);
/// - logout tokens and other security events: `events` (RFC 8417 section 2.2);
/// - introspection responses: `token_introspection` (RFC 9701 section 5);
/// - `DPoP` proofs: `htm`, `htu`, `ath` (RFC 9449 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoOtherKind;

impl<'de> Deserialize<'de> for NoOtherKind {
    /// Refuses: deserializing means that such a claim is present.
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("a claim of another kind of token"))
    }
}

/// The kind of a token's `sub`: the values of the claim `principal_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// `sub` is a client id: the client acts for itself.
    Client,
    /// `sub` is a client's system user, `<namespace>:<name>`.
    System,
    /// `sub` is a person's id.
    Person,
}

impl PrincipalKind {
    /// Returns the value used in the claim.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::System => "system",
            Self::Person => "person",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The claim `aud` in either form of RFC 7519 section 4.1.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience, written as a string.
    Single(String),
    /// Any number of audiences, written as a list.
    Many(Vec<String>),
}

impl Audience {
    /// Returns each audience.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::Single(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
        .iter()
        .map(String::as_str)
    }

    /// Whether `audience` is one of them. The comparison is exact.
    pub fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let audience = match TextOrList::deserialize(deserializer)? {
            TextOrList::Text(one) => Self::Single(one),
            TextOrList::List(many) => Self::Many(many),
        };
        if audience.iter().next().is_none() || audience.contains("") {
            return Err(de::Error::custom("an audience must not be empty"));
        }
        Ok(audience)
    }
}

/// The claim `scope`: the string of RFC 9068, or a list if the Identity asks for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// Written as one string, separated by spaces (RFC 8693 section 4.2).
    Text(Vec<String>),
    /// Written as a list.
    List(Vec<String>),
}

impl Scopes {
    /// Returns the scopes.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::Text(scopes) | Self::List(scopes) => scopes,
        }
    }

    /// Whether there are no scopes.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::Text(Vec::new())
    }
}

impl fmt::Display for Scopes {
    /// Joins the scopes with spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        self.as_slice().iter().try_for_each(|scope| {
            f.write_str(separator)?;
            separator = " ";
            f.write_str(scope)
        })
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(_) => serializer.collect_str(self),
            Self::List(scopes) => scopes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scopes = match TextOrList::deserialize(deserializer)? {
            TextOrList::Text(text) => Self::Text(text.split(' ').map(str::to_owned).collect()),
            TextOrList::List(list) => Self::List(list),
        };
        if scopes
            .as_slice()
            .iter()
            .any(|scope| scope.is_empty() || scope.contains(' '))
        {
            return Err(de::Error::custom(
                "a scope must not be empty or contain a space",
            ));
        }
        Ok(scopes)
    }
}

/// Why well-formed claims are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// `exp` is in the past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Another issuer issued the token.
    #[error("the token is from another issuer")]
    WrongIssuer,
}

impl AccessTokenClaims {
    /// Serializes the claims as JSON.
    ///
    /// # Errors
    /// None in practice: every claim serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }

    /// Parses the payload of a token whose signature was verified.
    ///
    /// # Errors
    /// A required claim is missing, empty, repeated or of the wrong type.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Checks whether the token is valid at `now`, with `leeway` for clock differences. It is valid from `nbf` until
    /// just before `exp` (RFC 7519 sections 4.1.4 and 4.1.5).
    ///
    /// # Errors
    /// [`ClaimError::Expired`] or [`ClaimError::NotYetValid`].
    pub fn check_time(&self, now: Timestamp, leeway: SignedDuration) -> Result<(), ClaimError> {
        if now.duration_since(self.exp) >= leeway {
            return Err(ClaimError::Expired);
        }
        if self.nbf.max(self.iat).duration_since(now) > leeway {
            return Err(ClaimError::NotYetValid);
        }
        Ok(())
    }

    /// Checks that `issuer` issued the token. The comparison is exact.
    ///
    /// # Errors
    /// [`ClaimError::WrongIssuer`].
    pub fn check_issuer(&self, issuer: &str) -> Result<(), ClaimError> {
        if self.iss == issuer {
            Ok(())
        } else {
            Err(ClaimError::WrongIssuer)
        }
    }
}

/// Whole seconds since 1970 (RFC 7519 section 2). A fraction or a string is refused, since this server never writes
/// one.
pub(super) mod numeric_date {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.as_second())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_second(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom("the claim must not be empty"))
    } else {
        Ok(text)
    }
}

fn filled_if_present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    filled(deserializer).map(Some)
}

/// A string or a list of strings.
enum TextOrList {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for TextOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = TextOrList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOrList, E> {
                Ok(TextOrList::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextOrList, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(TextOrList::List(list))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: "https://host/id".into(),
            sub: "team.api".into(),
            aud: Audience::Single("https://host/id/team".into()),
            client_id: "team.api".into(),
            client_uid: "uid-1".into(),
            iat: at(1_000),
            nbf: at(1_000),
            exp: at(4_600),
            jti: "AAAAAAAAAAAAAAAA".into(),
            scope: Scopes::Text(vec!["team:read".into(), "team:write".into()]),
            principal_kind: PrincipalKind::Client,
            client_system_user: Some("team:robot".into()),
            no_other_kind: NoOtherKind,
        }
    }

    fn json() -> Value {
        serde_json::to_value(claims()).unwrap()
    }

    fn read(json: &Value) -> Result<AccessTokenClaims, serde_json::Error> {
        AccessTokenClaims::from_json(json.to_string().as_bytes())
    }

    #[test]
    fn claims_have_the_form_of_rfc_9068() {
        assert_eq!(
            json(),
            json!({
                "iss": "https://host/id", "sub": "team.api", "aud": "https://host/id/team", "client_id": "team.api",
                "client_uid": "uid-1",
                "iat": 1000, "nbf": 1000, "exp": 4600, "jti": "AAAAAAAAAAAAAAAA", "scope": "team:read team:write",
                "principal_kind": "client", "client_system_user": "team:robot",
            })
        );
    }

    #[rstest]
    fn a_claim_of_another_kind_of_token_is_refused(
        #[values(
            "nonce",
            "at_hash",
            "c_hash",
            "s_hash",
            "azp",
            "events",
            "token_introspection",
            "htm",
            "htu",
            "ath"
        )]
        claim: &str,
        #[values(Value::Null, json!(""), json!("x"), json!({}), json!(false))] value: Value,
    ) {
        let mut changed = json();
        changed[claim] = value;
        assert!(read(&changed).is_err(), "{changed}");
    }

    #[test]
    fn audience_and_scope_have_a_list_form() {
        let mut claims = claims();
        claims.aud = Audience::Many(vec!["a".into(), "b".into()]);
        claims.scope = Scopes::List(vec!["x".into()]);
        claims.client_system_user = None;
        let json = serde_json::to_value(&claims).unwrap();
        assert_eq!(
            (&json["aud"], &json["scope"]),
            (&json!(["a", "b"]), &json!(["x"]))
        );
        assert!(json.get("client_system_user").is_none());
        assert_eq!(read(&json).unwrap(), claims);
        claims.scope = Scopes::List(vec![]);
        assert!(
            serde_json::to_value(&claims)
                .unwrap()
                .get("scope")
                .is_none(),
            "no scope, no claim"
        );
    }

    #[rstest]
    #[case("iss")]
    #[case("aud")]
    #[case("exp")]
    #[case("nbf")]
    #[case("iat")]
    #[case("sub")]
    #[case("client_id")]
    #[case("client_uid")]
    #[case("jti")]
    #[case("principal_kind")]
    fn a_missing_or_wrongly_typed_claim_is_refused(#[case] claim: &str) {
        let mut missing = json();
        missing.as_object_mut().unwrap().remove(claim);
        assert!(read(&missing).is_err(), "{claim} missing");
        let text = !matches!(claim, "exp" | "nbf" | "iat");
        let wrong = [
            Value::Null,
            json!(true),
            json!({}),
            json!([]),
            json!([1]),
            json!(1.5),
            json!(""),
        ];
        let other = if text { json!(1) } else { json!("4600") };
        for value in wrong.into_iter().chain([
            other,
            json!(1e300),
            json!(u64::MAX),
            json!([[]]),
            json!([""]),
        ]) {
            let mut changed = json();
            changed[claim] = value.clone();
            assert!(read(&changed).is_err(), "{claim}: {value}");
        }
    }

    #[rstest]
    #[case::scope_number("scope", json!(1))]
    #[case::scope_null("scope", Value::Null)]
    #[case::scope_empty("scope", json!(""))]
    #[case::scope_gap("scope", json!("a  b"))]
    #[case::scope_space_in_list("scope", json!(["a b"]))]
    #[case::scope_nested("scope", json!([["a"]]))]
    #[case::system_user_null("client_system_user", Value::Null)]
    #[case::system_user_empty("client_system_user", json!(""))]
    #[case::kind_unknown("principal_kind", json!("root"))]
    fn a_malformed_optional_claim_is_refused(#[case] claim: &str, #[case] value: Value) {
        let mut changed = json();
        changed[claim] = value;
        assert!(read(&changed).is_err());
    }

    #[test]
    fn a_claim_given_twice_is_refused() {
        let text = json().to_string();
        let twice = format!("{},\"exp\":9999999999}}", text.strip_suffix('}').unwrap());
        assert!(
            AccessTokenClaims::from_json(twice.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("duplicate")
        );
    }

    #[test]
    fn an_unknown_claim_is_skipped_however_deep() {
        let text = json().to_string();
        let deep = format!(
            "{},\"x\":{}{}}}",
            text.strip_suffix('}').unwrap(),
            "[".repeat(3000),
            "]".repeat(3000)
        );
        assert_eq!(
            AccessTokenClaims::from_json(deep.as_bytes()).unwrap(),
            claims()
        );
        assert!(
            AccessTokenClaims::from_json(format!("{text}x").as_bytes()).is_err(),
            "trailing text is refused"
        );
    }

    #[rstest]
    #[case(999, 0, Err(ClaimError::NotYetValid))]
    #[case(1_000, 0, Ok(()))]
    #[case(4_599, 0, Ok(()))]
    #[case(4_600, 0, Err(ClaimError::Expired))]
    #[case(970, 30, Ok(()))]
    #[case(969, 30, Err(ClaimError::NotYetValid))]
    #[case(4_629, 30, Ok(()))]
    #[case(4_630, 30, Err(ClaimError::Expired))]
    fn a_token_is_valid_from_nbf_until_just_before_exp(
        #[case] now: i64,
        #[case] leeway: i64,
        #[case] expected: Result<(), ClaimError>,
    ) {
        assert_eq!(
            claims().check_time(at(now), SignedDuration::from_secs(leeway)),
            expected
        );
    }

    #[test]
    fn extreme_times_do_not_panic() {
        let mut extreme = claims();
        (extreme.exp, extreme.nbf) = (Timestamp::MAX, Timestamp::MIN);
        assert_eq!(extreme.check_time(at(1_000), SignedDuration::MAX), Ok(()));
        (extreme.exp, extreme.nbf) = (Timestamp::MIN, Timestamp::MAX);
        assert_eq!(
            extreme.check_time(Timestamp::MAX, SignedDuration::ZERO),
            Err(ClaimError::Expired)
        );
        assert!(
            extreme
                .check_time(Timestamp::MIN, SignedDuration::ZERO)
                .is_err()
        );
    }

    #[test]
    fn a_principal_kind_displays_as_its_claim_value() {
        for (kind, name) in [
            (PrincipalKind::Client, "client"),
            (PrincipalKind::System, "system"),
            (PrincipalKind::Person, "person"),
        ] {
            assert_eq!((kind.as_str(), &*kind.to_string()), (name, name));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
    }

    #[test]
    fn issuer_and_audience_are_exact() {
        let claims = claims();
        assert_eq!(claims.check_issuer("https://host/id"), Ok(()));
        assert!(claims.aud.contains("https://host/id/team"));
        for other in [
            "",
            "https://host/id/",
            "https://host",
            "HTTPS://host/id",
            "https://host/id/team/x",
        ] {
            assert_eq!(
                claims.check_issuer(other),
                Err(ClaimError::WrongIssuer),
                "{other}"
            );
            assert!(!claims.aud.contains(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn claims_read_back(
            sub in "\\PC{1,20}", many in proptest::option::of(proptest::collection::vec("\\PC{1,20}", 1..4)),
            scopes in proptest::collection::vec("[!-~&&[^\"\\\\]]{1,10}", 0..4), exp in -1000..10_i64.pow(10),
        ) {
            let mut claims = claims();
            claims.aud = many.map_or(Audience::Single(sub.clone()), Audience::Many);
            claims.sub = sub;
            claims.scope = Scopes::Text(scopes);
            claims.exp = at(exp);
            prop_assert_eq!(AccessTokenClaims::from_json(&claims.to_json().unwrap()).unwrap(), claims);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(AccessTokenClaims::from_json(&bytes).is_err());
        }
    }
}
