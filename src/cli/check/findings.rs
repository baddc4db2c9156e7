//! The findings of a check, each with its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::manifests::{World, how_to_check};
use super::follow::{Causes, RootFault};
use super::near::Near;
use super::references::{identity_of, value_at};
use crate::directory::admit::{self, transition};
use crate::directory::problem::suggest::{one_line, shown};
use crate::directory::{ObjectKey, Problem, Reason, Severity, schema};
use crate::resources::Kind;
use crate::source::kustomization::Patch;
use crate::source::manifest::{Manifest, ManifestFault, ManifestObject, Position, SourceText};
use crate::source::yaml::surprise;

/// All findings, in the order of files and lines.
pub(super) struct Report {
    /// The listed findings. [`most_told`] limits them per file, and `allowance` in total.
    pub(super) findings: Vec<Finding>,
    /// The number of bytes that may still be written.
    allowance: usize,
    /// The number of all errors, whether listed or not.
    errors: usize,
    /// The number of all warnings, whether listed or not.
    warnings: usize,
    /// The number of all notes, whether listed or not.
    pub(super) notes: usize,
    /// The number of checked objects.
    pub(super) objects: usize,
    /// The number of checked files.
    pub(super) files: usize,
    /// The patches of kustomizations, which are not checked.
    pub(super) skipped: Vec<Patch>,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Error,
    Warning,
    /// The finding follows from another one.
    Note,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

/// One problem at one place.
pub(super) struct Finding {
    pub(super) source: Arc<SourceText>,
    pub(super) span: Range<usize>,
    pub(super) level: Level,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) related: Option<(Range<usize>, String)>,
    /// What the finding follows from.
    pub(super) cause: Option<RootFault>,
    /// The object and the JSON Pointer in it; `None` for a fault of the text.
    pub(super) object: Option<(Kind, ObjectKey, String)>,
}

impl Report {
    pub(super) const fn count(&self, severity: Severity) -> usize {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
        }
    }

    /// Returns the number of findings that are counted and not listed.
    pub(super) fn untold(&self) -> usize {
        (self.errors + self.warnings + self.notes).saturating_sub(self.findings.len())
    }

    /// Returns the skipped files that a report lists, each with its message.
    pub(super) fn listed_skipped(&self) -> impl Iterator<Item = (&Patch, String)> {
        let listed = self.skipped.iter().take(MAX_SKIPPED);
        listed.map(|patch| {
            let why = "not checked, since a kustomization names this file as a patch";
            let how = how_to_check(&patch.kustomization);
            (patch, format!("{why}: {how}"))
        })
    }

    fn take(&mut self, told: Told) {
        for finding in told.findings {
            let left = self.allowance.checked_sub(finding.length());
            self.allowance = left.unwrap_or_default();
            if left.is_none() {
                break;
            }
            self.findings.push(finding);
        }
        self.errors += told.errors;
        self.warnings += told.warnings;
        self.notes += told.notes;
    }

    /// Returns for example `checked 12 objects in 5 files: 1 error, 2 warnings, 3 notes`.
    pub(super) fn summary(&self) -> String {
        let number = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let notes = match self.notes {
            0 => String::new(),
            count => format!(", {}", number(count, "note")),
        };
        let skipped = match self.skipped.len() {
            0 => String::new(),
            1 => "; skipped 1 patch".to_owned(),
            count => format!("; skipped {count} patches"),
        };
        format!(
            "checked {} in {}: {}, {}{notes}{skipped}",
            number(self.objects, "object"),
            number(self.files, "file"),
            number(self.count(Severity::Error), "error"),
            number(self.count(Severity::Warning), "warning"),
        )
    }
}

/// The maximum number of listed files that are skipped.
const MAX_SKIPPED: usize = 200;

/// Returns the maximum number of listed findings of a file. It grows with the length of the file, so that the output
/// stays in proportion to the input.
const fn most_told(source: &SourceText) -> usize {
    200 + source.text.len() / 256
}

/// Returns the maximum length of a report in bytes, for manifests with `read` bytes in total. It bounds the report of
/// many short files with long paths.
const fn allowance(read: usize) -> usize {
    (1 << 20) + 4 * read
}

