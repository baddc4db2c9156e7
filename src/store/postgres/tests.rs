//! Connecting to a real PostgreSQL: TLS, changed URLs, limits of time, clocks.

use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::super::contract::world::holder;
use super::super::statement::Statement;
use super::super::testing::{PostgresServer, few, new_schema_name, postgres_url};
use super::super::{Location, Outcome, Store};
use super::*;
use crate::shares::caller;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A server with TLS whose certificate, for `localhost`, is of the CA in `ca.crt`. The CA in `other.crt` has issued
/// nothing.
struct Server {
    folder: TempDir,
    postgres: PostgresServer,
    port: u16,
}

fn write_ca(path: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let issuer = write_ca(&path("ca.crt"));
        write_ca(&path("other.crt"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(path("server.crt"), certificate.pem()).unwrap();
        std::fs::write(path("server.key"), key.serialize_pem()).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let text = port.to_string();
        let postgres = PostgresServer::start(&[folder.path().as_os_str(), text.as_ref()]);
        Self {
            folder,
            postgres,
            port,
        }
    }

    async fn connect(&self, user: &str, host: &str, query: &str) -> Result<Store, StoreError> {
        let folder = self.folder.path().display().to_string();
        let query = query.replace("CA", &format!("{folder}/ca.crt"));
        let query = query.replace("OTHER", &format!("{folder}/other.crt"));
        let url = format!("postgres://{user}@{host}:{}/postgres?{query}", self.port);
        let settings = Settings::new(&url, "symbolon", few(2)).unwrap();
        Store::at(Location::Postgres(settings)).await
    }
}

const IS_ENCRYPTED: &str = "SELECT CAST(ssl AS BIGINT) FROM (SELECT CASE WHEN ssl THEN 1 ELSE 0 END AS ssl \
    FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS mine";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_encrypts_and_verifies_as_in_libpq() {
    let server = Server::start();
    for (query, host, encrypted) in [
        ("sslmode=disable", "127.0.0.1", Some(0)),
        ("sslmode=prefer", "127.0.0.1", Some(1)),
        ("", "127.0.0.1", Some(1)),
        ("sslmode=require", "127.0.0.1", Some(1)),
        ("sslmode=require&sslrootcert=CA", "127.0.0.1", Some(1)),
        ("sslmode=require&sslrootcert=OTHER", "127.0.0.1", None),
        ("sslmode=prefer&sslrootcert=OTHER", "127.0.0.1", None),
        ("sslmode=verify-ca&sslrootcert=CA", "127.0.0.1", Some(1)),
        ("sslmode=verify-ca&sslrootcert=OTHER", "127.0.0.1", None),
        ("sslmode=verify-full&sslrootcert=CA", "localhost", Some(1)),
        ("sslmode=verify-full&sslrootcert=CA", "127.0.0.1", None),
        ("sslmode=verify-full&sslrootcert=OTHER", "localhost", None),
    ] {
        let place = format!("{query} to {host}");
        match (server.connect("symbolon", host, query).await, encrypted) {
            (Ok(store), Some(expected)) => {
                let found = store.ask(IS_ENCRYPTED).await.unwrap().int(0).unwrap();
                assert_eq!(found, expected, "{place}");
            }
            (Err(error), None) => {
                let words = error.to_string();
                assert!(words.contains("certificate"), "{place}: {words}");
            }
            (connected, _) => panic!("{place}: {:?}", connected.err()),
        }
    }
    let absent = server.connect(
        "symbolon",
        "localhost",
        "sslmode=verify-full&sslrootcert=/absent.crt",
    );
    let words = absent.await.err().unwrap().to_string();
    assert!(words.contains("/absent.crt"), "{words}");
    let no_certificate = server.connect(
        "symbolon",
        "localhost",
        "sslmode=verify-full&sslrootcert=/etc/hostname",
    );
    assert!(matches!(
        no_certificate.await.err(),
        Some(StoreError::Tls(_))
    ));

    // A user who needs TLS and a password.
    let local = Settings::new(&server.postgres.url, "symbolon", few(1)).unwrap();
    let local = Store::connect(local).await.unwrap();
    local
        .all("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'good'")
        .await
        .unwrap();
    for (user, query, is_good) in [
        ("app:good", "sslmode=verify-full&sslrootcert=CA", true),
        ("app:bad", "sslmode=verify-full&sslrootcert=CA", false),
        ("app:good", "sslmode=disable", false),
    ] {
        let connected = server.connect(user, "localhost", query).await;
        assert_eq!(
            connected.is_ok(),
            is_good,
            "{user} {query}: {:?}",
            connected.err()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_beside_the_url_is_verified_and_followed() {
    let server = Server::start();
    let path = |name| server.folder.path().join(name);
    let read = |name| std::fs::read_to_string(path(name)).unwrap();
    let url = format!(
        "postgres://symbolon@localhost:{}/postgres?connect_timeout=60",
        server.port
    );
    std::fs::write(path("url"), url).unwrap();
    let settings = Settings::from_file(&path("url"), "symbolon", few(2)).unwrap();
    let settings = settings.with_ca(Some(path("given.crt")));
    for (given, says) in [(None, "given.crt"), (Some("other.crt"), "certificate")] {
        if let Some(given) = given {
            std::fs::write(path("given.crt"), read(given)).unwrap();
        }
        let refused = Store::connect(settings.clone()).await.err().unwrap();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    std::fs::write(path("given.crt"), read("ca.crt")).unwrap();
    let store = Store::connect(settings).await.unwrap();
    store.bind(&holder("https://a"), NOW).await.unwrap();
    let is_encrypted = || async {
        let row = store.ask(IS_ENCRYPTED).await;
        row.unwrap().int(0).unwrap()
    };
    assert_eq!(is_encrypted().await, 1);
    assert!(!store.reload().await.unwrap());
    std::fs::write(path("given.crt"), read("other.crt")).unwrap();
    assert!(store.reload().await.is_err());
    assert_eq!(is_encrypted().await, 1, "the previous CA stays in use");
    let both = read("other.crt") + &read("ca.crt");
    std::fs::write(path("given.crt"), both).unwrap();
    assert!(store.reload().await.unwrap());
    assert_eq!(is_encrypted().await, 1);
}

/// A server, or someone in between, that says it has no TLS and waits for the password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_is_required_is_not_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    write_ca(&ca);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for query in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-full&sslrootcert={}", ca.display()),
    ] {
        let url = format!("postgres://u:p@127.0.0.1:{port}/d?{query}");
        let settings = Settings::new(&url, "symbolon", few(1)).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        };
        let (connected, rest) = tokio::join!(Store::connect(settings), server);
        assert!(connected.is_err(), "{query}");
        assert_eq!(rest, Vec::<u8>::new(), "{query}: it said more without TLS");
    }
}

async fn bound(url: &str, schema: &str, issuer: &str) -> Store {
    let store = Store::connect(Settings::new(url, schema, few(1)).unwrap())
        .await
        .unwrap();
    store.bind(&holder(issuer), NOW).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_url_is_used_if_it_leads_to_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let schema = new_schema_name();
    let admin = bound(postgres_url(), &schema, "https://a").await;
    for sql in [
        format!("CREATE DATABASE {schema}_other"),
        format!("CREATE DATABASE {schema}_empty"),
        format!("CREATE ROLE {schema} LOGIN SUPERUSER"),
    ] {
        admin.all(&sql).await.unwrap();
    }
    let other = postgres_url().replace("/postgres", &format!("/{schema}_other"));
    let empty = postgres_url().replace("/postgres", &format!("/{schema}_empty"));
    bound(&other, &schema, "https://b")
        .await
        .close()
        .await
        .unwrap();

    std::fs::write(&path, format!("{}\n", postgres_url())).unwrap();
    let settings = Settings::from_file(&path, &schema, few(2)).unwrap();
    let store = Store::connect(settings).await.unwrap();
    store.bind(&holder("https://a"), NOW).await.unwrap();
    let user = || async {
        let row = store.ask("SELECT CAST(current_user AS TEXT)").await;
        row.unwrap().text(0).unwrap()
    };
    assert!(!store.reload().await.unwrap());
    assert_eq!(user().await, "symbolon");

    for (url, words) in [
        (other, "https://b"),
        (empty, "no one"),
        ("nonsense".to_owned(), "postgres://"),
    ] {
        std::fs::write(&path, url).unwrap();
        let refused = store.reload().await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(user().await, "symbolon", "the previous one stays in use");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(store.reload().await.is_err());

    // A transaction that runs during the change ends where it began.
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (changed, has_changed) = tokio::sync::oneshot::channel::<()>();
    let running = store.write(move |tx| {
        Box::pin(async move {
            tx.run(Statement::STORE_PROBE, ["first".into()]).await?;
            begun.send(()).unwrap();
            has_changed.await.unwrap();
            Ok(Outcome::Save(()))
        })
    });
    let change = async {
        has_begun.await.unwrap();
        std::fs::write(
            &path,
            postgres_url().replace("symbolon@", &format!("{schema}@")),
        )
        .unwrap();
        // The task looks at the file by itself.
        let follow = store.follow_url(Duration::from_millis(10));
        let look = async { while user().await != schema {} };
        tokio::select! {
            () = follow => unreachable!("it never ends"),
            () = look => changed.send(()).unwrap(),
        }
    };
    let (saved, ()) = tokio::join!(running, change);
    saved.unwrap();
    let row = store
        .ask(&format!("SELECT written_at FROM {schema}.store"))
        .await;
    assert_eq!(row.unwrap().text(0).unwrap(), "first");

    store.close().await.unwrap();
    for sql in [
        format!("DROP DATABASE {schema}_other WITH (FORCE)"),
        format!("DROP DATABASE {schema}_empty WITH (FORCE)"),
        format!("DROP SCHEMA {schema} CASCADE"),
        format!("DROP ROLE {schema}"),
    ] {
        admin.all(&sql).await.unwrap();
    }
}

/// Administrators of databases give applications a schema, not the right to create any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_schema_needs_no_right_to_create_schemas() {
    let schema = new_schema_name();
    let admin = bound(postgres_url(), &format!("{schema}_admin"), "https://a").await;
    for sql in [
        format!("CREATE ROLE {schema} LOGIN"),
        format!("CREATE SCHEMA {schema} AUTHORIZATION {schema}"),
    ] {
        admin.all(&sql).await.unwrap();
    }
    let url = postgres_url().replace("symbolon@", &format!("{schema}@"));
    let store = bound(&url, &schema, "https://a").await;
    let elsewhere = Settings::new(&url, &format!("{schema}_other"), few(1)).unwrap();
    let refused = Store::connect(elsewhere).await.err().unwrap().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    store.close().await.unwrap();
    for sql in [
        format!("DROP SCHEMA {schema} CASCADE"),
        format!("DROP SCHEMA {schema}_admin CASCADE"),
        format!("DROP ROLE {schema}"),
    ] {
        admin.all(&sql).await.unwrap();
    }
}

/// Returns a store with these limits, and a patient one with the same rows.
async fn limited(limits: ConnectionLimits) -> (Store, Store) {
    let schema = new_schema_name();
    let patient = bound(postgres_url(), &schema, "https://a").await;
    let settings = Settings::new(postgres_url(), &schema, limits).unwrap();
    (Store::connect(settings).await.unwrap(), patient)
}

async fn written_at(store: &Store) -> String {
    let sql = format!("SELECT written_at FROM {}store", store.qualifier());
    store.ask(&sql).await.unwrap().text(0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_ended_by_the_database() {
    let (store, patient) = limited(ConnectionLimits {
        statement: Duration::from_millis(500),
        transaction: Duration::from_secs(60),
        ..few(1)
    })
    .await;
    let slow = store.all("SELECT CAST(pg_sleep(60) AS TEXT)").await;
    let words = slow.err().unwrap().to_string();
    assert!(words.contains("statement timeout"), "{words}");
    patient.drop_schema().await;
}

/// The program gives up, whether it waits for a statement or does not send the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_transaction_is_rolled_back_and_its_connection_is_not_used_again() {
    let (store, patient) = limited(ConnectionLimits {
        transaction: Duration::from_millis(300),
        ..few(1)
    })
    .await;
    let before = written_at(&patient).await;
    for sleeps in [true, false] {
        let abandoned = store.write(move |tx| {
            Box::pin(async move {
                tx.run(Statement::STORE_PROBE, ["late".into()]).await?;
                if sleeps {
                    tx.control("SELECT CAST(pg_sleep(2) AS TEXT)").await?;
                }
                std::future::pending::<()>().await;
                Ok(Outcome::Save(()))
            })
        });
        assert!(matches!(abandoned.await, Err(StoreError::Slow(_))));
        assert_eq!(written_at(&patient).await, before, "sleeps: {sleeps}");
    }
    // The only connection was closed, so another one is made; a busy machine may need several tries.
    let sql = format!("SELECT written_at FROM {}store", store.qualifier());
    let row = loop {
        if let Ok(row) = store.ask(&sql).await {
            break row;
        }
    };
    assert_eq!(row.text(0).unwrap(), before);
    patient.drop_schema().await;
}

/// Holds the only connection of a store until the returned sender is used or dropped.
async fn held(
    store: &Store,
) -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, is_released) = tokio::sync::oneshot::channel::<()>();
    let own = store.clone();
    let holding = tokio::spawn(async move {
        let held = own.write(move |tx| {
            Box::pin(async move {
                tx.run(Statement::STORE_PROBE, ["held".into()]).await?;
                begun.send(()).unwrap();
                is_released.await.unwrap_or_default();
                Ok(Outcome::Save(()))
            })
        });
        held.await.unwrap();
    });
    has_begun.await.unwrap();
    (release, holding)
}

/// Requests that wait take places that machine clients need.
#[tokio::test]
async fn what_waits_for_a_connection_is_bounded_and_the_rest_refused_at_once() {
    let (store, patient) = limited(few(1)).await;
    let (release, holding) = held(&store).await;
    let ask = || {
        let store = store.clone();
        tokio::spawn(async move { store.ask("SELECT CAST(1 AS BIGINT)").await })
    };
    let waiting: Vec<_> = (0..WAITING + 10).map(|_| ask()).collect();
    let last = ask().await.unwrap();
    assert!(matches!(last, Err(StoreError::Busy)), "{:?}", last.err());
    release.send(()).unwrap();
    holding.await.unwrap();
    let mut refused = 0;
    for one in waiting {
        match one.await.unwrap() {
            Ok(_) => {}
            Err(StoreError::Busy) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 10);
    patient.drop_schema().await;
}

/// Each of two callers would otherwise fill half of the line, and no one else would reach the database.
#[tokio::test]
async fn a_few_callers_do_not_take_all_places_of_the_line() {
    let (store, patient) = limited(few(1)).await;
    let (release, holding) = held(&store).await;
    let ask = |site: Option<u8>| {
        let store = store.for_caller(site.map(|site| caller(site, 1)));
        Box::pin(async move { store.ask("SELECT CAST(1 AS BIGINT)").await })
    };
    let mut waiting = Vec::new();
    for number in 0..600 {
        let mut asks = ask(Some(if number % 2 == 0 { 1 } else { 2 }));
        let polled = futures::poll!(&mut asks);
        match polled {
            Poll::Pending => waiting.push(asks),
            Poll::Ready(Err(StoreError::Busy)) => {}
            Poll::Ready(answered) => panic!("{:?}", answered.err()),
        }
    }
    assert_eq!(waiting.len(), 2 * ((WAITING + 1) / 4), "each has a quarter");
    for site in [Some(3), Some(4), None] {
        let mut asks = ask(site);
        assert!(futures::poll!(&mut asks).is_pending(), "{site:?}");
        waiting.push(asks);
    }
    release.send(()).unwrap();
    holding.await.unwrap();
    for answered in futures::future::join_all(waiting).await {
        answered.unwrap();
    }
    patient.drop_schema().await;
}

/// Abandoned work would otherwise hold places that no share counts any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_waits_for_a_connection_ends_with_its_caller() {
    let (store, patient) = limited(ConnectionLimits {
        idle: Duration::from_secs(60),
        transaction: Duration::from_secs(60),
        ..few(1)
    })
    .await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, blocked) = tokio::sync::oneshot::channel::<()>();
    let blocker = tokio::spawn({
        let store = store.clone();
        async move {
            let work = store.write(|_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    Ok(Outcome::Cancel(blocked.await))
                })
            });
            work.await
        }
    });
    has_begun.await.unwrap();
    let accept = |value: u8| store.accept_once([value; 32], NOW, NOW);
    let mut waits = std::pin::pin!(accept(1));
    assert!(futures::poll!(&mut waits).is_pending());
    assert!(accept(2).now_or_never().is_none());
    release.send(()).unwrap();
    blocker.await.unwrap().unwrap().unwrap();
    assert!(waits.await.unwrap());
    let count = format!("SELECT count(*) FROM {}once", store.qualifier());
    assert_eq!(store.ask(&count).await.unwrap().int(0).unwrap(), 1);
    patient.drop_schema().await;
}

