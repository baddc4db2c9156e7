//! The body of a POST: `application/x-www-form-urlencoded`, parsed strictly (RFC 6749 appendix B and section 3.2).
//!
//! A percent sign must precede two hexadecimal digits, and the result must be UTF-8 without NUL; nothing is guessed. A
//! parameter without a value counts as omitted. A repeated parameter is refused, except `resource` (RFC 8707 section
//! 2).

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroize as _;

use super::OAuthError;

/// The most parameters in one request.
const MAX_PARAMETERS: usize = 64;
/// The only parameter that may be repeated.
const REPEATABLE: &str = "resource";
/// Parameters that carry credentials or a request. They are refused in a URL, which proxies log (RFC 6749 section
/// 2.3.1, RFC 7662 section 2.1, RFC 7009 section 2.1).
pub(super) const NEVER_IN_A_QUERY: [&str; 14] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "refresh_token",
    "resource",
    "scope",
    "token",
    "token_type_hint",
];

/// The parameters of one request. Values may be secrets: they are never printed, and copies are wiped.
pub struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Form<'a> {
    /// Parses a body whose media type [`is_form`] has checked.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn parse(body: &'a [u8]) -> Result<Self, OAuthError> {
        let mut form = Self {
            pairs: Vec::with_capacity(8),
        };
        for pair in body.split(|byte| *byte == b'&') {
            if !pair.is_empty() {
                form.push(pair)?;
            }
        }
        // A parameter without a value counts as omitted (RFC 6749 section 3.2).
        form.pairs.retain(|(_, value)| !value.is_empty());
        Ok(form)
    }

    fn push(&mut self, pair: &'a [u8]) -> Result<(), OAuthError> {
        let cut = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match cut {
            Some(cut) => (&pair[..cut], &pair[cut + 1..]),
            None => (pair, &[][..]),
        };
        let (name, value) = (decode(name)?, decode(value)?);
        if self.pairs.len() == MAX_PARAMETERS {
            return Err(OAuthError::invalid_request("too many parameters"));
        }
        if name != REPEATABLE && self.pairs.iter().any(|(known, _)| *known == name) {
            return Err(OAuthError::invalid_request("a parameter is repeated"));
        }
        self.pairs.push((name, value));
        Ok(())
    }

    /// Returns every name and value, in their order.
    #[cfg(any(test, fuzzing))]
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Returns the values of a repeatable parameter.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
    }

    /// Returns the value of a required parameter.
    ///
    /// # Errors
    /// `invalid_request` with `description`.
    pub fn require(&self, name: &str, description: &'static str) -> Result<&str, OAuthError> {
        self.get(name)
            .ok_or(OAuthError::invalid_request(description))
    }
}

impl Drop for Form<'_> {
    fn drop(&mut self) {
        for (_, value) in &mut self.pairs {
            if let Cow::Owned(copy) = value {
                copy.zeroize();
            }
        }
    }
}

impl fmt::Debug for Form<'_> {
    /// Prints only the names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.pairs.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Whether a `Content-Type` names a form; its parameters, such as `charset`, are ignored.
