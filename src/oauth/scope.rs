//! The parameter `scope` (RFC 6749 section 3.3): decides which scopes a client gets.

use std::sync::Arc;

use super::{ErrorCode, OAuthError};
use crate::directory::{AcceptedClient, Directory, GrantedScope};
#[cfg(doc)]
use crate::tokens::jwt::MAX_LENGTH;

/// The most scopes that one request may name: as many as a client can have.
const MAX_SCOPES: usize = 128;

/// Selects the scopes of a request: the requested scopes, all of which must be granted; or, if the request names none,
/// all granted scopes whose request policy is `Default`.
///
/// # Errors
/// `invalid_scope` if a scope is malformed, unknown, built in or not granted, or if no scope remains.
pub fn select<'a>(
    directory: &'a Directory,
    client: &AcceptedClient<'a>,
    asked: Option<&str>,
) -> Result<Vec<GrantedScope<'a>>, OAuthError> {
    let scopes = match asked {
        None => directory
            .granted_scopes(client)
            .filter(|scope| !scope.scope.record.on_request)
            .collect(),
        Some(asked) => named(directory, client, asked)?,
    };
    if scopes.is_empty() {
        return Err(invalid("no scope is granted to this client"));
    }
    Ok(scopes)
}

fn named<'a>(
    directory: &'a Directory,
    client: &AcceptedClient<'a>,
    asked: &str,
) -> Result<Vec<GrantedScope<'a>>, OAuthError> {
    let mut scopes: Vec<GrantedScope<'a>> = Vec::new();
    for (count, value) in asked.split(' ').enumerate() {
        if count == MAX_SCOPES || !is_scope_token(value) {
            return Err(invalid("scope is malformed"));
        }
        if scopes.iter().any(|known| **known.value() == *value) {
            continue;
        }
        // A Scope cannot publish a built-in scope, so openid, profile, email and offline_access are refused here.
        let granted = directory.granted_scope(client, value);
        scopes.push(granted.ok_or(invalid("a scope is not granted to this client"))?);
    }
    Ok(scopes)
}

/// Splits a requested scope into its values, each once.
///
/// # Errors
/// `invalid_scope` if it is malformed or names too many.
pub fn values(asked: &str) -> Result<Vec<&str>, OAuthError> {
    let mut values = Vec::new();
    for (count, value) in asked.split(' ').enumerate() {
        if count == MAX_SCOPES || !is_scope_token(value) {
            return Err(invalid("scope is malformed"));
        }
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Ok(values)
}

/// `scope-token` of RFC 6749 section 3.3.
fn is_scope_token(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// The error for a token that would be longer than [`MAX_LENGTH`]: no endpoint would accept it.
pub const TOO_LONG: OAuthError =
    invalid("the token would be too long: ask for fewer scopes or name a resource");

/// Joins scopes with spaces, skipping each that would exceed `most` bytes.
pub fn join_within(scopes: &[&Arc<str>], most: usize) -> String {
    let mut text = String::new();
    for scope in scopes {
        let space = usize::from(!text.is_empty());
        if text.len() + space + scope.len() <= most {
            text.extend([" "].into_iter().take(space));
            text.push_str(scope);
        }
    }
    text
}

/// Joins scopes with spaces.
pub fn join(scopes: &[GrantedScope<'_>]) -> String {
    join_values(scopes.iter().map(GrantedScope::value))
}

/// Joins scope values with spaces.
pub fn join_values<'a>(values: impl Iterator<Item = &'a Arc<str>>) -> String {
    values.fold(String::with_capacity(64), |mut text, value| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(value);
        text
    })
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidScope, description)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_requested_scope_is_split_strictly() {
        assert_eq!(values("b a b").unwrap(), ["b", "a"]);
        for malformed in ["", " a", "a ", "a  b", "a\"", "a\\", "a\tb", "\u{e9}"] {
            assert!(values(malformed).is_err(), "{malformed:?}");
        }
        let many = |count: usize| vec!["a"; count].join(" ");
        assert!(values(&many(MAX_SCOPES)).is_ok());
        assert!(values(&many(MAX_SCOPES + 1)).is_err());
    }

    #[rstest]
    #[case::with_room(&["aa", "bb", "cc"], 9, "aa bb cc")]
    #[case::to_the_last_byte(&["aa", "bb", "cc"], 8, "aa bb cc")]
    #[case::without_the_last(&["aa", "bb", "cc"], 7, "aa bb")]
    #[case::the_space_counts(&["aa", "bb"], 4, "aa")]
    #[case::a_long_one_is_skipped(&["aa", "bbbb", "cc"], 5, "aa cc")]
    #[case::a_long_first_one_is_skipped(&["aaaa", "b"], 3, "b")]
    #[case::none_fits(&["aa"], 1, "")]
    #[case::none(&[], 9, "")]
    fn scopes_are_joined_whole_or_left_out(
        #[case] scopes: &[&str],
        #[case] most: usize,
        #[case] joined: &str,
    ) {
        let scopes: Vec<Arc<str>> = scopes.iter().map(|scope| Arc::from(*scope)).collect();
        let scopes: Vec<&Arc<str>> = scopes.iter().collect();
        assert_eq!(join_within(&scopes, most), joined);
    }
}
