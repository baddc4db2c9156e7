//! Which redirect URI an answer may go to (RFC 6749 section 3.1.2, RFC 9700 section 2.1).
//!
//! Registered and requested URIs are compared as strings. Only the port of a loopback URI may vary (RFC 8252 section
//! 7.3), since a native application listens on any free one.

/// The length of the longest redirect URI, in bytes.
pub const MAX_LENGTH: usize = 2048;
/// The loopback hosts. Other spellings of them do not count.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Returns whether `requested` is a registered redirect URI, or differs from a registered loopback one only in its
/// port.
pub fn is_registered<'r>(registered: impl IntoIterator<Item = &'r str>, requested: &str) -> bool {
    requested.len() <= MAX_LENGTH
        && registered
            .into_iter()
            .any(|registered| matches(registered, requested))
}

fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    loopback(registered).is_some_and(|own| loopback(requested) == Some(own))
}

/// Returns whether a redirect URI leads to an application on the person's own device: it is a loopback one, or has a
/// private scheme (RFC 8252 section 7).
pub fn is_native(uri: &str) -> bool {
    let is_web = |scheme: &str| {
        let start = uri.as_bytes().get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    loopback(uri).is_some() || !(is_web("https:") || is_web("http:"))
}

/// Adds fields to the query of a registered URI. Its own query stays, and it has no fragment.
pub fn with_query<'f>(uri: &str, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let separator = match uri {
        _ if uri.ends_with(['?', '&']) => "",
        _ if uri.contains('?') => "&",
        _ => "?",
    };
    with_suffix(format!("{uri}{separator}"), fields)
}

/// Adds fields to a registered URI as its fragment.
pub fn with_fragment<'f>(
    uri: &str,
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> String {
    with_suffix(format!("{uri}#"), fields)
}

fn with_suffix<'f>(start: String, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let length = start.len();
    form_urlencoded::Serializer::for_suffix(start, length)
        .extend_pairs(fields)
        .finish()
}

/// Returns whether a URI leads to the machine itself, in the clear: `http` on a loopback host.
pub fn is_loopback(uri: &str) -> bool {
    loopback(uri).is_some()
}

/// Splits a loopback URI into its host and what follows the port; `None` for every other URI.
fn loopback(uri: &str) -> Option<(&'static str, &str)> {
    let after = uri.strip_prefix("http://")?;
    LOOPBACK.into_iter().find_map(|host| {
        let rest = after.strip_prefix(host)?;
        let rest = match rest.strip_prefix(':') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                rest[..digits].parse::<u16>().ok()?;
                &rest[digits..]
            }
            None => rest,
        };
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some((host, rest))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const REGISTERED: [&str; 6] = [
        "https://app.example.com/cb",
        "https://app.example.com/cb?tenant=1",
        "http://127.0.0.1/cb",
        "http://localhost:3000/cb",
        "http://[::1]:4000/cb",
        "com.example.app:/cb",
    ];

    #[rstest]
    #[case::exact("https://app.example.com/cb")]
    #[case::exact_with_query("https://app.example.com/cb?tenant=1")]
    #[case::private_scheme("com.example.app:/cb")]
    #[case::loopback_with_a_port("http://127.0.0.1:49152/cb")]
    #[case::loopback_with_another_port("http://localhost:8080/cb")]
    #[case::loopback_without_its_port("http://localhost/cb")]
    #[case::loopback_by_ipv6("http://[::1]:1/cb")]
    fn a_registered_uri_is_accepted(#[case] requested: &str) {
        assert!(is_registered(REGISTERED, requested));
    }

    #[rstest]
    #[case::empty("")]
    #[case::another_host("https://evil.example.com/cb")]
    #[case::another_path("https://app.example.com/cb/")]
    #[case::deeper("https://app.example.com/cb/../cb")]
    #[case::escaped("https://app.example.com/%63b")]
    #[case::another_case("https://APP.example.com/cb")]
    #[case::another_scheme("http://app.example.com/cb")]
    #[case::a_port_off_loopback("https://app.example.com:443/cb")]
    #[case::more_query("https://app.example.com/cb?tenant=1&x=2")]
    #[case::fragment("https://app.example.com/cb#x")]
    #[case::white_space("https://app.example.com/cb ")]
    #[case::another_loopback_host("http://[::1]:4000/other")]
    #[case::loopback_of_another_name("http://localhost.example.com:3000/cb")]
    #[case::user_information("http://localhost:3000@evil.example.com/cb")]
    #[case::user_information_before("http://evil@localhost:3000/cb")]
    #[case::back_slash("http://localhost:3000\\@evil.example.com/cb")]
    #[case::two_ports("http://localhost:3000:80/cb")]
    #[case::no_number("http://localhost:80a/cb")]
    #[case::signed_port("http://localhost:+80/cb")]
    #[case::too_large_a_port("http://localhost:65536/cb")]
    #[case::another_spelling_of_loopback("http://127.1:3000/cb")]
    #[case::loopback_by_https("https://localhost:3000/cb")]
    #[case::loopback_with_a_query("http://localhost:3000/cb?x=1")]
    #[case::loopback_with_a_fragment("http://localhost:3000/cb#x")]
    fn any_other_uri_is_refused(#[case] requested: &str) {
        assert!(!is_registered(REGISTERED, requested));
    }

    #[test]
    fn fields_are_added_to_the_query_that_is_there() {
        let fields = [("iss", "https://h/id"), ("sid", "a&b")];
        let added = "iss=https%3A%2F%2Fh%2Fid&sid=a%26b";
        for (uri, start) in [
            ("https://a.example/x", "https://a.example/x?"),
            ("https://a.example/x?t=1", "https://a.example/x?t=1&"),
            ("https://a.example/x?", "https://a.example/x?"),
            ("https://a.example/x?t=1&", "https://a.example/x?t=1&"),
        ] {
            assert_eq!(with_query(uri, fields), format!("{start}{added}"));
        }
    }

    /// The pods of an issuer on a *.svc host have other listeners on loopback, which no client may name.
    #[test]
    fn only_http_on_a_loopback_host_is_the_machine_itself() {
        for own in [
            "http://localhost:8080/id",
            "http://127.0.0.1",
            "http://[::1]:80/",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for other in [
            "http://main.platform.svc/id",
            "http://localhost.example.com",
            "https://localhost/id",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn loopback_uris_and_private_schemes_are_of_native_applications() {
        for native in [
            "http://127.0.0.1/cb",
            "http://localhost:3000/cb",
            "http://[::1]:4000/cb",
            "com.example.app:/cb",
        ] {
            assert!(is_native(native), "{native}");
        }
        for web in [
            "https://app.example.com/cb",
            "https://localhost/cb",
            "HTTPS://app.example.com/cb",
            "http://app.example.com/cb",
            "http://localhost.example.com/cb",
        ] {
            assert!(!is_native(web), "{web}");
        }
    }

    #[test]
    fn a_uri_beyond_the_bound_is_refused() {
        let long = format!("https://app.example.com/{}", "a".repeat(MAX_LENGTH));
        assert!(!is_registered([&*long], &long));
    }
}
