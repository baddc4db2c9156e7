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

/// Every example that sets an identity header, in lower case, with its file.
fn examples() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in PLACES {
        files(&root.join(place), &mut found);
    }
    let blocks = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let is_page = file.extension().is_some_and(|it| it == "md");
        let blocks: Vec<String> = if is_page {
            documented::of(&text)
                .into_iter()
                .map(|it| it.text)
                .collect()
        } else {
            vec![text]
        };
        let lower = blocks.into_iter().map(|it| it.to_ascii_lowercase());
        lower
            .map(move |block| (file.clone(), block))
            .collect::<Vec<_>>()
    };
    let all = found.into_iter().flat_map(blocks);
    let examples = all.filter(|(_, block)| IDENTITY.iter().any(|it| block.contains(it)));
    let examples: Vec<_> = examples.collect();
    // The five proxies, the four that no test runs, examples/compose, and the API of tests/node.
    assert!(examples.len() >= 11, "{}", examples.len());
    examples
}

#[test]
fn an_example_that_sets_one_identity_header_sets_all_four() {
    for (file, block) in examples() {
        let named: Vec<_> = IDENTITY.iter().filter(|it| block.contains(**it)).collect();
        let file = file.display();
        assert_eq!(named.len(), 4, "{file} names only {named:?}:\n{block}");
    }
}

/// What only examples for proxies contain that replace `X-Forwarded-For` by themselves.
const REPLACING: [&str; 3] = [
    "forwardauth:",
    "forward_auth ",
    "nginx.ingress.kubernetes.io",
];

/// Of a proxy that passes on the caller's header, the caller chooses the address.
#[test]
fn an_example_tells_symbolon_the_callers_address() {
    for (file, block) in examples() {
        let tells = block.contains("x-forwarded-for");
        let replaces = REPLACING.iter().any(|it| block.contains(it));
        assert!(tells || replaces, "{}:\n{block}", file.display());
    }
}