/// The longest message, in characters, and the longest name and path in an object.
const LONGEST: (usize, usize) = (1000, 256);

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The findings of one file, and the number of all of them.
struct Told {
    most: usize,
    findings: Vec<Finding>,
    errors: usize,
    warnings: usize,
    notes: usize,
}

impl Told {
    const fn of(source: &SourceText) -> Self {
        Self {
            most: most_told(source),
            findings: Vec::new(),
            errors: 0,
            warnings: 0,
            notes: 0,
        }
    }

    fn add(&mut self, level: Level, finding: impl FnOnce() -> Finding) {
        match level {
            Level::Error => self.errors += 1,
            Level::Warning => self.warnings += 1,
            Level::Note => self.notes += 1,
        }
        if self.findings.len() < self.most {
            self.findings.push(finding().bounded());
        }
    }
}

impl Finding {
    /// Returns the finding with texts of a bounded length.
    fn bounded(self) -> Self {
        let (words, name) = LONGEST;
        let short = |text: &Arc<str>| cut(text.to_string(), name).into();
        Self {
            message: cut(self.message, words),
            help: self.help.map(|help| cut(help, words)),
            related: self.related.map(|(span, what)| (span, cut(what, words))),
            object: self.object.map(|(kind, key, path)| {
                let key = ObjectKey {
                    namespace: short(&key.namespace),
                    name: short(&key.name),
                };
                (kind, key, cut(path, 2 * name))
            }),
            ..self
        }
    }

    /// Returns the approximate number of bytes that it takes in a report.
    fn length(&self) -> usize {
        let words = self.message.len() + self.help.as_ref().map_or(0, String::len);
        let related = self
            .related
            .as_ref()
            .map_or(0, |(_, what)| what.len() + self.source.name.len());
        let cause = self.cause.as_ref().map_or(0, |it| it.source.name.len());
        let object = self.object.as_ref().map_or(0, |(_, key, path)| {
            key.namespace.len() + key.name.len() + path.len()
        });
        256 + self.source.name.len() + words + related + cause + object
    }

    pub(super) fn start(&self) -> Position {
        self.source.position(self.span.start)
    }

    /// Returns the position after the last character.
    pub(super) fn end(&self) -> Position {
        self.source.position(self.span.end.max(self.span.start))
    }

    fn of_fault(source: &Arc<SourceText>, fault: &ManifestFault) -> Self {
        let ManifestFault {
            severity,
            reason,
            span,
            message,
            related,
        } = fault.clone();
        Self {
            source: source.clone(),
            span,
            level: severity.into(),
            reason,
            message,
            help: None,
            related,
            cause: None,
            object: None,
        }
    }
}

/// Judges the manifests in a world that includes them. A fault of a manifest in `context` becomes a warning.
pub(super) fn judge(
    world: &World,
    context: &[Manifest],
    judged: &[Manifest],
    now: Timestamp,
) -> Report {
    let read = context.iter().chain(judged);
    let read = read.map(|manifest| manifest.source.text.len()).sum();
    let mut report = Report {
        findings: Vec::new(),
        allowance: allowance(read),
        errors: 0,
        warnings: 0,
        notes: 0,
        objects: judged.iter().map(|manifest| manifest.objects.len()).sum(),
        files: judged.len(),
        skipped: Vec::new(),
    };
    for manifest in context {
        let mut here = Told::of(&manifest.source);
        for fault in &manifest.faults {
            here.add(Level::Warning, || Finding {
                level: Level::Warning,
                ..Finding::of_fault(&manifest.source, fault)
            });
        }
        report.take(here);
    }
    let near = Near::default();
    let judge = |object: &ManifestObject, now| problems(world, object, now);
    let causes = Causes::find(world, &near, context, judged, judge, now);
    let mut first: BTreeMap<(Kind, ObjectKey), String> = BTreeMap::new();
    for manifest in judged {
        let mut here = Told::of(&manifest.source);
        for fault in &manifest.faults {
            here.add(fault.severity.into(), || {
                Finding::of_fault(&manifest.source, fault)
            });
        }
        for object in &manifest.objects {
            let named = !object.key.name.is_empty();
            let problems = match first.get(&(object.kind, object.key.clone())) {
                Some(place) if named => vec![twice(object, place)],
                _ => problems(world, object, now),
            };
            for problem in problems {
                if causes.is_reported(object, &problem) {
                    continue;
                }
                let follows = causes.of(world, &near, object, &problem);
                let level = match &follows {
                    Some(follows) if follows.is_note() => Level::Note,
                    _ => problem.severity.into(),
                };
                here.add(level, || {
                    let found = place(world, &near, &manifest.source, object, problem);
                    let Some(follows) = follows else {
                        return found;
                    };
                    let (message, help) = follows.words(found.message);
                    Finding {
                        level,
                        message,
                        help,
                        cause: Some(follows.cause),
                        ..found
                    }
                });
            }
            let Position { line, .. } = manifest
                .source
                .position(object.place("/metadata/name", "").start);
            first
                .entry((object.kind, object.key.clone()))
                .or_insert_with(|| format!("{}:{line}", manifest.source.name));
        }
        here.findings
            .sort_by_key(|finding| (finding.span.start, finding.level));
        report.take(here);
    }
    report
}

