//! `symbolon check`: checks manifests by the rules of the API server, the operator and the server.

mod excerpt;
mod findings;
mod follow;
mod json;
#[cfg(test)]
mod mistakes;
mod near;
#[cfg(test)]
mod people;
mod references;
mod sarif;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;

use super::manifests::{self, World};
use super::{clock, terminal};
use crate::directory::template::secret_metadata::InstallationMetadata;
use crate::directory::{ObjectKey, Settings, Severity};
use findings::Report;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon check manifests/
  symbolon check team-a/ --applied platform/     with the Identity and Scopes that the platform has applied
  kustomize build . | symbolon check -           with the patches and name prefixes of a kustomization
  symbolon check manifests/ -o sarif > symbolon.sarif

The command reads *.yaml, *.yml and *.json files, also with several documents or with lists. It ignores objects of other
kinds, except the labels of Namespaces. Objects without a namespace are in `default`, as in kubectl.

A finding that follows from another one, such as a client of an Identity with a fault, is a note. It points to its cause
and is not counted as an error.

In a directory the command skips links that lead out of it and everything that is not a regular file, such as a FIFO. A
path that you name is read wherever it leads. To check the manifests of strangers, name the directory, not dir/*.yaml: the
report shows lines of the files. For a file with very many problems the report lists the first ones and counts the others.

Exit status: 0: no errors; 1: errors, or warnings with --strict; 2: usage error, a path cannot be read, or the output
cannot be written.")]
pub(super) struct Args {
    /// Files and directories to check; - reads standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Manifests that are used but not checked themselves: those that others have applied
    #[arg(long, value_name = "PATH")]
    applied: Vec<PathBuf>,
    /// The former name of --applied
    #[arg(long, hide = true, value_parser = renamed)]
    context: Option<String>,
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
    /// The output format
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
    /// One JSON object with `summary` and `problems`
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

/// Refuses the former name of an option. In the other commands it names a context of the kubeconfig.
fn renamed(_: &str) -> Result<String, String> {
    Err("this option was renamed: write --applied PATH".to_owned())
}

fn judge(args: &Args, now: Timestamp) -> anyhow::Result<Report> {
    let context = manifests::read(&args.applied)?;
    let judged = manifests::read(&args.paths)?;
    let mut skipped = context.skipped;
    skipped.extend(judged.skipped);
    let (context, judged) = (context.manifests, judged.manifests);
    let settings = Settings {
        default_identity: args.default_identity.clone(),
        identity_namespaces: super::fleet::identity_namespaces(&args.identity_namespace, None),
        secret_metadata: Arc::new(args.allowed_secret_metadata.clone().unwrap_or_default()),
        ..Settings::default()
    };
    let world = World::new(settings, &context, &judged, now);
    let mut report = findings::judge(&world, &context, &judged, now);
    report.skipped = skipped;
    Ok(report)
}
