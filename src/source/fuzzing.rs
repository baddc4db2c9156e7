//! Fuzz targets for texts of manifests, compared with `serde_json`, with another YAML library and with their own
//! rendering.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::ops::Range;

use serde_json::Value;

use super::manifest::Manifest;
use super::yaml::{self, Spans};
use crate::directory::problem::suggest::Shown;
use crate::directory::{Settings, admit};
use crate::fuzzing::Input;

/// The maximum number of bytes that one input may expand to, with those that aliases repeat.
const MOST: usize = 17 << 20;

/// The rules: a value rendered as JSON reads back as the same value. JSON is read as `serde_json` reads it. A value
/// that another library writes as YAML reads back as that value. Places are inside the text. Messages are short and
/// printable.
pub fn yaml(data: &[u8]) {
    let (text, parsed) = yaml::parse_bytes(data);
    for fault in &parsed.faults {
        told(&fault.message, 512);
        within(&text, &fault.span);
        fault
            .related
            .iter()
            .for_each(|(span, _)| within(&text, span));
    }
    let mut length = 0;
    for document in &parsed.documents {
        let json = document.value.to_string();
        length += json.len();
        places(
            &text,
            &document.value,
            &document.spans,
            "",
            document.value.is_object(),
        );
        if document.value.is_object() {
            reads_as(&json, &document.value);
        }
    }
    let is_aliased = data.contains(&b'*');
    // A character may become an escape of six characters.
    assert!(
        length
            <= if is_aliased {
                MOST * 6
            } else {
                256 + 64 * data.len()
            },
        "{length}"
    );
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && value["items"].is_null()
        && value.is_object()
    {
        // Unlike `serde_json`, our reader refuses duplicate names, and nesting that is too deep.
        let known = ["is written twice", "is nested more than"];
        let is_known = |message: &str| known.iter().any(|words| message.contains(words));
        assert!(
            parsed.faults.iter().all(|fault| is_known(&fault.message)),
            "{:?}",
            parsed.faults
        );
        if parsed.faults.is_empty() {
            reads_as(&text, &plain(value));
        }
    }
    written(data);
}

/// Returns the value as kubectl sends it: a float without a fraction becomes an integer.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole, and far from the bounds"
            )]
            Some(float) if float.fract() == 0.0 && float.abs() < 9.2e18 => {
                Value::from(float as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect(),
        other => other,
    }
}

fn reads_as(text: &str, value: &Value) {
    // The items of a list are documents of their own, so a list does not read back as one value.
    if value["items"].is_array() || text.len() > yaml::LONGEST {
        return;
    }
    let again = yaml::parse(text);
    assert!(again.faults.is_empty(), "{text}: {:?}", again.faults);
    let [again] = &again.documents[..] else {
        panic!("{text}: {again:?}")
    };
    assert!(is_same(&again.value, value), "{text}: {:?}", again.value);
}

/// Returns whether two values are equal, ignoring the last bits of fractions: `serde_json` does not parse them exactly.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
                return false;
            };
            (a - b).abs() <= a.abs() * 1e-15
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|(a, b)| a.0 == b.0 && is_same(a.1, b.1))
        }
        (a, b) => a == b,
    }
}

/// Builds a value from the input, writes it with `serde_yaml`, and reads the result.
fn written(data: &[u8]) {
    let value = value(&mut Input(data), 0);
    let Ok(text) = serde_yaml::to_string(&value) else {
        return;
    };
    // `serde_yaml` writes YAML 1.2. It may leave a string unquoted that kubectl reads as a boolean or a number. For
    // kubectl, a line `---` ends the document wherever it is.
    if is_tame(&value) && value.is_object() && value["items"].is_null() {
        reads_as(&text, &value);
    }
}

fn is_tame(value: &Value) -> bool {
    match value {
        Value::String(text) => is_tame_text(text),
        Value::Array(items) => items.iter().all(is_tame),
        Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| is_tame_text(name) && is_tame(value)),
        _ => true,
    }
}

fn is_tame_text(text: &str) -> bool {
    let is_word = yaml::surprise(text).is_none();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-._".contains(c));
    let is_printable = text.chars().all(|c| {
        c == '\n'
            || !c.is_control() && !"\u{feff}\u{2028}\u{2029}\u{85}".contains(c) && c < '\u{e000}'
    });
    is_word && !is_number && is_printable && !text.contains("---") && text != "<<"
}

fn value(input: &mut Input<'_>, depth: usize) -> Value {
    let kinds = if depth < 5 { 8 } else { 5 };
    match input.below(kinds) {
        0 => Value::Null,
        1 => Value::Bool(input.byte() & 1 == 1),
        2 => Value::from(i64::from(input.byte()) << (input.byte() % 56)),
        3 | 4 => Value::from(&*input.text()),
        5 => {
            let count = input.below(5);
            (0..count).map(|_| value(input, depth + 1)).collect()
        }
        _ => {
            let count = input.below(5);
            let field = |_| (input.text().into_owned(), value(input, depth + 1));
            Value::Object((0..count).map(field).collect())
        }
    }
}

fn within(text: &str, span: &Range<usize>) {
    assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
}

/// Every part has a place in the text that its pointer finds.
fn places(text: &str, value: &Value, spans: &Spans, pointer: &str, is_complete: bool) {
    let found = spans.find(pointer);
    within(text, &found.value);
    found.key.iter().for_each(|key| within(text, key));
    if !is_complete || pointer.len() > 256 {
        return;
    }
    // The items of a list get their kind from the list.
    assert!(
        found.exact || pointer.ends_with("kind") || pointer.ends_with("apiVersion"),
        "{pointer}"
    );
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().take(16) {
                places(text, item, spans, &format!("{pointer}/{index}"), true);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter().take(16) {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(text, field, spans, &format!("{pointer}/{name}"), true);
            }
        }
        _ => {}
    }
}

/// A message is short and has no control characters.
fn told(message: &str, most: usize) {
    assert!(
        message.len() <= most,
        "{} bytes: {message:?}",
        message.len()
    );
    assert!(
        !message.chars().any(|c| Shown(c).is_escaped()),
        "{message:?}"
    );
}

/// The rules: objects, faults, their places, and the problems of each object are bounded by the length of the file.
pub fn manifest(data: &[u8]) {
    let manifest = Manifest::read("a.yaml", data);
    let text = &manifest.source.text;
    for fault in &manifest.faults {
        within(text, &fault.span);
        told(&fault.message, 512);
        let place = manifest.source.position(fault.span.start);
        assert!(place.line >= 1 && place.line <= text.len() + 1 && place.column <= text.len() + 1);
    }
    let mut length = 0;
    for object in &manifest.objects {
        length += object.value.to_string().len();
        for problem in admit::problems(object.kind, &object.value, &Settings::default()) {
            told(&problem.message, 4096);
            within(text, &object.place(&problem.path, &problem.message));
        }
    }
    let is_aliased = data.contains(&b'*');
    assert!(
        length
            <= if is_aliased {
                MOST * 6
            } else {
                256 + 64 * data.len()
            },
        "{length}"
    );
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn the_corpus_of_texts_reads_back_as_rendered() {
        replay("yaml", super::yaml);
    }

    #[test]
    fn the_corpus_of_manifests_is_read_within_bounds() {
        replay("manifest", super::manifest);
    }
}
