//! Manifests as text, read only if that costs no more than their length.
//!
//! `git pull` may bring any file into the state folder. The YAML library copies the value of an anchor at each alias,
//! and its time grows with the depth of flow collections: one file of 1 MB can take gigabytes, or hours. The check
//! searches the bytes, including quoted text, so that nothing passes that the library reads in another way.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The maximum number of `[` and `{` in a file, because they may all be nested. Files that are written here have few.
const MAX_OPENED: usize = 256;

/// Parses the manifest in a file; `None` if the file is not one.
///
/// # Errors
/// Returns an error if the file costs too much to read.
pub(super) fn manifest_of(content: &[u8]) -> Result<Option<Map<String, Value>>, Costly> {
    match std::str::from_utf8(content) {
        Ok(text) if is_cheap(text) => Ok(serde_yaml::from_str(text).ok()),
        Ok(_) => Err(Costly),
        // UTF-16 is valid YAML too, but hides characters from the check.
        Err(_) => Ok(None),
    }
}

/// Reading the file could take gigabytes, or hours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file has YAML aliases, %TAG, or more than {MAX_OPENED} brackets [ and {{, so that it could take gigabytes of memory to read: remove it, or write it without them"
)]
pub(super) struct Costly;

fn is_cheap(text: &str) -> bool {
    let opened = text.bytes().filter(|byte| b"[{".contains(byte));
    // A `%TAG` directive can give each tag a prefix of any length.
    opened.count() <= MAX_OPENED && !text.contains("%TAG") && !has_alias(text)
}

/// Whether the text has an anchor `&it` and an alias `*it`.
fn has_alias(text: &str) -> bool {
    let named: BTreeSet<&str> = names(text, '&').collect();
    !named.is_empty() && names(text, '*').any(|name| named.contains(name))
}

/// Returns the names after `sign` that the library may take for anchors or aliases.
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

    /// Each file would take gigabytes or minutes to read. The sizes are chosen so that a failing test still ends.
    #[test]
    fn a_file_that_costs_more_than_its_length_is_not_read() {
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
            (
                "after a byte order mark",
                "\u{feff}a: &a 1\u{85}b: *a\u{2028}".into(),
            ),
            (
                "an alias at the end of a collection",
                "{a: &a 1, b: {c: *a}}".into(),
            ),
            ("deep objects", format!("a: {}", "{a: ".repeat(5_000))),
            ("deep lists", format!("a: {}", "[".repeat(20_000))),
            (
                "deep objects with keys that seem to close them",
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
    fn files_of_dev_mode_and_of_people_are_read() {
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
