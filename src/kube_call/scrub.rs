//! Shortens texts of the API server and removes anything that may be secret. Pure.

/// Words of this many characters may be a token, a hash or base64, and are not repeated.
const LONGEST_WORD: usize = 32;
/// The maximum number of characters that are repeated.
const LONGEST_MESSAGE: usize = 512;

/// Shortens a text and replaces each long word by an ellipsis, and each control character by a space.
pub fn scrub(message: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '/' | '=');
    let mut scrubbed = String::with_capacity(message.len().min(LONGEST_MESSAGE));
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| is_word(c) != is_word(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_word(first) && run.len() >= LONGEST_WORD {
            scrubbed.push('…');
        } else {
            scrubbed.extend(run.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        rest = after;
    }
    if let Some((end, _)) = scrubbed.char_indices().nth(LONGEST_MESSAGE) {
        scrubbed.truncate(end);
        scrubbed.push('…');
    }
    scrubbed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_secret_is_repeated() {
        let token = "symsat_0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijk";
        let said = scrub(&format!(
            "webhook said: {token}\nand c3ltc2F0XzAxMjM0NTY3ODlhYmNkZWZBQg==!"
        ));
        assert_eq!(said, "webhook said: … and …!");
        let usual = r#"secrets "web-token" is forbidden: User "system:serviceaccount:symbolon:operator" cannot create resource "secrets" in API group """#;
        assert_eq!(scrub(usual), usual);
        assert_eq!(
            scrub(&"ä ".repeat(4000)).chars().count(),
            LONGEST_MESSAGE + 1
        );
    }
}
