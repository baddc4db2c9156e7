//! Builds one YAML document from the parser's events: a value with the places of its parts.
//!
//! Anchors, aliases and merge keys work as in kubectl. A document that kubectl reads in a surprising way is refused.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::spans::{Entry, Spans, narrow};
use super::{DEEPEST, DocumentFault, MAX_NODES, Node, cause, scalar, twice};
use crate::directory::problem::suggest::shown;

/// The maximum number of faults of one document. It bounds the work, since the place of each is looked up in the text.
const MAX_FAULTS: usize = 100;

/// What the aliases of a file may still repeat. Without this bound, which is in proportion to the file, many small
/// documents or files could fill the memory.
pub(super) struct Repeats(Size);

impl Repeats {
    /// Returns the bound for a file of this many bytes.
    pub(super) const fn of(length: usize) -> Self {
        Self(Size {
            nodes: 1000 + 4 * length,
            bytes: 64 * 1024 + 16 * length,
        })
    }
}

/// Reads the only document of a text. Returns `Ok(None)` if the text is empty.
pub(super) fn document(
    text: &str,
    repeats: &mut Repeats,
) -> Result<Option<Node>, Vec<DocumentFault>> {
    let options =
        granit_parser::options! { emit_comments: false, block_scalar_eof_without_line_feed: true };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        text,
        parser,
        anchors: HashMap::new(),
        size: Size::default(),
        repeats,
        faults: Vec::new(),
    };
    let built = builder.stream();
    let mut faults = builder.faults;
    match built {
        Ok(node) if faults.is_empty() => Ok(node),
        Ok(_) => Err(faults),
        Err(fault) => {
            faults.push(fault);
            Err(faults)
        }
    }
}

struct Builder<'t> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    /// The size of everything read so far.
    size: Size,
    repeats: &'t mut Repeats,
    /// Faults after which the rest can still be read.
    faults: Vec<DocumentFault>,
}

/// The value of an anchor.
struct Anchored {
    node: Node,
    size: Size,
    /// The depth of its nested values.
    height: usize,
}

/// The size of a value.
#[derive(Clone, Copy, Default)]
struct Size {
    /// The number of values in it, with itself.
    nodes: usize,
    /// The number of bytes in its strings.
    bytes: usize,
}

type Tagged<'a> = Option<&'a Tag>;

impl<'t> Builder<'t> {
    fn stream(&mut self) -> Result<Option<Node>, DocumentFault> {
        let mut root = None;
        loop {
            let (event, range) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                // Between two lines of `---`, kubectl reads only the first document.
                _ if root.is_some() => {
                    return Err(DocumentFault::new(range, "kubectl ignores everything after '...': write '---' on a line of its own instead".into()));
                }
                event => root = Some(self.node(event, range, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Range<usize>), DocumentFault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.range(&span))),
            Some(Err(error)) => {
                let start = error
                    .marker()
                    .byte_offset()
                    .unwrap_or(self.text.len())
                    .min(self.text.len());
                let end = self.text[start..]
                    .chars()
                    .next()
                    .map_or(start, |next| start + next.len_utf8());
                let (span, message) = cause::explain(self.text, start, &error.info())
                    .unwrap_or_else(|| (start..end, format!("this is not YAML: {}", error.info())));
                Err(DocumentFault::new(span, message))
            }
            None => Ok((Event::StreamEnd, self.text.len()..self.text.len())),
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        range.start.min(self.text.len())..range.end.min(self.text.len())
    }

    fn node(
        &mut self,
        event: Event<'t>,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Node, DocumentFault> {
        let before = self.size;
        let bytes = match &event {
            Event::Scalar(text, ..) => text.len(),
            _ => 0,
        };
        self.count(Size { nodes: 1, bytes }, &range)?;
        if depth > DEEPEST {
            return Err(DocumentFault::too_deep(range));
        }
        if self.faults.len() >= MAX_FAULTS {
            let message =
                format!("this document has more than {MAX_FAULTS} faults: correct those first");
            return Err(DocumentFault::new(range, message));
        }
        let anchor = event.anchor_id();
        let node = match event {
            Event::Scalar(text, style, _, tag) => {
                self.scalar(&text, style, tag.as_deref(), range.clone())
            }
            Event::SequenceStart(_, _, tag) => {
                self.collection_tag(tag.as_deref(), "seq", &range);
                self.list(range.start, depth)?
            }
            Event::MappingStart(_, _, tag) => {
                self.collection_tag(tag.as_deref(), "map", &range);
                self.map(range.start, depth)?
            }
            Event::Alias(id) => return self.alias(id, range, depth),
            other => {
                return Err(DocumentFault::new(
                    range,
                    format!("this is not YAML: unexpected {other:?}"),
                ));
            }
        };
        if let Some(id) = anchor {
            let size = Size {
                nodes: self.size.nodes - before.nodes,
                bytes: self.size.bytes - before.bytes,
            };
            self.repeat(size, &range)?;
            self.anchors.insert(
                id,
                Anchored {
                    node: node.clone(),
                    size,
                    height: height(&node.value),
                },
            );
        }
        Ok(node)
    }

