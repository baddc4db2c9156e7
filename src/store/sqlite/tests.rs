//! Opening, closing and reopening a store, and all that must be refused without changing the file.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::task::Poll;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::super::contract::world::holder;
use super::super::statement::Statement;
use super::super::{Fault, Holder, Store};
use super::*;
use crate::shares::caller;

const NOW: &str = "2026-01-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

async fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, Duration::ZERO).await
}

/// Creates a store, binds it and closes it.
async fn made(path: &Path) {
    let store = open(path).await.unwrap();
    store.bind(&holder("https://a"), now()).await.unwrap();
    store.close().await.unwrap();
}

async fn run(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(&mut connection).await.unwrap();
    // A connection that is still closing can keep the log from being moved into the file.
    loop {
        let checkpoint = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)");
        let (is_busy, ..): (i64, i64, i64) = checkpoint.fetch_one(&mut connection).await.unwrap();
        if is_busy == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    connection.close().await.unwrap();
}

/// A volume may be open to other users, and a restored backup may have another umask.
#[tokio::test]
async fn only_its_owner_can_read_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    let modes = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mode = |file: std::fs::DirEntry| file.metadata().unwrap().permissions().mode() & 0o777;
        files.map(|file| mode(file.unwrap())).collect::<Vec<_>>()
    };
    let store = open(&path).await.unwrap();
    store.bind(&holder("https://a"), now()).await.unwrap();
    // The file, its log, the log's index, and the lock.
    assert_eq!(modes(), [0o600; 4]);
    store.close().await.unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).await.unwrap();
    assert_eq!(modes(), [0o600; 4]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn data_remains_when_the_store_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    made(&path).await;
    for uid in ["1", "2"] {
        let store = open(&path).await.unwrap();
        let same_issuer = Holder {
            uid: uid.to_owned(),
            ..holder("https://a")
        };
        store.bind(&same_issuer, now()).await.unwrap();
        store.probe(now()).await.unwrap();
        assert!(store.size() > 0);
        let created = store
            .ask("SELECT created_at FROM store")
            .await
            .unwrap()
            .text(0)
            .unwrap();
        assert_eq!(created, NOW);
        let known = store
            .ask("SELECT uid FROM store")
            .await
            .unwrap()
            .text(0)
            .unwrap();
        assert_eq!(known, uid, "a recreated Identity keeps its store");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("symbolon.db")).await.unwrap();
    let journal = store
        .ask("PRAGMA journal_mode")
        .await
        .unwrap()
        .text(0)
        .unwrap();
    let synchronous = store
        .ask("PRAGMA synchronous")
        .await
        .unwrap()
        .int(0)
        .unwrap();
    let foreign_keys = store
        .ask("PRAGMA foreign_keys")
        .await
        .unwrap()
        .int(0)
        .unwrap();
    assert_eq!((&*journal, synchronous, foreign_keys), ("wal", 2, 1));
}

#[tokio::test]
async fn the_store_of_another_issuer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    made(&path).await;
    let store = open(&path).await.unwrap();
    let refused = store.bind(&holder("https://b"), now()).await;
    let words = refused.unwrap_err().to_string();
    assert!(
        words.contains("https://a") && words.contains("https://b"),
        "{words}"
    );
    let known = store
        .ask("SELECT issuer FROM store")
        .await
        .unwrap()
        .text(0)
        .unwrap();
    assert_eq!(known, "https://a");
}

