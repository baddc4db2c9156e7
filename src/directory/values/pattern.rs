//! A pattern of the definitions, compiled at its first use.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern. One that does not compile would match nothing; tests check that all compile.
pub(super) struct Pattern(OnceLock<Option<Regex>>, &'static str);

impl Pattern {
    pub(super) const fn new(source: &'static str) -> Self {
        Self(OnceLock::new(), source)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let regex = self.0.get_or_init(|| Regex::new(self.1).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}
