//! Characters that are never shown unescaped in terminals, messages and the log, and texts that a shell reads as one
//! word. Not here: how to escape characters.

/// Whether a character is escaped where users' text is shown: controls, line ends, and characters that are invisible or
/// change how others are shown (Unicode 16: the categories `Cc`, `Cf`, `Zl` and `Zp`, and the property
/// `Default_Ignorable_Code_Point`).
pub const fn is_escaped(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns a text as one word of a POSIX shell, for a command that users paste: a stranger may have chosen the text,
/// such as the name of a folder. It is never an option, and is quoted unless each of its characters is harmless.
///
/// `None` if the text is empty or contains a character that is escaped where it is shown, or the backtick that ends a
/// command in our messages. Such a command would not be shown as it is. Then a message names no command with it.
pub fn shell_word(text: &str) -> Option<String> {
    let is_unshowable = |c| is_escaped(c) || matches!(c, '`' | char::REPLACEMENT_CHARACTER);
    if text.is_empty() || text.contains(is_unshowable) {
        return None;
    }
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text.to_owned()
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    Some(if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    })
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn exactly_the_controls_formats_and_invisible_characters_of_unicode_are_escaped() {
        let all: String = ('\0'..=char::MAX).collect();
        let class = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]";
        let matches = Regex::new(class).unwrap();
        let of_unicode: Vec<char> = matches
            .find_iter(&all)
            .filter_map(|found| found.as_str().chars().next())
            .collect();
        let of_ours: Vec<char> = all.chars().filter(|it| is_escaped(*it)).collect();
        assert_eq!(of_ours, of_unicode);
    }

    /// `tests/check` lets a shell read such words.
    #[test]
    fn a_word_of_a_shell_is_quoted_unless_it_is_harmless() {
        for (text, word) in [
            ("plain/base-1_2.yaml", "plain/base-1_2.yaml"),
            ("base$(touch ran)", "'base$(touch ran)'"),
            ("b;touch ran;#", "'b;touch ran;#'"),
            ("it's", r"'it'\''s'"),
            ("'", r"''\'''"),
            ("~", "'~'"),
            ("a=b", "'a=b'"),
            (r"\", r"'\'"),
            ("é 漢", "'é 漢'"),
            ("-x", "./-x"),
            ("-x a", "'./-x a'"),
        ] {
            assert_eq!(shell_word(text).as_deref(), Some(word));
        }
        for text in [
            "",
            "a\nb",
            "a\u{1b}[2J",
            "\u{202e}a",
            "a`b",
            "a\u{fffd}",
            "a\0",
        ] {
            assert_eq!(shell_word(text), None, "{text:?}");
        }
    }

    #[test]
    fn ordinary_text_is_shown() {
        assert!(!" é漢🙂\u{300}".contains(is_escaped));
    }
}
