//! How the pages of one Identity look: its name, logo and colours, checked before any page uses them.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::colour::Colour;
use super::link::{ClientUri, Place};
use super::text::Shown;

/// The length of the longest name, in characters.
const MAX_NAME: usize = 64;
/// The length of the longest logo in a `data:` URI, in bytes. The logo is a part of every page.
const MAX_DATA: usize = 10 * 1024;
/// The types of images. A browser runs no script of an SVG image.
const IMAGES: [&str; 5] = [
    "image/png",
    "image/svg+xml",
    "image/jpeg",
    "image/webp",
    "image/gif",
];

const ACCENT: Colour = Colour::of(0x1d_4e_d8);
const LIGHT_PAGE: Colour = Colour::of(0xf4_f5_f7);
const DARK_PAGE: Colour = Colour::of(0x11_13_18);
const LIGHT_CARD: Colour = Colour::of(0xff_ff_ff);
const DARK_CARD: Colour = Colour::of(0x1c_1f_26);

/// The style of all pages, which reads the colours as variables.
const STYLE: &str = include_str!("style.css");

/// What an Identity says about its pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThemeFields<'a> {
    /// The name of the organisation or service.
    pub name: &'a str,
    /// The URL of the logo: `https`, or `data:image/…;base64,…` of at most 10 KiB.
    pub logo: Option<&'a str>,
    /// The colour of buttons and links on a light page, as `#rrggbb`.
    pub accent: Option<&'a str>,
    /// Their colour on a dark page. Without it, the other one is made lighter.
    pub accent_dark: Option<&'a str>,
}

/// What is wrong with a theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThemeFault {
    /// The name.
    #[error("the name has no visible characters")]
    Name,
    /// The logo.
    #[error(
        "the logo must be an https URL of at most 2048 bytes, or a data URI of at most 10 KiB that starts with \
         \"data:image/png;base64,\" (or svg+xml, jpeg, webp, gif)"
    )]
    Logo,
    /// A colour.
    #[error("a colour must have the form #rrggbb")]
    Colour,
}

/// A theme that has been checked.
#[derive(Clone, Debug)]
pub struct Theme {
    pub(super) name: Shown,
    /// The URL of the logo.
    pub(super) logo: Option<String>,
    /// The source of the logo in a Content-Security-Policy.
    pub(super) image_source: Option<String>,
    /// The whole style.
    pub(super) style: String,
    /// The source of the style in a Content-Security-Policy.
    pub(super) style_source: String,
}

impl Theme {
    /// Checks a theme. Colours are adjusted where text would be hard to read.
    pub fn new(fields: ThemeFields<'_>) -> Result<Self, ThemeFault> {
        let name = Shown::new(fields.name, MAX_NAME);
        if name.is_empty() {
            return Err(ThemeFault::Name);
        }
        let image_source = fields.logo.map(image_source).transpose()?;
        let accent = colour(fields.accent)?.unwrap_or(ACCENT);
        let style = style(accent, colour(fields.accent_dark)?.unwrap_or(accent));
        Ok(Self {
            name,
            logo: fields.logo.map(str::to_owned),
            image_source,
            style_source: hash_source(&style),
            style,
        })
    }
}

fn colour(text: Option<&str>) -> Result<Option<Colour>, ThemeFault> {
    text.map(|text| Colour::parse(text).ok_or(ThemeFault::Colour))
        .transpose()
}

/// Returns where a logo comes from: `data:`, or the origin of its URL.
fn image_source(logo: &str) -> Result<String, ThemeFault> {
    if let Some(data) = logo.strip_prefix("data:") {
        let (kind, content) = data.split_once(";base64,").ok_or(ThemeFault::Logo)?;
        let is_image =
            IMAGES.contains(&kind) && STANDARD.decode(content).is_ok_and(|it| !it.is_empty());
        return if is_image && logo.len() <= MAX_DATA {
            Ok("data:".to_owned())
        } else {
            Err(ThemeFault::Logo)
        };
    }
    let uri = ClientUri::new(logo).filter(|uri| matches!(uri.place(), Place::Host(_)));
    let origin = uri.and_then(|uri| uri.origin()).ok_or(ThemeFault::Logo)?;
    if origin.starts_with("https://") {
        Ok(origin)
    } else {
        Err(ThemeFault::Logo)
    }
}

