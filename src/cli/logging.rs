//! The options about logs, the same for every command that keeps running.

use crate::telemetry::logs::{self, LogForm, LogGuard};

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// The form of the log, on standard output
    #[arg(long, value_enum, env = "SYMBOLON_LOG_FORMAT")]
    log_format: Option<Form>,
    /// What to log: `debug`, or `info,symbolon=debug`
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "SYMBOLON_LOG"
    )]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One JSON object a line, for machines
    Json,
    /// For people
    Text,
}

impl LogArgs {
    /// Begins to log; in `usual` form unless another was asked for.
    pub(super) fn start(&self, usual: LogForm) -> Result<LogGuard, logs::InitError> {
        let form = match self.log_format {
            None => usual,
            Some(Form::Json) => LogForm::Json,
            Some(Form::Text) => LogForm::Text,
        };
        logs::init(form, &self.log)
    }
}