    /// Counts what was read.
    fn count(&mut self, more: Size, range: &Range<usize>) -> Result<(), DocumentFault> {
        self.size.nodes += more.nodes;
        self.size.bytes += more.bytes;
        if self.size.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!(
            "this document has more than {MAX_NODES} values, counting what aliases repeat: split it"
        );
        Err(DocumentFault::new(range.clone(), message))
    }

    /// Counts a copy of what was read before. This stops alias bombs and chains of nested anchors.
    fn repeat(&mut self, more: Size, range: &Range<usize>) -> Result<(), DocumentFault> {
        self.count(more, range)?;
        let Repeats(left) = self.repeats;
        let nodes = left.nodes.checked_sub(more.nodes);
        let bytes = left.bytes.checked_sub(more.bytes);
        let (Some(nodes), Some(bytes)) = (nodes, bytes) else {
            let message =
                "the anchors and aliases of this file repeat too much: write the values out";
            return Err(DocumentFault::new(range.clone(), message.into()));
        };
        *left = Size { nodes, bytes };
        Ok(())
    }

    fn alias(
        &mut self,
        id: usize,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Node, DocumentFault> {
        let size = self.anchors.get(&id).map(|anchored| anchored.size);
        // Counted before the copy, so that a large copy is never made.
        self.repeat(size.unwrap_or_default(), &range)?;
        let Some(Anchored { node, height, .. }) = self.anchors.get(&id) else {
            return Err(DocumentFault::new(
                range,
                "this alias refers to a value that contains it".into(),
            ));
        };
        if depth + height > DEEPEST {
            return Err(DocumentFault::too_deep(range));
        }
        Ok(Node {
            value: node.value.clone(),
            spans: node.spans.moved(range),
        })
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Tagged<'_>,
        range: Range<usize>,
    ) -> Node {
        let value = match (style, tag.map(|tag| (tag, tag.core_suffix()))) {
            (ScalarStyle::Plain, None) => self.plain(text, &range),
            (_, None | Some((_, Some("str")))) => Value::String(text.to_owned()),
            (_, Some((_, Some(core @ ("int" | "float" | "bool" | "null"))))) => {
                let value = self.plain(text, &range);
                if !is_of(&value, core) {
                    self.faults.push(DocumentFault::new(
                        range.clone(),
                        format!("this is not of type {core}"),
                    ));
                }
                value
            }
            (_, Some(_)) => {
                self.foreign_tag(&range);
                Value::String(text.to_owned())
            }
        };
        Node {
            value,
            spans: Spans::leaf(range),
        }
    }

    fn plain(&mut self, text: &str, range: &Range<usize>) -> Value {
        scalar::resolve(text).unwrap_or_else(|_| {
            self.faults.push(DocumentFault::new(
                range.clone(),
                format!("JSON has no {text}: write a number, or put it in quotes"),
            ));
            Value::Null
        })
    }

    fn collection_tag(&mut self, tag: Tagged<'_>, core: &str, range: &Range<usize>) {
        if tag.is_some_and(|tag| tag.core_suffix() != Some(core)) {
            self.foreign_tag(range);
        }
    }

    /// The message does not repeat the tag: a password without quotes may begin with `!`.
    fn foreign_tag(&mut self, range: &Range<usize>) {
        let message = "a tag has no meaning in a manifest: remove it, or put the text in quotes";
        self.faults
            .push(DocumentFault::new(range.clone(), message.into()));
    }

    fn list(&mut self, start: usize, depth: usize) -> Result<Node, DocumentFault> {
        let (mut values, mut spans) = (Vec::new(), Vec::new());
        loop {
            let (event, range) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Node {
                    value: Value::Array(values),
                    spans: Spans::list(start..range.end.max(start), spans),
                });
            }
            let node = self.node(event, range, depth + 1)?;
            values.push(node.value);
            spans.push(node.spans);
        }
    }

    fn map(&mut self, start: usize, depth: usize) -> Result<Node, DocumentFault> {
        let mut fields = Fields::default();
        loop {
            let (event, range) = self.next()?;
            if event == Event::MappingEnd {
                let spans = Spans::map(start..range.end.max(start), fields.entries);
                return Ok(Node {
                    value: Value::Object(fields.values),
                    spans,
                });
            }
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, tag)
                if text == "<<" && tag.as_deref().is_none_or(|tag| tag.core_suffix() == Some("merge")));
            let key = if merges {
                None
            } else {
                self.key(event, range.clone(), depth)?
            };
            let (event, value_range) = self.next()?;
            let value = self.node(event, value_range, depth + 1)?;
            if merges {
                self.merge(&mut fields, value, &range);
            } else if let Some(name) = key {
                let is_head = depth == 0 && name == "apiVersion";
                if let Some(fault) = fields.insert(name, range.clone(), value) {
                    if is_head {
                        return Err(second_object(range));
                    }
                    self.faults.push(fault);
                }
            }
        }
    }

    /// Returns the text of a key. Without one, it adds a fault and returns `None`.
    fn key(
        &mut self,
        event: Event<'t>,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Option<String>, DocumentFault> {
        Ok(match self.node(event, range.clone(), depth + 1)?.value {
            Value::String(text) => Some(text),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.faults.push(DocumentFault::new(
                    range,
                    "a key must be a string: put it in quotes".into(),
                ));
                None
            }
        })
    }

    fn merge(&mut self, fields: &mut Fields, node: Node, range: &Range<usize>) {
        let parts = match node.value {
            Value::Object(_) => vec![node],
            Value::Array(values) => {
                let items = node.spans.items();
                values
                    .into_iter()
                    .zip(items)
                    .map(|(value, spans)| Node {
                        value,
                        spans: spans.clone(),
                    })
                    .collect()
            }
            _ => vec![],
        };
        if parts.is_empty() || parts.iter().any(|part| !part.value.is_object()) {
            self.faults.push(DocumentFault::new(
                range.clone(),
                "'<<' needs an object or a list of objects".into(),
            ));
            return;
        }
        for part in parts {
            self.faults.extend(fields.merge(part, range));
        }
    }
}