/// Writes the colours before the style.
fn style(accent: Colour, accent_dark: Colour) -> String {
    let variables = |page: Colour, card: Colour, accent: Colour| {
        let accent = accent.readable_on(card);
        let (on_page, on_accent) = (page.text(), accent.text());
        format!(
            ":root{{--page:{page};--on-page:{on_page};--card:{card};--accent:{accent};--on-accent:{on_accent}}}"
        )
    };
    let light = variables(LIGHT_PAGE, LIGHT_CARD, accent);
    let dark = variables(DARK_PAGE, DARK_CARD, accent_dark);
    format!("{light}\n@media (prefers-color-scheme:dark){{{dark}}}\n{STYLE}")
}

/// Returns the source in a Content-Security-Policy that allows exactly this inline text (CSP level 3, section 6.7.3.3).
pub(super) fn hash_source(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn with_logo(logo: &str) -> Result<Option<String>, ThemeFault> {
        let fields = ThemeFields {
            name: "Example",
            logo: Some(logo),
            ..ThemeFields::default()
        };
        Theme::new(fields).map(|theme| theme.image_source)
    }

    #[rstest]
    #[case::https(
        "https://cdn.example.com:8443/a/logo.svg?v=1",
        "https://cdn.example.com:8443"
    )]
    #[case::data("data:image/png;base64,iVBORw0KGgo=", "data:")]
    fn a_logo_opens_the_policy_for_its_origin_alone(#[case] logo: &str, #[case] source: &str) {
        assert_eq!(with_logo(logo), Ok(Some(source.to_owned())));
    }

    #[rstest]
    #[case::http("http://cdn.example.com/logo.svg")]
    #[case::own_device("https://localhost/logo.svg")]
    #[case::another_directive("https://cdn.example.com;script-src *")]
    #[case::another_directive_in_the_host("https://a;script-src")]
    #[case::page("data:text/html;base64,PGI+")]
    #[case::no_base64("data:image/svg+xml,<svg/>")]
    #[case::bad_base64("data:image/png;base64,a\"b")]
    #[case::nothing("data:image/png;base64,")]
    #[case::private_scheme("com.example:/logo")]
    #[case::empty("")]
    fn any_other_logo_is_refused(#[case] logo: &str) {
        assert_eq!(with_logo(logo), Err(ThemeFault::Logo));
    }

    #[test]
    fn a_logo_in_the_page_is_bounded() {
        let logo =
            |bytes: usize| format!("data:image/png;base64,{}", STANDARD.encode(vec![0; bytes]));
        assert!(with_logo(&logo(7_600)).is_ok());
        assert_eq!(with_logo(&logo(7_700)), Err(ThemeFault::Logo));
    }

    #[test]
    fn a_theme_needs_a_visible_name_and_colours_of_six_digits() {
        let fields = |name, accent| ThemeFields {
            name,
            accent,
            ..ThemeFields::default()
        };
        assert_eq!(
            Theme::new(fields(" \u{200d}", None)).err(),
            Some(ThemeFault::Name)
        );
        let injected = Some("#fff}*{color:red");
        assert_eq!(
            Theme::new(fields("a", injected)).err(),
            Some(ThemeFault::Colour)
        );
    }

    #[test]
    fn each_mode_has_its_colour_if_it_is_readable() {
        let (dark_blue, light_blue) = (Colour::of(0x1a_4f_a0), Colour::of(0x8a_b4_f8));
        let accents = |light, dark| -> Vec<String> {
            let style = style(light, dark);
            let parts = style.split("--accent:").skip(1);
            parts.map(|it| it[..7].to_owned()).collect()
        };
        assert_eq!(accents(dark_blue, light_blue), ["#1a4fa0", "#8ab4f8"]);
        let adjusted = accents(light_blue, dark_blue);
        for (adjusted, card) in adjusted.iter().zip([LIGHT_CARD, DARK_CARD]) {
            assert!(Colour::parse(adjusted).unwrap().contrast(card) >= super::super::colour::TEXT);
        }
    }

    #[test]
    fn the_style_cannot_end_its_element() {
        assert!(!STYLE.contains('<'));
    }
}
