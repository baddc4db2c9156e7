//! How the pages of an Identity look: the part of [`IdentitySpec`](super::IdentitySpec) that people see.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::common::{is_default, matches};
use super::uri::{LOGO_FORM, LOGO_WORDS};

/// Pattern that every visible name matches: a letter or a digit of any script.
pub const THEME_NAME_FORM: &str = r"[\p{L}\p{N}]";
/// Message of the rule on names.
pub const THEME_NAME_WORDS: &str = "name must have a letter or a digit";
/// Pattern of a colour.
pub const COLOUR_FORM: &str = "^#[0-9A-Fa-f]{6}$";
/// Message of the rule on colours.
pub const COLOUR_WORDS: &str = "a colour must have the form #rrggbb, such as #1d4ed8";
/// The CEL rule on logos that [`LOGO_FORM`] cannot express. Its message is [`LOGO_WORDS`].
const LOGO_RULE: &str = r"self.startsWith('data:') || (self.size() <= 2048 && !self.matches(r'^https://(localhost|127[.]0[.]0[.]1|\[::1\])([:/?].*)?$'))";

/// Name, logo and colours of the pages that people see.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
pub struct Theme {
    /// Name of the organisation or service. Default: the host of the issuer. Example: `Example Corp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(matches(THEME_NAME_FORM)).message(THEME_NAME_WORDS))]
    pub name: Option<String>,
    /// Logo: an `https` URL of at most 2048 characters, or `data:image/png;base64,…` (also `svg+xml`, `jpeg`, `webp`,
    /// `gif`) of at most 10240 characters. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10_240))]
    #[x_kube(validation = Rule::new(matches(LOGO_FORM)).message(LOGO_WORDS), validation = Rule::new(LOGO_RULE).message(LOGO_WORDS))]
    pub logo: Option<String>,
    /// Colours of buttons and links. A colour in which text would be hard to read is adjusted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub colours: Colours,
}

/// Colours of buttons and links.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Colours {
    /// Colour on a light page, as `#rrggbb`. Default: blue. Example: `#1d4ed8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new(matches(COLOUR_FORM)).message(COLOUR_WORDS))]
    pub accent: Option<String>,
    /// Colour on a dark page, as `#rrggbb`. Default: `accent`, made lighter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new(matches(COLOUR_FORM)).message(COLOUR_WORDS))]
    pub accent_dark: Option<String>,
}