pub fn is_form(content_type: Option<&str>) -> bool {
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| {
            essence
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// Refuses a request whose URL has parameters that belong in the body.
///
/// # Errors
/// `invalid_request`.
pub fn check_query(query: Option<&str>) -> Result<(), OAuthError> {
    let Some(query) = query else { return Ok(()) };
    let forbidden = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        // A name that does not decode is not one of these.
        decode(name.as_bytes()).is_ok_and(|name| NEVER_IN_A_QUERY.contains(&name.as_ref()))
    };
    if query.split('&').any(forbidden) {
        return Err(OAuthError::invalid_request(
            "send parameters in the body, not in the URL",
        ));
    }
    Ok(())
}

/// Decodes one name or value; borrows if nothing is encoded.
///
/// # Errors
/// `invalid_request` for a broken escape, invalid UTF-8 or NUL.
pub fn decode(text: &[u8]) -> Result<Cow<'_, str>, OAuthError> {
    let encoded = text.iter().any(|byte| matches!(byte, b'%' | b'+'));
    let decoded = if encoded {
        let bytes = unescape(text).ok_or(OAuthError::invalid_request(
            "a percent sign is not followed by two hexadecimal digits",
        ))?;
        String::from_utf8(bytes).map(Cow::Owned).map_err(|error| {
            error.into_bytes().zeroize();
        })
    } else {
        std::str::from_utf8(text).map(Cow::Borrowed).map_err(drop)
    };
    match decoded {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(OAuthError::invalid_request(
            "the parameters are not UTF-8 text",
        )),
    }
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    // Reserve the full capacity: a growing buffer would leave an unwiped copy behind.
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (&[high, low], tail) = tail.split_first_chunk()?;
                rest = tail;
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::super::ErrorCode;
    use super::*;

    fn get(body: &str, name: &str) -> Result<Option<String>, OAuthError> {
        Form::parse(body.as_bytes()).map(|form| form.get(name).map(str::to_owned))
    }

    #[rstest]
    #[case("a=b", Some("b"))]
    #[case("a=b+c%20d%2B%C3%A9", Some("b c d+é"))]
    #[case("x=1&&a=b&", Some("b"))]
    #[case("a=b=c", Some("b=c"))]
    #[case("%61=b", Some("b"))]
    #[case::no_value_is_left_out("a=", None)]
    #[case::no_sign_is_left_out("a", None)]
    #[case::case_matters("A=b", None)]
    #[case("", None)]
    fn a_value_is_decoded_once(#[case] body: &str, #[case] value: Option<&str>) {
        assert_eq!(get(body, "a").unwrap().as_deref(), value);
    }

    #[rstest]
    #[case::repeated(b"a=1&a=2")]
    #[case::repeated_and_equal(b"a=1&a=1")]
    #[case::repeated_and_empty(b"a=&a=1")]
    #[case::repeated_by_another_spelling(b"a=1&%61=2")]
    #[case::unknown_ones_too(b"foo=1&foo=2")]
    #[case::half_an_escape(b"a=%2")]
    #[case::no_escape(b"a=%zz")]
    #[case::signed(b"a=%+1")]
    #[case::nul(b"a=%00")]
    #[case::raw_nul(b"a=\0")]
    #[case::not_utf8(b"a=%ff")]
    #[case::raw_not_utf8(b"a=\xff")]
    #[case::name_not_utf8(b"%ff=a")]
    fn a_malformed_form_is_refused(#[case] body: &[u8]) {
        assert_eq!(
            Form::parse(body).unwrap_err().code,
            ErrorCode::InvalidRequest
        );
    }

    #[test]
    fn resource_may_be_repeated_and_nothing_is_unbounded() {
        let form = Form::parse(b"resource=a&resource=b").unwrap();
        assert_eq!(form.get_all("resource").collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect();
        assert!(Form::parse(many.join("&").as_bytes()).is_err());
        assert!(Form::parse("resource=a&".repeat(MAX_PARAMETERS + 1).as_bytes()).is_err());
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_other_parameters_are_ignored() {
        for query in [
            "client_secret=x",
            "a=1&client_id=x",
            "client%5Fsecret=x",
            "token",
            "access_token=",
        ] {
            assert!(check_query(Some(query)).is_err(), "{query}");
        }
        for query in ["", "a=1", "%zz=1", "tokens=1"] {
            assert!(check_query(Some(query)).is_ok(), "{query}");
        }
        assert!(check_query(None).is_ok());
    }

    #[test]
    fn a_required_parameter_has_a_value() {
        let form = Form::parse(b"token=abc&empty=").unwrap();
        assert_eq!(form.require("token", "token is missing"), Ok("abc"));
        for name in ["empty", "other"] {
            let missing = form.require(name, "token is missing").unwrap_err();
            assert_eq!(
                missing,
                OAuthError::invalid_request("token is missing"),
                "{name}"
            );
        }
    }

    #[test]
    fn only_a_form_is_a_form() {
        for good in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        ] {
            assert!(is_form(Some(good)), "{good}");
        }
        for bad in [
            None,
            Some(""),
            Some("application/json"),
            Some("application/x-www-form-urlencodedx"),
        ] {
            assert!(!is_form(bad), "{bad:?}");
        }
    }

    #[test]
    fn values_are_never_printed() {
        let form = Form::parse(b"client_secret=hunter2").unwrap();
        let printed = format!("{form:?}");
        assert!(
            printed.contains("client_secret") && !printed.contains("hunter2"),
            "{printed}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body: Vec<u8>) {
            let _ = Form::parse(&body);
            let _ = check_query(std::str::from_utf8(&body).ok());
        }

        #[test]
        fn an_encoded_value_reads_back(value in "[^\0]{1,40}") {
            let body: String = form_urlencoded::Serializer::new(String::new()).append_pair("a", &value).finish();
            prop_assert_eq!(get(&body, "a").unwrap(), Some(value));
        }
    }
}
