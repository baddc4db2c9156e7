//! Cookies: their names, their attributes, and a strict parser of the header (RFC 6265, RFC 6265bis section 4.1.3.2).
//!
//! A name carries a hash of the issuer, since several Identities may share a host. Over https it starts with `__Host-`,
//! so that no other host, and no page of this host over http, can set it. Over http (dev mode) browsers refuse this
//! prefix.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::tokens::{Entropy, Hex, SecretString, base62};

/// The longest value that is read or set, in bytes.
pub const MAX_VALUE: usize = 2048;
/// The largest `Cookie` header that is read, in bytes. Other applications of the host may fill it.
const MAX_HEADER: usize = 16 << 10;
/// How many bytes of the issuer's hash are in a name.
const HASH_LENGTH: usize = 6;

/// A cookie of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cookie {
    /// The secret of a session.
    Session,
    /// The random secret to which flows and forms are bound. It exists before anyone signs in.
    Browser,
    /// The proof that a person has signed in with this browser before, see `people::known_browser`.
    Known,
    /// The language that the person chose.
    Language,
}

impl Cookie {
    /// Every cookie.
    pub const ALL: [Self; 4] = [Self::Session, Self::Browser, Self::Known, Self::Language];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Browser => "browser",
            Self::Known => "known",
            Self::Language => "language",
        }
    }
}

/// The cookies of one issuer.
#[derive(Clone, Debug)]
pub struct Cookies {
    hash: String,
    is_secure: bool,
}

/// The error for a value that a cookie cannot carry. The value is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cookie has at most {MAX_VALUE} characters, each a letter, a digit, or one of . _ ~ -")]
pub struct NotAValue;

impl Cookies {
    /// Returns the cookies of an issuer.
    pub fn new(issuer: &str) -> Self {
        let hash = digest(&SHA256, issuer.as_bytes());
        Self {
            hash: Hex(&hash.as_ref()[..HASH_LENGTH]).to_string(),
            is_secure: issuer.starts_with("https://"),
        }
    }

    /// Returns a cookie's name.
    pub fn name(&self, cookie: Cookie) -> String {
        let prefix = if self.is_secure { "__Host-" } else { "" };
        format!("{prefix}symbolon-{}-{}", cookie.as_str(), self.hash)
    }

    /// Returns the value of the `Set-Cookie` header that sets a cookie: for `lasts`, or until the browser closes.
    ///
    /// # Errors
    /// [`NotAValue`].
    pub fn set(
        &self,
        cookie: Cookie,
        value: &str,
        lasts: Option<Duration>,
    ) -> Result<String, NotAValue> {
        if !is_value(value) {
            return Err(NotAValue);
        }
        let age = lasts.map(|lasts| format!("; Max-Age={}", lasts.as_secs()));
        Ok(self.header(cookie, value, &age.unwrap_or_default()))
    }

    /// Returns the value of the `Set-Cookie` header that removes a cookie.
    pub fn remove(&self, cookie: Cookie) -> String {
        self.header(cookie, "", "; Max-Age=0")
    }

    fn header(&self, cookie: Cookie, value: &str, age: &str) -> String {
        let name = self.name(cookie);
        let secure = if self.is_secure { "; Secure" } else { "" };
        // Lax: the redirect of a client brings the cookie along, and a form of another site does not.
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")
    }

    /// Returns the value of a cookie. A cookie that is sent twice, is malformed, or is in too long a header counts as
    /// absent: of two values, an attacker may have set one.
    pub fn read<'h>(&self, headers: &'h HeaderMap, cookie: Cookie) -> Option<&'h str> {
        let name = self.name(cookie);
        // HTTP/2 may split the header (RFC 9113 section 8.2.3).
        let headers = || headers.get_all(COOKIE).iter();
        if headers().map(HeaderValue::len).sum::<usize>() > MAX_HEADER {
            return None;
        }
        let pairs = headers().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let pair = pair.trim_ascii_start();
            pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
        });
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        let value = std::str::from_utf8(value).ok()?;
        (!value.is_empty() && is_value(value)).then_some(value)
    }
}

