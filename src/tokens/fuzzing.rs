//! Fuzz targets: reference tokens, JWTs and claims, each compared with a second, naive parser.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::Value;
use serde_json::value::RawValue;

use super::claims::{AccessTokenClaims, ClaimError, Scopes};
use super::jwt::{self, MalformedJwt, UnverifiedJwt};
use super::{Algorithm, Mac, Prefix, TokenHash, TokenId, base62, imported, reference};

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\A([a-z0-9]{1,16})(sat|pat|sec|cod|ref|ses|par)_([0-9A-Za-z]{16})([0-9A-Za-z]{43})([0-9A-Za-z]{6})\z",
    )
    .unwrap()
});

/// Computes CRC-32/ISO-HDLC bit by bit.
fn naive_crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// Decodes a base62 text as a number in 33 bytes, big-endian.
fn naive_number(text: &[u8]) -> [u8; 33] {
    let mut number = [0_u8; 33];
    for character in text {
        let digit = base62::ALPHABET.iter().position(|it| it == character);
        let mut carry = digit.unwrap();
        for byte in number.iter_mut().rev() {
            let product = usize::from(*byte) * 62 + carry;
            *byte = u8::try_from(product & 255).unwrap();
            carry = product >> 8;
        }
    }
    number
}

fn is_reference(text: &str) -> bool {
    let Some(parts) = REFERENCE.captures(text) else {
        return false;
    };
    let secret = naive_number(parts[4].as_bytes());
    let checksum = naive_number(parts[5].as_bytes());
    let crc = naive_crc(&text.as_bytes()[..text.len() - 6]);
    let mut expected = [0; 33];
    expected[29..].copy_from_slice(&crc.to_be_bytes());
    secret[0] == 0 && checksum == expected
}

/// The parser accepts a reference token exactly if a regular expression, long division and a bitwise checksum do, and
/// its parts match the text. The same holds for IDs, hashes, seals and prefixes. A second run corrects the checksum, as
/// an attacker can.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    reference_text(text);
    if let Some(body) = text.len().checked_sub(6).and_then(|end| text.get(..end)) {
        let checksum = base62::encode_32(crc32fast::hash(body.as_bytes()));
        reference_text(&format!(
            "{body}{}",
            std::str::from_utf8(&checksum).unwrap()
        ));
    }
    renders::<TokenId>(text, text.len() == 16 && base62::is_base62(data));
    let is_hex = text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    renders::<TokenHash>(text, is_hex);
    renders::<Mac>(text, is_hex);
    let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    renders::<Prefix>(
        text,
        (1..=16).contains(&text.len()) && text.bytes().all(is_lower),
    );
    if let Some(secret) = data.first_chunk::<32>() {
        let digits = base62::encode_256(secret);
        assert!(base62::is_canonical_256(&digits));
        assert_eq!(naive_number(&digits)[1..], secret[..]);
    }
}

fn reference_text(text: &str) {
    let parsed = reference::parse(text);
    assert_eq!(parsed.is_ok(), is_reference(text), "{text:?}");
    if let Ok(token) = parsed {
        let start = format!("{}{}_{}", token.prefix, token.kind, token.id);
        assert!(text.starts_with(&start));
        assert_eq!(token.hash, TokenHash::of(text));
        renders::<Prefix>(token.prefix, true);
    }
    if let Ok(secret) = imported::read(text) {
        assert!(
            text.strip_prefix(secret)
                .unwrap()
                .trim_matches(['\r', '\n'])
                .is_empty()
        );
        assert_eq!(imported::read(secret), Ok(secret));
        assert_eq!(imported::presented(secret), Some(TokenHash::of(secret)));
    }
    if imported::presented(text).is_some() {
        assert!((32..=256).contains(&text.len()) && text.bytes().all(|b| (32..127).contains(&b)));
    }
}

/// An accepted text renders as it was parsed.
fn renders<T: std::str::FromStr + std::fmt::Display>(text: &str, is_one: bool) {
    match text.parse::<T>() {
        Ok(value) => {
            assert!(is_one, "{text:?}");
            assert_eq!(value.to_string(), text);
        }
        Err(_) => assert!(!is_one, "{text:?}"),
    }
}

/// Parses a token by RFC 7515's parts and a JSON value; `None` if anything is wrong.
fn naive_header(token: &str) -> Option<(Algorithm, String)> {
    let parts: Vec<&str> = token.split('.').collect();
    if token.len() > jwt::MAX_LENGTH || parts.len() != 3 || parts.contains(&"") {
        return None;
    }
    let bytes: Result<Vec<_>, _> = parts
        .iter()
        .map(|part| URL_SAFE_NO_PAD.decode(part))
        .collect();
    let bytes = bytes.ok()?;
    let header: BTreeMap<String, &RawValue> = serde_json::from_slice(&bytes[0]).ok()?;
    let text = |name: &str| serde_json::from_str::<String>(header.get(name)?.get()).ok();
    let forbidden = ["jku", "x5u", "jwk", "x5c", "crit", "b64", "zip"];
    let typ = text("typ")?.to_ascii_lowercase();
    let is_good = !forbidden.iter().any(|name| header.contains_key(*name))
        && !header
            .values()
            .any(|value| value.get().starts_with(['{', '[']))
        && ["at+jwt", "application/at+jwt", "jwt", "application/jwt"].contains(&&*typ);
    let algorithm = Algorithm::ALL
        .into_iter()
        .find(|known| Some(known.to_string()) == text("alg"));
    is_good.then_some((algorithm?, text("kid")?))
}

