//! Parses JSON (RFC 8259) with the places of its parts, which `serde_json` does not report.

use std::ops::Range;

use serde_json::{Map, Value};

use super::spans::{Entry, Spans, narrow};
use super::{DEEPEST, DocumentFault, MAX_NODES, Node, scalar, twice};

/// Reads a stream of JSON texts. A file usually has one.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, DocumentFault> {
    let mut reader = Reader {
        text,
        at: 0,
        nodes: 0,
    };
    let mut nodes = Vec::new();
    loop {
        reader.blanks();
        if reader.at == text.len() {
            return Ok(nodes);
        }
        nodes.push(reader.value(0)?);
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// The number of values read so far.
    nodes: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn fault(&self, message: &str) -> DocumentFault {
        let end = self.text[self.at..]
            .chars()
            .next()
            .map_or(self.at, |next| self.at + next.len_utf8());
        DocumentFault::new(self.at..end, format!("this is not JSON: {message}"))
    }

    fn expect(&mut self, byte: u8) -> Result<(), DocumentFault> {
        self.blanks();
        if self.peek() != Some(byte) {
            return Err(self.fault(&format!("expected '{}'", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    /// Returns whether another item follows, and skips its comma; otherwise skips the closing byte.
    fn another(&mut self, first: bool, close: u8) -> Result<bool, DocumentFault> {
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    fn value(&mut self, depth: usize) -> Result<Node, DocumentFault> {
        self.blanks();
        if depth > DEEPEST {
            return Err(DocumentFault::too_deep(self.at..self.at));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("this file has more than {MAX_NODES} values: split it");
            return Err(DocumentFault::new(self.at..self.at, message));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => {
                let (text, range) = self.string()?;
                Ok(Node {
                    value: Value::String(text),
                    spans: Spans::leaf(range),
                })
            }
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, DocumentFault> {
        let start = self.at;
        self.at += 1;
        let mut fields = Map::new();
        let mut entries: Vec<Entry> = Vec::new();
        while self.another(fields.is_empty(), b'}')? {
            self.blanks();
            let (name, key) = self.string()?;
            self.expect(b':')?;
            let node = self.value(depth + 1)?;
            if fields.contains_key(&name) {
                let first = entries
                    .iter()
                    .find(|entry| *entry.name == *name)
                    .map(|entry| entry.key.clone());
                return Err(twice(&name, key, &first.unwrap_or_default()));
            }
            let (from, to) = narrow(key);
            entries.push(Entry {
                name: name.as_str().into(),
                key: from..to,
                value: node.spans,
            });
            fields.insert(name, node.value);
        }
        Ok(Node {
            value: Value::Object(fields),
            spans: Spans::map(start..self.at, entries),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Node, DocumentFault> {
        let start = self.at;
        self.at += 1;
        let (mut values, mut spans) = (Vec::new(), Vec::new());
        while self.another(values.is_empty(), b']')? {
            let node = self.value(depth + 1)?;
            values.push(node.value);
            spans.push(node.spans);
        }
        Ok(Node {
            value: Value::Array(values),
            spans: Spans::list(start..self.at, spans),
        })
    }

    fn string(&mut self) -> Result<(String, Range<usize>), DocumentFault> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected a string in double quotes"));
        }
        let mut end = start + 1;
        let bytes = self.text.as_bytes();
        while bytes.get(end).is_some_and(|byte| *byte != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let range = start..(end + 1).min(bytes.len());
        let text = self
            .text
            .get(range.clone())
            .and_then(|text| serde_json::from_str(text).ok());
        let text = text.ok_or_else(|| self.fault("a string has no end or an invalid escape"))?;
        self.at = range.end;
        Ok((text, range))
    }

    /// Reads a number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Node, DocumentFault> {
        let length =
            self.text[self.at..].find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let range = self.at..length.map_or(self.text.len(), |length| self.at + length);
        let value: Option<Value> = serde_json::from_str(&self.text[range.clone()]).ok();
        let value = value.map(|value| match value.as_f64() {
            Some(float) if value.is_f64() => scalar::number(float).unwrap_or(value),
            _ => value,
        });
        let value = value.ok_or_else(|| self.fault("expected a value"))?;
        self.at = range.end;
        Ok(Node {
            value,
            spans: Spans::leaf(range),
        })
    }
}