/// Whether a cookie can carry this value. Stricter than RFC 6265: no value needs quotes or other characters.
fn is_value(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    text.len() <= MAX_VALUE && text.bytes().all(is_allowed)
}

/// Generates the value of [`Cookie::Browser`]: 256 random bits.
pub fn new_browser(entropy: &mut dyn Entropy) -> SecretString {
    let mut secret = zeroize::Zeroizing::new([0; 32]);
    entropy.fill(&mut *secret);
    let text = base62::encode_256(&secret);
    SecretString::from(text.iter().copied().map(char::from).collect::<String>())
}

/// Whether `value` has the form of [`new_browser`]'s.
pub fn is_browser(value: &str) -> bool {
    base62::is_canonical_256(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::tokens::SeededEntropy;

    const ISSUER: &str = "https://id.example.com/a";

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn session_of(values: &[&str]) -> Option<String> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let headers = headers(&values);
        let read = Cookies::new(ISSUER).read(&headers, Cookie::Session);
        read.map(str::to_owned)
    }

    #[test]
    fn a_cookie_over_https_belongs_to_this_host_alone() {
        let cookies = Cookies::new(ISSUER);
        let name = cookies.name(Cookie::Session);
        assert!(name.starts_with("__Host-symbolon-session-"), "{name}");
        let set = cookies.set(Cookie::Session, "abc", None).unwrap();
        assert_eq!(
            set,
            format!("{name}=abc; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
        let day = Some(Duration::from_hours(24));
        let set = cookies.set(Cookie::Session, "abc", day).unwrap();
        assert!(set.ends_with("; Secure; Max-Age=86400"), "{set}");
        assert_eq!(
            cookies.remove(Cookie::Session),
            format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0")
        );
    }

    #[test]
    fn a_cookie_over_http_has_no_prefix_since_browsers_refuse_it() {
        let cookies = Cookies::new("http://localhost:8080/a");
        let set = cookies.set(Cookie::Browser, "abc", None).unwrap();
        assert!(set.starts_with("symbolon-browser-"), "{set}");
        assert!(
            set.ends_with("=abc; Path=/; HttpOnly; SameSite=Lax"),
            "{set}"
        );
    }

    #[test]
    fn no_two_cookies_and_no_two_issuers_share_a_name() {
        let issuers = [
            ISSUER,
            "https://id.example.com/b",
            "http://id.example.com/a",
            "https://id.example.com",
        ];
        let names = issuers.iter().flat_map(|issuer| {
            let cookies = Cookies::new(issuer);
            Cookie::ALL.map(|cookie| cookies.name(cookie))
        });
        let names: std::collections::BTreeSet<_> = names.collect();
        assert_eq!(names.len(), issuers.len() * Cookie::ALL.len());
    }

    #[rstest]
    #[case::empty("")]
    #[case::space("a b")]
    #[case::attribute("a; Domain=example.com")]
    #[case::line("a\r\nSet-Cookie: b=c")]
    #[case::quote("\"a\"")]
    #[case::not_ascii("é")]
    fn a_value_cannot_add_an_attribute_or_a_header(#[case] value: &str) {
        let set = Cookies::new(ISSUER).set(Cookie::Language, value, None);
        assert_eq!(set.is_err(), !value.is_empty(), "{set:?}");
    }

    #[test]
    fn a_cookie_is_read_among_others() {
        let name = Cookies::new(ISSUER).name(Cookie::Session);
        let mine = format!("{name}=abc");
        for sent in [
            vec![mine.clone()],
            vec![format!("a=1; {mine}; b=\"x y\"")],
            vec![format!("a;{mine};=;;b")],
            vec!["a=1".to_owned(), mine.clone(), "b=2".to_owned()],
        ] {
            let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
            assert_eq!(session_of(&sent).as_deref(), Some("abc"), "{sent:?}");
        }
        let mut bytes = b"a=\xff; ".to_vec();
        bytes.extend(mine.as_bytes());
        let read = headers(&[&bytes]);
        let read = Cookies::new(ISSUER).read(&read, Cookie::Session);
        assert_eq!(read, Some("abc"), "another cookie may have any bytes");
    }

    #[test]
    fn anything_else_counts_as_absent() {
        let name = Cookies::new(ISSUER).name(Cookie::Session);
        let other = Cookies::new("https://id.example.com/b").name(Cookie::Session);
        for sent in [
            String::new(),
            name.clone(),
            format!("{name}="),
            format!("{name}=\"abc\""),
            format!("{name}=a b"),
            format!("{name}=abc "),
            format!("{name} =abc"),
            format!("{name}=é"),
            format!("{}=abc", name.to_lowercase()),
            format!("x{name}=abc"),
            format!("{name}x=abc"),
            format!("{other}=abc"),
            format!("a=\"; {name}x=abc\""),
            format!("{name}={}", "a".repeat(MAX_VALUE + 1)),
        ] {
            assert_eq!(session_of(&[&sent]), None, "{sent}");
        }
    }

    #[test]
    fn of_two_values_none_is_taken() {
        let name = Cookies::new(ISSUER).name(Cookie::Session);
        let (one, two) = (format!("{name}=abc"), format!("{name}=def"));
        assert_eq!(session_of(&[&format!("{one}; {two}")]), None);
        assert_eq!(session_of(&[&one, &two]), None);
        assert_eq!(session_of(&[&one, &one]), None);
        assert_eq!(session_of(&[&format!("{one}; {name}=")]), None);
    }

    #[test]
    fn the_header_is_bounded() {
        let mine = format!("{}=abc", Cookies::new(ISSUER).name(Cookie::Session));
        let filled = |length: usize| format!("{mine}; {}", "a".repeat(length - mine.len() - 2));
        assert_eq!(session_of(&[&filled(MAX_HEADER)]).as_deref(), Some("abc"));
        assert_eq!(session_of(&[&filled(MAX_HEADER + 1)]), None);
        assert_eq!(session_of(&[&filled(MAX_HEADER), "a"]), None);
    }

    #[test]
    fn a_browser_has_a_secret_of_its_own() {
        let one = new_browser(&mut SeededEntropy::new(1));
        let two = new_browser(&mut SeededEntropy::new(2));
        assert_ne!(one, two);
        assert!(is_browser(one.expose()));
        let cookies = Cookies::new(ISSUER);
        assert!(cookies.set(Cookie::Browser, one.expose(), None).is_ok());
        for other in ["", "abc", &one.expose()[1..], &format!("{}A", one.expose())] {
            assert!(!is_browser(other), "{other}");
        }
    }

    proptest! {
        /// Whatever other cookies are sent, what is set reads back, and no other value is ever read.
        #[test]
        fn a_set_cookie_reads_back_among_any_others(
            value in "[A-Za-z0-9._~-]{1,100}",
            before in proptest::collection::vec(0x20..=0xff_u8, 0..60),
            after in proptest::collection::vec(0x20..=0xff_u8, 0..60),
        ) {
            let cookies = Cookies::new(ISSUER);
            let set = cookies.set(Cookie::Known, &value, None).unwrap();
            let pair = set.split(';').next().unwrap();
            let del = |bytes: Vec<u8>| bytes.into_iter().filter(|byte| *byte != 0x7f).collect::<Vec<_>>();
            let sent = [&del(before)[..], &b"; "[..], pair.as_bytes(), b";", &del(after)[..]].concat();
            let headers = headers(&[&sent]);
            prop_assert_eq!(cookies.read(&headers, Cookie::Known), Some(&*value));
            prop_assert_eq!(cookies.read(&headers, Cookie::Session), None);
        }
    }
}
