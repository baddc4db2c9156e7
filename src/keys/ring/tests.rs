//! Rules of signing and verifying, checked against jsonwebtoken as an independent implementation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::keys::fixtures::{at, key, key_set, record};
use crate::keys::generate;
use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};

const ISSUER: &str = "https://host/id";
const AUDIENCE: &str = "https://host/id/team";

fn ring() -> KeyRing {
    KeyRing::new(&key_set(), at(1)).unwrap()
}

fn claims(iat: i64, lifetime: i64) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: ISSUER.into(),
        sub: "team.api".into(),
        aud: Audience::Single(AUDIENCE.into()),
        client_id: "team.api".into(),
        client_uid: "uid-1".into(),
        iat: at(iat),
        nbf: at(iat),
        exp: at(iat + lifetime),
        jti: "AAAAAAAAAAAAAAAA".into(),
        scope: Scopes::Text(vec!["team:read".into()]),
        principal_kind: PrincipalKind::Client,
        client_system_user: None,
        no_other_kind: NoOtherKind,
    }
}

fn json(iat: i64, lifetime: i64) -> Vec<u8> {
    claims(iat, lifetime).to_json().unwrap()
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    algorithm.as_str().parse().unwrap()
}

/// Verifies as a resource server does: with our JWK Set alone.
fn verify_elsewhere(jwks: &[u8], token: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(jwks).unwrap();
    let header = jsonwebtoken::decode_header(token)?;
    let jwk = jwks
        .find(&header.kid.unwrap())
        .ok_or(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat)?;
    let mut validation = Validation::new(jwk.common.key_algorithm.unwrap().to_string().parse()?);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk)?, &validation)
        .map(|token| token.claims)
}

/// A token with any header and payload, signed by one of our keys or by `sign`.
fn forge(header: &Value, payload: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = sign(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn by_key(algorithm: Algorithm) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |input| {
        key(algorithm)
            .sign(input, &mut [0; MAX_SIGNATURE_LENGTH])
            .unwrap()
            .to_vec()
    }
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": key(algorithm).kid()})
}

/// The encoded header is found by the position of the type.
#[test]
fn a_token_of_each_declared_type_names_it_and_only_some_are_access_tokens() {
    for typ in TokenType::ALL {
        let token = ring().sign(Algorithm::ES256, typ, &json(1, 10)).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ.as_str()));
        let may_be_access_token = TokenType::OF_ACCESS_TOKENS.contains(&typ);
        assert_eq!(
            ring().verify(&token).is_ok(),
            may_be_access_token,
            "{typ:?}"
        );
    }
}

/// An ID token that comes back is read in this way, whatever its claims.
#[test]
fn a_payload_is_read_only_as_the_type_that_was_signed() {
    let payload = |text: &str| format!(r#"{{"sub":"{text}"}}"#).into_bytes();
    let sign = |typ, text| ring().sign(Algorithm::ES256, typ, &payload(text)).unwrap();
    for typ in TokenType::ALL {
        let (mine, other) = (sign(typ, "me"), sign(typ, "other"));
        for asked in TokenType::ALL {
            let read = ring().payload(&mine, asked).ok();
            assert_eq!(read, (asked == typ).then(|| payload("me")), "{asked:?}");
        }
        let (content, _) = mine.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let error = ring().payload(&format!("{content}.{signature}"), typ);
        assert!(matches!(error, Err(JwtError::BadSignature)), "{error:?}");
    }
}

#[rstest]
fn what_we_sign_verifies_here_and_elsewhere(
    #[values(Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA)]
    algorithm: Algorithm,
    #[values(TokenType::AtJwt, TokenType::Jwt)] typ: TokenType,
) {
    let claims = claims(1_000, 3_600);
    let token = ring()
        .sign(algorithm, typ, &claims.to_json().unwrap())
        .unwrap();
    let verified = ring().verify(&token).unwrap();
    assert_eq!(
        (verified.claims.clone(), verified.algorithm),
        (claims, algorithm)
    );
    assert_eq!(verified.kid, key(algorithm).kid());

    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(
        (header.typ.as_deref(), header.alg),
        (Some(typ.as_str()), theirs(algorithm))
    );
    let elsewhere = verify_elsewhere(&ring().jwks(), &token).unwrap();
    assert_eq!(elsewhere, serde_json::to_value(verified.claims).unwrap());
}

#[rstest]
fn what_another_implementation_signs_with_our_key_verifies_here(
    #[values(Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA)]
    algorithm: Algorithm,
) {
    let pkcs8 = key(algorithm).to_pkcs8().unwrap();
    let pem = |label: &str| {
        let body = base64::engine::general_purpose::STANDARD.encode(&*pkcs8);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    };
    let encoding = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => {
            EncodingKey::from_rsa_pem(&pem("PRIVATE KEY")).unwrap()
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem("PRIVATE KEY")).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem("PRIVATE KEY")).unwrap(),
    };
    let mut header = jsonwebtoken::Header::new(theirs(algorithm));
    header.typ = Some("at+jwt".into());
    header.kid = Some(key(algorithm).kid().into());
    let token = jsonwebtoken::encode(&header, &claims(5, 10), &encoding).unwrap();
    assert_eq!(ring().verify(&token).unwrap().claims, claims(5, 10));
}

