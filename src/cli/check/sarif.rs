//! `--output sarif`: SARIF 2.1.0, which code hosts read. Each reason is a rule. A file that is not checked, since it is
//! the patch of a kustomization, is a note of the rule `SkippedPatch`.
//!
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Value, json};

use super::findings::{Finding, Report};
use super::json::level;
use crate::directory::Reason;
use crate::directory::problem::suggest::shown;
use crate::source::kustomization::Patch;
use crate::source::manifest::SourceText;

pub(super) fn render(report: &Report) -> Value {
    let reasons: BTreeSet<Reason> = report
        .findings
        .iter()
        .map(|finding| finding.reason)
        .collect();
    let reasons: Vec<Reason> = reasons.into_iter().collect();
    let skipped: Vec<Value> = report
        .listed_skipped()
        .map(|(patch, message)| skipped(patch, &message, reasons.len()))
        .collect();
    let rules: Vec<Value> = reasons
        .iter()
        .map(|reason| reason.as_str())
        .chain((!skipped.is_empty()).then_some(SKIPPED))
        .map(|rule| json!({"id": rule, "name": rule}))
        .collect();
    let results = report.findings.iter();
    let results = results.map(|finding| result(finding, &reasons));
    let results: Vec<Value> = results.chain(skipped).collect();
    let mut log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "symbolon",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    if report.untold() > 0 {
        log["runs"][0]["properties"] = json!({"untold": report.untold()});
    }
    log
}

/// The rule of files that are not checked.
const SKIPPED: &str = "SkippedPatch";

fn skipped(patch: &Patch, message: &str, rule: usize) -> Value {
    json!({
        "ruleId": SKIPPED,
        "ruleIndex": rule,
        "level": "note",
        "message": {"text": plain(message)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&patch.file.display().to_string())},
        }}],
    })
}

fn result(finding: &Finding, reasons: &[Reason]) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    };
    let mut result = json!({
        "ruleId": finding.reason.as_str(),
        "ruleIndex": reasons.iter().position(|reason| *reason == finding.reason),
        "level": level(finding.level),
        "message": {"text": plain(&text)},
        "locations": [location(&finding.source, &finding.span)],
    });
    if let Some((kind, key, _)) = &finding.object {
        let name = format!("{kind} {}/{}", shown(&key.namespace), shown(&key.name));
        result["locations"][0]["logicalLocations"] =
            json!([{"fullyQualifiedName": name, "kind": "resource"}]);
    }
    let first = finding.related.as_ref();
    let first = first.map(|(span, what)| (&finding.source, span, &**what));
    let cause = finding.cause.as_ref();
    let cause = cause.map(|it| (&it.source, &it.span, "the cause"));
    let related: Vec<Value> = first
        .into_iter()
        .chain(cause)
        .map(|(source, span, what)| {
            let mut related = location(source, span);
            related["message"] = json!({"text": plain(what)});
            related
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = related.into();
    }
    result
}

fn location(source: &SourceText, span: &Range<usize>) -> Value {
    let (start, end) = (
        source.position(span.start),
        source.position(span.end.max(span.start)),
    );
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&source.name)},
        "region": {"startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column},
    }})
}

/// Returns a text as plain text of a message (SARIF section 3.11.6): otherwise `[text](address)`, which a manifest may
/// contain, would be a link.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '[' | ']' | '\\') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

/// Returns a path as a URI reference (RFC 3986). A relative path stays relative.
fn uri(path: &str) -> String {
    if path == "<stdin>" {
        return "stdin".to_owned();
    }
    let name = path.trim_start_matches("./");
    let mut uri = String::new();
    if name.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_manifest_becomes_a_link() {
        let escaped = plain(r"scopes[0]: [see](https://evil.example) \[x](y)");
        let expected = r"scopes\[0\]: \[see\](https://evil.example) \\\[x\](y)";
        assert_eq!(escaped, expected);
    }

    #[test]
    fn paths_are_written_as_uris() {
        assert_eq!(uri("./a b/c#.yaml"), "a%20b/c%23.yaml");
        assert_eq!(uri("/tmp/é.yaml"), "file:///tmp/%C3%A9.yaml");
        assert_eq!(uri("<stdin>"), "stdin");
        // The URI names this file and no other.
        assert_eq!(uri(r"..\..\a.yaml"), "..%5C..%5Ca.yaml");
        assert_eq!(uri("<a>.yaml"), "%3Ca%3E.yaml");
    }
}
