//! The origin of a request for the audit log, and which of the caller's headers may be shown. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};

use crate::directory::{Directory, ObjectKey};
use crate::telemetry::Unverified;
use crate::telemetry::audit::{Origin, RequestId};
use crate::tokens::{imported, reference};

/// Returns the caller's address, `X-Request-Id` and trace.
pub(super) fn origin<'h>(
    peer: Option<IpAddr>,
    headers: &'h HeaderMap,
    directory: &Directory,
    identity: &ObjectKey,
) -> Origin<'h> {
    let is_secret = |text: &str| is_known_secret(directory, identity, text);
    let text = |value: &'h HeaderValue| value.to_str().ok();
    let shown = |text: &'h str| {
        if is_id(text) && !is_secret(text) {
            RequestId::Id(text)
        } else {
            RequestId::Unverified(Unverified::new(text))
        }
    };
    Origin {
        peer,
        request_id: request_id(headers).and_then(text).map(shown),
        trace_id: traceparent(headers, directory, identity).and_then(trace_id),
    }
}

/// Returns the caller's `traceparent`, unless its trace ID is a known secret.
pub(super) fn traceparent<'h>(
    headers: &'h HeaderMap,
    directory: &Directory,
    identity: &ObjectKey,
) -> Option<&'h str> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let id = trace_id(value)?;
    (!is_known_secret(directory, identity, id)).then_some(value)
}

/// Returns the caller's `X-Request-Id` if the answer may repeat it: 1 to 64 letters, digits, `.`, `_` or `-`.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("x-request-id").filter(|value| {
        (1..=64).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

/// Returns whether a text has a form that proxies use for IDs: a UUID with or without hyphens, or a ULID. Any other
/// text may be a piece of a token or secret, however short. Tokens and secrets of Symbolon mix digits with letters of
/// both cases: one in a million contains a piece of such a form.
fn is_id(text: &str) -> bool {
    is_uuid(text) || is_hex(text, UUID_DIGITS) || is_ulid(text)
}

/// The number of hexadecimal digits of a UUID.
const UUID_DIGITS: usize = 32;

/// Returns whether a text is a UUID with hyphens (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut groups = text.split('-');
    let fits = |length| groups.next().is_some_and(|group| is_hex(group, length));
    GROUPS.into_iter().all(fits) && groups.next().is_none()
}

/// Returns whether a text is `length` hexadecimal digits, with letters of only one case.
fn is_hex(text: &str, length: usize) -> bool {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let upper = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    text.len() == length && (text.bytes().all(lower) || text.bytes().all(upper))
}

/// Returns whether a text is a ULID: 128 bits as 26 characters of Crockford's base 32, in upper case.
fn is_ulid(text: &str) -> bool {
    text.len() == 26
        && matches!(text.as_bytes().first(), Some(b'0'..=b'7'))
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'H' | b'J' | b'K' | b'M' | b'N' | b'P'..=b'T' | b'V'..=b'Z'))
}

/// Returns whether a text is a token or secret of Symbolon, or an imported secret of this Identity in any spelling.
fn is_known_secret(directory: &Directory, identity: &ObjectKey, text: &str) -> bool {
    let is_imported = |spelling: &str| {
        imported::presented(spelling).is_some_and(|hash| directory.knows_imported(identity, &hash))
    };
    let is_imported_in_any =
        || is_imported(text) || spellings(text).iter().any(|spelling| is_imported(spelling));
    reference::parse(text).is_ok() || directory.has_imported() && is_imported_in_any()
}

/// Returns the spellings of the 128 bits that a text with [`UUID_DIGITS`] hexadecimal digits writes: in lower and upper
/// case, with and without the hyphens of a UUID. Proxies rewrite IDs, and any spelling gives the secret away.
fn spellings(text: &str) -> Vec<String> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != UUID_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Vec::new();
    }
    let mut hyphenated = String::with_capacity(UUID_DIGITS + 4);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            hyphenated.push('-');
        }
        hyphenated.push(digit);
    }
    let both = [digits, hyphenated].into_iter();
    both.flat_map(|form| [form.to_ascii_lowercase(), form.to_ascii_uppercase()])
        .collect()
}

