//! The normal form of issuers, audiences and scope values, which every reader reads alike.
//!
//! Owners are found by prefix (`<issuer>/<namespace>`), while other programs normalise what they read as a URL (RFC
//! 3986 section 6): `<issuer>/team-a/../team-b` must not pass as team-a's. The patterns are RE2, for CEL and for our
//! own admission.

/// Matches a host in lower case, without a trailing dot, and a port without leading zeros.
macro_rules! authority {
    () => {
        r"([a-z0-9_]([-a-z0-9_]*[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*|\[[0-9a-f:.]+\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    };
}
pub(super) use authority;

/// Pattern of the parts of an issuer. What matches may still differ from the normal form.
pub const ISSUER_URL: &str = r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~-]+)*$";
/// Message of the rule on the parts of an issuer.
pub const ISSUER_URL_WORDS: &str = "issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main";
/// Pattern that every issuer matches.
pub const ISSUER_FORM: &str = concat!("^https?://", authority!(), "(/[A-Za-z0-9._~-]+)*$");
/// Pattern that every audience with `://` in it matches. No path segment is empty, except the last one.
pub const URL_FORM: &str = concat!(
    "^[a-z][a-z0-9+.-]*://",
    authority!(),
    "(/[A-Za-z0-9._~:@!$&()*+,=-]+)*/?([?][^#%]*)?$"
);
/// Pattern that no issuer, audience or scope value matches: an empty, `.` or `..` segment between slashes (also
/// before a query), an encoded dot, slash, backslash or per cent sign, and the default port of a scheme.
pub const NOT_NORMAL: &str = r"(^|[^:])//|(^|/)[.][.]?([/?]|$)|%(2[5EeFf]|5[Cc])|^(https://[^/]*:443|http://[^/]*:80)([/?]|$)";

/// Message of the rule on issuers.
pub const ISSUER_WORDS: &str = "issuer must be in normal form: the host in lower case without a trailing dot, no default port, and no '.' or '..' segment in the path";
/// Message of the rule on audiences.
pub const AUDIENCE_WORDS: &str = "an audience must be in normal form: no empty, '.' or '..' segment between slashes, and no percent-encoded dot, slash, backslash or per cent sign; a URL must also have its scheme and host in lower case, and no user, default port, fragment, '%' or ';'";
/// Message of the rule on scope values.
pub const VALUE_WORDS: &str = "value must be in normal form: no empty, '.' or '..' segment between slashes, and no percent-encoded dot, slash, backslash or per cent sign";

/// Returns the CEL rule on the normal form of an issuer. Another rule refuses what is not a URL.
pub(super) fn issuer() -> String {
    format!(
        "!self.matches(r'{ISSUER_URL}') || self.matches(r'{ISSUER_FORM}') && !self.matches(r'{NOT_NORMAL}')"
    )
}

/// Returns the CEL rule that an issuer has https, or http inside the cluster.
pub(super) fn secure_issuer() -> String {
    format!(
        r"!self.issuer.matches(r'{ISSUER_URL}') || self.issuer.startsWith('https://') || self.issuer.matches(r'^http://(localhost|127\.0\.0\.1|\[::1\]|[a-z0-9-]+\.[a-z0-9-]+\.svc|[a-z0-9-]+\.[a-z0-9-]+\.svc\.[a-z0-9.-]+)(:[0-9]+)?(/.*)?$')"
    )
}

/// Returns the CEL rule on a list of audiences.
pub(super) fn audiences() -> String {
    format!(
        "self.all(it, !it.matches(r'{NOT_NORMAL}') && (!it.contains('://') || it.matches(r'{URL_FORM}')))"
    )
}

/// Returns the CEL rule on a scope value.
pub(super) fn value() -> String {
    format!("!self.matches(r'{NOT_NORMAL}')")
}
