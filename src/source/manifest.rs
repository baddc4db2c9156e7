//! One manifest file: its objects of our kinds, the labels of its namespaces, and its faults.
//!
//! Objects of other kinds are ignored. Credentials are ignored with a warning, since only Symbolon creates them.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::lost::Lost;
use super::yaml::{self, Document, Spans};
use crate::directory::problem::suggest::{nearest, shown};
use crate::directory::{Labels, ObjectKey, Reason, Severity};
use crate::resources::{API_VERSION, GROUP, Kind};

/// The namespace of objects that name none, as in kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A text and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// A path, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
    /// Positions at about every [`STRIDE`] bytes, the first at the beginning, so that finding a position does not read
    /// the whole text.
    marks: Vec<(usize, Position)>,
}

/// The number of bytes between two marks.
const STRIDE: usize = 1024;

/// A position for people: counted from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl SourceText {
    /// Returns the text with this name.
    pub fn new(name: String, text: String) -> Self {
        let mut at = Position { line: 1, column: 1 };
        let mut marks = vec![(0, at)];
        let mut next = STRIDE;
        for (offset, character) in text.char_indices() {
            if offset >= next {
                marks.push((offset, at));
                next = offset + STRIDE;
            }
            at = at.after(character);
        }
        Self { name, text, marks }
    }

    /// Returns the position of a byte offset. An offset that is not a character boundary stands for the end.
    pub fn position(&self, offset: usize) -> Position {
        let end = if self.text.is_char_boundary(offset) {
            offset
        } else {
            self.text.len()
        };
        let known = self.marks.partition_point(|(mark, _)| *mark <= end);
        let (mark, at) = self.marks[known.saturating_sub(1)];
        self.text[mark..end].chars().fold(at, Position::after)
    }

    /// Returns the start and the text of the line that contains a byte, without the line end.
    pub fn line_at(&self, offset: usize) -> (usize, &str) {
        let offset = offset.min(self.text.len());
        let bytes = self.text.as_bytes();
        let start = bytes[..offset].iter().rposition(|byte| *byte == b'\n');
        let start = start.map_or(0, |before| before + 1);
        let end = bytes[offset..].iter().position(|byte| *byte == b'\n');
        let end = end.map_or(bytes.len(), |more| offset + more);
        (start, &self.text[start..end])
    }
}

impl Position {
    /// Returns the position after a character at this position.
    const fn after(self, character: char) -> Self {
        match character {
            '\n' => Self {
                line: self.line + 1,
                column: 1,
            },
            _ => Self {
                line: self.line,
                column: self.column + 1,
            },
        }
    }
}

/// The contents of one file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file.
    pub source: Arc<SourceText>,
    /// The objects of our kinds, in the order of the file.
    pub objects: Vec<ManifestObject>,
    /// The Namespaces and their labels.
    pub namespaces: Vec<(Arc<str>, Labels)>,
    /// The parts that cannot be read or are not accepted.
    pub faults: Vec<ManifestFault>,
    /// The objects in those parts.
    pub lost: Vec<Lost>,
}

/// An object of one of our kinds.
#[derive(Clone, Debug)]
pub struct ManifestObject {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, with the default filled in, and its name; the name is empty if it has none.
    pub key: ObjectKey,
    /// The object as written, with the namespace filled in and without the fields that an API server assigns.
    pub value: Value,
    /// Its status, if the file comes from a cluster. It is shown to people; no rule reads it.
    pub status: Value,
    /// The places of its parts in the file.
    pub spans: Spans,
}

/// A fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFault {
    /// Its severity. A fault in a document of another tool is a warning.
    pub severity: Severity,
    /// The rule that the file breaks.
    pub reason: Reason,
    /// Its place, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
    /// A related place and its description.
    pub related: Option<(Range<usize>, String)>,
}

