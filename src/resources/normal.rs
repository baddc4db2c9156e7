//! The normal form of issuers, audiences and scope values: one text, one reading.
//!
//! Ownership goes by prefix (`<issuer>/<namespace>`), and others normalise what they read as a URL, RFC 3986 section 6:
//! `<issuer>/team-a/../team-b` must not pass as team-a's. The patterns are RE2, for CEL and for our own admission.

/// A host in lower case, without a closing dot, and a port without leading zeros.
macro_rules! authority {
    () => {
        r"([a-z0-9_]([-a-z0-9_]*[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*|\[[0-9a-f:.]+\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    };
}

/// What an issuer matches.
pub const ISSUER_FORM: &str = concat!("^https?://", authority!(), "(/[A-Za-z0-9._~-]+)*$");
/// What an audience matches that has `://` in it. No part of the path is empty, but the last one may be.
pub const URL_FORM: &str = concat!(
    "^[a-z][a-z0-9+.-]*://",
    authority!(),
    "(/[A-Za-z0-9._~:@!$&()*+,=-]+)*/?([?][^#%]*)?$"
);
/// What none of them matches: an empty part, `.` or `..` between slashes, also where a query follows, an encoded dot, slash, backslash or per cent
/// sign, and the port that a scheme has anyway.
pub const NOT_NORMAL: &str = r"(^|[^:])//|(^|/)[.][.]?([/?]|$)|%(2[5EeFf]|5[Cc])|^(https://[^/]*:443|http://[^/]*:80)([/?]|$)";

/// What the rule on issuers says.
pub const ISSUER_WORDS: &str = "issuer is in normal form: the host in lower case without a closing dot, no port that the scheme has anyway, and no '.' or '..' in the path";
/// What the rule on audiences says.
pub const AUDIENCE_WORDS: &str = "an audience is in normal form: no empty, '.' or '..' part between slashes and no encoded ones; as a URL also scheme and host in lower case, no user, no port that the scheme has anyway, no fragment and no '%' or ';'";
/// What the rule on scope values says.
pub const VALUE_WORDS: &str =
    "value is in normal form: no empty, '.' or '..' part between slashes and no encoded ones";

/// The rule on an issuer.
pub(super) fn issuer() -> String {
    format!("self.matches(r'{ISSUER_FORM}') && !self.matches(r'{NOT_NORMAL}')")
}

/// The rule on a list of audiences.
pub(super) fn audiences() -> String {
    format!(
        "self.all(it, !it.matches(r'{NOT_NORMAL}') && (!it.contains('://') || it.matches(r'{URL_FORM}')))"
    )
}

/// The rule on a scope value.
pub(super) fn value() -> String {
    format!("!self.matches(r'{NOT_NORMAL}')")
}
