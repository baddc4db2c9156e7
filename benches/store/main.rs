//! Measures a refresh by the store beside its bare limit, the same two statements by the same driver: in memory, in a
//! SQLite file, and in PostgreSQL. With `--rows` it fills each database with that many sessions, grants and families of
//! refresh tokens first, and measures refreshes, sizes, opening and the deletion of all of them.
//!
//! Run `just bench-store`, or `just bench-store --help`. `SYMBOLON_TEST_POSTGRES` names another PostgreSQL by its URL;
//! otherwise the one of the tests is started, which does not wait for the disk.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints its results, and stops if it cannot run"
)]

#[expect(dead_code, reason = "the benchmark `load` uses all of it")]
mod driver;
mod filled;
#[expect(dead_code, reason = "the benchmark `load` uses all of it")]
mod postgres;
mod refresh;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use symbolon::store::{ConnectionLimits, Settings, Store};

use crate::driver::Driver;
use crate::postgres::Postgres;
use crate::refresh::{Row, by_driver, by_store, families};

#[derive(Debug, Parser)]
struct Cli {
    /// Fill each database with this many sessions, grants and families first, and measure that
    #[arg(long)]
    rows: Option<u32>,
    /// Delete the rows in PostgreSQL beside a transaction that can see them, so that no vacuum can remove them
    #[arg(long)]
    hold_snapshot: bool,
    /// Use only this database
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// Number of pairs of measurements
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Duration of each measurement in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Set by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Cli {
    fn uses(&self, engine: Engine) -> bool {
        self.engine.is_none_or(|only| only == engine)
    }

    const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Memory,
    Sqlite,
    Postgres,
}

/// How many connections each side has to PostgreSQL.
const CONNECTIONS: usize = 8;

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    let folder = tempfile::tempdir().expect("a folder");
    let server = cli.uses(Engine::Postgres).then(Postgres::start);
    if let Some(rows) = cli.rows {
        if cli.uses(Engine::Sqlite) {
            filled::sqlite(&cli, rows, folder.path()).await;
        }
        if let Some(server) = &server {
            filled::postgres(&cli, rows, &server.url).await;
        }
        return;
    }
    println!("refreshes in a second (medians; least and greatest ratio in brackets)");
    heading();
    for parallel in [1, 8] {
        if cli.uses(Engine::Memory) {
            memory(&cli, parallel, folder.path()).await;
        }
        if cli.uses(Engine::Sqlite) {
            sqlite(&cli, parallel, folder.path()).await;
        }
        if let Some(server) = &server {
            postgres(&cli, parallel, &server.url).await;
        }
    }
}

fn heading() {
    println!(
        "{:10} {:>8} {:>12} {:>12} {:>9}",
        "", "parallel", "store", "bare driver", "ratio"
    );
}

async fn memory(cli: &Cli, parallel: usize, folder: &Path) {
    let store = Store::in_memory().await.expect("a store");
    let path = folder.join(format!("copied-{parallel}.db"));
    let rows = closed(&path, parallel).await;
    let driver = Driver::memory(&path).await;
    pairs(cli, "memory", parallel, &store, driver, rows).await;
}

async fn sqlite(cli: &Cli, parallel: usize, folder: &Path) {
    let path = folder.join(format!("store-{parallel}.db"));
    let store = Store::open(&path, Duration::ZERO).await.expect("a store");
    let path = folder.join(format!("bare-{parallel}.db"));
    let rows = closed(&path, parallel).await;
    let driver = Driver::file(&path).await;
    pairs(cli, "SQLite", parallel, &store, driver, rows).await;
    store.close().await.expect("it closes");
}

async fn postgres(cli: &Cli, parallel: usize, url: &str) {
    let own = connected(url, &format!("bench_store_{parallel}")).await;
    let schema = format!("bench_bare_{parallel}");
    let other = connected(url, &schema).await;
    let rows = families(&other, parallel).await;
    other.close().await.expect("it closes");
    let driver = Driver::postgres(url, &schema, CONNECTIONS).await;
    let rows = rows.iter().map(Row::from).collect();
    pairs(cli, "PostgreSQL", parallel, &own, driver, rows).await;
    own.close().await.expect("it closes");
    let client = driver::connect(url).await;
    let drop = format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA bench_store_{parallel} CASCADE");
    client.batch_execute(&drop).await.expect("they are dropped");
}

/// Begins families in a new file, and closes it.
async fn closed(path: &Path, count: usize) -> Vec<Row> {
    let store = Store::open(path, Duration::ZERO).await.expect("a store");
    let rows = families(&store, count).await;
    store.close().await.expect("it closes");
    rows.iter().map(Row::from).collect()
}

async fn connected(url: &str, schema: &str) -> Store {
    let limits = ConnectionLimits {
        connections: CONNECTIONS,
        ..ConnectionLimits::default()
    };
    let settings = Settings::new(url, schema, limits).expect("settings");
    Store::connect(settings).await.expect("a store")
}

/// Measures both in turns, each with as many families as tasks.
async fn pairs(
    cli: &Cli,
    what: &str,
    parallel: usize,
    store: &Store,
    driver: Driver,
    mut rows: Vec<Row>,
) {
    let mut tokens = families(store, parallel).await;
    let (driver, time) = (Arc::new(driver), cli.time());
    let warm = Duration::from_millis(200);
    by_store(store, &mut tokens, parallel, warm).await;
    by_driver(&driver, &mut rows, parallel, warm).await;
    let mut rounds = Vec::new();
    for round in 0..cli.rounds {
        let bare = async |rows: &mut Vec<Row>| by_driver(&driver, rows, parallel, time).await;
        // Alternate, so that neither side is always the second.
        let before = if round % 2 == 0 {
            None
        } else {
            Some(bare(&mut rows).await)
        };
        let own = by_store(store, &mut tokens, parallel, time).await;
        let bare = match before {
            Some(bare) => bare,
            None => bare(&mut rows).await,
        };
        rounds.push((own, bare));
    }
    print(what, parallel, &rounds);
}

fn print(what: &str, parallel: usize, rounds: &[(f64, f64)]) {
    let mut ratios: Vec<f64> = rounds.iter().map(|(own, bare)| own / bare).collect();
    ratios.sort_by(f64::total_cmp);
    let [least, ratio, most] = [0, ratios.len() / 2, ratios.len() - 1].map(|at| ratios[at] * 100.0);
    println!(
        "{what:10} {parallel:8} {:12.0} {:12.0} {ratio:7.0} %  ({least:.0} to {most:.0})",
        median(rounds.iter().map(|(own, _)| *own)),
        median(rounds.iter().map(|(_, bare)| *bare)),
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
