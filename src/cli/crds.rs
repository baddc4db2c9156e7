//! `symbolon crds`: prints the CustomResourceDefinitions for `kubectl apply`, or writes them into files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::{reference, terminal};
use crate::resources::{Kind, crd, crds, to_yaml};
use crate::state_file::{Dir, FileMode};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon crds | kubectl apply --server-side -f -
  symbolon crds --output crds")]
pub(super) struct Args {
    /// Write one file per kind into this existing folder instead of printing all of them
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
    /// A reference of every field
    Markdown,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.format == Format::Markdown {
        terminal::print(&reference::markdown(&crds()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = match &args.output {
        None => None,
        Some(path) => {
            let opened = Dir::open(path);
            let opened = opened.with_context(|| {
                format!("cannot open {}: name an existing folder", path.display())
            })?;
            Some((opened, path))
        }
    };
    for kind in Kind::ALL {
        let yaml = to_yaml(&crd(kind)).with_context(|| format!("cannot render {kind}"))?;
        match &folder {
            Some((folder, path)) => {
                let file = format!("{}.yaml", kind.plural());
                // A link at this path is replaced, not followed.
                let written = folder.write(Path::new(&file), yaml.as_bytes(), FileMode::Public);
                written.with_context(|| format!("cannot write {}", path.join(file).display()))?;
            }
            None => terminal::print(&format!("---\n{yaml}\n"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
