//! Floods by attackers that try to occupy the resources of a server or an operator, against the built program with its
//! default limits. Run `cargo bench --bench floods` or `just floods`; `--help` lists the options.
//!
//! For each flood it prints the peak memory beside the default limit of the pod, the memory of a connection whose peer
//! does not read, the slowest response to `/livez` and to an honest client during the flood, and the memory a minute
//! later. It asserts nothing. All traffic is on loopback and limited in time, and the programs end with this process.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and stops when it cannot run"
)]

mod attack;
mod http2;
mod kubernetes;
mod platform;
#[expect(dead_code, reason = "the benchmark `propagation` uses more of it")]
#[path = "../propagation/program.rs"]
mod program;
mod report;
mod subject;
mod witness;
#[expect(dead_code, reason = "other benchmarks use more of it")]
#[path = "../propagation/world.rs"]
mod world;

#[expect(dead_code, unused_imports, reason = "tests use more of it")]
#[path = "../../tests/cluster/harness/mod.rs"]
mod harness;

use std::time::Duration;

use clap::Parser;

use crate::attack::{Attack, Held};
use crate::platform::Platform;
use crate::report::{Outcome, print};
use crate::witness::Witness;

/// The default memory limit of a server's pod, in MiB (`resources` of an Identity's pods).
const SERVER_LIMIT: f64 = 512.0;
/// The maximum memory of a connection whose peer does not read, in KiB.
const UNREAD_LIMIT: f64 = 100.0;

#[derive(Debug, Parser)]
struct Cli {
    /// Run only floods whose name contains this text
    filter: Option<String>,
    /// How many seconds a flood holds its connections
    #[arg(long, default_value_t = 20)]
    hold: u64,
    /// How many seconds after the flood memory is read again
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Omit floods that need a real API server
    #[arg(long)]
    no_cluster: bool,
    /// Set by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Cli {
    fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|it| name.contains(&**it))
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    subject::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&cli))
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for attack in Attack::ALL {
        if cli.wants(attack.name()) {
            eprintln!("{} …", attack.name());
            outcomes.push(flood(cli, attack).await?);
        }
    }
    print(&outcomes);
    if !cli.no_cluster {
        kubernetes::run(&|name| cli.wants(name)).await?;
    }
    Ok(())
}

/// Runs one flood against a new server.
async fn flood(cli: &Cli, attack: Attack) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let (files, algorithm) = (attack.soft_file_limit(), attack.algorithm());
    let platform = Platform::start(folder.path(), files, algorithm).await?;
    let witness = Witness::start(&platform);
    // The first second is calm. It shows how long a response takes without a flood.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = platform.subject.memory()?;
    let lines_before = platform.subject.log_lines()?;
    let held: Held = attack.begin(&platform).await?;
    let opened = platform.subject.memory()?;
    let time = Duration::from_secs(cli.hold);
    let hold = attack.keep(&platform, held, time).await;
    let peak = platform.subject.peak()?;
    let answered = witness.end().await;
    drop(hold);
    tokio::time::sleep(Duration::from_secs(cli.rest)).await;
    let after = platform.subject.memory()?;
    let alive = subject::livez(platform.subject.health, Duration::from_secs(5)).await;
    let lines = platform.subject.log_lines()? - lines_before;
    Ok(Outcome {
        name: attack.name(),
        what: attack.what(),
        limit: SERVER_LIMIT,
        before,
        opened,
        peak,
        after,
        unread: attack.unread_connections(),
        unread_limit: UNREAD_LIMIT,
        answered,
        alive: alive.is_ok(),
        log_lines: lines,
    })
}
