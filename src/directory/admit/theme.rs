//! Admission of a theme. It accepts nothing that the pages refuse; a test compares the two.

use super::faults::Faults;
use crate::directory::tables::record::ThemeRecord;
use crate::resources::{Colours, LOGO_WORDS, Theme};

/// The length of the longest logo on the web, in bytes.
const MAX_URL: usize = 2048;
/// Hosts of the person's own device.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Admits a theme. The schema has checked its patterns.
pub(super) fn record(faults: &mut Faults, theme: &Theme) -> ThemeRecord {
    let Theme {
        name,
        logo,
        colours: Colours {
            accent,
            accent_dark,
        },
    } = theme;
    if let Some(logo) = logo {
        faults.require(is_reachable(logo), "/spec/theme/logo", LOGO_WORDS);
    }
    let shared = |text: &Option<String>| text.as_deref().map(Into::into);
    ThemeRecord {
        name: shared(name),
        logo: shared(logo),
        accent: shared(accent),
        accent_dark: shared(accent_dark),
    }
}

/// Returns whether browsers elsewhere can load a logo.
fn is_reachable(logo: &str) -> bool {
    let Some(rest) = logo.strip_prefix("https://") else {
        return true;
    };
    let is_local = LOOPBACK.iter().any(|host| {
        let after = rest.strip_prefix(host);
        after.is_some_and(|after| after.is_empty() || after.starts_with([':', '/', '?']))
    });
    logo.len() <= MAX_URL && !is_local
}
