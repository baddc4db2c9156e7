//! Characters that are never shown unescaped in terminals, messages and the log. Not here: how to escape them.

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

    #[test]
    fn ordinary_text_is_shown() {
        assert!(!" é漢🙂\u{300}".contains(is_escaped));
    }
}
