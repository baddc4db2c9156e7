//! Texts that others wrote, made fit to be shown to a person.

use std::fmt;

use crate::characters;

/// More combining characters on one letter than any language needs, which would cover the lines around it.
const MAX_COMBINING: usize = 3;
/// What stands for a character that is invisible or changes how others are shown.
const HIDDEN: char = char::REPLACEMENT_CHARACTER;
/// What stands for the rest of a text that is too long.
const REST: char = '…';
/// The length in bytes of a character that is escaped in HTML, such as `&#60;`.
const ESCAPED: usize = 5;

/// A text of a user, a client or a tenant as it is shown: on one line, bounded, and without characters that are invisible
/// or change how others are shown. It is plain text: the template escapes it, and isolates its direction with `<bdi>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// Returns a text with at most `characters` characters, the last of which is `…` if the text is longer.
    pub fn new(text: &str, characters: usize) -> Self {
        Self::within(text, characters, usize::MAX)
    }

    /// Returns a text with at most `characters` characters, which takes at most `bytes` bytes when it is escaped in
    /// HTML. It is empty if nothing of it fits.
    pub fn within(text: &str, characters: usize, bytes: usize) -> Self {
        let mut shown = String::new();
        let (mut count, mut used) = (0, 0);
        // What the text is cut to if it turns out to be too long.
        let mut fits = 0;
        for c in readable(text) {
            let cost = cost(c);
            if count == characters || used + cost > bytes {
                shown.truncate(fits);
                if characters > 0 && bytes >= REST.len_utf8() {
                    shown.push(REST);
                }
                break;
            }
            shown.push(c);
            count += 1;
            used += cost;
            if count < characters && used + REST.len_utf8() <= bytes {
                fits = shown.len();
            }
        }
        Self(shown)
    }

    /// Returns whether nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text, unescaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number of bytes that the text takes in HTML.
    pub(super) fn bytes(&self) -> usize {
        html_bytes(&self.0)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the number of bytes that a text takes in HTML.
pub(super) fn html_bytes(text: &str) -> usize {
    text.chars().map(cost).sum()
}

/// The number of bytes that a character takes in HTML.
const fn cost(c: char) -> usize {
    match c {
        '<' | '>' | '&' | '"' | '\'' => ESCAPED,
        _ => c.len_utf8(),
    }
}

/// The characters that are shown: spaces and line ends become one space, hidden characters a visible one.
fn readable(text: &str) -> impl Iterator<Item = char> {
    let mut combining = 0;
    let words = text.split(|c: char| c.is_whitespace() || c == '\u{85}');
    let words = words.filter(|word| !word.is_empty()).enumerate();
    let characters = words.flat_map(|(index, word)| {
        let space = (index > 0).then_some(' ');
        space.into_iter().chain(word.chars())
    });
    characters.filter(|c| !is_form(*c)).filter_map(move |c| {
        combining = if is_combining(c) { combining + 1 } else { 0 };
        if combining > MAX_COMBINING {
            return None;
        }
        let is_hidden = characters::is_escaped(c);
        Some(if is_hidden { HIDDEN } else { c })
    })
}

/// Whether a character only chooses the form of its neighbours, as in emoji and in Persian. It is left out.
const fn is_form(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Whether a character is drawn on the one before it, in any script (the blocks of combining marks).
const fn is_combining(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::ordinary("Ünïted 漢字 🙂", "Ünïted 漢字 🙂")]
    #[case::markup("<b>&\"'", "<b>&\"'")]
    #[case::line_ends(" a\r\n\tb\u{2028}c\u{85}d ", "a b c d")]
    #[case::direction("a\u{202e}b\u{2069}", "a\u{fffd}b\u{fffd}")]
    #[case::invisible("a\u{200b}b\0", "a\u{fffd}b\u{fffd}")]
    #[case::emoji_of_several_characters("❤\u{fe0f}", "❤")]
    #[case::combining("e\u{301}\u{301}\u{301}\u{301}\u{301}x", "e\u{301}\u{301}\u{301}x")]
    #[case::only_hidden("\u{200d}", "")]
    fn what_hides_or_disguises_is_not_shown(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(Shown::new(text, 40).as_str(), shown);
    }

    #[rstest]
    #[case::fits("abc", 3, 9, "abc")]
    #[case::too_many_characters("abcd", 3, 9, "ab…")]
    #[case::too_many_bytes("<<<", 9, 13, "<<…")]
    #[case::room_for_the_rest_alone("<<<", 9, 4, "…")]
    #[case::no_room("abc", 9, 2, "")]
    #[case::no_characters("abc", 0, 9, "")]
    fn a_long_text_is_cut(
        #[case] text: &str,
        #[case] characters: usize,
        #[case] bytes: usize,
        #[case] shown: &str,
    ) {
        assert_eq!(Shown::within(text, characters, bytes).as_str(), shown);
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_hides_nothing(text in any::<String>(), characters in 0_usize..50, bytes in 0_usize..90) {
            let shown = Shown::within(&text, characters, bytes);
            prop_assert!(shown.as_str().chars().count() <= characters);
            prop_assert!(shown.bytes() <= bytes);
            prop_assert!(!shown.as_str().contains(characters::is_escaped));
        }
    }
}
