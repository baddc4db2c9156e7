//! The options for logs and traces, the same for every long-running command.

use clap::ArgAction;

use crate::telemetry::logs::{self, Audit, LogFilter, LogForm, LogGuard};
use crate::telemetry::traces::{self, TraceGuard};

/// The environment variables for traces that the operator passes on to Identities' pods. `OTEL_EXPORTER_OTLP_HEADERS`
/// is not passed on, since it may hold a secret, nor are variables that name a service or a pod.
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
    /// The format of the log, on standard output
    #[arg(long, value_enum, env = "SYMBOLON_LOG_FORMAT")]
    log_format: Option<Form>,
    /// What to log: a level (off, error, warn, info, debug, trace), and other levels for single modules, such as
    /// `warn,symbolon::server=debug`; it does not filter audit events
    #[arg(
        long,
        value_name = "FILTER",
        default_value_t = LogFilter::USUAL,
        env = "SYMBOLON_LOG"
    )]
    log: LogFilter,
    /// Whether to write audit events to the log, independently of --log
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        env = "SYMBOLON_AUDIT"
    )]
    audit: bool,
    /// Where to send traces: OTLP over HTTP, usually port 4318 of a collector; without it there are no traces
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// One JSON object per line, for machines
    Json,
    /// For people
    Text,
}

/// Flushes traces and logs when dropped. Traces come first, since flushing them may write to the log.
#[derive(Debug)]
pub(super) struct Guards {
    _traces: Option<TraceGuard>,
    _log: LogGuard,
}

impl LogArgs {
    /// Returns the endpoint that traces are sent to, if there is one.
    pub(super) fn otlp_endpoint(&self) -> Option<&str> {
        let endpoint = self.otlp_endpoint.as_deref();
        endpoint.filter(|endpoint| !endpoint.is_empty())
    }

    /// Returns these options as environment variables for Identities' pods, without those that have the default value.
    /// `said` reads the operator's environment.
    pub(super) fn of_pods(&self, said: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut variables = Vec::new();
        if self.log != LogFilter::USUAL {
            variables.push(owned("SYMBOLON_LOG", &self.log.to_string()));
        }
        if !self.audit {
            variables.push(owned("SYMBOLON_AUDIT", "false"));
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

    /// Starts logging, in the format `usual` unless an option says otherwise, and tracing as `service` if there is an
    /// endpoint.
    pub(super) fn start(&self, usual: LogForm, service: &'static str) -> anyhow::Result<Guards> {
        let form = match self.log_format {
            None => usual,
            Some(Form::Json) => LogForm::Json,
            Some(Form::Text) => LogForm::Text,
        };
        let audit = if self.audit { Audit::On } else { Audit::Off };
        let Some(endpoint) = self.otlp_endpoint() else {
            return Ok(Guards {
                _traces: None,
                _log: logs::init(form, &self.log, audit)?,
            });
        };
        let (layer, traces) = traces::start(endpoint, service)?;
        Ok(Guards {
            _traces: Some(traces),
            _log: logs::init_beside(form, &self.log, audit, layer)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::Cli;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        log: LogArgs,
    }

    /// Returns the variables that pods get if the operator has these options.
    fn told(options: &[&str]) -> Vec<String> {
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
        let options = ["program"].iter().chain(options);
        let variables = Program::parse_from(options).log.of_pods(said).into_iter();
        variables
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn pods_get_the_log_and_trace_options_of_the_operator_but_no_secret() {
        assert_eq!(
            told(&[
                "--log=debug",
                "--log-format=text",
                "--audit=false",
                "--otlp-endpoint=http://otel:4318"
            ]),
            [
                "SYMBOLON_LOG=debug",
                "SYMBOLON_AUDIT=false",
                "SYMBOLON_LOG_FORMAT=text",
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318",
                "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG=0.1",
            ]
        );
        // Default values are not passed on, since they would change the pod template; nor is sampling without an
        // endpoint.
        let nothing: [&str; 0] = [];
        assert_eq!(
            told(&["--log=info", "--log-format=json", "--audit=true"]),
            nothing
        );
        assert_eq!(told(&["--otlp-endpoint="]), nothing);
    }

    #[test]
    fn every_command_that_logs_refuses_an_unknown_level_and_names_the_levels() {
        for command in [
            &["dev", "."][..],
            &["serve", "--identity", "a/b"],
            &["operator"],
        ] {
            let with = |options: &[&str]| {
                let words = ["symbolon"].iter().chain(command).chain(options);
                Cli::try_parse_from(words).err()
            };
            assert!(with(&["--log", "off,symbolon=debug", "--audit", "false"]).is_none());
            for typo in ["warning", "symbolon", ""] {
                let error = with(&["--log", typo]).unwrap();
                assert_eq!(error.kind(), ErrorKind::ValueValidation);
                assert_eq!(error.exit_code(), 2);
                let said = error.to_string();
                let levels = "off, error, warn, info, debug or trace";
                assert!(said.contains(levels) && said.contains("--log"), "{said}");
            }
            assert!(
                with(&["--audit", "of"])
                    .unwrap()
                    .to_string()
                    .contains("--audit")
            );
            let help = with(&["--help"]).unwrap().to_string();
            assert!(help.contains("--log warn"), "an example in {help}");
        }
    }

    #[test]
    fn the_schema_of_the_chart_accepts_the_same_log_filters_as_the_program() {
        let schema = include_str!("../../charts/symbolon/values.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let schema = &schema["properties"]["logLevel"];
        let pattern = |of: &serde_json::Value| regex::Regex::new(of["pattern"].as_str().unwrap());
        let (taken, refused) = (pattern(schema).unwrap(), pattern(&schema["not"]).unwrap());
        for text in [
            "off",
            "error",
            "warn",
            "info",
            "debug",
            "trace",
            "INFO",
            "warn,symbolon=debug",
            "symbolon::server=debug",
            "kube_client=TRACE,info",
            "warning",
            "Warning",
            "",
            "symbolon",
            "info,",
            ",info",
            "info;debug",
            "3",
            "symbolon=warning",
            "a[b]=info",
            "=info",
            "symbolon=",
            "info debug",
            "err",
            "audit=off",
            "info,audit=warn",
            "audit::x=info",
            "auditor=info",
        ] {
            let is_read = text.parse::<LogFilter>().is_ok();
            let is_taken = taken.is_match(text) && !refused.is_match(text);
            assert_eq!(is_taken, is_read, "{text:?}");
        }
    }
}