/// PostgreSQL answers such a COMMIT with a rollback, and no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_ignores_a_failed_statement_is_not_said_to_be_saved() {
    let (store, patient) = limited(few(1)).await;
    let before = written_at(&patient).await;
    let saved = store.write(|tx| {
        Box::pin(async move {
            tx.run(Statement::STORE_PROBE, ["late".into()]).await?;
            assert!(tx.control("SELECT 1 / 0").await.is_err());
            Ok(Outcome::Save(()))
        })
    });
    assert!(matches!(saved.await, Err(StoreError::Misused(_))));
    assert_eq!(written_at(&patient).await, before);
    patient.drop_schema().await;
}

/// The database ends a transaction whose program hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_waits_too_long_for_its_next_statement_is_ended_by_the_database() {
    let (store, patient) = limited(ConnectionLimits {
        idle: Duration::from_millis(100),
        transaction: Duration::from_secs(60),
        ..few(1)
    })
    .await;
    let before = written_at(&patient).await;
    let idle = store.write(|tx| {
        Box::pin(async move {
            tx.run(Statement::STORE_PROBE, ["late".into()]).await?;
            // Longer than the limit: the test waits for a thing not to happen.
            tokio::time::sleep(Duration::from_millis(500)).await;
            tx.run(Statement::STORE_PROBE, ["later".into()]).await?;
            Ok(Outcome::Save(()))
        })
    });
    assert!(idle.await.is_err());
    assert_eq!(written_at(&patient).await, before);
    patient.drop_schema().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_distance_to_the_database_s_clock_is_known() {
    let (store, patient) = limited(few(1)).await;
    let row = store
        .ask("SELECT CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)")
        .await;
    let theirs = row.unwrap().int(0).unwrap();
    let far = Timestamp::from_second(theirs - 3600).unwrap();
    let distance = store.clock_distance(|| far).await.unwrap();
    // The question was answered in a rounded second.
    assert!(distance >= Duration::from_secs(3599), "{distance:?}");
    patient.drop_schema().await;
}