/// A JWT parses in the same way as with `serde_json` and with the crate `jsonwebtoken`, and its parts match the text.
/// The input is parsed as a token, and again as the header of one.
pub fn jwt(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        jwt_text(text);
    }
    let payload = URL_SAFE_NO_PAD.encode("{}");
    jwt_text(&format!("{}.{payload}.c2ln", URL_SAFE_NO_PAD.encode(data)));
}

fn jwt_text(text: &str) {
    let (parsed, expected) = (UnverifiedJwt::parse(text), naive_header(text));
    match parsed {
        Ok(token) => {
            assert_eq!(
                Some((token.algorithm, token.kid.clone())),
                expected,
                "{text}"
            );
            let mut again = token.signing_input.to_owned();
            jwt::append_signature(&mut again, &token.signature);
            assert_eq!(again, text);
            let (header, _) = text.split_once('.').unwrap();
            let again = jwt::signing_input(header, &token.payload, 0);
            assert_eq!(again, token.signing_input);
            assert!(token.payload.len() + token.signature.len() + token.kid.len() < text.len());
            // Another library may refuse parameters that are skipped here; if it does not, it reads the same.
            if let Ok(theirs) = jsonwebtoken::decode_header(text) {
                assert_eq!(format!("{:?}", theirs.alg), token.algorithm.to_string());
                assert_eq!(theirs.kid.as_deref(), Some(&*token.kid));
            }
        }
        // Only a repeated parameter is invisible in a JSON value.
        Err(MalformedJwt::Header) if expected.is_some() => {
            let header = text.split('.').next().unwrap();
            let header = URL_SAFE_NO_PAD.decode(header).unwrap();
            assert!(has_twins(&header), "{text}");
        }
        Err(error) => assert_eq!(expected, None, "{error}: {text}"),
    }
}

/// Whether a known name is repeated, however it is escaped.
fn has_twins(json: &[u8]) -> bool {
    struct Names(Vec<String>);

    impl<'de> serde::Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> serde::de::Visitor<'de> for All {
                type Value = Names;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Names, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                        names.push(name);
                    }
                    Ok(Names(names))
                }
            }
            deserializer.deserialize_map(All)
        }
    }

    let Names(mut names) = serde_json::from_slice(json).unwrap();
    names.sort();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Accepted claims read back as they are written, have no empty text, and pass the time check exactly if arithmetic in
/// whole seconds says so.
pub fn claims(data: &[u8]) {
    let Ok(claims) = AccessTokenClaims::from_json(data) else {
        return;
    };
    let json = claims.to_json().unwrap();
    // A one-byte character may be written as an escape of six bytes.
    assert!(json.len() <= 6 * data.len());
    let mut expected = claims.clone();
    // An empty scope claim is not written, in either form.
    if claims.scope.is_empty() {
        expected.scope = Scopes::default();
    }
    assert_eq!(AccessTokenClaims::from_json(&json).unwrap(), expected);
    // A skipped claim may hold a number that no JSON value can.
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    for name in ["iss", "sub", "client_id", "client_uid", "jti"] {
        assert!(
            value[name].as_str().is_some_and(|text| !text.is_empty()),
            "{name}"
        );
    }
    let audiences = match &value["aud"] {
        Value::Array(many) => many.clone(),
        one => vec![one.clone()],
    };
    let ours: Vec<_> = claims.aud.iter().map(Value::from).collect();
    assert_eq!(ours, audiences);
    assert!(!ours.is_empty() && !claims.aud.contains(""));
    assert!(
        !claims
            .scope
            .as_slice()
            .iter()
            .any(|it| it.is_empty() || it.contains(' '))
    );
    let second = |name: &str| value[name].as_i64().unwrap();
    let (exp, from) = (second("exp"), second("nbf").max(second("iat")));
    for now in [
        exp,
        exp - 1,
        exp + 59,
        exp + 60,
        from,
        from - 60,
        from - 61,
        1_800_000_000,
    ] {
        let Ok(at) = Timestamp::from_second(now) else {
            continue;
        };
        let expected = if now - exp >= 60 {
            Err(ClaimError::Expired)
        } else if from - now > 60 {
            Err(ClaimError::NotYetValid)
        } else {
            Ok(())
        };
        assert_eq!(
            claims.check_time(at, SignedDuration::from_secs(60)),
            expected
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_texts_are_reference_tokens_for_both_parsers_or_neither() {
        replay("reference", super::reference);
    }

    #[test]
    fn kept_jwts_parse_alike_in_three_parsers() {
        replay("jwt", super::jwt);
    }

    #[test]
    fn kept_claims_read_back_as_they_are_written() {
        replay("claims", super::claims);
    }
}