fn problems(world: &World, object: &ManifestObject, now: Timestamp) -> Vec<Problem> {
    let mut problems = admit::problems(object.kind, &object.value, world.directory.settings());
    if problems.is_empty() {
        problems = world.directory.diagnose(object.kind, &object.key, now);
    }
    if let Some(before) = world.before.get(&(object.kind, object.key.clone())) {
        problems.extend(transition::problems(object.kind, before, &object.value));
    }
    problems.extend(schema::ignored(&object.value));
    // A field with an error gets no warnings: they say what could be safer, and the field must change anyway.
    let wrong: Vec<String> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.path.clone())
        .collect();
    problems.retain(|it| it.severity == Severity::Error || !wrong.contains(&it.path));
    problems
}

fn twice(object: &ManifestObject, first: &str) -> Problem {
    let message = format!(
        "{} {} is already defined in {}: remove one",
        object.kind,
        object.key,
        one_line(first)
    );
    Problem::error(Reason::ValueConflict, "/metadata/name", message)
}

fn place(
    world: &World,
    near: &Near,
    source: &Arc<SourceText>,
    object: &ManifestObject,
    problem: Problem,
) -> Finding {
    let span = object.place(&problem.path, &problem.message);
    let help = surprising(source, &span)
        .or_else(|| near.help(world, object, &problem))
        .or_else(|| unseen_labels(world, object, &problem));
    let Problem {
        severity,
        reason,
        path,
        message,
    } = problem;
    Finding {
        source: source.clone(),
        span,
        level: severity.into(),
        reason,
        message,
        help,
        related: None,
        cause: None,
        object: Some((object.kind, object.key.clone(), path)),
    }
}

/// Returns a hint if YAML reads this value in an unexpected way, such as `on` as true.
fn surprising(source: &SourceText, span: &Range<usize>) -> Option<String> {
    surprise(source.text.get(span.clone())?)
}

/// Returns a hint if a selector needs the labels of the namespace and they are unknown.
fn unseen_labels(world: &World, object: &ManifestObject, problem: &Problem) -> Option<String> {
    let namespace = &object.key.namespace;
    if world.directory.labels(namespace).is_some() {
        return None;
    }
    let selects = match problem.reason {
        Reason::NamespaceNotAllowed => {
            let identity = world.directory.identity(&identity_of(world, object)?)?;
            let record = identity.record()?;
            let rule = match object.kind {
                Kind::Scope => &record.scopes,
                _ => &record.clients,
            };
            rule.selector.is_some()
        }
        Reason::ScopeNotGranted => {
            let value = value_at(object, problem)?;
            let mut scopes = world.directory.scopes().filter_map(|it| it.record());
            let allowed = scopes.find(|it| *it.value == *value).map(|it| &it.allowed);
            allowed.is_some_and(|rule| rule.selector.is_some())
        }
        _ => false,
    };
    selects.then(|| {
        format!(
            "labels of Namespace {} are unknown: add its manifest (--applied) to match selectors",
            shown(namespace)
        )
    })
}
