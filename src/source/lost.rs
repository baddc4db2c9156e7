//! Guesses which object a part of a file contains that cannot be read. Other objects refer to it, and their faults
//! follow from this one. Nothing else may depend on the guess.

use crate::directory::ObjectKey;
use crate::directory::problem::suggest::nearest;
use crate::resources::Kind;

/// The longest text that is searched for the head of an object, in bytes.
const LONGEST: usize = 64 << 10;

/// An object that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its kind; `None` if it names none of ours.
    pub kind: Option<Kind>,
    /// Its namespace and name, as far as they can be read.
    pub key: ObjectKey,
    /// Its `spec.value`, as a Scope has it.
    pub value: Option<String>,
    /// The index of its fault among the faults of the file.
    pub fault: usize,
}

impl Lost {
    /// Returns the object with this kind, namespace and name.
    pub(super) fn new(kind: &str, key: ObjectKey, fault: usize) -> Self {
        let known = Kind::from_name(kind);
        let meant = || Kind::from_name(nearest(kind, Kind::ALL.map(Kind::as_str))?);
        Self {
            kind: known.or_else(meant),
            key,
            value: None,
            fault,
        }
    }

    /// Guesses the object of a document that cannot be read.
    pub(super) fn of_text(text: &str, namespace: &str, fault: usize) -> Self {
        let end = (0..=text.len().min(LONGEST)).rfind(|at| text.is_char_boundary(*at));
        let text = &text[..end.unwrap_or_default()];
        let after = |word: &str| text.find(word).map_or("", |at| &text[at..]);
        let metadata = after("metadata");
        let head = |name: &str| field(metadata, name);
        let key = ObjectKey::new(
            head("namespace").unwrap_or(namespace),
            head("name").unwrap_or_default(),
        );
        let mut lost = Self::new(field(text, "kind").unwrap_or_default(), key, fault);
        lost.value = field(after("spec"), "value").map(str::to_owned);
        lost
    }
}

/// Returns the value of the first field of this name in YAML or JSON.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let is_quote = |c: char| matches!(c, '"' | '\'');
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']' | '"' | '\'');
    text.match_indices(name).find_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return None;
        }
        let value = text[at + name.len()..].trim_start_matches(is_quote);
        let value = value.trim_start_matches(' ').strip_prefix(':')?;
        let value = value
            .trim_start_matches([' ', '\t'])
            .trim_start_matches(is_quote);
        let value = &value[..value.find(is_end).unwrap_or(value.len())];
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_faulty_document_is_guessed() {
        for (text, kind, key, value) in [
            (
                "kind: Scope\nmetadata:\n\tname: a\n  namespace: b\nspec: {value: 'a.b'}",
                Some(Kind::Scope),
                ("b", "a"),
                Some("a.b"),
            ),
            (
                "{\"kind\": \"OAuthClient\", \"metadata\": {\"name\": \"x\",,",
                Some(Kind::OAuthClient),
                ("default", "x"),
                None,
            ),
            (
                "kind: Identiy\nmetadata: {namespace: n, name: i",
                Some(Kind::Identity),
                ("n", "i"),
                None,
            ),
            ("nothing", None, ("default", ""), None),
        ] {
            let lost = Lost::of_text(text, "default", 3);
            let (namespace, name) = key;
            assert_eq!(
                (lost.kind, lost.key, lost.value.as_deref()),
                (kind, ObjectKey::new(namespace, name), value),
                "{text}"
            );
        }
        Lost::of_text(&"é".repeat(LONGEST), "default", 0);
    }
}
