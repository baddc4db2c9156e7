//! The options about logs and traces, the same for every command that keeps running.

use crate::telemetry::logs::{self, LogForm, LogGuard};
use crate::telemetry::traces::{self, TraceGuard};

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
    /// Where to send traces: OTLP over HTTP, usually to port 4318 of a collector; without it none are made
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One JSON object a line, for machines
    Json,
    /// For people
    Text,
}

/// Writes and sends what is left when it is dropped: traces first, which may have something to log.
#[derive(Debug)]
pub(super) struct Guards {
    _traces: Option<TraceGuard>,
    _log: LogGuard,
}

impl LogArgs {
    /// Where traces go, if anywhere.
    pub(super) fn otlp_endpoint(&self) -> Option<&str> {
        let endpoint = self.otlp_endpoint.as_deref();
        endpoint.filter(|endpoint| !endpoint.is_empty())
    }

    /// Begins to log, in `usual` form unless another was asked for, and to trace as `service` where that was.
    pub(super) fn start(&self, usual: LogForm, service: &'static str) -> anyhow::Result<Guards> {
        let form = match self.log_format {
            None => usual,
            Some(Form::Json) => LogForm::Json,
            Some(Form::Text) => LogForm::Text,
        };
        let Some(endpoint) = self.otlp_endpoint() else {
            return Ok(Guards {
                _traces: None,
                _log: logs::init(form, &self.log)?,
            });
        };
        let (layer, traces) = traces::start(endpoint, service)?;
        Ok(Guards {
            _traces: Some(traces),
            _log: logs::init_beside(form, &self.log, layer)?,
        })
    }
}
