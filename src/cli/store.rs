//! `symbolon store`: commands for the file that contains people's data.

use std::path::PathBuf;
use std::process::ExitCode;

use super::terminal;
use crate::store::{self, Report};

/// The arguments of `symbolon store`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy a SQLite store into a new file, also while a server uses it
    #[command(after_help = "Examples:
  symbolon store backup /var/lib/symbolon/symbolon.db --to /backup/symbolon-2026-01-31.db

The copy contains people's data and hashes of their secrets: only its owner can read it. Back up a PostgreSQL store by the
tools of PostgreSQL.

Exit status: 0: success; 1: the copy could not be written or verified; 2: usage error.")]
    Backup(Backup),
    /// Check that a SQLite store or its copy is complete and undamaged, and change nothing
    #[command(after_help = "Examples:
  symbolon store verify /backup/symbolon-2026-01-31.db

Exit status: 0: success; 1: the file is damaged, not a store, or of a newer release; 2: usage error.")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Backup {
    /// The store's file
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The new file
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The file
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Why the file cannot be copied or is not sound.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (path, report) = match &args.what {
        What::Backup(Backup { path, to }) => (to, runtime.block_on(store::backup(path, to))?),
        What::Verify(Verify { path }) => (path, runtime.block_on(store::verify(path))?),
    };
    terminal::print(&describe(&path.display().to_string(), &report))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a report for people.
fn describe(name: &str, report: &Report) -> String {
    let Report {
        issuer,
        written_at,
        accounts,
        grants,
        bytes,
    } = report;
    let issuer = issuer.as_deref().unwrap_or("none yet");
    let written = written_at.as_deref().unwrap_or("never");
    format!(
        "{name} is complete and undamaged\n  issuer        {issuer}\n  last written  {written}\n  \
         accounts      {accounts}\n  grants        {grants}\n  size          {bytes} bytes\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_whose_store_it_is() {
        let report = Report {
            issuer: Some("https://a".to_owned()),
            written_at: None,
            accounts: 2,
            grants: 3,
            bytes: 4096,
        };
        let words = describe("/a.db", &report);
        for part in ["/a.db", "https://a", "never", "2", "3", "4096 bytes"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
