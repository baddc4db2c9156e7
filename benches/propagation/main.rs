//! Measures how soon a server on a real API server answers according to a write, and how fast the operator issues, each
//! beside the bare limit of the API server in the same run. Run `cargo bench --bench propagation`.
//!
//! Starts a temporary cluster (see `tests/cluster`) with the built program as operator and as server, and creates many
//! clients that do nothing. It asserts nothing.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and stops when it cannot run"
)]

#[expect(dead_code, unused_imports, reason = "tests use more of it")]
#[path = "../../tests/cluster/harness/mod.rs"]
mod harness;
#[expect(dead_code, reason = "the benchmark `scale` uses more of it")]
mod issuing;
#[expect(dead_code, reason = "the benchmark `scale` uses more of it")]
mod program;
mod reading;
#[expect(dead_code, reason = "the benchmark `scale` uses more of it")]
mod world;

use std::time::Duration;

use clap::Parser;

use crate::harness::Cluster;
use crate::world::World;

#[derive(Debug, Parser)]
struct Cli {
    /// Number of clients that do nothing
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Number of measured writes, in each state
    #[arg(long, default_value_t = 300)]
    writes: usize,
    /// Number of other writes per second, in the second state
    #[arg(long, default_value_t = 200)]
    noise: u32,
    /// Number of ServiceAccessTokens to issue
    #[arg(long, default_value_t = 400)]
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
    let cluster = Cluster::private();
    eprintln!("creating {} clients …", cli.clients);
    let world = World::new(&cluster, cli.clients).await;
    program::issue_probe(&cluster, &world).await;
    let server = program::server(&cluster, &world).await;
    println!(
        "from the API server's reply until the response, milliseconds  server p50    p99   watch p50    p99"
    );
    reading::measure(&world, &server, cli.writes, None)
        .await
        .print("idle");
    let noise = Some(Duration::from_secs(1) / cli.noise);
    let noisy = reading::measure(&world, &server, cli.writes, noise).await;
    noisy.print(&format!("at {:.0} other writes a second", noisy.others));
    drop(server);
    issuing::measure(&cluster, &world, "only", cli.tokens).await;
}
