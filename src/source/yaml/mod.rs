//! Parses manifests: YAML or JSON, several documents and lists, with the place of every part.
//!
//! The reading is that of kubectl, so that the judged objects are those that kubectl would send to the API server. A
//! fault in one document does not hide the others. Not here: files, and the meaning of kinds.
//!
//! A library finds the events of YAML. What they mean is decided here, by hand: the scalars and merge rules of
//! kubectl's parser differ from those of the libraries for Rust, and none of these tells the place of each key and
//! value.

mod builder;
mod cause;
mod json;
mod scalar;
mod spans;

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

pub use self::scalar::surprise;
pub use self::spans::{Found, Spans};
use crate::directory::problem::suggest::shown;
use crate::resources::GROUP;

/// The maximum length of a text in bytes: no Kubernetes object is longer.
pub const LONGEST: usize = 1 << 20;
/// The maximum depth of nested values.
const DEEPEST: usize = 64;
/// The maximum number of values in a document, with those that aliases repeat.
const MAX_NODES: usize = 200_000;
/// The maximum length of a kind in bytes: a DNS label.
const LONGEST_KIND: usize = 63;
/// The maximum length of an `apiVersion` in bytes: a DNS name, a slash and a DNS label.
const LONGEST_VERSION: usize = 253 + 1 + 63;

/// The contents of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// Its objects. A list is replaced by its items.
    pub documents: Vec<Document>,
    /// The faults of documents that cannot be read.
    pub faults: Vec<DocumentFault>,
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The object as kubectl would send it.
    pub value: Value,
    /// The places of its parts.
    pub spans: Spans,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFault {
    /// Its place, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
    /// The message without texts of the document: in a Secret a key may be a secret text too.
    without_text: Option<&'static str>,
    /// A related place and its description.
    pub related: Option<(Range<usize>, String)>,
    /// Whether the document mentions our API group. Documents of other tools only cause warnings.
    pub ours: bool,
}

impl DocumentFault {
    fn new(span: Range<usize>, message: String) -> Self {
        Self {
            span,
            message,
            without_text: None,
            related: None,
            ours: true,
        }
    }

    fn too_deep(span: Range<usize>) -> Self {
        Self::new(
            span,
            format!("this is nested more than {DEEPEST} levels deep"),
        )
    }

    fn moved(mut self, by: usize) -> Self {
        let shift = |range: &mut Range<usize>| *range = range.start + by..range.end + by;
        shift(&mut self.span);
        self.related.iter_mut().for_each(|(range, _)| shift(range));
        self
    }
}

/// Returns the fault of a duplicate key.
fn twice(name: &str, key: Range<usize>, first: &Range<u32>) -> DocumentFault {
    let mut fault = DocumentFault::new(
        key,
        format!("`{}` is written twice: remove one", shown(name)),
    );
    fault.without_text = Some("this field is written twice: remove one");
    fault.related = Some((
        first.start as usize..first.end as usize,
        "first here".into(),
    ));
    fault
}

#[derive(Clone, Debug)]
struct Node {
    value: Value,
    spans: Spans,
}

/// Returns the fault of a text of more than [`LONGEST`] bytes.
pub fn too_long() -> DocumentFault {
    let message = "this file is longer than 1 MiB, the limit for Kubernetes objects: split it";
    DocumentFault::new(0..0, message.to_owned())
}

/// Reads the bytes of a file. Returns also the text, to show places in it.
pub fn parse_bytes(bytes: &[u8]) -> (String, Parsed) {
    let whole = |fault: DocumentFault| Parsed {
        documents: vec![],
        faults: vec![fault],
    };
    if bytes.len() > LONGEST {
        return (String::new(), whole(too_long()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), parse(text)),
        Err(error) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let line = bytes[..error.valid_up_to()]
                .split(|byte| *byte == b'\n')
                .count();
            (
                text,
                whole(DocumentFault::new(
                    0..0,
                    format!("this file is not UTF-8: see line {line}"),
                )),
            )
        }
    }
}

/// Reads a text of at most [`LONGEST`] bytes.
pub fn parse(text: &str) -> Parsed {
    let mut parsed = parse_all(text);
    let repeats = |fault: &DocumentFault| fault.without_text.is_some();
    if parsed.faults.iter().any(repeats) && has_secret(text) {
        for fault in &mut parsed.faults {
            if let Some(message) = fault.without_text {
                message.clone_into(&mut fault.message);
            }
        }
    }
    parsed
}

fn parse_all(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    if let Some(at) = text.find('\0') {
        parsed.faults.push(DocumentFault::new(
            at..at + 1,
            "this is not a text: it contains a NUL byte".into(),
        ));
        return parsed;
    }
    let start = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let json = text[start..].trim_start().starts_with('{');
    if let Some(read) = json.then(|| parse_json(text, start)).flatten() {
        return read;
    }
    let mut repeats = builder::Repeats::of(text.len());
    for chunk in split(text, start) {
        match chunk.and_then(|range| read(text, range, &mut repeats)) {
            Ok(Some(node)) => take(node, &mut parsed.documents),
            Ok(None) => {}
            Err(faults) => parsed.faults.extend(faults),
        }
    }
    parsed
}

/// Reads the text as JSON. Returns `None` if it may be YAML that begins with a brace.
fn parse_json(text: &str, start: usize) -> Option<Parsed> {
    let mut parsed = Parsed::default();
    match json::parse(&text[start..]) {
        Ok(nodes) => nodes
            .into_iter()
            .for_each(|node| take(shift(node, start), &mut parsed.documents)),
        Err(_) if text.contains("\n---") || is_yaml(&text[start..]) => return None,
        Err(fault) => parsed.faults.push(mark(fault.moved(start), text)),
    }
    Some(parsed)
}

