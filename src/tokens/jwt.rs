//! The compact serialization of a JWT access token (RFC 7515 section 3.1, RFC 9068 section 2.1): writing it, and
//! parsing an untrusted one.
//!
//! A parsed token is *unverified*: `keys` selects the key and checks the signature. This module refuses all that can be
//! refused without a key: size, form, header. Not here: encryption, unsecured tokens, symmetric algorithms, keys that
//! the token itself names.
//!
//! The `typ` of the header alone does not make a token an access token, since ID tokens may have the type `JWT` too:
//! the claims decide (see `claims`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Algorithm, UnknownAlgorithm};

/// The length in bytes of the longest token that is read, and so of the longest that is issued. Many proxies refuse a
/// longer header.
pub const MAX_LENGTH: usize = 8 * 1024;

/// The length in bytes of the largest signature: RSA with 4096 bits.
pub const MAX_SIGNATURE_LENGTH: usize = 512;

/// The length in characters of a key ID: a SHA-256 thumbprint in base64url (RFC 7638).
pub const KID_LENGTH: usize = 43;

/// A header with the longest algorithm name and an empty key ID.
const LONGEST_HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":""}"#;

/// The `typ` of a token that this server signs: a media type without its `application/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 section 2.1), which keeps kinds of tokens apart (RFC 8725 section 3.11).
    #[default]
    AtJwt,
    /// `JWT` (RFC 7519 section 5.1): ID tokens, and access tokens for resource servers that refuse `at+jwt`.
    Jwt,
    /// `logout+jwt` (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    LogoutJwt,
}

impl TokenType {
    /// Every type. Keys encode a header for each.
    pub const ALL: [Self; 3] = [Self::AtJwt, Self::Jwt, Self::LogoutJwt];
    /// The types that an access token can have.
    pub const OF_ACCESS_TOKENS: [Self; 2] = [Self::AtJwt, Self::Jwt];

    /// Returns the value of `typ`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtJwt => "at+jwt",
            Self::Jwt => "JWT",
            Self::LogoutJwt => "logout+jwt",
        }
    }
}

/// Header parameters that let a token bring its own key or change what is signed. A token with one of them is refused
/// (RFC 8725 section 3.10; `crit` and `b64`, since no extension is supported here, RFC 7515 section 4.1.11).
const FORBIDDEN: [&str; 7] = ["jku", "x5u", "jwk", "x5c", "crit", "b64", "zip"];

