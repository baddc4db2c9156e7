//! `--output json`: one object with `summary` and `problems`.
//!
//! - `summary {objects, files, errors, warnings, notes, untold?, skipped?}`: `untold` is the number of problems that are
//!   not listed, `skipped` the number of all files that are not checked, since they are patches of kustomizations.
//! - `skipped[]? {file, kustomization, message}`: the first of these files, each with the folder of its kustomization.
//! - `problems[] {file, line, column, endLine, endColumn, severity (error|warning|note), reason, message, help?, kind?,
//!   namespace?, name?, path?, cause?}`: lines and columns count from one, columns in characters; `path` is a JSON
//!   Pointer into the object. `cause {file, line, column}` is the place of the problem that this one follows from;
//!   every note has one.

use serde_json::{Map, Value, json};

use super::findings::{Finding, Level, Report};
use crate::directory::Severity;

pub(super) fn render(report: &Report) -> Value {
    let problems: Vec<Value> = report.findings.iter().map(problem).collect();
    let mut summary = json!({
        "objects": report.objects,
        "files": report.files,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.notes,
    });
    if report.untold() > 0 {
        summary["untold"] = report.untold().into();
    }
    let mut document = json!({ "summary": summary, "problems": problems });
    if !report.skipped.is_empty() {
        let skipped = report.listed_skipped().map(|(patch, message)| {
            json!({
                "file": patch.file.display().to_string(),
                "kustomization": patch.kustomization.display().to_string(),
                "message": message,
            })
        });
        document["skipped"] = skipped.collect();
        document["summary"]["skipped"] = report.skipped.len().into();
    }
    document
}

fn problem(finding: &Finding) -> Value {
    let (start, end) = (finding.start(), finding.end());
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("file", finding.source.name.clone().into());
    set("line", start.line.into());
    set("column", start.column.into());
    set("endLine", end.line.into());
    set("endColumn", end.column.into());
    set("severity", level(finding.level).into());
    set("reason", finding.reason.as_str().into());
    set("message", finding.message.clone().into());
    if let Some(help) = &finding.help {
        set("help", help.clone().into());
    }
    if let Some((kind, key, path)) = &finding.object {
        set("kind", kind.as_str().into());
        set("namespace", key.namespace.to_string().into());
        set("name", key.name.to_string().into());
        set("path", path.clone().into());
    }
    if let Some(cause) = &finding.cause {
        let at = cause.source.position(cause.span.start);
        let place = json!({"file": cause.source.name, "line": at.line, "column": at.column});
        set("cause", place);
    }
    Value::Object(fields)
}

pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}
