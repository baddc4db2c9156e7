//! Every example sets all four headers: of a header that is left out, the API gets the caller's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::documented;
use super::world::IDENTITY;

/// The folders and files with examples.
const PLACES: [&str; 6] = [
    "README.md",
    "docs",
    "examples",
    "charts",
    "deploy",
    "tests/node/manifests",
];

fn files(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else {
        found.push(place.to_owned());
    }
}

#[test]
fn an_example_that_sets_one_identity_header_sets_all_four() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in PLACES {
        files(&root.join(place), &mut found);
    }
    let mut examples = 0;
    for file in found {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let is_page = file.extension().is_some_and(|it| it == "md");
        let blocks = if is_page {
            documented::of(&text)
                .into_iter()
                .map(|it| it.text)
                .collect()
        } else {
            vec![text]
        };
        for block in blocks {
            let lower = block.to_ascii_lowercase();
            let named: Vec<_> = IDENTITY.iter().filter(|it| lower.contains(**it)).collect();
            examples += usize::from(!named.is_empty());
            let file = file.display();
            assert!(
                [0, 4].contains(&named.len()),
                "{file} names only {named:?}:\n{block}"
            );
        }
    }
    // The five proxies, the four that no test runs, examples/compose, and the API of tests/node.
    assert!(examples >= 11, "{examples}");
}
