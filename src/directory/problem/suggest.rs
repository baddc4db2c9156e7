//! "Did you mean …": finds the nearest known name, and makes text of users safe to show.

use std::borrow::Cow;

use strsim::osa_distance;

use crate::characters::is_escaped;

/// Returns the name in `known` that `written` most likely means; `None` if none is near.
///
/// Letter case, `_` and `-` do not count: `client_id` and `clientID` both mean `clientId`.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    let folded = fold(written);
    let length = folded.chars().count();
    known
        .into_iter()
        .filter_map(|name| {
            let (other, most) = (fold(name), length.min(name.len()) / 3);
            // The difference in length is a lower bound of the distance and excludes most names.
            let is_near = length.abs_diff(other.chars().count()) <= most;
            // A swap of neighbours counts as one edit.
            is_near.then(|| (osa_distance(&folded, &other), most, name))
        })
        .filter(|(distance, most, _)| distance <= most)
        .map(|(distance, _, name)| (distance, name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns a name without its case, `_` and `-`.
pub(in crate::directory) fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Shortens a user's text to 64 characters for a message, and escapes characters that would change how the rest of
/// the message is displayed.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(Shown)
        .map(|c| c.to_string())
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// Shows a user's text of any length as one line: escapes line ends and characters that would change how the rest is
/// displayed.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| Shown(c).is_escaped()) {
        Cow::Owned(text.chars().map(|c| Shown(c).to_string()).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// One character, escaped if it is a control, is invisible or changes the direction of text.
#[derive(Clone, Copy)]
pub struct Shown(pub char);

impl Shown {
    /// Returns whether the character is escaped.
    pub const fn is_escaped(self) -> bool {
        is_escaped(self.0)
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_escaped() {
            write!(out, "\\u{{{:x}}}", u32::from(self.0))
        } else {
            write!(out, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_no_far_one() {
        let known = ["clientId", "scopes", "grantTypes", "displayName"];
        for (written, expected) in [
            ("scops", Some("scopes")),
            ("scope", Some("scopes")),
            ("socpes", Some("scopes")),
            ("client_id", Some("clientId")),
            ("clientID", Some("clientId")),
            ("grant-types", Some("grantTypes")),
            ("redirectUris", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }

    #[test]
    fn marks_that_reorder_text_are_shown_as_escapes() {
        assert_eq!(shown("a\u{202e}b\0\n"), "a\\u{202e}b\\u{0}\\u{a}");
        assert_eq!(shown(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(shown("plain ümlaut"), "plain ümlaut");
        assert_eq!(one_line("plain ümlaut"), "plain ümlaut");
        assert_eq!(
            one_line("a\u{1b}]0;b\u{7}\r\n\u{9b}"),
            "a\\u{1b}]0;b\\u{7}\\u{d}\\u{a}\\u{9b}"
        );
    }
}
