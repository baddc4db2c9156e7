//! The log of the commands that run for long.

use tracing_subscriber::EnvFilter;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// How log lines look
    #[arg(long, value_enum, value_name = "FORM", env = "SYMBOLON_LOG_FORMAT", default_value_t = Form::Json)]
    log_format: Form,
    /// What is logged, as `info` or `info,symbolon=debug`
    #[arg(
        long,
        value_name = "FILTER",
        env = "SYMBOLON_LOG",
        default_value = "info"
    )]
    log: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    /// One object a line
    Json,
    /// For people
    Text,
}

impl Args {
    /// Begins to log to the standard error.
    pub(super) fn init(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.log_format {
            Form::Json => builder.json().flatten_event(true).init(),
            Form::Text => builder.init(),
        }
        Ok(())
    }
}
