//! `--output text`: each problem with an excerpt of its file.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::super::terminal;
use super::excerpt::Excerpt;
use super::findings::{Finding, Level, Report};
use crate::directory::problem::suggest::{one_line, shown};
use crate::source::manifest::{Position, SourceText};
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
    let mut secrets = Secrets::default();
    for finding in report.findings.iter().take(MAX_DRAWN) {
        let has_secret = secrets.is_in(&finding.source);
        handler.render_report(&mut out, &Drawn::of(finding, has_secret))?;
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

/// Remembers whether the last source may contain a Secret: the findings of one file follow each other.
#[derive(Default)]
struct Secrets(Option<(Arc<SourceText>, bool)>);

impl Secrets {
    fn is_in(&mut self, source: &Arc<SourceText>) -> bool {
        match &self.0 {
            Some((known, answer)) if Arc::ptr_eq(known, source) => *answer,
            _ => {
                let answer = has_secret(&source.text);
                self.0 = Some((source.clone(), answer));
                answer
            }
        }
    }
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
    fn of(finding: &Finding, has_secret: bool) -> Self {
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
        } else if has_secret || finding.level == Level::Note {
            // A note is one line, so that the errors stand out. A file with a Secret is not excerpted: rendered
            // manifests contain secrets that the repository does not, and the output may go into a build log.
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
            severity: match finding.level {
                Level::Error => miette::Severity::Error,
                Level::Warning => miette::Severity::Warning,
                Level::Note => miette::Severity::Advice,
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
