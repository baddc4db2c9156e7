//! `--output text`: each problem with an excerpt of its file.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::super::terminal;
use super::excerpt::Excerpt;
use super::findings::{Finding, Report};
use crate::directory::Severity;
use crate::directory::suggest::{one_line, shown};
use crate::source::manifest::Position;
use crate::source::yaml::has_secret;

/// The maximum number of findings that are drawn.
const MAX_DRAWN: usize = 200;

/// The properties of the terminal.
pub(super) struct Look {
    colour: bool,
    width: usize,
}

impl Look {
    /// Returns the properties of standard output. Only a terminal gets colours, unless `NO_COLOR` is set.
    pub(super) fn of_stdout() -> Self {
        Self {
            colour: terminal::wants_colours(std::io::stdout().is_terminal()),
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
    for finding in report.findings.iter().take(MAX_DRAWN) {
        handler.render_report(&mut out, &Drawn::of(finding))?;
        out.push('\n');
    }
    let drawn = report.findings.len().min(MAX_DRAWN);
    let more = report.findings.len() + report.untold() - drawn;
    if more > 0 {
        writeln!(
            out,
            "and {more} more, not shown here: --output json lists {}\n",
            if report.untold() > 0 {
                "more of them"
            } else {
                "all"
            }
        )?;
    }
    out.push_str(&report.summary());
    out.push('\n');
    Ok(out)
}

/// A finding as miette draws it, with the control characters of users' texts escaped.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Drawn {
    message: String,
    code: &'static str,
    severity: miette::Severity,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    excerpt: Option<Excerpt>,
}

impl Drawn {
    fn of(finding: &Finding) -> Self {
        let whose = finding
            .object
            .as_ref()
            .map(|(kind, key, _)| format!("{kind} {}/{}", shown(&key.namespace), shown(&key.name)));
        let name = one_line(&finding.source.name);
        let text = &finding.source.text;
        let mut message = one_line(&finding.message).into_owned();
        let mut labels = Vec::new();
        // Without an excerpt the message contains the place.
        let excerpt = if text.is_empty() {
            message = format!("{name}: {message}");
            None
        } else if has_secret(text) {
            // No excerpt of a file with a Secret: rendered manifests contain secrets that the repository does not, and
            // the output may go into a build log.
            let Position { line, column } = finding.start();
            let whose = whose.map(|whose| format!("{whose}: ")).unwrap_or_default();
            message = format!("{name}:{line}:{column}: {whose}{message}");
            None
        } else {
            let related = finding.related.as_ref();
            let (excerpt, span, other) = Excerpt::of(
                &finding.source,
                &finding.span,
                related.map(|(span, _)| span),
            );
            labels.push(LabeledSpan::new_primary_with_span(whose, span));
            let what = related.map(|(_, what)| one_line(what).into_owned());
            labels.extend(other.map(|span| LabeledSpan::new_with_span(what, span)));
            Some(excerpt)
        };
        Self {
            message,
            code: finding.reason.as_str(),
            severity: match finding.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            help: finding
                .help
                .as_deref()
                .map(|help| one_line(help).into_owned()),
            labels,
            excerpt,
        }
    }
}

impl Diagnostic for Drawn {
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
        self.excerpt
            .as_ref()
            .map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