#[tokio::test]
async fn newer_foreign_and_damaged_files_are_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.db");
    made(&newer).await;
    run(
        &newer,
        "INSERT INTO _sqlx_migrations VALUES (99, 'later', CURRENT_TIMESTAMP, 1, x'00', 0)",
    )
    .await;
    let strange = folder.path().join("strange.db");
    run(&strange, "CREATE TABLE songs (name TEXT)").await;
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "no database at all, but long enough to be taken for one ".repeat(99),
    )
    .unwrap();
    let damaged = folder.path().join("damaged.db");
    made(&damaged).await;
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&damaged, bytes).unwrap();

    for (path, expected) in [
        (newer, "newer release"),
        (strange, "not a store"),
        (text, "damaged"),
        (damaged, "damaged"),
    ] {
        let before = std::fs::read(&path).unwrap();
        let words = open(&path).await.err().map(|error| error.to_string());
        let words = words.unwrap_or_default();
        assert!(words.contains(expected), "{}: {words}", path.display());
        assert!(
            std::fs::read(&path).unwrap() == before,
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn a_second_process_waits_until_the_first_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    let first = open(&path).await.unwrap();
    assert!(matches!(open(&path).await, Err(StoreError::Held(_))));
    let waiting = tokio::spawn({
        let path = path.clone();
        async move { Store::open(&path, Duration::from_secs(30)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.close().await.unwrap();
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_read_only_volume_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    made(&path).await;
    let store = open(&path).await.unwrap();
    // Makes writes fail, as on a read-only volume.
    store.all("PRAGMA query_only = 1").await.unwrap();
    let refused = store.probe(now()).await.unwrap_err();
    assert_eq!(refused.fault(), Fault::ReadOnly, "{refused}");
    let absent = open(&folder.path().join("nowhere/symbolon.db")).await;
    assert!(matches!(absent, Err(StoreError::File { .. })));
}

#[tokio::test]
async fn opening_a_fifo_or_a_device_fails_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, in_the_way) in [("a.db", "a.db"), ("b.db", "b.db.lock")] {
        let fifo = folder.path().join(in_the_way);
        // Do not use a program for this: a forked child would hold the locks of tests that run in parallel until it
        // executes.
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        let refused = open(&folder.path().join(name)).await.err();
        assert!(matches!(refused, Some(StoreError::File { .. })), "{name}");
    }
    let device = folder.path().join("c.db");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    let refused = open(&device).await.err();
    assert!(matches!(refused, Some(StoreError::File { .. })));
}

#[tokio::test]
async fn a_store_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    for (name, link) in [("a.db", "a.db"), ("b.db", "b.db.lock")] {
        let outside = folder.path().join(format!("outside of {name}"));
        std::os::unix::fs::symlink(&outside, folder.path().join(link)).unwrap();
        let refused = open(&folder.path().join(name)).await.err().unwrap();
        let told = format!("{:#}", anyhow::Error::from(refused));
        assert!(told.contains("it is a link"), "{told}");
        assert!(!outside.exists(), "{name}");
    }
    let file = folder.path().join("of another");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&file, folder.path().join("c.db")).unwrap();
    assert!(open(&folder.path().join("c.db")).await.is_err());
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(
        (metadata.len(), metadata.permissions().mode() & 0o777),
        (0, 0o644)
    );
}

/// A release without people's data created such a file.
#[tokio::test]
async fn an_older_file_gets_the_tables_and_can_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    made(&path).await;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('store', '_sqlx_migrations')";
    let store = open(&path).await.unwrap();
    let names = store.all(tables).await.unwrap();
    store.close().await.unwrap();
    let drops: Vec<_> = names
        .iter()
        .map(|row| format!("DROP TABLE {};", row.text(0).unwrap()))
        .collect();
    let sql = format!(
        "PRAGMA foreign_keys = 0; PRAGMA auto_vacuum = NONE; {} DELETE FROM _sqlx_migrations WHERE version > 1; VACUUM",
        drops.concat()
    );
    run(&path, &sql).await;

    let store = open(&path).await.unwrap();
    let mode = store.ask("PRAGMA auto_vacuum").await.unwrap();
    assert_eq!(mode.int(0).unwrap(), 2, "incremental");
    assert_eq!(store.all(tables).await.unwrap().len(), names.len());
    let issuer = store.ask("SELECT issuer FROM store").await.unwrap();
    assert_eq!(issuer.text(0).unwrap(), "https://a");
}

#[tokio::test]
async fn a_new_file_can_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("symbolon.db")).await.unwrap();
    let mode = store.ask("PRAGMA auto_vacuum").await.unwrap();
    assert_eq!(mode.int(0).unwrap(), 2, "incremental");
}

#[tokio::test]
async fn a_closed_store_refuses_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("symbolon.db")).await.unwrap();
    let clone = store.clone();
    store.close().await.unwrap();
    let refused = clone.probe(now()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Closed), "{refused}");
}

