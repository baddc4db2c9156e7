//! Measures a large installation on a real API server: ten thousand clients and as many tokens, applied at once, and a
//! server with a hundred thousand of each. Run `cargo bench --bench scale`; `--help` lists the sizes.
//!
//! Starts a temporary cluster (see `tests/cluster`) with the built program as operator and as server. Asserts nothing.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and stops when it cannot run"
)]

mod applied;
#[expect(dead_code, unused_imports, reason = "tests use more of it")]
#[path = "../../tests/cluster/harness/mod.rs"]
mod harness;
#[path = "../propagation/issuing.rs"]
mod issuing;
#[path = "../propagation/program.rs"]
mod program;
mod seed;
mod served;
#[expect(dead_code, reason = "the other benchmark measures the crowd itself")]
#[path = "../propagation/world.rs"]
mod world;

use clap::Parser;

use crate::harness::Cluster;
use crate::world::World;

#[derive(Debug, Parser)]
struct Cli {
    /// Number of clients, and of ServiceAccessTokens, to apply at once; 0 for none
    #[arg(long, default_value_t = 10_000)]
    applied: usize,
    /// Number of clients, and of ServiceAccessTokens, to serve, with twice as many Credentials; 0 for none
    #[arg(long, default_value_t = 100_000)]
    served: usize,
    /// Number of tokens to issue beside few and beside many Credentials; 0 for none
    #[arg(long, default_value_t = 1_000)]
    tokens: usize,
    /// Set by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&cli));
}

async fn run(cli: &Cli) {
    if cli.applied > 0 {
        let cluster = Cluster::private();
        let world = World::new(&cluster, 1).await;
        applied::measure(&cluster, &world, cli.applied).await;
    }
    if cli.served > 0 || cli.tokens > 0 {
        let cluster = Cluster::private();
        let world = World::new(&cluster, 1).await;
        program::issue_probe(&cluster, &world).await;
        if cli.tokens > 0 {
            println!("\n# with few Credentials");
            issuing::measure(&cluster, &world, "few", cli.tokens).await;
        }
        served::measure(&cluster, &world, cli.served).await;
        if cli.tokens > 0 && cli.served > 0 {
            println!("\n# with {} Credentials", 2 * cli.served);
            issuing::measure(&cluster, &world, "many", cli.tokens).await;
        }
    }
}

/// A line of `/proc/<pid>/status`, in MiB.
fn memory(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find(|it| it.starts_with(line)).unwrap();
    let kib: f64 = found.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}
