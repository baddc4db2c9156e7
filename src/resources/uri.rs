//! The URIs of clients, and the origins of their pages.
//!
//! Each has a rule at the item, so that both the API server and our own check name the one that is wrong.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::matches;
use super::normal::authority;

/// Matches what may follow the host of a URI: a path and a query. It has no `#`, `*`, quotation mark or back slash.
macro_rules! rest {
    () => {
        "([/?][A-Za-z0-9._~:/?@!$&()+,;=%-]*)?"
    };
}

/// Matches `http` and a loopback host, with any port (RFC 8252 section 7.3).
macro_rules! loopback {
    () => {
        r"http://(localhost|127[.]0[.]0[.]1|\[::1\])(:[0-9]{1,5})?"
    };
}

/// Pattern of a URI that a browser returns to: `https`, loopback, or a private scheme with a dot (RFC 8252 section
/// 7.1).
pub const REDIRECT_URI_FORM: &str = concat!(
    "^((https://",
    authority!(),
    "|",
    loopback!(),
    ")",
    rest!(),
    "|[a-z][a-z0-9+-]*([.][a-z0-9+-]+)+:[A-Za-z0-9._~:/?@!$&()+,;=%-]+)$"
);
/// Message of the rule on such URIs.
pub const REDIRECT_URI_WORDS: &str = "write https://…, http://localhost:… (also 127.0.0.1 or [::1]) for an application on the person's own device, or a private scheme with a dot such as com.example.app:/callback; with the host in lower case, and without a user, '#', '*' or spaces";

/// Pattern of an origin as browsers send it (RFC 6454 section 6.2).
pub const ORIGIN_FORM: &str = concat!("^(https://", authority!(), "|", loopback!(), ")$");
/// Message of the rule on origins.
pub const ORIGIN_WORDS: &str = "write an origin as browsers send it: https://app.example.com, or http://localhost:3000 for development; without a path or closing slash, and with the host in lower case";

/// Pattern of a URI that the servers or the browser call at sign-out.
pub const LOGOUT_URI_FORM: &str = concat!(
    "^(https://",
    authority!(),
    "|",
    loopback!(),
    "|http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.][a-z0-9.-]+)?(:[0-9]{1,5})?)",
    rest!(),
    "$"
);
/// Message of the rule on such URIs.
pub const LOGOUT_URI_WORDS: &str = "write https://…, or http for loopback addresses and *.svc hosts; with the host in lower case, and without a user, '#', '*' or spaces";

/// Matches the base64 of at least one byte (RFC 4648 section 4).
macro_rules! base64 {
    () => {
        "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)"
    };
}

/// Pattern of a logo: an image on the web or in a `data:` URI (RFC 2397).
pub const LOGO_FORM: &str = concat!(
    "^(https://",
    authority!(),
    rest!(),
    "|data:image/(png|svg[+]xml|jpeg|webp|gif);base64,",
    base64!(),
    ")$"
);
/// Message of the rules on logos.
pub const LOGO_WORDS: &str = "logo must be an https URL of at most 2048 characters whose host is in lower case and is not this device, or a data URI of at most 10240 characters that begins with data:image/png;base64, (or svg+xml, jpeg, webp, gif)";

/// Defines a text that must match a pattern, so that the items of a list can have a rule.
macro_rules! text {
    ($(#[$about:meta])* $name:ident, $form:expr, $words:expr, $longest:expr) => {
        $(#[$about])*
        #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": $longest,
                    "x-kubernetes-validations": [{ "rule": matches($form), "message": $words }],
                })
            }
        }
    };
}

text! {
    /// A URI of a client that a browser returns to.
    RedirectUri, REDIRECT_URI_FORM, REDIRECT_URI_WORDS, 2048
}
text! {
    /// The origin of a client's pages.
    Origin, ORIGIN_FORM, ORIGIN_WORDS, 300
}
text! {
    /// A URI of a client that is called at sign-out.
    LogoutUri, LOGOUT_URI_FORM, LOGOUT_URI_WORDS, 2048
}
text! {
    /// A group of people.
    Group, GROUP_FORM, GROUP_WORDS, 128
}

/// Pattern of the name of a group.
pub const GROUP_FORM: &str = r"^[^\x00-\x20\x7F]([^\x00-\x1F\x7F]*[^\x00-\x20\x7F])?$";
/// Message of the rule on groups.
pub const GROUP_WORDS: &str =
    "a group must not have control characters, or a space at its beginning or end";