/// Holds every reader until the returned senders are used or dropped.
async fn hold_readers(store: &Store) -> Vec<tokio::sync::oneshot::Sender<()>> {
    let mut held = Vec::new();
    for _ in 0..READERS {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, is_released) = tokio::sync::oneshot::channel::<()>();
        let own = store.clone();
        tokio::spawn(async move {
            let read = own.read(move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    is_released.await.unwrap_or_default();
                    Ok(())
                })
            });
            read.await
        });
        has_begun.await.unwrap();
        held.push(release);
    }
    held
}

fn issuer(
    store: &Store,
    caller: Option<Caller>,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<String>, StoreError>> + Send>> {
    let store = store.for_caller(caller);
    Box::pin(async move {
        let row = store.find(Statement::STORE_READ, []).await?;
        row.map(|row| row.text(0)).transpose()
    })
}

/// Reads without a bound would take all places of the server, and those of a few callers all places of the line.
#[tokio::test]
async fn reads_that_wait_are_bounded_and_a_few_callers_do_not_take_all_places() {
    let folder = tempfile::tempdir().unwrap();
    let store = patient(&folder.path().join("symbolon.db"), Duration::from_mins(5)).await;
    store.bind(&holder("https://a"), now()).await.unwrap();
    let held = hold_readers(&store).await;
    let mut waiting = Vec::new();
    for number in 0..600 {
        let mut read = issuer(&store, Some(caller(if number % 2 == 0 { 1 } else { 2 }, 1)));
        let polled = futures::poll!(&mut read);
        match polled {
            Poll::Pending => waiting.push(read),
            Poll::Ready(Err(StoreError::Busy)) => {}
            Poll::Ready(read) => panic!("{read:?}"),
        }
    }
    assert!(waiting.len() <= WAITING / 2 + 2, "{}", waiting.len());
    let mut other = issuer(&store, Some(caller(3, 1)));
    assert!(futures::poll!(&mut other).is_pending());
    waiting.push(other);
    drop(held);
    // All together: the pool gives a connection to the one that has waited for longest.
    for read in futures::future::join_all(waiting).await {
        assert_eq!(read.unwrap().as_deref(), Some("https://a"));
    }
    let held = hold_readers(&store).await;
    let mut waiting: Vec<_> = (0..WAITING + 10).map(|_| issuer(&store, None)).collect();
    let mut refused = 0;
    for read in &mut waiting {
        let read = futures::poll!(read);
        refused += usize::from(matches!(read, Poll::Ready(Err(StoreError::Busy))));
    }
    assert_eq!(refused, 10);
    drop(held);
}

/// The writer's queue is one for all callers, too.
#[tokio::test]
async fn a_few_callers_do_not_take_all_places_before_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("symbolon.db")).await.unwrap();
    store.bind(&holder("https://a"), now()).await.unwrap();
    let probe = |site: u8| {
        let store = store.for_caller(Some(caller(site, 1)));
        Box::pin(async move { store.probe(now()).await })
    };
    let mut waiting = Vec::new();
    for number in 0..1200 {
        let mut writes = probe(if number % 2 == 0 { 1 } else { 2 });
        let polled = futures::poll!(&mut writes);
        match polled {
            // Its place is taken although no one waits for it any more.
            Poll::Pending => waiting.push(writes),
            Poll::Ready(Err(StoreError::Busy)) => {}
            Poll::Ready(written) => panic!("{written:?}"),
        }
    }
    assert_eq!(waiting.len(), 512);
    drop(waiting);
    let mut again = probe(1);
    assert!(matches!(
        futures::poll!(&mut again),
        Poll::Ready(Err(StoreError::Busy))
    ));
    probe(3).await.unwrap();
    probe(1).await.unwrap();
}

/// A statement on a slow disk would otherwise keep its request for ever.
#[tokio::test]
async fn a_read_that_takes_too_long_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = patient(
        &folder.path().join("symbolon.db"),
        Duration::from_millis(20),
    )
    .await;
    let read = store.read(|_| -> futures::future::BoxFuture<'_, Result<(), _>> {
        Box::pin(std::future::pending())
    });
    assert!(matches!(read.await, Err(StoreError::Slow(_))));
}

/// Opens a store whose reads may take this long. They wait long for a connection: the machine may be busy.
async fn patient(path: &Path, patience: Duration) -> Store {
    let limits = (Duration::from_mins(1), patience);
    let opened = Sqlite::open_with(path, Duration::ZERO, limits).await;
    Store::over(opened.unwrap())
}
