//! `symbolon metrics`: what is measured, as `docs/metrics.md` has it.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::terminal;
use crate::telemetry::{Described, Metrics, OperatorMetrics};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon metrics > docs/metrics.md
  symbolon metrics | grep symbolon_tokens")]
pub(super) struct Args {}

const PREFACE: &str = "# Metrics

<!-- Made by `symbolon metrics`; `just generate` writes this file. -->

Both programs tell their metrics at `/metrics` of the health port (8081), as OpenMetrics text. Every label is of a
closed set: no name but an Identity's, no client id and nothing that a caller sends becomes one, so that the number of
series does not grow with what tenants apply. Alerts are in [`alerts.yaml`](../charts/symbolon/files/alerts.yaml), each with a page in
[runbooks](runbooks/README.md); [`dashboard.json`](../charts/symbolon/files/dashboard.json) is a dashboard for Grafana.
The chart installs both: `prometheusRule.enabled`, `grafanaDashboard.enabled`.

An Identity that the operator's own pods serve (`mode: Embedded`) has the server's metrics at `/metrics/identity` of the
operator's health port, which is to be scraped as well; elsewhere that path is 404.

`symbolon_tokens`, `symbolon_tokens_ending` and `symbolon_tokens_soonest_end_timestamp_seconds` are counted over all
owners, at most once a minute and when somebody asks. Every replica tells them alike: take `max`, not `sum`. Standby
operators tell no `symbolon_operator_objects` but `Unseen`: join with `symbolon_operator_leading == 1`.
";

pub(super) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let (server, operator) = (Metrics::default(), OperatorMetrics::default());
    let parts = [
        (
            "Server (`symbolon serve`, `symbolon dev`)",
            server.described(),
        ),
        ("Operator (`symbolon operator`)", operator.described()),
    ];
    let mut text = PREFACE.to_owned();
    for (title, metrics) in parts {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {title}\n\n{}", table(metrics));
    }
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table(metrics: &[Described]) -> String {
    let mut text = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for metric in metrics {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let Described {
            name, kind, help, ..
        } = metric;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{name}` | {} | {labels} | {help} |", kind.as_str());
    }
    text
}
