//! Words that readers stumble over stay out of all text.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that readers stumble over, with what to write instead (CONTRIBUTING.md, "Rules for a change").
const ARCHAIC: &[(&str, &str)] = &[
    ("anew", "again"),
    ("whoever", "the user, the caller"),
    ("whomever", "the user, the caller"),
    ("whom", "who, or another sentence"),
    ("thereof", "its"),
    ("hereby", "nothing"),
    ("somebody", "another user, someone"),
    ("somebody's", "another user's"),
    ("nobody's", "no one's"),
    ("though it be", "even when"),
    ("be it", "whether"),
    ("is none of", "is not"),
    ("lets go of", "releases"),
    ("met with", "saw"),
];

/// Every text file under the given folders and files of the repository, except what programs wrote.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = [
        "src",
        "tests",
        "benches",
        "charts",
        "crds",
        "deploy",
        "docs",
        "examples",
        "fuzz/src",
        "fuzz/targets",
        "image",
        ".ci",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
        "justfile",
        "Cargo.toml",
        "deny.toml",
    ]
    .iter()
    .map(|name| root.join(name))
    .collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !["node_modules", "__pycache__", "fuzz"].contains(&&*name) {
                open.extend(
                    fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        } else {
            found.push(path);
        }
    }
    found
}

/// Whether a line has the words, not as a part of others.
fn has_words(line: &str, words: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_-.".contains(c));
    line.match_indices(words).any(|(at, _)| {
        let after = &line[at + words.len()..];
        // A full stop ends a sentence if no letter follows.
        let after = after
            .strip_prefix('.')
            .filter(|it| !it.starts_with(char::is_alphanumeric))
            .unwrap_or(after);
        !is_part(line[..at].chars().next_back()) && !is_part(after.chars().next())
    })
}

#[test]
fn no_text_uses_words_that_readers_stumble_over() {
    let own = Path::new(file!());
    // The checksum of a migration binds the stores that it made.
    let is_free = |path: &Path| path.ends_with(own) || path.ends_with("src/store/0001_store.sql");
    let mut found = Vec::new();
    for path in texts().iter().filter(|path| !is_free(path)) {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for (words, instead) in ARCHAIC.iter().filter(|(words, _)| has_words(&line, words)) {
                let place = format!("{}:{}", path.display(), number + 1);
                found.push(format!("{place}: \"{words}\": write {instead}"));
            }
        }
    }
    assert_eq!(found, [""; 0], "{}", found.join("\n"));
}

#[test]
fn a_word_is_found_as_a_word_only() {
    for (line, is_found) in [
        ("created anew.", true),
        ("(anew, as before)", true),
        ("a new one", false),
        ("let anewer = 1", false),
        ("shop.anew.b", false),
    ] {
        assert_eq!(has_words(line, "anew"), is_found, "{line}");
    }
}
