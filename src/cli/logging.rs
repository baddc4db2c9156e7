//! The options about logs and traces, the same for every command that keeps running.

use crate::telemetry::logs::{self, LogForm, LogGuard};
use crate::telemetry::traces::{self, TraceGuard};

/// What log there is where nobody says another.
const USUAL: &str = "info";

/// Variables about traces that pods of Identities are told as the operator was. Left out are
/// `OTEL_EXPORTER_OTLP_HEADERS`, which may hold a secret, and what names a service or one pod of it.
const OF_PODS: [&str; 6] = [
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
];

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// The form of the log, on standard output
    #[arg(long, value_enum, env = "SYMBOLON_LOG_FORMAT")]
    log_format: Option<Form>,
    /// What to log: `debug`, or `info,symbolon=debug`
    #[arg(
        long,
        value_name = "FILTER",
        default_value = USUAL,
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

    /// What is said here, as variables for the pods of Identities: nothing where it is the usual. `said` is the
    /// environment.
    pub(super) fn of_pods(&self, said: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut variables = Vec::new();
        if self.log != USUAL {
            variables.push(owned("SYMBOLON_LOG", &self.log));
        }
        if self.log_format == Some(Form::Text) {
            variables.push(owned("SYMBOLON_LOG_FORMAT", "text"));
        }
        if let Some(endpoint) = self.otlp_endpoint() {
            variables.push(owned("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
            let more = OF_PODS.into_iter();
            variables.extend(more.filter_map(|name| Some(owned(name, &said(name)?))));
        }
        variables
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

#[cfg(test)]
mod tests {
    use super::*;

    fn args(log: &str, log_format: Option<Form>, otlp_endpoint: Option<&str>) -> LogArgs {
        LogArgs {
            log_format,
            log: log.to_owned(),
            otlp_endpoint: otlp_endpoint.map(str::to_owned),
        }
    }

    #[test]
    fn pods_are_told_what_the_operator_was_and_no_secret() {
        let said = |name: &str| {
            let all = [
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary"),
                ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=operator-1"),
            ];
            let found = all.into_iter().find(|(it, _)| *it == name)?;
            Some(found.1.to_owned())
        };
        let told = |args: LogArgs| -> Vec<String> {
            let variables = args.of_pods(said).into_iter();
            variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        assert_eq!(
            told(args("debug", Some(Form::Text), Some("http://otel:4318"))),
            [
                "SYMBOLON_LOG=debug",
                "SYMBOLON_LOG_FORMAT=text",
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318",
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG=0.1",
            ]
        );
        // The usual is no reason for other pods; without an endpoint nothing is sampled.
        let nothing: [&str; 0] = [];
        assert_eq!(told(args("info", Some(Form::Json), None)), nothing);
        assert_eq!(told(args("info", None, Some(""))), nothing);
    }
}