/// Returns the trace ID of a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(value: &str) -> Option<&str> {
    let mut parts = value.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let is_lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_hex(version, 2) && is_hex(id, UUID_DIGITS) && is_lower(value)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::{Cause, OwnerKind};
    use crate::tokens::{Prefix, SeededEntropy, TokenHash};

    #[test]
    fn a_request_id_is_shown_only_if_it_is_a_uuid_or_ulid() {
        for id in [
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "9f86d081884c7d659a2feaa0c55ad015",
            "9F86D081884C7D659A2FEAA0C55AD015",
            "550e8400-e29b-41d4-a716-446655440000",
            "550E8400-E29B-41D4-A716-446655440000",
        ] {
            assert!(is_id(id), "{id}");
        }
        for other in [
            "",
            "req-1",
            "hunter2",
            "01arz3ndektsv4rrffq69g5fav",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
            "9f86d081884c7d659a2feaa0c55ad01",
            "9f86d081884c7d659a2feaa0c55ad015a",
            "9F86d081884c7d659a2feaa0c55ad015",
            "550e8400e29b-41d4-a716-446655440000-",
            "550e8400-e29b-41d4-a716-44665544000",
            "550e8400-e29b-41d4-a716-446655440000-",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn no_piece_of_an_issued_token_or_secret_is_taken_for_an_id() {
        let mut entropy = SeededEntropy::new(1);
        let kinds = [
            reference::Kind::ServiceAccessToken,
            reference::Kind::ClientSecret,
        ];
        for kind in kinds.into_iter().cycle().take(200) {
            let minted = reference::mint(&Prefix::default(), kind, &mut entropy);
            let token = minted.token.expose();
            for start in 0..token.len() {
                for end in start..=token.len() {
                    assert!(!is_id(&token[start..end]), "{start}..{end} of {token}");
                }
            }
        }
    }

    #[test]
    fn a_known_secret_is_not_shown_as_trace_id_or_request_id() {
        const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015";
        const OTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut world = World::new(QUICKSTART);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        world.issue_with(OwnerKind::OAuthClient, "blue", "shop", now, |entry| {
            entry.hash = TokenHash::of(SECRET).to_string();
            entry.cause = Cause::Imported;
        });
        let identity = ObjectKey::new("platform", "main");
        for (id, is_shown) in [(SECRET, false), (OTHER, true)] {
            let parent = format!("00-{id}-00f067aa0ba902b7-01");
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", parent.parse().unwrap());
            headers.insert("x-request-id", id.parse().unwrap());
            let told = origin(None, &headers, &world.directory, &identity);
            assert_eq!(told.trace_id, is_shown.then_some(id));
            let request_id = told.request_id.unwrap();
            assert_eq!(matches!(request_id, RequestId::Id(_)), is_shown);
            let parent = is_shown.then_some(parent.as_str());
            assert_eq!(traceparent(&headers, &world.directory, &identity), parent);
        }
    }

    #[test]
    fn a_known_secret_is_not_shown_in_any_spelling() {
        const SPELLINGS: [&str; 4] = [
            "9f86d081884c7d659a2feaa0c55ad015",
            "9F86D081884C7D659A2FEAA0C55AD015",
            "9f86d081-884c-7d65-9a2f-eaa0c55ad015",
            "9F86D081-884C-7D65-9A2F-EAA0C55AD015",
        ];
        let identity = ObjectKey::new("platform", "main");
        for imported in SPELLINGS {
            let mut world = World::new(QUICKSTART);
            let now = "2026-02-01T00:00:00Z".parse().unwrap();
            world.issue_with(OwnerKind::OAuthClient, "blue", "shop", now, |entry| {
                entry.hash = TokenHash::of(imported).to_string();
                entry.cause = Cause::Imported;
            });
            for sent in SPELLINGS {
                let mut headers = HeaderMap::new();
                headers.insert("x-request-id", sent.parse().unwrap());
                let parent = format!("00-{}-00f067aa0ba902b7-01", SPELLINGS[0]);
                headers.insert("traceparent", parent.parse().unwrap());
                let told = origin(None, &headers, &world.directory, &identity);
                assert_eq!(told.trace_id, None, "{imported}");
                let is_shown = matches!(told.request_id, Some(RequestId::Id(_)));
                assert!(!is_shown, "{imported} sent as {sent}");
            }
        }
    }
}
