//! The commands. A command reads its arguments, connects the modules below, and turns the result into text and an exit
//! status. Not here: rules.
mod check;
mod clock;
mod cluster;
mod control;
mod crds;
mod dev;
mod embedded;
mod explain;
mod files;
mod fleet;
mod listen;
mod logging;
mod manifests;
mod manual;
mod metrics;
mod operator;
mod proxy;
mod reference;
mod restore;
mod serve;
mod signals;
mod store;
mod terminal;
mod unshown;

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
  symbolon check manifests/                               find errors in manifests
  symbolon explain token shop/nightly --dir manifests/    show which rule grants or refuses
  symbolon crds | kubectl apply --server-side -f -        install the CustomResourceDefinitions
  symbolon COMMAND --help                                 show the options and examples of a command"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The exit status of a usage error, as in clap, and of output that cannot be written.
const ASKED_WRONGLY: u8 = 2;

#[derive(Debug, Subcommand)]
enum Command {
    /// Check manifests offline, by the rules of the operator and the server
    Check(check::Args),
    /// Serve an Identity from a directory of YAML, without a cluster
    Dev(dev::Args),
    /// Print the CustomResourceDefinitions
    Crds(crds::Args),
    /// Explain which rule grants or refuses a client, a scope or a token
    Explain(explain::Args),
    /// Print the reference of all commands and options (docs/cli.md)
    #[command(hide = true)]
    Manual(manual::Args),
    /// Print the reference of all metrics (docs/metrics.md)
    Metrics(metrics::Args),
    /// Run the operator, which writes tokens into Secrets and reports the status of resources
    Operator(Box<operator::Args>),
    /// Make tokens valid again after a backup was restored
    Restore(restore::Args),
    /// Run the server of one Identity in a cluster
    Serve(serve::Args),
    /// Back up and check the store of people's data
    Store(store::Args),
}

impl Cli {
    /// Runs the command. Exit status 0: success; 1: failure; 2: usage error, or the output cannot be written.
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
            Command::Store(args) => store::run(&args),
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

/// Parses the arguments of the process and runs the command.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(said) => terminal::usage(said),
    }
}

/// Turns huge pages off. With them an idle process takes 29 MiB instead of 14, since every piece of memory that it
/// touches is rounded up to 2 MiB. A kernel without this setting ignores the call.
fn small_pages() {
    #[cfg(target_os = "linux")]
    let _unknown = rustix::thread::disable_transparent_huge_pages(true);
}