/// Why a text is not a token of the expected kind. The details are for the log, not for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedJwt {
    /// Longer than [`MAX_LENGTH`].
    #[error("the token is too long")]
    TooLong,
    /// Not exactly three non-empty parts.
    #[error("the token does not have three parts")]
    NotCompact,
    /// A part is not canonical base64url without padding.
    #[error("a part of the token is not base64url")]
    NotBase64Url,
    /// The header is not a JSON object of plain values, or `alg`, `typ` or `kid` is missing, repeated or not a string.
    #[error("the header is malformed")]
    Header,
    /// The header has a parameter that is always refused.
    #[error("the header parameter `{0}` is not allowed")]
    ForbiddenParameter(&'static str),
    /// The header names another kind of token.
    #[error("the token is of another kind")]
    WrongType,
    /// `none`, a symmetric algorithm or an unknown one.
    #[error(transparent)]
    UnknownAlgorithm(#[from] UnknownAlgorithm),
}

/// Encodes the header of tokens of this type signed with `kid`, once for each key.
pub fn encode_header(algorithm: Algorithm, typ: TokenType, kid: &str) -> String {
    let typ = typ.as_str();
    // A kid is a base64url thumbprint, so it needs no escaping.
    URL_SAFE_NO_PAD.encode(format!(
        r#"{{"alg":"{algorithm}","typ":"{typ}","kid":"{kid}"}}"#
    ))
}

/// Returns `header.payload`, the signing input (RFC 7515 section 5.1), with room for a signature of `signature_length`
/// bytes.
pub fn signing_input(encoded_header: &str, payload: &[u8], signature_length: usize) -> String {
    let length =
        encoded_header.len() + 2 + encoded_length(payload.len()) + encoded_length(signature_length);
    let mut token = String::with_capacity(length);
    token.push_str(encoded_header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    token
}

/// Appends the signature to the signing input, which makes it a token.
pub fn append_signature(token: &mut String, signature: &[u8]) {
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, token);
}

/// Returns the most bytes that a token with a payload of `payload` bytes has, whichever key signs it.
pub const fn longest(payload: usize) -> usize {
    let header = encoded_length(LONGEST_HEADER.len() + KID_LENGTH);
    header + 2 + encoded_length(payload) + encoded_length(MAX_SIGNATURE_LENGTH)
}

const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// A parsed token. Only its form is checked.
#[derive(Debug)]
pub struct UnverifiedJwt<'a> {
    /// The algorithm that the header claims; the key's own algorithm decides.
    pub algorithm: Algorithm,
    /// The key ID in the header.
    pub kid: String,
    /// The text that the signature must cover.
    pub signing_input: &'a str,
    /// The payload, decoded from base64url.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Parses an untrusted text as an access token.
    ///
    /// # Errors
    /// [`MalformedJwt`], checked from the cheapest reason to the most expensive.
    pub fn parse(token: &'a str) -> Result<Self, MalformedJwt> {
        Self::parse_as(token, &TokenType::OF_ACCESS_TOKENS)
    }

    /// Parses an untrusted text as a token of one of these types.
    ///
    /// # Errors
    /// As [`UnverifiedJwt::parse`].
    pub fn parse_as(token: &'a str, types: &[TokenType]) -> Result<Self, MalformedJwt> {
        if token.len() > MAX_LENGTH {
            return Err(MalformedJwt::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(MalformedJwt::NotCompact)?;
        let (header, payload) = signing_input
            .split_once('.')
            .ok_or(MalformedJwt::NotCompact)?;
        if payload.contains('.') || [header, payload, signature].contains(&"") {
            return Err(MalformedJwt::NotCompact);
        }
        let header = Header::parse(&decode(header)?, types)?;
        Ok(Self {
            algorithm: header.algorithm,
            kid: header.kid,
            signing_input,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, MalformedJwt> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| MalformedJwt::NotBase64Url)
}

struct Header {
    algorithm: Algorithm,
    kid: String,
}

impl Header {
    fn parse(json: &[u8], types: &[TokenType]) -> Result<Self, MalformedJwt> {
        let RawHeader {
            alg,
            typ,
            kid,
            forbidden,
        } = serde_json::from_slice(json).map_err(|_| MalformedJwt::Header)?;
        if let Some(name) = forbidden {
            return Err(MalformedJwt::ForbiddenParameter(name));
        }
        let (Some(alg), Some(typ), Some(kid)) = (alg, typ, kid) else {
            return Err(MalformedJwt::Header);
        };
        if !is_one_of(types, &typ) {
            return Err(MalformedJwt::WrongType);
        }
        Ok(Self {
            algorithm: alg.parse()?,
            kid,
        })
    }
}

/// Returns whether `typ` names one of these types. Media types compare without case, and `application/` may be left out
/// (RFC 7515 section 4.1.9).
fn is_one_of(types: &[TokenType], typ: &str) -> bool {
    const PREFIX: &str = "application/";
    let subtype = match typ.split_at_checked(PREFIX.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    };
    types
        .iter()
        .any(|known| subtype.eq_ignore_ascii_case(known.as_str()))
}

/// The header as received. Unknown parameters are skipped (RFC 7515 section 4) if their values are plain: nothing in a
/// header has a reason to nest.
#[derive(Default)]
struct RawHeader {
    alg: Option<String>,
    typ: Option<String>,
    kid: Option<String>,
    forbidden: Option<&'static str>,
}

impl RawHeader {
    fn set<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let known = match name {
            "alg" => &mut self.alg,
            "typ" => &mut self.typ,
            "kid" => &mut self.kid,
            _ => return self.skip(name, map),
        };
        match known.replace(map.next_value()?) {
            Some(_) => Err(de::Error::custom("a parameter is repeated")),
            None => Ok(()),
        }
    }

    fn skip<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let value: &RawValue = map.next_value()?;
        if let Some(found) = FORBIDDEN.into_iter().find(|forbidden| *forbidden == name) {
            self.forbidden.get_or_insert(found);
        } else if value.get().starts_with(['{', '[']) {
            return Err(de::Error::custom("a parameter is nested"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parameters;

        impl<'de> Visitor<'de> for Parameters {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JWS header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                while let Some(name) = map.next_key::<String>()? {
                    header.set(&name, &mut map)?;
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Parameters)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn token(header: &str) -> String {
        format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode("{}"),
            URL_SAFE_NO_PAD.encode("sig")
        )
    }

    fn refusal(header: &str) -> MalformedJwt {
        UnverifiedJwt::parse(&token(header)).unwrap_err()
    }

    #[test]
    fn a_written_token_reads_back() {
        let mut text = signing_input(
            &encode_header(Algorithm::ES256, TokenType::AtJwt, "key-1"),
            b"{\"a\":1}",
            64,
        );
        let room = text.capacity();
        append_signature(&mut text, &[5; 64]);
        assert_eq!(
            (text.len(), text.capacity()),
            (room, room),
            "one allocation, exactly as long as needed"
        );
        let jwt = UnverifiedJwt::parse(&text).unwrap();
        assert_eq!(
            (jwt.algorithm, jwt.kid.as_str()),
            (Algorithm::ES256, "key-1")
        );
        assert_eq!(jwt.payload, b"{\"a\":1}");
        assert_eq!(jwt.signature, [5; 64]);
        assert_eq!(jwt.signing_input, text.rsplit_once('.').unwrap().0);
    }

    #[rstest]
    #[case("at+jwt")]
    #[case("AT+JWT")]
    #[case("application/at+jwt")]
    #[case("Application/At+Jwt")]
    #[case("JWT")]
    #[case("jwt")]
    #[case("application/jwt")]
    fn the_type_is_a_media_type(#[case] typ: &str) {
        let header = format!(r#"{{"alg":"RS256","typ":"{typ}","kid":"k"}}"#);
        assert!(UnverifiedJwt::parse(&token(&header)).is_ok());
    }

    #[test]
    fn a_header_names_its_type() {
        for (typ, text) in [(TokenType::AtJwt, "at+jwt"), (TokenType::Jwt, "JWT")] {
            let header = encode_header(Algorithm::RS256, typ, "k");
            let json = URL_SAFE_NO_PAD.decode(header).unwrap();
            let expected = format!(r#"{{"alg":"RS256","typ":"{text}","kid":"k"}}"#);
            assert_eq!(String::from_utf8(json).unwrap(), expected);
        }
    }

    #[rstest]
    #[case("")]
    #[case("logout+jwt")]
    #[case("id+jwt")]
    #[case("secevent+jwt")]
    #[case("token-introspection+jwt")]
    #[case("oauth-authz-req+jwt")]
    #[case("JWT ")]
    #[case("text/jwt")]
    #[case("at+jwt ")]
    #[case("text/at+jwt")]
    #[case::as_long_as_the_prefix("audio/vnd.xyat+jwt")]
    #[case("application/application/at+jwt")]
    #[case("dpop+jwt")]
    fn kinds_of_tokens_are_not_interchangeable(#[case] typ: &str) {
        assert_eq!(
            refusal(&format!(r#"{{"alg":"RS256","typ":"{typ}","kid":"k"}}"#)),
            MalformedJwt::WrongType
        );
    }

    #[rstest]
    #[case("none")]
    #[case("None")]
    #[case("nOnE")]
    #[case("")]
    #[case("HS256")]
    #[case("HS384")]
    #[case("HS512")]
    #[case("RS1")]
    #[case("rs256")]
    #[case("RSA-OAEP")]
    fn none_and_symmetric_algorithms_are_refused(#[case] alg: &str) {
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"k"}}"#);
        assert_eq!(
            refusal(&header),
            MalformedJwt::UnknownAlgorithm(UnknownAlgorithm)
        );
    }

    #[rstest]
    fn a_token_cannot_bring_its_own_key_or_change_what_is_signed(
        #[values("jku", "x5u", "jwk", "x5c", "crit", "b64", "zip")] name: &'static str,
        #[values("null", "\"https://evil\"", "[\"exp\"]", "{\"kty\":\"RSA\"}", "false")]
        value: &str,
    ) {
        let header = format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"k","{name}":{value}}}"#);
        assert_eq!(refusal(&header), MalformedJwt::ForbiddenParameter(name));
        let escaped = header.replace(
            &format!("\"{name}\""),
            &format!("\"\\u{:04x}{}\"", u32::from(name.as_bytes()[0]), &name[1..]),
        );
        assert_eq!(
            refusal(&escaped),
            MalformedJwt::ForbiddenParameter(name),
            "{escaped}"
        );
    }

    #[rstest]
    #[case::no_object("[]")]
    #[case::text("\"x\"")]
    #[case::empty("{}")]
    #[case::no_alg(r#"{"typ":"at+jwt","kid":"k"}"#)]
    #[case::no_typ(r#"{"alg":"RS256","kid":"k"}"#)]
    #[case::no_kid(r#"{"alg":"RS256","typ":"at+jwt"}"#)]
    #[case::alg_null(r#"{"alg":null,"typ":"at+jwt","kid":"k"}"#)]
    #[case::alg_list(r#"{"alg":["RS256"],"typ":"at+jwt","kid":"k"}"#)]
    #[case::kid_number(r#"{"alg":"RS256","typ":"at+jwt","kid":1}"#)]
    #[case::alg_twice(r#"{"alg":"RS256","alg":"ES256","typ":"at+jwt","kid":"k"}"#)]
    #[case::nested(r#"{"alg":"RS256","typ":"at+jwt","kid":"k","x":{"y":1}}"#)]
    #[case::trailing(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}{}"#)]
    #[case::cut(r#"{"alg":"RS256","typ":"at+jwt","kid":"k""#)]
    fn a_malformed_header_is_refused(#[case] header: &str) {
        assert_eq!(refusal(header), MalformedJwt::Header);
    }

    #[test]
    fn a_deep_header_is_refused_without_recursion() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let depth = 900;
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let header = format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"k","x":{value}}}"#);
            assert_eq!(refusal(&header), MalformedJwt::Header);
        }
    }

    #[test]
    fn an_unknown_plain_parameter_is_skipped() {
        let header = r#"{"x5t":"abc","n":1,"alg":"RS256","typ":"at+jwt","kid":"k","cty":"x"}"#;
        assert_eq!(UnverifiedJwt::parse(&token(header)).unwrap().kid, "k");
    }

    #[test]
    fn only_three_full_parts_are_a_token() {
        let good = token(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#);
        let parts: Vec<&str> = good.split('.').collect();
        let [h, p, s] = parts[..] else {
            panic!("three parts")
        };
        let cases = [
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            h.into(),
            format!("{h}.{p}"),
            format!("{h}.{p}."),
            format!(".{p}.{s}"),
            format!("{h}..{s}"),
            format!("{h}.{p}.{s}."),
            format!("{h}.{p}.{s}.{s}"),
            format!("{h}.{p}.{s}.{s}.{s}"),
            format!(".{good}"),
        ];
        for case in cases {
            assert_eq!(
                UnverifiedJwt::parse(&case).unwrap_err(),
                MalformedJwt::NotCompact,
                "{case}"
            );
        }
    }

    #[test]
    fn base64url_has_one_spelling() {
        let good = token(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#);
        let (input, signature) = good.rsplit_once('.').unwrap();
        assert_eq!(signature, "c2ln");
        for bad in [
            "c2ln=", "c2ln==", "c2l", "c2+n", "c2/n", " c2ln", "c2ln ", "c2\nln", "c2lé", "c2lnc",
            "c2lnZh",
        ] {
            assert_eq!(
                UnverifiedJwt::parse(&format!("{input}.{bad}")).unwrap_err(),
                MalformedJwt::NotBase64Url,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_token_over_8_kib_is_refused_unread() {
        let good = token(r#"{"alg":"RS256","typ":"at+jwt","kid":"k"}"#);
        let fill = |length: usize| format!("{good}{}", "A".repeat(length - good.len()));
        assert_eq!(
            UnverifiedJwt::parse(&fill(MAX_LENGTH + 1)).unwrap_err(),
            MalformedJwt::TooLong
        );
        assert_ne!(
            UnverifiedJwt::parse(&fill(MAX_LENGTH)).err(),
            Some(MalformedJwt::TooLong)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(UnverifiedJwt::parse(&text).is_err());
        }

        #[test]
        fn any_header_is_refused_without_a_panic(header in "[{}\\[\\]\",:algtypkid0-9\\\\]{0,60}") {
            prop_assert!(UnverifiedJwt::parse(&token(&header)).is_err());
        }
    }
}