#[test]
fn the_algorithm_is_fixed_by_the_key() {
    let payload = claims(1, 10).to_json().unwrap();
    for algorithm in Algorithm::ALL {
        for other in Algorithm::ALL
            .into_iter()
            .filter(|other| *other != algorithm)
        {
            // The key of one algorithm under the name of another, signed by either.
            let confused =
                json!({"alg": other.as_str(), "typ": "at+jwt", "kid": key(algorithm).kid()});
            for signer in [algorithm, other] {
                let token = forge(&confused, &payload, by_key(signer));
                assert!(
                    matches!(ring().verify(&token), Err(JwtError::AlgorithmMismatch)),
                    "{other} as {algorithm}"
                );
            }
            // The right header, and another key's signature.
            let token = forge(&header(algorithm), &payload, by_key(other));
            assert!(
                matches!(ring().verify(&token), Err(JwtError::BadSignature)),
                "{algorithm} by {other}"
            );
        }
    }
}

#[test]
fn hmac_with_a_public_key_is_refused() {
    let payload = claims(1, 10).to_json().unwrap();
    for algorithm in Algorithm::ALL {
        let public = serde_json::to_vec(key(algorithm).jwk()).unwrap();
        for alg in ["HS256", "HS384", "HS512"] {
            let header = json!({"alg": alg, "typ": "at+jwt", "kid": key(algorithm).kid()});
            let token = forge(&header, &payload, |input| {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public);
                aws_lc_rs::hmac::sign(&key, input).as_ref().to_vec()
            });
            let error = ring().verify(&token).unwrap_err();
            assert!(
                matches!(
                    error,
                    JwtError::Malformed(MalformedJwt::UnknownAlgorithm(_))
                ),
                "{error:?}"
            );
        }
    }
}

#[rstest]
#[case("none")]
#[case("None")]
fn an_unsigned_token_is_refused(#[case] alg: &str) {
    let payload = claims(1, 10).to_json().unwrap();
    let header = json!({"alg": alg, "typ": "at+jwt", "kid": key(Algorithm::RS256).kid()});
    for signature in [&b""[..], b"x"] {
        assert!(matches!(
            ring().verify(&forge(&header, &payload, |_| signature.to_vec())),
            Err(JwtError::Malformed(_))
        ));
    }
}

#[test]
fn a_header_that_brings_a_key_is_refused_even_if_rightly_signed() {
    let payload = claims(1, 10).to_json().unwrap();
    let jwk = serde_json::to_value(key(Algorithm::ES256).jwk()).unwrap();
    for (name, value) in [
        ("jku", json!(ISSUER)),
        ("x5u", json!(ISSUER)),
        ("jwk", jwk),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
    ] {
        let mut header = header(Algorithm::ES256);
        header[name] = value;
        let error = ring()
            .verify(&forge(&header, &payload, by_key(Algorithm::ES256)))
            .unwrap_err();
        assert!(
            matches!(error, JwtError::Malformed(MalformedJwt::ForbiddenParameter(found)) if found == name),
            "{error:?}"
        );
    }
}

#[test]
fn another_kind_of_token_is_refused_even_if_rightly_signed() {
    let payload = claims(1, 10).to_json().unwrap();
    for typ in ["logout+jwt", "dpop+jwt", "token-introspection+jwt"] {
        let mut header = header(Algorithm::EdDSA);
        header["typ"] = json!(typ);
        let error = ring()
            .verify(&forge(&header, &payload, by_key(Algorithm::EdDSA)))
            .unwrap_err();
        assert!(
            matches!(error, JwtError::Malformed(MalformedJwt::WrongType)),
            "{typ}"
        );
    }
}

#[rstest]
fn a_rightly_signed_token_without_a_required_claim_is_refused(
    #[values(
        "iss",
        "aud",
        "exp",
        "nbf",
        "iat",
        "sub",
        "client_id",
        "client_uid",
        "jti",
        "principal_kind"
    )]
    claim: &str,
) {
    let mut payload = serde_json::to_value(claims(1, 10)).unwrap();
    payload.as_object_mut().unwrap().remove(claim);
    let token = forge(
        &header(Algorithm::EdDSA),
        payload.to_string().as_bytes(),
        by_key(Algorithm::EdDSA),
    );
    assert!(matches!(ring().verify(&token), Err(JwtError::Claims(_))));
}