impl Manifest {
    /// Reads the bytes of a file.
    pub fn read(name: &str, bytes: &[u8]) -> Self {
        let (text, parsed) = yaml::parse_bytes(bytes);
        let mut manifest = Self::empty(name, text);
        manifest
            .faults
            .extend(parsed.faults.into_iter().map(ManifestFault::of_text));
        manifest.guess_lost();
        for document in parsed.documents {
            manifest.take(document);
        }
        manifest
    }

    /// Returns the manifest of a file that is too long.
    pub fn too_long(name: &str) -> Self {
        let mut manifest = Self::empty(name, String::new());
        manifest
            .faults
            .push(ManifestFault::of_text(yaml::too_long()));
        manifest
    }

    /// Returns the manifest of a file that cannot be read.
    pub fn unreadable(name: &str, why: &str) -> Self {
        let mut manifest = Self::empty(name, String::new());
        manifest.faults.push(ManifestFault::new(
            Severity::Error,
            Reason::Invalid,
            0..0,
            format!("cannot be read: {why}"),
        ));
        manifest
    }

    fn empty(name: &str, text: String) -> Self {
        Self {
            source: Arc::new(SourceText::new(name.to_owned(), text)),
            objects: vec![],
            namespaces: vec![],
            faults: vec![],
            lost: vec![],
        }
    }

    /// Guesses the object of each document with a fault of its text.
    fn guess_lost(&mut self) {
        let text = &self.source.text;
        let mut searched = 0;
        for (index, fault) in self.faults.iter().enumerate() {
            let Some(before) = text.get(searched..fault.span.start) else {
                continue;
            };
            let begin = before
                .rfind("\n---")
                .map_or(searched, |at| searched + at + 1);
            let rest = &text[fault.span.start..];
            let end = rest
                .find("\n---")
                .map_or(text.len(), |at| fault.span.start + at + 1);
            self.lost
                .push(Lost::of_text(&text[begin..end], DEFAULT_NAMESPACE, index));
            searched = end;
        }
    }

    /// Returns whether the file has no error.
    pub fn is_whole(&self) -> bool {
        self.faults
            .iter()
            .all(|fault| fault.severity == Severity::Warning)
    }

    fn take(&mut self, document: Document) {
        let Document { value, spans } = document;
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version == "v1" && kind == "Namespace" {
            self.namespaces.extend(namespace(&value));
            return;
        }
        let group = version.split('/').next().unwrap_or_default();
        match Kind::from_name(kind) {
            _ if group != GROUP => {
                if let Some(fault) = misspelt_group(version, kind, &spans) {
                    self.lose(kind, &value, fault);
                }
            }
            None => self.lose(kind, &value, unknown_kind(kind, &spans)),
            Some(Kind::Credential) => self.faults.push(ManifestFault::new(
                Severity::Warning,
                Reason::Invalid,
                spans.find("/kind").value,
                "only Symbolon creates Credentials: this one is ignored, remove it",
            )),
            Some(kind) => self.objects.push(ManifestObject::new(kind, value, spans)),
        }
    }
}

impl Manifest {
    fn lose(&mut self, kind: &str, value: &Value, fault: ManifestFault) {
        let text = |field: &str| value["metadata"][field].as_str();
        let key = ObjectKey::new(
            text("namespace").unwrap_or(DEFAULT_NAMESPACE),
            text("name").unwrap_or_default(),
        );
        let mut lost = Lost::new(kind, key, self.faults.len());
        lost.value = value["spec"]["value"].as_str().map(str::to_owned);
        self.lost.push(lost);
        self.faults.push(fault);
    }
}

