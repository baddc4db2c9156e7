//! `symbolon crds`: the CustomResourceDefinitions, for `kubectl apply` or as files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::reference;
use crate::resources::{Kind, crd, crds, to_yaml};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon crds | kubectl apply --server-side -f -
  symbolon crds --output crds")]
pub(super) struct Args {
    /// Write one file for each kind into this folder instead of printing them all
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Yaml, conflicts_with = "output")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Manifests for `kubectl apply`
    Yaml,
    /// The reference of every field
    Markdown,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.format == Format::Markdown {
        print!("{}", reference::markdown(&crds()));
        return Ok(ExitCode::SUCCESS);
    }
    for kind in Kind::ALL {
        let yaml = to_yaml(&crd(kind)).with_context(|| format!("cannot render {kind}"))?;
        match &args.output {
            Some(folder) => {
                let file = folder.join(format!("{}.yaml", kind.plural()));
                std::fs::write(&file, yaml)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
            None => println!("---\n{yaml}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
