//! The commands: each reads its arguments, wires what lies below, and turns what comes back into words
//! and an exit status. No rule lives here.
mod check;
mod clock;
mod cluster;
mod crds;
mod dev;
mod embedded;
mod explain;
mod files;
mod fleet;
mod logging;
mod manifests;
mod manual;
mod metrics;
mod operator;
mod reference;
mod restore;
mod serve;
mod signals;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kubernetes operator with CRD-managed identity: apply OAuthClients, Scopes and ServiceAccessTokens,
/// get tokens.
#[derive(Debug, Parser)]
#[command(
    name = "symbolon",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Examples:
  symbolon dev manifests/                                 serve a folder, without a cluster
  symbolon check manifests/                               what is wrong with manifests
  symbolon explain token shop/nightly --dir manifests/    which rule grants or refuses
  symbolon crds | kubectl apply --server-side -f -        the definitions
  symbolon COMMAND --help                                 more, with examples"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Exit status for a question that cannot be answered, as clap has it, and for an answer that cannot be written.
const ASKED_WRONGLY: u8 = 2;

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge manifests offline, as the operator and the server will
    Check(check::Args),
    /// Serve an Identity from a directory of YAML, without a cluster
    Dev(dev::Args),
    /// Print the CustomResourceDefinitions
    Crds(crds::Args),
    /// Say which rule grants or refuses a client, a scope or a token
    Explain(explain::Args),
    /// Print every command and option, as docs/cli.md has it
    #[command(hide = true)]
    Manual(manual::Args),
    /// Print what is measured, as docs/metrics.md has it
    Metrics(metrics::Args),
    /// Watch a cluster, write tokens into Secrets and report what is wrong
    Operator(Box<operator::Args>),
    /// Bring tokens back to life after a restore
    Restore(restore::Args),
    /// Serve an Identity of a cluster
    Serve(serve::Args),
}

impl Cli {
    /// Does what was asked. Exit status 0: done; 1: it did not succeed; 2: it was asked wrongly, or what is to be printed
    /// cannot be written.
    pub fn run(self) -> ExitCode {
        small_pages();
        let result = match self.command {
            Command::Check(args) => check::run(&args),
            Command::Crds(args) => crds::run(&args),
            Command::Dev(args) => dev::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Manual(args) => manual::run(&args),
            Command::Metrics(args) => metrics::run(&args),
            Command::Operator(args) => operator::run(*args),
            Command::Restore(args) => restore::run(&args),
            Command::Serve(args) => serve::run(args),
        };
        result.unwrap_or_else(|error| {
            terminal::complain(&error);
            if error.is::<terminal::Unwritable>() {
                ExitCode::from(ASKED_WRONGLY)
            } else {
                ExitCode::FAILURE
            }
        })
    }
}

/// Parses the arguments of the process and does what was asked.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(said) => terminal::usage(said),
    }
}

/// Huge pages round a small process up to 2 MiB wherever it touches memory, and a pod pays for them: idle, 29 MiB
/// instead of 14. A kernel that does not know the request goes on as it is.
fn small_pages() {
    #[cfg(target_os = "linux")]
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
}
