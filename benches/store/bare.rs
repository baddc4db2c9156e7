//! The two statements of a refresh by the driver alone, which is the limit that the store cannot pass.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};
use tokio_postgres::NoTls;

/// The table's names are unqualified; PostgreSQL finds them by its search path.
const READ: &str = "SELECT a.id, a.owner, a.created_at, a.valid_after, a.epoch, s.ended_at, g.id, g.epoch, g.session, \
    g.ends_with, g.client, g.client_uid, g.scopes, g.resources, g.created_at, g.expires_at, g.ended_at, r.id, r.hash, \
    r.generation, r.key_id, r.created_at, r.used_at, r.rotated_at, r.ended_at FROM refresh AS r \
    JOIN grants AS g ON g.id = r.grant_id JOIN account AS a ON a.id = g.account JOIN session AS s ON s.id = g.session \
    WHERE r.id = $1";
const ROTATE: &str = "UPDATE refresh SET hash = $3, generation = $4, key_id = $5, rotated_at = $6, used_at = $7 \
    WHERE id = $1 AND hash = $2 AND ended_at IS NULL RETURNING id";
const ROWS: &str = "INSERT INTO account VALUES (x'00', 'owner', 0, 0, 0); \
    INSERT INTO session VALUES ('s', x'00', x'00', 0, 0, 0, 0, 'pwd', 1, NULL, 0); \
    INSERT INTO grants VALUES ('g', x'00', 0, 's', 1, 'shop', '1', 'openid offline_access', '', 0, 1, NULL);";

/// Refreshes each family in turn, one transaction for each, since SQLite has one writer.
async fn sqlite(
    connection: &mut SqliteConnection,
    rows: Vec<(String, Vec<u8>)>,
    time: Duration,
) -> u64 {
    let (mut count, began) = (0, Instant::now());
    let mut rows = rows;
    while began.elapsed() < time {
        for (id, hash) in &mut rows {
            let read = sqlx::query(READ).bind(&*id).fetch_all(&mut *connection);
            assert_eq!(read.await.expect("a row").len(), 1);
            let begin = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection);
            begin.await.expect("a transaction");
            let mut next = hash.clone();
            next[..8].copy_from_slice(&u64::to_be_bytes(count + 1));
            let rotated = sqlx::query(ROTATE)
                .bind(&*id)
                .bind(&*hash)
                .bind(&next)
                .bind(1_i64)
                .bind(1_i64)
                .bind(1_i64)
                .bind(1_i64)
                .fetch_all(&mut *connection);
            assert_eq!(rotated.await.expect("an update").len(), 1);
            let commit = sqlx::query("COMMIT").execute(&mut *connection);
            commit.await.expect("a commit");
            *hash = next;
            count += 1;
        }
    }
    count
}

/// In memory, with this many families.
pub async fn memory(families: usize, time: Duration) -> u64 {
    let options = SqliteConnectOptions::new().in_memory(true);
    let options = options.foreign_keys(true).disable_statement_logging();
    let mut connection = options.connect().await.expect("a database");
    for sql in [include_str!("../../src/store/0002_people.sql"), ROWS] {
        let run = sqlx::raw_sql(sql).execute(&mut connection);
        run.await.expect("the tables");
    }
    let mut rows = Vec::new();
    for number in 0..families {
        let id = format!("family{number}");
        let insert =
            sqlx::query("INSERT INTO refresh VALUES ($1, 'g', $2, 0, 1, 0, 0, 0, NULL, 1)");
        let insert = insert.bind(id.clone()).bind(vec![0; 32]);
        insert.execute(&mut connection).await.expect("a family");
        rows.push((id, vec![0; 32]));
    }
    sqlite(&mut connection, rows, time).await
}

/// In the file of a store that is closed, with these families.
pub async fn file(path: &Path, rows: Vec<(String, Vec<u8>)>, time: Duration) -> u64 {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging();
    let mut connection = options.connect().await.expect("the file");
    sqlite(&mut connection, rows, time).await
}

async fn connect(url: &str, schema: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL");
    tokio::spawn(connection);
    let path = format!("SET search_path = {schema}");
    client.batch_execute(&path).await.expect("the schema");
    client
}

/// In PostgreSQL, with a connection for each family.
pub async fn postgres(
    url: &str,
    schema: &str,
    rows: Vec<(String, Vec<u8>)>,
    time: Duration,
) -> u64 {
    let mut tasks = Vec::new();
    for (id, mut hash) in rows {
        let client = connect(url, schema).await;
        tasks.push(tokio::spawn(async move {
            let read = client.prepare(READ).await.expect("a statement");
            let rotate = client.prepare(ROTATE).await.expect("a statement");
            let (mut count, began) = (0_u64, Instant::now());
            while began.elapsed() < time {
                let found = client.query(&read, &[&id]).await.expect("a row");
                assert_eq!(found.len(), 1);
                let mut next = hash.clone();
                next[..8].copy_from_slice(&u64::to_be_bytes(count + 1));
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                    [&id, &hash, &next, &1_i64, &1_i64, &1_i64, &1_i64];
                let rotated = client.query(&rotate, &values).await.expect("an update");
                assert_eq!(rotated.len(), 1);
                hash = next;
                count += 1;
            }
            count
        }));
    }
    let done = join_all(tasks).await;
    done.into_iter().map(|count| count.expect("a task")).sum()
}

/// Runs `work` beside a transaction that sees the present rows, so that no vacuum can remove them.
pub async fn hold_snapshot(url: &str, schema: &str, work: impl Future<Output = ()>) {
    let client = connect(url, schema).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM once";
    client.batch_execute(begin).await.expect("a transaction");
    work.await;
    client.batch_execute("ROLLBACK").await.expect("its end");
}

pub async fn drop_schema(url: &str, schema: &str) {
    let client = connect(url, schema).await;
    let drop = format!("DROP SCHEMA {schema} CASCADE");
    client.batch_execute(&drop).await.expect("it is dropped");
}
