//! Fuzz targets: edited tokens, and key sets.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::sync::LazyLock;

use super::fixtures::{at, key_set};
use super::{Algorithm, KeyRing, KeySet};
use crate::fuzzing::Input;
use crate::tokens::jwt::TokenType;

static SIGNED: LazyLock<(KeyRing, Vec<String>)> = LazyLock::new(|| {
    let ring = KeyRing::new(&key_set(), at(1)).unwrap();
    let claims = br#"{"iss":"https://h/id","sub":"a.b","aud":"https://api","client_id":"a.b","client_uid":"u","iat":1,"nbf":1,"exp":9,"jti":"j","scope":"read","principal_kind":"client"}"#;
    let sign = |algorithm| ring.sign(algorithm, TokenType::AtJwt, claims).unwrap();
    let tokens = Algorithm::ALL.map(sign).into();
    (ring, tokens)
});

/// No edited token verifies, nor does a token with a part taken from another token.
pub fn verify(data: &[u8]) {
    let (ring, tokens) = &*SIGNED;
    let mut input = Input(data);
    let mut token = tokens[input.below(tokens.len())].clone().into_bytes();
    while !input.is_empty() {
        edit(&mut token, &mut input, tokens);
    }
    let Ok(token) = String::from_utf8(token) else {
        return;
    };
    let verified = ring.verify(&token);
    assert_eq!(verified.is_ok(), tokens.contains(&token), "{token}");
}

fn edit(token: &mut Vec<u8>, input: &mut Input<'_>, tokens: &[String]) {
    let op = input.below(6);
    let place = input.below(token.len().clamp(1, 1 << 15));
    match op {
        0 => token[place..]
            .iter_mut()
            .take(1)
            .for_each(|byte| *byte = input.byte()),
        1 => token.insert(place, input.byte()),
        2 => token.truncate(place),
        3 => drop(token.splice(place..place, input.bytes().iter().copied())),
        4 => drop(token.drain(place..(place + input.below(256)).min(token.len()))),
        // Replace one of the three parts with another token's.
        _ => {
            let other = tokens[input.below(tokens.len())].as_bytes();
            let part = input.below(3);
            let mut parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
            let theirs = other.split(|byte| *byte == b'.').nth(part);
            if let (Some(place), Some(theirs)) = (parts.get_mut(part), theirs) {
                *place = theirs;
            }
            *token = parts.join(&b'.');
        }
    }
}

/// An accepted key set reads back as it is written, and no error quotes the input.
pub fn key_set_file(data: &[u8]) {
    match KeySet::parse(data) {
        Ok(set) => {
            let json = set.to_json().unwrap();
            let again = KeySet::parse(&json).unwrap();
            assert_eq!(*again.to_json().unwrap(), *json);
            assert!(set.records().len() <= data.len() / 32);
        }
        Err(error) => {
            let mut told = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                told.push_str(&error.to_string());
                cause = error.source();
            }
            assert!(told.len() <= 512 + 2 * data.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_edits_of_signed_tokens_do_not_verify() {
        replay("verify", super::verify);
    }

    #[test]
    fn kept_key_sets_read_back_as_they_are_written() {
        replay("key_set_file", super::key_set_file);
    }
}
