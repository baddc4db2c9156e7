//! A store with very many sessions, each with a grant and a family of refresh tokens: size, opening, the steps of a
//! migration, refreshes, and the deletion of everything.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::Either;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};
use symbolon::store::{Cleaned, Store};
use tokio_postgres::Client;

use crate::driver::{self, Driver};
use crate::refresh::{Row, after, by_driver, by_store, families};
use crate::{CONNECTIONS, Cli, connected, heading, print};

const SQLITE: &str = include_str!("fill.sqlite.sql");
const POSTGRES: &str = include_str!("fill.postgres.sql");
/// A migration adds columns, which rewrites nothing, and indexes, which read and sort every row.
const COLUMN: &str = "ALTER TABLE ~refresh ADD COLUMN bench BIGINT NOT NULL DEFAULT 0";
const INDEX: &str = "CREATE INDEX bench_index ON ~refresh (used_at, id)";
/// The number of families that are refreshed in turn, of those that are there.
const SAMPLE: usize = 10_000;
const PARALLEL: usize = 8;
/// Nothing takes longer.
const MOST: Duration = Duration::from_mins(20);
const DAY: i64 = 86_400;

/// Measures a SQLite file.
pub async fn sqlite(cli: &Cli, rows: u32, folder: &Path) {
    println!("\nSQLite, {rows} sessions, grants and families");
    let path = folder.join("filled.db");
    open(&path).await.close().await.expect("it closes");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("cache_size", "-400000");
    let mut connection = options.connect().await.expect("the file");
    let sql = SQLITE.replace("ROWS", &rows.to_string());
    let filled = timed("filled without waiting for the disk", async {
        driver::run(&mut connection, &sql).await;
        driver::run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    });
    filled.await;
    size("file", file_size(&path));
    for (what, sql) in [
        ("a migration adds a column", COLUMN),
        ("a migration adds an index", INDEX),
    ] {
        let sql = sql.replace('~', "").replace("BIGINT", "INTEGER");
        undone(&mut connection, what, &sql).await;
    }
    drop(connection);
    let store = timed("opened, with the check of every page", open(&path)).await;
    let driver = Driver::file(&path).await;
    refreshes(cli, rows, &store, driver).await;
    deletion(&store).await;
    store.close().await.expect("it closes");
    size("file after the deletion", file_size(&path));
}

async fn open(path: &Path) -> Store {
    Store::open(path, Duration::ZERO).await.expect("a store")
}

fn file_size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("the file").len()
}

/// Executes a statement in a transaction that is rolled back.
async fn undone(connection: &mut SqliteConnection, what: &str, sql: &str) {
    driver::run(connection, "BEGIN").await;
    timed(what, driver::run(connection, sql)).await;
    driver::run(connection, "ROLLBACK").await;
}

/// Measures a schema of PostgreSQL.
pub async fn postgres(cli: &Cli, rows: u32, url: &str) {
    println!("\nPostgreSQL, {rows} sessions, grants and families");
    let schema = "bench_filled";
    let created = connected(url, schema).await;
    created.close().await.expect("it closes");
    let client = driver::connect(url).await;
    let sql = POSTGRES.replace("ROWS", &rows.to_string());
    let sql = format!("SET search_path = {schema}; {sql}");
    timed("filled", batch(&client, &sql)).await;
    size("tables and indexes", tables_size(&client, schema).await);
    for (what, sql) in [
        ("a migration adds a column", COLUMN),
        ("a migration adds an index", INDEX),
    ] {
        batch(&client, "BEGIN").await;
        timed(what, batch(&client, &sql.replace('~', ""))).await;
        batch(&client, "ROLLBACK").await;
    }
    let store = timed("opened", connected(url, schema)).await;
    let driver = Driver::postgres(url, schema, CONNECTIONS).await;
    refreshes(cli, rows, &store, driver).await;
    let snapshot = driver::connect(url).await;
    if cli.hold_snapshot {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
        batch(&snapshot, begin).await;
    }
    deletion(&store).await;
    drop(snapshot);
    store.close().await.expect("it closes");
    size(
        "tables and indexes after the deletion",
        tables_size(&client, schema).await,
    );
    // Autovacuum does the same within minutes.
    timed("VACUUM", batch(&client, "VACUUM")).await;
    let left = tables_size(&client, schema).await;
    size("tables and indexes after that", left);
    batch(&client, &format!("DROP SCHEMA {schema} CASCADE")).await;
}

async fn batch(client: &Client, sql: &str) {
    let done = client.batch_execute(sql).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn tables_size(client: &Client, schema: &str) -> u64 {
    let sql = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c \
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')";
    let row = client.query_one(sql, &[&schema]).await.expect("a size");
    row.get::<_, i64>(0).unsigned_abs()
}

/// Runs a step and prints how long it took.
async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = tokio::time::timeout(MOST, work).await;
    let done = done.unwrap_or_else(|_| panic!("{what}: not within {MOST:?}"));
    println!("{what:52} {:10.3} s", began.elapsed().as_secs_f64());
    done
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files")]
fn size(what: &str, bytes: u64) {
    println!("{what:52} {:10.1} MiB", bytes as f64 / 1024.0 / 1024.0);
}

/// Refreshes families that are spread over the tables, by the store and by the driver in turns.
async fn refreshes(cli: &Cli, rows: u32, store: &Store, driver: Driver) {
    let count = SAMPLE.min(rows as usize / 10).max(PARALLEL);
    let mut tokens = families(store, count).await;
    let mut others: Vec<Row> = families(store, count).await.iter().map(Row::from).collect();
    let (driver, mut rounds) = (Arc::new(driver), Vec::new());
    println!("refreshes in a second, of {count} families in turn");
    for _ in 0..cli.rounds {
        let own = by_store(store, &mut tokens, PARALLEL, cli.time()).await;
        let bare = by_driver(&driver, &mut others, PARALLEL, cli.time()).await;
        rounds.push((own, bare));
    }
    heading();
    print("", PARALLEL, &rounds);
}

/// Deletes expired rows as the server does: first while only the sessions have expired, then while everything has.
async fn deletion(store: &Store) {
    let look = timed(
        "one look, all sessions expired and no grant",
        store.delete_expired(after(30 * DAY)),
    );
    let kept = look.await.expect("a look");
    println!(
        "{:52} {:10}",
        "  rows that it deleted, of the measurement", kept.rows
    );
    let began = Instant::now();
    let cleaned = timed(
        "deleted, with the server's pauses",
        cleaned(store, after(100 * DAY)),
    );
    let cleaned = cleaned.await;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = cleaned.rows as f64 / began.elapsed().as_secs_f64();
    println!(
        "{:52} {:10}   ({rate:.0} in a second)",
        "  rows", cleaned.rows
    );
    let left = cleaned.overdue.iter().filter(|it| !it.age.is_zero());
    assert_eq!(left.count(), 0, "expired rows are left: {cleaned:?}");
}

/// Runs the server's deletion until it finds no more expired rows.
async fn cleaned(store: &Store, now: Timestamp) -> Cleaned {
    let (told, done) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let tell = |cleaned| {
        if let Some(told) = told.take() {
            // The receiver waits below.
            let _ = told.send(cleaned);
        }
    };
    let cleaning = std::pin::pin!(store.keep_clean(|| now, tell));
    match futures::future::select(done, cleaning).await {
        Either::Left((cleaned, _)) => cleaned.expect("a look").expect("a deletion"),
        Either::Right(_) => unreachable!("it never ends"),
    }
}
