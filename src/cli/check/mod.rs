//! `symbolon check`: judges manifests as the API server, the operator and the server will.

mod excerpt;
mod findings;
mod json;
mod near;
mod sarif;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;

use super::manifests::{self, World};
use super::{clock, terminal};
use crate::directory::secret_metadata::InstallationMetadata;
use crate::directory::{ObjectKey, Settings, Severity};
use findings::Report;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon check manifests/
  symbolon check team-a/ --context platform/     the platform's Identity and Scopes are there already
  kustomize build . | symbolon check -
  symbolon check manifests/ -o sarif > symbolon.sarif

Reads *.yaml, *.yml and *.json files, several documents and lists in one; objects of other kinds pass,
labels of Namespaces are used. Objects that name no namespace are in `default`, as kubectl has it. In a
directory, what is not a regular file, such as a FIFO, is left out, and so are links that lead out of it.
A path that you name is read wherever it leads: for the manifests of strangers give the directory, not
dir/*.yaml, since the report shows lines of the files. Of a file with very many problems the first are
told and the others counted.

Exit status: 0: no errors; 1: errors, or warnings with --strict; 2: asked wrongly, a path
cannot be read, or the report cannot be written.")]
pub(super) struct Args {
    /// Files and directories to judge; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Manifests to judge against that are not judged themselves: what others have applied
    #[arg(long, value_name = "PATH")]
    context: Vec<PathBuf>,
    /// The Identity of objects that name none; give the operator's value
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// Accept Identities in these namespaces only; give the operator's value; default: all
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    identity_namespace: Vec<String>,
    /// The labels and annotations that templates of Secrets may set; give the operator's value; default: all that the
    /// Identity allows
    #[arg(long, value_name = "JSON", value_parser = InstallationMetadata::parse)]
    allowed_secret_metadata: Option<InstallationMetadata>,
    /// How to write what was found
    #[arg(long, short, visible_alias = "format", value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// With excerpts, for people
    Text,
    /// One object: `summary` and `problems`
    Json,
    /// SARIF 2.1.0, as code hosts show it
    Sarif,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let report = match judge(args, now) {
        Ok(report) => report,
        Err(error) => {
            terminal::complain(&error);
            return Ok(ExitCode::from(super::ASKED_WRONGLY));
        }
    };
    match args.output {
        Format::Text => {
            terminal::print_coloured(&text::render(&report, &text::Look::of_stdout())?)?;
        }
        Format::Json => terminal::print_json(&json::render(&report))?,
        Format::Sarif => terminal::print_json(&sarif::render(&report))?,
    }
    let failed =
        report.count(Severity::Error) > 0 || args.strict && report.count(Severity::Warning) > 0;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn judge(args: &Args, now: Timestamp) -> anyhow::Result<Report> {
    let context = manifests::read(&args.context)?;
    let judged = manifests::read(&args.paths)?;
    let settings = Settings {
        default_identity: args.default_identity.clone(),
        identity_namespaces: super::fleet::identity_namespaces(&args.identity_namespace, None),
        secret_metadata: Arc::new(args.allowed_secret_metadata.clone().unwrap_or_default()),
        ..Settings::default()
    };
    let world = World::new(settings, &context, &judged, now);
    Ok(findings::judge(&world, &context, &judged, now))
}