fn is_yaml(text: &str) -> bool {
    builder::document(text, &mut builder::Repeats::of(text.len())).is_ok()
}

fn read(
    text: &str,
    range: Range<usize>,
    repeats: &mut builder::Repeats,
) -> Result<Option<Node>, Vec<DocumentFault>> {
    let start = range.start;
    let chunk = &text[range];
    match builder::document(chunk, repeats) {
        Ok(node) => Ok(node.map(|node| shift(node, start))),
        Err(faults) => {
            // The later faults of a template follow from the first one.
            let most = if chunk.contains("{{") {
                1
            } else {
                faults.len()
            };
            let faults = faults.into_iter().take(most);
            Err(faults
                .map(|fault| mark(render_first(fault, chunk).moved(start), chunk))
                .collect())
        }
    }
}

fn mark(mut fault: DocumentFault, chunk: &str) -> DocumentFault {
    fault.ours = chunk.contains(GROUP);
    fault
}

/// Adds to a fault of a template that it must be rendered first. On a line of the template, this replaces the message,
/// which would mislead.
fn render_first(mut fault: DocumentFault, chunk: &str) -> DocumentFault {
    const WORDS: &str = "this looks like a template: render it first";
    let start = chunk[..fault.span.start].rfind('\n').unwrap_or_default();
    let line = chunk[start..].trim_start_matches('\n').lines().next();
    if line.is_some_and(|line| line.contains("{{")) {
        WORDS.clone_into(&mut fault.message);
    } else if chunk.contains("{{") {
        fault.message = format!("{}; {WORDS}", fault.message);
    }
    fault
}

/// Returns whether a text may contain a Secret, alone or in a list. It searches the text, since a document may be
/// invalid YAML: then no one can tell where it ends, or which kind it has. Every Secret has `data` or `stringData`, so
/// a text with these counts unless each of its objects is ours. A text with NUL characters, as in UTF-16, counts too.
pub fn has_secret(text: &str) -> bool {
    if text.contains(['\0', '\u{fffd}']) || (has_data(text) && !is_ours(text)) {
        return true;
    }
    let is_quote = |c: char| matches!(c, '"' | '\'');
    text.match_indices("kind").any(|(place, kind)| {
        let value = text[place + kind.len()..].trim_start_matches(is_quote);
        let value = value.trim_start().strip_prefix(':');
        value.is_some_and(|value| {
            let value = value.trim_start().trim_start_matches(is_quote);
            value.starts_with("Secret")
        })
    })
}

/// Returns whether every object of a text seems to be of our group.
fn is_ours(text: &str) -> bool {
    let ours = text.matches("symbolon.dev/v1").count();
    let bytes = text.as_bytes();
    let versions = bytes
        .windows(10)
        .filter(|it| it.eq_ignore_ascii_case(b"apiVersion"));
    let documents = text.matches("\n---").count() + 1;
    ours >= versions.count().max(documents)
}

/// Returns whether a text has the word `data` or `stringData`, in any case, or an escape that may stand for it.
fn has_data(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let data = bytes.windows(4).enumerate().any(|(at, word)| {
        let is_data = word.eq_ignore_ascii_case(b"data") && !is_word(bytes.get(at + 4));
        let before = &bytes[..at];
        let is_start = !is_word(before.last());
        let cut = before.len().saturating_sub(6);
        is_data && (is_start || before[cut..].eq_ignore_ascii_case(b"string"))
    });
    data || text.contains("\\u") || text.contains("\\x")
}

fn shift(mut node: Node, by: usize) -> Node {
    node.spans.shift(by);
    node
}

/// Splits the text into documents at lines of `---`, as kubectl does before it parses any.
fn split(text: &str, start: usize) -> Vec<Result<Range<usize>, Vec<DocumentFault>>> {
    let mut chunks = Vec::new();
    let (mut from, mut at) = (start, start);
    for line in text[start..].split_inclusive('\n') {
        let end = at + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            chunks.push(Ok(from..at));
            from = end;
            if !(rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
                let message =
                    "kubectl allows nothing after '---': begin the document on the next line";
                chunks.push(Err(vec![DocumentFault::new(
                    at + 3..at + line.trim_end().len(),
                    message.into(),
                )]));
            }
        }
        at = end;
    }
    chunks.push(Ok(from..at));
    chunks
}

/// Adds the document: a list as its items, an empty document not at all.
fn take(node: Node, documents: &mut Vec<Document>) {
    let Node { value, spans } = node;
    let Some(list_kind) = value["kind"]
        .as_str()
        .filter(|_| value["items"].is_array())
        .and_then(|kind| kind.strip_suffix("List"))
    else {
        if !value.is_null() {
            documents.push(Document { value, spans });
        }
        return;
    };
    let (kind, version) = (list_kind.to_owned(), value["apiVersion"].clone());
    let Value::Object(mut fields) = value else {
        return;
    };
    let Some(Value::Array(items)) = fields.remove("items") else {
        return;
    };
    // A longer text cannot be a kind or version, and a copy in each item would multiply the size of the file.
    let is_short = kind.len() <= LONGEST_KIND
        && version
            .as_str()
            .is_none_or(|version| version.len() <= LONGEST_VERSION);
    let fills = !kind.is_empty() && is_short && !version.is_object() && !version.is_array();
    for (mut value, spans) in items.into_iter().zip(spans.into_items("items")) {
        // kubectl fills in the kind and version of the items of a typed list.
        if let Some(item) = value
            .as_object_mut()
            .filter(|item| fills && !item.contains_key("kind"))
        {
            item.insert("kind".into(), kind.clone().into());
            item.entry("apiVersion").or_insert_with(|| version.clone());
        }
        documents.push(Document { value, spans });
    }
}
