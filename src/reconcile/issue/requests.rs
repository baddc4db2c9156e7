//! Rotation on request. Each new value of the annotation or of `rotation.trigger` asks for one rotation, and an entry's
//! `nonce` records the requests that are done.
//!
//! Removing a value asks for nothing and forgets nothing: the recorded value is carried over, so a tool that removes
//! and restores the annotation does not rotate each time.

use serde_json::{Map, Value};

use crate::directory::RotationRequests;
use crate::tokens::TokenHash;

/// Longer values are recorded by their hash: an annotation may have 256 KiB, a nonce 512 characters.
const LONGEST_PLAIN: usize = 100;

/// Whether `wanted` holds a value that `done` does not.
pub fn asks_for_rotation(wanted: &RotationRequests, done: &RotationRequests) -> bool {
    let is_new = |wanted: &Option<String>, done: &Option<String>| {
        wanted.is_some() && wanted.as_deref().map(plain) != done.as_deref().map(plain)
    };
    is_new(&wanted.annotation, &done.annotation) || is_new(&wanted.trigger, &done.trigger)
}

/// Returns the requests that are done after a token was issued for `wanted`.
pub fn record_requests(wanted: &RotationRequests, done: &RotationRequests) -> RotationRequests {
    RotationRequests {
        annotation: wanted
            .annotation
            .clone()
            .or_else(|| done.annotation.clone()),
        trigger: wanted.trigger.clone().or_else(|| done.trigger.clone()),
    }
}

/// Encodes the requests that are done as a nonce; `None` if there never was a request.
pub fn encode_requests(done: &RotationRequests) -> Option<String> {
    let fields = [("annotation", &done.annotation), ("trigger", &done.trigger)];
    let map: Map<String, Value> = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), plain(value.as_deref()?).into())))
        .collect();
    (!map.is_empty()).then(|| Value::Object(map).to_string())
}

/// Decodes a nonce; returns no requests if it cannot be decoded.
pub fn decode_requests(nonce: Option<&str>) -> RotationRequests {
    let map: Map<String, Value> = nonce
        .and_then(|nonce| serde_json::from_str(nonce).ok())
        .unwrap_or_default();
    let field = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    RotationRequests {
        annotation: field("annotation"),
        trigger: field("trigger"),
    }
}

/// Returns the value itself if it is short and needs no escapes, otherwise its hash. Idempotent.
fn plain(value: &str) -> String {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if value.len() <= LONGEST_PLAIN && value.bytes().all(is_plain) {
        value.to_owned()
    } else {
        format!("sha256:{}", TokenHash::of(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(annotation: Option<&str>, trigger: Option<&str>) -> RotationRequests {
        RotationRequests {
            annotation: annotation.map(str::to_owned),
            trigger: trigger.map(str::to_owned),
        }
    }

    #[test]
    fn each_new_value_asks_once_and_a_removed_one_never() {
        let long = "x".repeat(4000);
        for (wanted, done, asks) in [
            (requests(None, None), requests(None, None), false),
            (requests(Some("1"), None), requests(None, None), true),
            (requests(Some("1"), None), requests(Some("1"), None), false),
            (requests(Some("2"), None), requests(Some("1"), None), true),
            (requests(None, None), requests(Some("1"), Some("a")), false),
            (
                requests(None, Some("b")),
                requests(Some("1"), Some("a")),
                true,
            ),
            (
                requests(Some("1"), Some("a")),
                requests(Some("1"), Some("a")),
                false,
            ),
            (requests(Some(""), None), requests(None, None), true),
            (
                requests(Some(&long), None),
                requests(Some(&long), None),
                false,
            ),
        ] {
            assert_eq!(
                asks_for_rotation(&wanted, &done),
                asks,
                "{wanted:?} after {done:?}"
            );
            let recorded = encode_requests(&record_requests(&wanted, &done));
            let recorded = decode_requests(recorded.as_deref());
            assert!(
                !asks_for_rotation(&wanted, &recorded),
                "{wanted:?} asks again"
            );
        }
    }

    #[test]
    fn a_removed_value_is_remembered() {
        let first = record_requests(&requests(Some("1"), Some("a")), &requests(None, None));
        let removed = record_requests(&requests(None, Some("b")), &first);
        assert_eq!(removed, requests(Some("1"), Some("b")));
        assert!(
            !asks_for_rotation(&requests(Some("1"), None), &removed),
            "restored, not new"
        );
    }

    #[test]
    fn a_nonce_is_stable_and_short_whatever_was_written() {
        let nasty = "\u{202e}\"\\\n".repeat(90_000);
        let nonce = encode_requests(&requests(Some(&nasty), Some(&"\u{1}".repeat(64)))).unwrap();
        assert!(nonce.len() <= 512 && nonce.is_ascii(), "{nonce}");
        assert_eq!(
            encode_requests(&decode_requests(Some(&nonce))).as_deref(),
            Some(nonce.as_str())
        );
        assert_eq!(
            encode_requests(&requests(Some("2"), Some("b"))).unwrap(),
            r#"{"annotation":"2","trigger":"b"}"#
        );
        assert_eq!(encode_requests(&requests(None, None)), None);
        for (value, is_plain) in [
            (" ~#[]^".to_owned(), true),
            ("x".repeat(100), true),
            ("x".repeat(101), false),
            ("a\"".to_owned(), false),
            ("a\\".to_owned(), false),
            ("a\n".to_owned(), false),
            ("a\u{7f}".to_owned(), false),
            ("aé".to_owned(), false),
        ] {
            let recorded = encode_requests(&requests(Some(&value), None));
            let plain = format!(r#"{{"annotation":"{value}"}}"#);
            assert_eq!(recorded == Some(plain), is_plain, "{value:?}");
        }
        for junk in ["", "1", "[]", "{\"annotation\":7}"] {
            assert_eq!(decode_requests(Some(junk)), requests(None, None), "{junk}");
        }
    }
}
