//! Whether an issuer, an audience or a scope value is in the normal form, which every reader interprets alike.
//!
//! Owners are found by prefix: `<issuer>/team-a/../team-b` begins like team-a's, and a reader that normalises URLs
//! takes it for team-b's. The patterns are those of the definitions, so that the API server and our own admission
//! agree.

use super::pattern::Pattern;
use crate::resources::{ISSUER_FORM, NOT_NORMAL, URL_FORM};

static ISSUER: Pattern = Pattern::new(ISSUER_FORM);
static URL: Pattern = Pattern::new(URL_FORM);
static WRONG: Pattern = Pattern::new(NOT_NORMAL);

/// Returns whether an issuer is in normal form, RFC 3986 section 6.2.
pub(in crate::directory) fn is_normal_issuer(issuer: &str) -> bool {
    ISSUER.matches(issuer) && !WRONG.matches(issuer)
}

/// Returns whether an audience, or a `resource` of RFC 8707, is in normal form. With `://` in it, it must be a normal
/// URL.
pub fn is_normal_audience(audience: &str) -> bool {
    is_normal_value(audience) && (!audience.contains("://") || URL.matches(audience))
}

/// Returns whether a scope value has no segment that a reader of paths would remove.
pub(in crate::directory) fn is_normal_value(value: &str) -> bool {
    !WRONG.matches(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_has_one_spelling() {
        for issuer in [
            "https://id.example.com",
            "https://id.example.com/main",
            "https://id.example.com:8443/a/b.c~d_e",
            "http://127.0.0.1:8080/id",
            "http://localhost:65535",
            "http://[::1]:8080/id",
            "http://id.team.svc",
            "https://id.example.com/...",
            "https://id.example.com/a..b/.c",
            "http://id.team.svc:443",
        ] {
            assert!(is_normal_issuer(issuer), "{issuer}");
        }
        for issuer in [
            "https://ID.example.com",
            "HTTPS://id.example.com",
            "https://id.example.com.",
            "https://id..example.com",
            "https://id.example.com:443",
            "https://id.example.com:443/a",
            "http://id.team.svc:80",
            "https://id.example.com:",
            "https://id.example.com:08443",
            "https://id.example.com:65536",
            "https://id.example.com:x",
            "https://:8443",
            "https://[::1",
            "https://user@id.example.com",
            "https://id.example.com/.",
            "https://id.example.com/..",
            "https://id.example.com/a/../b",
            "https://id.example.com/a/./b",
            "https://id.example.com/a//b",
            "https://id.example.com/",
            "https://id.example.com/a%2e",
            "https://id.example.com?a",
            "https://id.example.com\n",
            "https://",
        ] {
            assert!(!is_normal_issuer(issuer), "{issuer}");
        }
    }

    #[test]
    fn an_audience_has_one_reading() {
        for audience in [
            "orders",
            "orders-api:v1",
            "urn:example:orders",
            "api://0b1c-orders",
            "https://id.example.com/id/team-a",
            "https://id.example.com/id/team-a/v1",
            "https://orders.example.com/",
            "https://orders.example.com:8443/a/b/?tenant=1",
            "https://orders.example.com/a/b..?tenant=..",
            "http://orders.team.svc",
            "https://my_service.example.com/A/b:c@d",
            "spiffe://example.org/ns/shop",
            "a/b/c",
        ] {
            assert!(is_normal_audience(audience), "{audience}");
        }
        for audience in [
            "https://id.example.com/id/team-a/../team-b",
            "https://id.example.com/id/team-a/..",
            "https://id.example.com/id/team-a/./x",
            "https://id.example.com/id/team-a//x",
            "https://id.example.com/id/team-a//",
            "https://id.example.com/id/team-a/%2e%2e/team-b",
            "https://id.example.com/id/team-a/%2E./team-b",
            "https://id.example.com/id/team-a%2f..%2fteam-b",
            "https://id.example.com/id/team-a/%252e%252e/team-b",
            "https://id.example.com/id/team-a/te%61m",
            "https://id.example.com/id/team-a/..;/team-b",
            "https://id.example.com/id/team-a/..\\team-b",
            "https://id.example.com/id/team-a?x=/../y",
            "https://id.example.com/id/team-a/..?x",
            "https://id.example.com/id/team-a/.?x",
            "https://id.example.com/id/team-a/..?",
            "https://id.example.com/id/team-a#/../team-b",
            "https://id.example.com:443/id/team-a",
            "https://id.example.com:443?x",
            "http://id.team.svc:80/team-a",
            "https://user@id.example.com/id",
            "https://ID.example.com/id",
            "HTTPS://id.example.com/id",
            "https://id.example.com./id",
            "https:///id",
            "://id",
            "..",
            "a/../b",
            "a//b",
            "//id.example.com/id",
            "a%2Fb",
            "a%5cb",
        ] {
            assert!(!is_normal_audience(audience), "{audience}");
        }
    }

    #[test]
    fn a_scope_value_has_no_part_that_a_path_would_lose() {
        for value in [
            "orders.read",
            "shop:orders:read",
            "shop/orders/read",
            "https://www.example.com/auth/drive",
            "a..b",
            "...",
            "100%",
        ] {
            assert!(is_normal_value(value), "{value}");
        }
        for value in [
            "shop/../admin",
            "shop/./a",
            "shop//a",
            "..",
            ".",
            "shop/..",
            "shop/..?a",
            "shop/%2E%2e/a",
            "a%2fb",
        ] {
            assert!(!is_normal_value(value), "{value}");
        }
    }
}
