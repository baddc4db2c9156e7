//! `--format text`: each problem with the lines that it is about.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};

use super::findings::{Finding, Report};
use crate::directory::suggest::Shown;
use crate::directory::{Severity, suggest::shown};

/// Problems that are drawn: each goes through its whole file, and nobody reads more.
const MOST_DRAWN: usize = 200;

/// How the terminal is.
pub(super) struct Look {
    colour: bool,
    width: usize,
}

impl Look {
    /// Colours for a terminal whose user has not set `NO_COLOR`.
    pub(super) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
            width: 100,
        }
    }
}

pub(super) fn render(report: &Report, look: &Look) -> Result<String, std::fmt::Error> {
    let theme = if look.colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(look.width)
        .with_context_lines(1)
        .with_links(false);
    let mut out = String::new();
    for finding in report.findings.iter().take(MOST_DRAWN) {
        handler.render_report(&mut out, &Excerpt::of(finding))?;
        out.push('\n');
    }
    let more = report.findings.len().saturating_sub(MOST_DRAWN);
    if more > 0 {
        writeln!(
            out,
            "and {more} more, not shown here: --format json has all\n"
        )?;
    }
    out.push_str(&report.summary());
    out.push('\n');
    Ok(out)
}

/// A finding as miette draws it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Excerpt {
    message: String,
    code: &'static str,
    severity: miette::Severity,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    source_code: Option<NamedSource<String>>,
}

impl Excerpt {
    fn of(finding: &Finding) -> Self {
        let text = &finding.source.text;
        let whose = finding
            .object
            .as_ref()
            .map(|(kind, key, _)| format!("{kind} {}/{}", key.namespace, shown(&key.name)));
        let mut labels = vec![LabeledSpan::new_primary_with_span(
            whose,
            moved(text, &finding.span),
        )];
        labels.extend(
            finding.related.iter().map(|(span, what)| {
                LabeledSpan::new_with_span(Some(what.clone()), moved(text, span))
            }),
        );
        // Without a text there is no excerpt: its name goes into the message.
        let name = shown_path(&finding.source.name);
        let (message, source_code) = if text.is_empty() {
            labels.clear();
            (format!("{name}: {}", finding.message), None)
        } else {
            (
                finding.message.clone(),
                Some(NamedSource::new(name, harmless(text))),
            )
        };
        Self {
            message,
            code: finding.reason.as_str(),
            severity: match finding.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            help: finding.help.clone(),
            labels,
            source_code,
        }
    }
}

impl Diagnostic for Excerpt {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source_code
            .as_ref()
            .map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

fn is_harmful(character: char) -> bool {
    !matches!(character, '\n' | '\t' | '\r') && Shown(character).is_escaped()
}

/// A text whose controls and direction marks are written out, so that an excerpt shows what is there.
fn harmless(text: &str) -> String {
    if !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if is_harmful(c) {
                Shown(c).to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// Where a range of a text is in [`harmless`].
fn moved(text: &str, range: &Range<usize>) -> Range<usize> {
    let place = |offset: usize| {
        text.get(..offset)
            .map_or(0, |before| harmless(before).len())
    };
    place(range.start)..place(range.end).max(place(range.start))
}

fn shown_path(path: &str) -> String {
    path.chars().map(|c| Shown(c).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_change_the_display_are_written_out_and_places_follow() {
        let text = "a: \u{202e}b\nc: d";
        assert_eq!(harmless(text), "a: \\u{202e}b\nc: d");
        assert_eq!(&harmless(text)[moved(text, &(11..12))], "d");
        assert_eq!(harmless("a\tb\r\n"), "a\tb\r\n");
    }
}
