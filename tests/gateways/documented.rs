//! Reads the configurations of docs/gateways.md, so that the tests run what readers copy.

use std::path::Path;

/// A block of code of the page.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// Returns the blocks between the marks `<!-- NAME:begin` and `<!-- NAME:end`.
pub(crate) fn blocks(name: &str) -> Vec<Block> {
    let page = read("docs/gateways.md");
    let begin = format!("<!-- {name}:begin (a test runs this configuration) -->");
    let rest = page.split_once(&begin);
    let (_, rest) = rest.unwrap_or_else(|| panic!("docs/gateways.md has no {begin:?}"));
    let end = format!("<!-- {name}:end -->");
    let marked = rest.split_once(&end);
    let (marked, _) = marked.unwrap_or_else(|| panic!("docs/gateways.md has no {end:?}"));
    of(marked)
}

/// Returns the blocks of code of a page.
pub(crate) fn of(page: &str) -> Vec<Block> {
    let mut fences = page.split("```");
    fences.next();
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (fences.next(), fences.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        blocks.push(Block {
            language: language.to_owned(),
            text: text.to_owned(),
        });
    }
    blocks
}

/// Returns the text of a file of this repository.
pub(crate) fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
