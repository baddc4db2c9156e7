//! Manifests as text: read only where that costs no more than their length.
//!
//! `git pull` may bring any file into the state folder. The YAML library copies what an alias stands for each time, and
//! its time grows with the depth of flow collections: one file of 1 MB takes gigabytes, or hours. What is refused is
//! looked for in the bytes, quoted texts included: nothing that the library reads in another way passes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// `[` and `{` of one file: they may all be nested in each other. What is written here has a few.
const MOST_OPENED: usize = 256;

/// The manifest that a file holds; `None` if it is not one.
///
/// # Errors
/// It costs too much to read.
pub(super) fn manifest_of(content: &[u8]) -> Result<Option<Map<String, Value>>, Costly> {
    match std::str::from_utf8(content) {
        Ok(text) if is_cheap(text) => Ok(serde_yaml::from_str(text).ok()),
        Ok(_) => Err(Costly),
        // UTF-16 is YAML, too, but hides signs from the look.
        Err(_) => Ok(None),
    }
}

/// Reading a file could take gigabytes, or hours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has YAML aliases, %TAG, or more than {MOST_OPENED} of [ and {{, and could take gigabytes to read: remove it, or write it without them"
)]
pub(super) struct Costly;

fn is_cheap(text: &str) -> bool {
    let opened = text.bytes().filter(|byte| b"[{".contains(byte));
    // A directive `%TAG` gives each tag a prefix of any length.
    opened.count() <= MOST_OPENED && !text.contains("%TAG") && !has_alias(text)
}

/// Whether something is named `&it` and repeated as `*it`.
fn has_alias(text: &str) -> bool {
    let named: BTreeSet<&str> = names(text, '&').collect();
    !named.is_empty() && names(text, '*').any(|name| named.contains(name))
}

/// The names behind a sign, where the library may take them for anchors or aliases.
fn names(text: &str, sign: char) -> impl Iterator<Item = &str> {
    let signs = text.match_indices(sign);
    signs.filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let (name, rest) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let ends = |c: char| c.is_whitespace() || c.is_control() || "?:,]}%@`".contains(c);
        (!name.is_empty() && rest.chars().next().is_none_or(ends)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each takes gigabytes or minutes where it is read; so much of each is made that a test would still end.
    #[test]
    fn what_costs_more_than_its_length_is_not_read() {
        let long = "x".repeat(100_000);
        for (what, text) in [
            (
                "a long text, repeated",
                format!("a: &a {long}\nb: [{}]\n", "*a,".repeat(2_000)),
            ),
            (
                "lists of lists",
                "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c-1 [*b,*b]\nd: [*c-1, *c-1]\n".into(),
            ),
            ("behind a mark", "\u{feff}a: &a 1\u{85}b: *a\u{2028}".into()),
            (
                "an alias that closes what it is in",
                "{a: &a 1, b: {c: *a}}".into(),
            ),
            ("deep objects", format!("a: {}", "{a: ".repeat(5_000))),
            ("deep lists", format!("a: {}", "[".repeat(20_000))),
            (
                "deep, and texts that seem to close it",
                format!("a: {}", "{\"}\": ".repeat(5_000)),
            ),
            (
                "a long prefix of tags",
                format!(
                    "%TAG !a! tag:{long}\n---\na:\n{}",
                    "- !a!b c\n".repeat(2_000)
                ),
            ),
        ] {
            assert_eq!(manifest_of(text.as_bytes()), Err(Costly), "{what}");
        }
        let wide: Vec<u8> = "a: &a 1\nb: *a\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(manifest_of(&[b"\xff\xfe", &*wide].concat()), Ok(None));
    }

    #[test]
    fn what_is_written_here_and_what_people_write_is_read() {
        let manifest = json!({
            "metadata": {"name": "a", "annotations": {"a": "*/5 * * * *", "b": "a=1&b=2&c", "c": "[{}] & *b*", "d": "50%"}},
            "stringData": {"config": format!("{{{}}}", "\"a\": [],\n".repeat(200))},
            "data": {"token": "c3ltYm9sb24="},
        });
        let written = serde_yaml::to_string(&manifest).unwrap();
        let read = manifest_of(written.as_bytes()).unwrap().unwrap();
        assert_eq!(Value::Object(read), manifest);
        assert_eq!(manifest_of(b""), Ok(Some(Map::new())));
        for other in ["just text", "[1]", "a: ["] {
            assert_eq!(manifest_of(other.as_bytes()), Ok(None), "{other}");
        }
    }
}
