//! A token presented to a resource (RFC 6750), and the challenge that answers a missing or insufficient one.
//!
//! A request sends it in one of `Authorization: Bearer`, `X-Api-Key` and `Api-Key`, never in a URL or a body.

use super::ErrorCode;
use super::authorization::credentials;

/// Why a request has no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No token was sent.
    Missing,
    /// Several tokens were sent (RFC 6750 section 2).
    SeveralWays,
    /// What was sent is not a token.
    Malformed,
}

/// Extracts the token of a request. `authorization` yields all values of that header, `others` what was sent in any
/// other place, such as `X-Api-Key` and `Api-Key`.
///
/// # Errors
/// [`Unusable`].
pub fn extract<'h>(
    authorization: impl Iterator<Item = &'h [u8]>,
    others: impl Iterator<Item = &'h [u8]>,
) -> Result<&'h str, Unusable> {
    let bearer = authorization.map(|header| (header, true));
    let mut all = bearer.chain(others.map(|header| (header, false)));
    let (value, is_authorization) = all.next().ok_or(Unusable::Missing)?;
    if all.next().is_some() {
        return Err(Unusable::SeveralWays);
    }
    let token = if is_authorization {
        // Another scheme is treated as if nothing was sent.
        credentials(value, "Bearer").ok_or(Unusable::Missing)?
    } else {
        value.trim_ascii()
    };
    match std::str::from_utf8(token) {
        Ok(token) if is_token(token) => Ok(token),
        _ => Err(Unusable::Malformed),
    }
}

/// `b64token` of RFC 6750 section 2.1.
fn is_token(token: &str) -> bool {
    !token.is_empty()
        && token.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
        })
}

/// Renders the value of `WWW-Authenticate` (RFC 6750 section 3). Without an error, which means that no token was sent,
/// it has only the realm. `realm` is the issuer, which needs no escaping.
pub fn challenge(realm: &str, error: Option<ErrorCode>, scopes: &str) -> String {
    let mut challenge = format!(r#"Bearer realm="{realm}""#);
    if let Some(error) = error {
        challenge.push_str(r#", error=""#);
        challenge.push_str(error.as_str());
        challenge.push('"');
    }
    if !scopes.is_empty() {
        challenge.push_str(r#", scope=""#);
        challenge.push_str(scopes);
        challenge.push('"');
    }
    challenge
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["Bearer abc"], &[], Ok("abc"))]
    #[case(&["bearer  abc "], &[], Ok("abc"))]
    #[case(&[], &["abc"], Ok("abc"))]
    #[case(&[], &[], Err(Unusable::Missing))]
    #[case(&["Basic abc"], &[], Err(Unusable::Missing))]
    #[case(&["Bearerabc"], &[], Err(Unusable::Missing))]
    #[case::two_headers(&["Bearer abc"], &["abc"], Err(Unusable::SeveralWays))]
    #[case::another_scheme_beside(&["Basic abc"], &["abc"], Err(Unusable::SeveralWays))]
    #[case::twice(&["Bearer abc", "Bearer abc"], &[], Err(Unusable::SeveralWays))]
    #[case::two_keys(&[], &["abc", "abc"], Err(Unusable::SeveralWays))]
    #[case::empty(&["Bearer "], &[], Err(Unusable::Malformed))]
    #[case::bare(&["Bearer"], &[], Err(Unusable::Malformed))]
    #[case::blank_key(&[], &["  "], Err(Unusable::Malformed))]
    #[case::inner_space(&["Bearer a b"], &[], Err(Unusable::Malformed))]
    #[case::quote(&["Bearer a\""], &[], Err(Unusable::Malformed))]
    fn a_token_is_sent_in_one_way(
        #[case] authorization: &[&str],
        #[case] keys: &[&str],
        #[case] token: Result<&str, Unusable>,
    ) {
        assert_eq!(
            extract(
                authorization.iter().map(|value| value.as_bytes()),
                keys.iter().map(|value| value.as_bytes())
            ),
            token
        );
    }

    #[test]
    fn the_challenge_follows_rfc_6750() {
        assert_eq!(
            challenge("https://h/id", None, ""),
            r#"Bearer realm="https://h/id""#
        );
        assert_eq!(
            challenge("r", Some(ErrorCode::InsufficientScope), "a b"),
            r#"Bearer realm="r", error="insufficient_scope", scope="a b""#
        );
    }
}