#[test]
fn an_unknown_or_retired_key_verifies_nothing() {
    let stranger = KeySet::from_records([record(
        Arc::new(generate(Algorithm::ES256).unwrap()),
        0,
        None,
    )])
    .unwrap();
    let token = KeyRing::new(&stranger, at(1))
        .unwrap()
        .sign(Algorithm::ES256, TokenType::AtJwt, &json(1, 10))
        .unwrap();
    assert!(matches!(ring().verify(&token), Err(JwtError::UnknownKey)));

    let retiring = KeySet::from_records([record(key(Algorithm::ES256), 0, Some(20))]).unwrap();
    let [before, after] = [19, 20].map(|now| KeyRing::new(&retiring, at(now)).unwrap());
    let token = before
        .sign(Algorithm::ES256, TokenType::AtJwt, &json(19, 10))
        .unwrap();
    assert!(before.verify(&token).is_ok());
    assert!(matches!(after.verify(&token), Err(JwtError::UnknownKey)));
    assert!(matches!(
        after.sign(Algorithm::ES256, TokenType::AtJwt, &json(20, 10)),
        Err(SignError::NoKey(Algorithm::ES256))
    ));
    assert_eq!(after.jwks(), br#"{"keys":[]}"#[..]);
    assert_eq!(
        (before.next_change(), after.next_change()),
        (Some(at(20)), None)
    );
}

#[test]
fn the_ring_signs_with_what_it_says() {
    assert!(ring().algorithms().eq(Algorithm::ALL));
    let set = KeySet::from_records([record(key(Algorithm::EdDSA), 0, None)]).unwrap();
    let ring = KeyRing::new(&set, at(1)).unwrap();
    assert!(ring.algorithms().eq([Algorithm::EdDSA]));
    assert!(matches!(
        ring.sign(Algorithm::RS256, TokenType::AtJwt, &json(1, 1)),
        Err(SignError::NoKey(Algorithm::RS256))
    ));
}

#[test]
fn the_same_keys_give_the_same_jwks_in_any_order() {
    let records = |order: [usize; 4]| {
        KeySet::from_records(order.map(|i| record(key(Algorithm::ALL[i]), 0, None))).unwrap()
    };
    let jwks = |order| KeyRing::new(&records(order), at(1)).unwrap().jwks();
    assert_eq!(jwks([0, 1, 2, 3]), jwks([3, 1, 0, 2]));
}

#[test]
fn no_verification_fails_during_a_rotation_publish_then_use_then_retire() {
    const PUBLISH_AHEAD: i64 = 20;
    const LIFETIME: i64 = 30;
    let [old, new] = [(); 2].map(|()| Arc::new(generate(Algorithm::ES256).unwrap()));
    // The new key is in the set from 80 and signs from 100; the old key retires when its last token has expired.
    let before = KeySet::from_records([record(Arc::clone(&old), 0, None)]).unwrap();
    let rotated = KeySet::from_records([
        record(Arc::clone(&old), 0, Some(100 + LIFETIME)),
        record(Arc::clone(&new), 100, None),
    ])
    .unwrap();
    let rings: Vec<KeyRing> = (0..200)
        .map(|now| {
            KeyRing::new(
                if now < 100 - PUBLISH_AHEAD {
                    &before
                } else {
                    &rotated
                },
                at(now),
            )
            .unwrap()
        })
        .collect();
    for issued in (30..160).step_by(5) {
        let token = rings[issued]
            .sign(Algorithm::ES256, TokenType::AtJwt, &json(0, 1))
            .unwrap();
        for used in issued..issued + 30 {
            rings[used].verify(&token).unwrap();
            // A resource server's copy of the JWK Set may be as old as keys are published ahead.
            verify_elsewhere(&rings[used - 20].jwks(), &token).unwrap();
        }
        let signer = ring_kid(&token);
        assert_eq!(signer, if issued < 100 { old.kid() } else { new.kid() });
    }
}

fn ring_kid(token: &str) -> String {
    UnverifiedJwt::parse(token).unwrap().kid
}

#[test]
fn a_ring_prints_only_the_names_of_its_keys() {
    let printed = format!("{:?}", ring());
    for algorithm in Algorithm::ALL {
        let name = format!("{:?}", key(algorithm));
        assert!(printed.contains(&name));
    }
    assert_eq!(printed.matches("[redacted]").count(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn every_change_of_a_character_is_refused(at_byte: prop::sample::Index, by in "[A-Za-z0-9_.=-]") {
        let ring = ring();
        let token = ring.sign(Algorithm::EdDSA, TokenType::AtJwt, &json(1, 10)).unwrap();
        let at = at_byte.index(token.len());
        prop_assume!(token[at..=at] != by);
        let mut changed = token;
        changed.replace_range(at..=at, &by);
        prop_assert!(ring.verify(&changed).is_err());
    }

    #[test]
    fn every_truncation_is_refused(at_byte: prop::sample::Index) {
        let ring = ring();
        let token = ring.sign(Algorithm::ES256, TokenType::AtJwt, &json(1, 10)).unwrap();
        prop_assert!(ring.verify(&token[..at_byte.index(token.len())]).is_err());
    }
}