impl ManifestObject {
    fn new(kind: Kind, mut value: Value, spans: Spans) -> Self {
        let status = value
            .as_object_mut()
            .and_then(|object| object.remove("status"))
            .unwrap_or_default();
        let mut key = ObjectKey::new(DEFAULT_NAMESPACE, "");
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for given in GIVEN_BY_THE_SERVER {
                metadata.remove(given);
            }
            metadata
                .entry("namespace")
                .or_insert_with(|| DEFAULT_NAMESPACE.into());
            let text = |field: &str| {
                metadata
                    .get(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            key = ObjectKey::new(text("namespace"), text("name"));
        }
        Self {
            kind,
            key,
            value,
            status,
            spans,
        }
    }
}

impl ManifestObject {
    /// Returns the best place in the file to show a problem at a JSON Pointer: the value if it is a scalar, else its
    /// key, else the key of the enclosing object.
    pub fn place(&self, pointer: &str, message: &str) -> Range<usize> {
        let found = self.spans.find(pointer);
        let last = pointer
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/")
            .replace("~0", "~");
        let about_key = found.exact && message.contains(&format!("`{}`", shown(&last)));
        let filled = found.scalar && !found.value.is_empty();
        match found.key {
            Some(key) if about_key || !(found.exact && filled) => key,
            None if !found.scalar => self.head(found.value),
            _ => found.value,
        }
    }

    /// Returns a short place for a whole object: the value of its `kind`.
    fn head(&self, whole: Range<usize>) -> Range<usize> {
        let kind = self.spans.find("/kind");
        if kind.exact && whole == self.spans.range() {
            kind.value
        } else {
            whole
        }
    }
}

/// The fields of `kubectl get -o yaml` that an API server assigns.
const GIVEN_BY_THE_SERVER: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

impl ManifestFault {
    fn new(
        severity: Severity,
        reason: Reason,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            reason,
            span,
            message: message.into(),
            related: None,
        }
    }

    fn of_text(fault: yaml::DocumentFault) -> Self {
        let severity = if fault.ours {
            Severity::Error
        } else {
            Severity::Warning
        };
        Self {
            severity,
            reason: Reason::Invalid,
            span: fault.span,
            message: fault.message,
            related: fault.related,
        }
    }
}

/// Returns the fault of an object of our kinds whose `apiVersion` is absent or a misspelling of ours. Other tools have
/// kinds with the same names.
fn misspelt_group(version: &str, kind: &str, spans: &Spans) -> Option<ManifestFault> {
    Kind::from_name(kind)?;
    let group = version.split('/').next().unwrap_or_default();
    let is_short = version == group && (version.starts_with('v') || version.contains("symbolon"));
    let message = if version.is_empty() {
        format!("apiVersion is missing: write `apiVersion: {API_VERSION}`")
    } else if is_short {
        format!(
            "`{}` is not an apiVersion of Symbolon: write `{API_VERSION}`",
            shown(version)
        )
    } else {
        nearest(group, [GROUP])?;
        format!(
            "`{}` is not the API group of Symbolon: did you mean `{API_VERSION}`?",
            shown(group)
        )
    };
    let found = spans.find("/apiVersion");
    let span = if found.exact {
        found.value
    } else {
        spans.find("/kind").value
    };
    Some(ManifestFault::new(
        Severity::Error,
        Reason::UnsupportedValue,
        span,
        message,
    ))
}

/// The kind of a later release.
const LATER: &str = "IdentityProvider";

fn unknown_kind(kind: &str, spans: &Spans) -> ManifestFault {
    let known = Kind::ALL.map(Kind::as_str);
    let choices = known[..known.len() - 1].join(", ");
    let found = spans.find("/kind");
    let (span, message) = if kind.is_empty() {
        let span = if found.exact {
            found.key.unwrap_or(found.value)
        } else {
            spans.find("/apiVersion").value
        };
        (span, format!("kind is missing: write one of {choices}"))
    } else if kind == LATER {
        let message = format!("the kind {kind} is not available yet: a later release will have it");
        (found.value, message)
    } else {
        let hint = match nearest(kind, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write one of {choices}"),
        };
        let message = format!("`{}` is not a kind of {GROUP}: {hint}", shown(kind));
        (found.value, message)
    };
    ManifestFault::new(Severity::Error, Reason::UnsupportedValue, span, message)
}

