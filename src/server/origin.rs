//! Where a request came from, as the audit log tells it: what of a caller's headers may be shown. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};

use crate::directory::{Directory, ObjectKey};
use crate::telemetry::Unverified;
use crate::telemetry::audit::{Origin, RequestId};
use crate::tokens::{brought, reference};

/// The caller's address, `X-Request-Id` and trace.
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
    let trace_id = headers.get("traceparent").and_then(text).and_then(trace_id);
    Origin {
        peer,
        request_id: request_id(headers).and_then(text).map(shown),
        trace_id: trace_id.filter(|id| !is_secret(id)),
    }
}

/// The caller's `X-Request-Id`, if it is one to be repeated: 1 to 64 of letters, digits, `.`, `_`, `-`.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("x-request-id").filter(|value| {
        (1..=64).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

/// Whether a text is shorter than any secret, or has the form in which proxies make ids: hexadecimal digits, as a UUID
/// or without hyphens.
fn is_id(text: &str) -> bool {
    text.len() < brought::SHORTEST
        || text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Whether a text is a token or secret of ours, or one that was brought to this Identity.
fn is_known_secret(directory: &Directory, identity: &ObjectKey, text: &str) -> bool {
    reference::parse(text).is_ok()
        || brought::presented(text).is_some_and(|hash| directory.knows_brought(identity, &hash))
}

/// The trace id of a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(value: &str) -> Option<&str> {
    let mut parts = value.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    (version.len() == 2 && id.len() == 32 && is_hex(version) && is_hex(id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_shown_if_it_looks_as_proxies_make_them() {
        for id in [
            "req-1",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "9f86d081884c7d659a2feaa0c55ad015",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(is_id(id), "{id}");
        }
        for other in [
            "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA",
            "550e8400-e29b-41d4-a716-446655440000x",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }
}
