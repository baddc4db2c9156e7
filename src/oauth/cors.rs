//! Cross-origin requests of web pages (the CORS protocol of the Fetch Standard): which pages may read which answers.
//!
//! A browser asks in advance with a preflight, which names no client: it passes if any client lists the page's origin in
//! its `allowedOrigins`. The answer itself, a refusal too, can be read only if the client of the request lists it.
//! Cookies are never part of it. A program that is not a browser needs none of this, and is not stopped by it.

/// Which pages may read the answers of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Pages of any origin: public documents.
    Any,
    /// Pages of the origins of the request's client: the endpoints that a page calls with `fetch`.
    Registered,
    /// No pages: those of the server itself, and endpoints for servers.
    None,
}

/// The longest origin that is looked up, in bytes: a scheme, a host of 253 and a port.
const MAX_ORIGIN: usize = 300;
/// The methods of endpoints that pages call, besides those that need no preflight.
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// The request headers that such endpoints read, in lower case. The first two are always allowed with simple values.
const HEADERS: [&str; 4] = ["accept", "content-type", "authorization", "dpop"];

/// The value of `Access-Control-Allow-Methods` for [`Sharing::Registered`].
pub const ALLOWED_METHODS: &str = "GET, POST";
/// The value of `Access-Control-Allow-Headers`.
pub const ALLOWED_HEADERS: &str = "Authorization, Content-Type, DPoP";
/// The value of `Access-Control-Expose-Headers`: what a page may read besides the body.
pub const EXPOSED_HEADERS: &str = "WWW-Authenticate, DPoP-Nonce, Retry-After";
/// The value of `Access-Control-Max-Age` in seconds. Short, since it delays the end of a withdrawn origin.
pub const MAX_AGE: u32 = 600;

/// A preflight, as the browser sent it.
#[derive(Clone, Copy, Debug)]
pub struct Preflight<'a> {
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Access-Control-Request-Method`.
    pub method: Option<&'a str>,
    /// `Access-Control-Request-Headers`.
    pub headers: Option<&'a str>,
}

/// Returns the value of `Access-Control-Allow-Origin` for a preflight; `None` if the request would be refused, so that
/// the browser does not send it. `is_listed` says whether any client lists an origin.
pub fn preflight(
    sharing: Sharing,
    asked: Preflight<'_>,
    is_listed: impl FnOnce(&str) -> bool,
) -> Option<&str> {
    let method = asked.method?;
    let has_known_headers = asked.headers.unwrap_or_default().split(',').all(|name| {
        let name = name.trim();
        let mut known = HEADERS.iter();
        name.is_empty() || known.any(|header| header.eq_ignore_ascii_case(name))
    });
    if !METHODS.contains(&method) || !has_known_headers {
        return None;
    }
    answer(sharing, asked.origin, is_listed)
}

/// Returns the value of `Access-Control-Allow-Origin` for an answer; `None` if no page may read it. `is_listed` says
/// whether the client of the request lists an origin: false if the request's client is not known.
///
/// An answer with [`Sharing::Registered`] has `Vary: Origin`, whatever this returns.
pub fn answer(
    sharing: Sharing,
    origin: Option<&str>,
    is_listed: impl FnOnce(&str) -> bool,
) -> Option<&str> {
    let origin = origin?;
    match sharing {
        Sharing::Any => Some("*"),
        Sharing::None => None,
        Sharing::Registered => (is_origin(origin) && is_listed(origin)).then_some(origin),
    }
}

/// Whether a text can be an origin that a client lists: a scheme and a host, not `null`, which sandboxed pages of anyone
/// have. It is also safe to return in a header.
fn is_origin(origin: &str) -> bool {
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"));
    origin.len() <= MAX_ORIGIN
        && host.is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
                })
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const APP: &str = "https://app.example.com";

    fn listed(origin: &str) -> bool {
        origin == APP
    }

    fn asked<'a>(origin: &'a str, method: &'a str, headers: &'a str) -> Preflight<'a> {
        Preflight {
            origin: Some(origin),
            method: Some(method),
            headers: Some(headers).filter(|it| !it.is_empty()),
        }
    }

    #[test]
    fn an_answer_can_be_read_by_pages_of_its_client_alone() {
        let to = |sharing, origin| answer(sharing, Some(origin), listed);
        assert_eq!(to(Sharing::Registered, APP), Some(APP));
        for other in [
            "https://evil.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "null",
            "",
            "*",
        ] {
            assert_eq!(to(Sharing::Registered, other), None, "{other}");
            assert_eq!(to(Sharing::Any, other), Some("*"), "{other}");
            assert_eq!(to(Sharing::None, other), None, "{other}");
        }
        assert_eq!(to(Sharing::None, APP), None);
        assert_eq!(answer(Sharing::Any, None, listed), None);
        // The client of the request is not known.
        assert_eq!(answer(Sharing::Registered, Some(APP), |_| false), None);
    }

    #[rstest]
    #[case::form("POST", "content-type", true)]
    #[case::userinfo("GET", "authorization", true)]
    #[case::several("POST", "Authorization, Content-Type,dpop", true)]
    #[case::no_headers("POST", "", true)]
    #[case::another_method("DELETE", "", false)]
    #[case::another_case("post", "", false)]
    #[case::another_header("POST", "x-api-key", false)]
    #[case::another_header_beside("POST", "authorization, cookie", false)]
    fn a_preflight_passes_for_what_the_endpoints_read(
        #[case] method: &str,
        #[case] headers: &str,
        #[case] passes: bool,
    ) {
        let request = asked(APP, method, headers);
        let allowed = preflight(Sharing::Registered, request, listed);
        assert_eq!(allowed, passes.then_some(APP));
        assert_eq!(preflight(Sharing::None, request, listed), None);
    }

    #[test]
    fn a_preflight_of_an_unlisted_origin_or_without_a_method_is_refused() {
        let other = asked("https://evil.example.com", "POST", "");
        assert_eq!(preflight(Sharing::Registered, other, listed), None);
        let plain = Preflight {
            method: None,
            ..asked(APP, "", "")
        };
        assert_eq!(preflight(Sharing::Registered, plain, listed), None);
    }

    #[test]
    fn the_allowed_headers_and_methods_are_those_that_pass() {
        for header in ALLOWED_HEADERS.split(", ") {
            let request = asked(APP, "POST", header);
            assert_eq!(preflight(Sharing::Registered, request, listed), Some(APP));
        }
        for method in ALLOWED_METHODS.split(", ") {
            assert!(METHODS.contains(&method));
        }
    }

    proptest! {
        /// What is returned is a header value that stands for the request's own origin.
        #[test]
        fn a_returned_origin_is_the_requests_own(origin in prop_oneof![any::<String>(), "https?://[a-z0-9.:\\[\\]\r\n ,-]{0,20}"]) {
            if let Some(allowed) = answer(Sharing::Registered, Some(&origin), |_| true) {
                prop_assert_eq!(allowed, &*origin);
                prop_assert!(allowed.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(allowed != "null" && allowed != "*");
            }
        }
    }
}
