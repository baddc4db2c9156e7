//! `symbolon store`: commands for the store of people's data. They ask the server that uses it, and read its file only if no
//! server does.

mod find;
mod report;
mod work;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use self::find::{Unusable, Which};
use self::work::NotSound;
use super::{ASKED_WRONGLY, signals, terminal};
use crate::store::StoreError;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon store backup --store sqlite:/var/lib/symbolon/symbolon.db --to main-2026-01-31.db
  kubectl exec -n platform main-identity-0 -- /symbolon store backup > main-2026-01-31.db
  symbolon store verify main-2026-01-31.db")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy a SQLite store, also while a server uses it
    #[command(after_help = "Examples:
  symbolon store backup --store sqlite:/var/lib/symbolon/symbolon.db --to main-2026-01-31.db
  symbolon store backup --state examples/quickstart/.symbolon --to dev.db                 dev mode
  kubectl exec -n platform main-identity-0 -- /symbolon store backup > main-2026-01-31.db  the pod of an Identity
  symbolon store verify main-2026-01-31.db                                                after each backup

The copy is the state of the store at one moment. A running server goes on and sends it; without one the file is read. The
copy has personal data and hashes of passwords and tokens: only its owner can read the new file, and nothing is overwritten.
A copy in a file is verified before it gets its name; verify one that came over the standard output yourself. Back up a
PostgreSQL store with pg_dump.

Exit status: 0: success; 1: no copy was written; 2: usage error, or the standard output cannot be written.")]
    Backup(Backup),
    /// Check that a SQLite store or a copy of it is complete and undamaged, and change nothing
    #[command(after_help = "Examples:
  symbolon store verify main-2026-01-31.db
  symbolon store verify --state examples/quickstart/.symbolon
  kubectl exec -n platform main-identity-0 -- /symbolon store verify -o json

It checks every page, index and reference, and prints the version of the schema, the number of rows of each table, and how
long the oldest expired row has been expired. It prints no data of people, no secrets and no hashes.

Exit status: 0: the store is sound; 1: it is damaged, not a store, of a newer release, or cannot be read; 2: usage error.")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Backup {
    #[command(flatten)]
    which: Which,
    /// The new file; without it, or with -, the copy is written to the standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// A store's file, or a copy
    #[arg(value_name = "FILE", conflicts_with_all = ["store", "state"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// The output format
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Lines for people
    Text,
    /// One JSON object with `sound`, and either `error` or what the store contains
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(async {
        match &args.what {
            What::Backup(args) => backup(args).await,
            What::Verify(args) => verify(args).await,
        }
    });
    // A check that was interrupted does not keep the process.
    runtime.shutdown_background();
    match result {
        Err(error) if error.downcast_ref().is_some_and(Unusable::is_usage) => {
            terminal::complain(&error);
            Ok(ExitCode::from(ASKED_WRONGLY))
        }
        result => result,
    }
}

async fn backup(args: &Backup) -> anyhow::Result<ExitCode> {
    let to = args.to.as_deref().filter(|to| to.as_os_str() != "-");
    if to.is_none() && std::io::stdout().is_terminal() {
        return Err(Unusable::Terminal.into());
    }
    let found = find::find(&args.which, None).await?;
    match to {
        Some(to) => {
            // Everywhere else a signal ends the process at once: nothing must be tidied up.
            let report = tokio::select! {
                done = work::to_file(&found, to) => done?,
                () = signals::asked_to_stop() => anyhow::bail!("interrupted: nothing was kept"),
            };
            terminal::print(&report::text(&to.display().to_string(), &report))?;
        }
        None => {
            let bytes = work::to_stdout(&found).await?;
            terminal::note(&format!(
                "wrote {bytes} bytes: check with symbolon store verify FILE that all of them arrived"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let found = find::find(&args.which, args.file.as_deref()).await?;
    let report = work::verify(&found).await;
    let name = found.path().display().to_string();
    match (args.output, report) {
        (Output::Text, Ok(report)) => terminal::print(&report::text(&name, &report))?,
        (Output::Json, Ok(report)) => terminal::print_json(&report::json(&name, &report)?)?,
        (Output::Json, Err(error)) if error.is::<StoreError>() || error.is::<NotSound>() => {
            terminal::print_json(&report::unsound(&name, &error))?;
            return Ok(ExitCode::FAILURE);
        }
        (_, Err(error)) => return Err(error),
    }
    Ok(ExitCode::SUCCESS)
}