/// Returns the name and labels of a Namespace, with the label that every API server adds.
fn namespace(value: &Value) -> Option<(Arc<str>, Labels)> {
    let metadata = value.get("metadata")?;
    let name: Arc<str> = metadata.get("name")?.as_str()?.into();
    let labels = metadata
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter);
    let mut labels: Labels = labels
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.insert("kubernetes.io/metadata.name".into(), name.clone());
    Some((name, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let manifest = Manifest::read("a.yaml", text.as_bytes());
        let fault = |fault: &ManifestFault| {
            let Position { line, column } = manifest.source.position(fault.span.start);
            format!("{:?} {line}:{column} {}", fault.severity, fault.message)
        };
        manifest.faults.iter().map(fault).collect()
    }

    #[test]
    fn positions_in_a_long_text_are_correct() {
        let text = "é: 1\n".repeat(STRIDE) + &"ü".repeat(3 * STRIDE) + "\nlast";
        let source = SourceText::new("a.yaml".into(), text.clone());
        let counted = |offset: usize| {
            let before = text.get(..offset).unwrap_or(&text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            Position { line, column }
        };
        for offset in (0..text.len() + 10).step_by(7) {
            assert_eq!(source.position(offset), counted(offset), "{offset}");
        }
        assert_eq!(source.line_at(text.len()).1, "last");
        assert_eq!(source.line_at(7), (6, "é: 1"));
    }

    #[test]
    fn objects_of_our_kinds_are_read_and_others_ignored() {
        let text = "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a, uid: b}\nstatus: {}\n---\njust text\n";
        let manifest = Manifest::read("a.yaml", text.as_bytes());
        assert!(manifest.is_whole());
        let [object] = &manifest.objects[..] else {
            panic!()
        };
        assert_eq!(
            (object.kind, object.key.to_string()),
            (Kind::Scope, "default/a".into())
        );
        assert_eq!(
            object.value["metadata"],
            serde_json::json!({"name": "a", "namespace": "default"})
        );
        assert_eq!(object.value.get("status"), None);
    }

    #[test]
    fn the_labels_of_namespaces_are_read() {
        let manifest = Manifest::read(
            "a.yaml",
            b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {team: blue}}",
        );
        let [(name, labels)] = &manifest.namespaces[..] else {
            panic!()
        };
        assert_eq!(
            (
                &**name,
                &*labels["team"],
                &*labels["kubernetes.io/metadata.name"]
            ),
            ("a", "blue", "a")
        );
    }

    #[test]
    fn misspelt_kinds_and_groups_are_faults() {
        for (text, expected) in [
            (
                "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthCLient",
                "Error 2:7 `OAuthCLient` is not a kind of symbolon.dev: did you mean `OAuthClient`?",
            ),
            (
                "apiVersion: symbolon.dev/v1alpha1\nkind: IdentityProvider",
                "Error 2:7 the kind IdentityProvider is not available yet: a later release will have it",
            ),
            (
                "apiVersion: symbolon.io/v1alpha1\nkind: Scope",
                "Error 1:13 `symbolon.io` is not the API group of Symbolon: did you mean `symbolon.dev/v1alpha1`?",
            ),
            (
                "apiVersion: symbolon.dev/v1alpha1\nkind: Credential",
                "Warning 2:7 only Symbolon creates Credentials: this one is ignored, remove it",
            ),
            (
                "apiVersion: symbolon.dev/v1alpha1\nspec: [",
                "Error 2:7 this '[' is not closed: write ']' at its end",
            ),
            (
                "é: [",
                "Warning 1:4 this '[' is not closed: write ']' at its end",
            ),
        ] {
            assert_eq!(told(text), [expected], "{text}");
        }
        assert_eq!(told("apiVersion: other.dev/v1\nkind: Scope"), [""; 0]);
    }
}