/// Returns the fault of a second `apiVersion` in one document. Every other field of the second object would be a
/// duplicate too.
fn second_object(range: Range<usize>) -> DocumentFault {
    let message = "a second object begins here: write '---' on a line of its own before it";
    DocumentFault::new(range, message.to_owned())
}

fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_of(value: &Value, core: &str) -> bool {
    match core {
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        _ => value.is_null(),
    }
}

/// The fields of one mapping while it is read.
#[derive(Default)]
struct Fields {
    values: Map<String, Value>,
    entries: Vec<Entry>,
    /// Names that `<<` added, with their indices in `entries`. A written name replaces them.
    merged: HashMap<String, usize>,
}

impl Fields {
    fn insert(&mut self, name: String, key: Range<usize>, node: Node) -> Option<DocumentFault> {
        let (from, to) = narrow(key.clone());
        let entry = Entry {
            name: name.as_str().into(),
            key: from..to,
            value: node.spans,
        };
        if let Some(place) = self.merged.remove(&name) {
            self.entries[place] = entry;
        } else if self.values.contains_key(&name) {
            let first = self.entries.iter().find(|known| *known.name == *name)?;
            return Some(twice(&name, key, &first.key));
        } else {
            self.entries.push(entry);
        }
        self.values.insert(name, node.value);
        None
    }

    /// Merges an object. The first of several merged objects wins, and written fields win over merged ones. In kubectl
    /// a `<<` wins over fields that are written before it, which is hardly intended: that is a fault.
    fn merge(&mut self, part: Node, key: &Range<usize>) -> Option<DocumentFault> {
        let Value::Object(mut values) = part.value else {
            return None;
        };
        for entry in part.spans.entries() {
            let name = &*entry.name;
            if self.merged.contains_key(name) {
                continue;
            }
            if self.values.contains_key(name) {
                let message = format!(
                    "move '<<' above `{}`: otherwise kubectl uses the merged value",
                    shown(name)
                );
                let mut fault = DocumentFault::new(key.clone(), message);
                fault.without_text =
                    Some("move '<<' above the other fields: otherwise kubectl uses merged values");
                return Some(fault);
            }
            self.merged.insert(name.to_owned(), self.entries.len());
            self.entries.push(entry.clone());
            self.values
                .insert(name.to_owned(), values.remove(name).unwrap_or_default());
        }
        None
    }
}
