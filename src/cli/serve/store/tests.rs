//! Tests of the arguments about the store, and of a database that comes, goes and moves.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::directory::testing::{PEOPLE, QUICKSTART, World};
use crate::keys::fixtures;
use crate::people::enrolment::{self, Enrolled};
use crate::resources::OwnerKind;
use crate::server::{Config, Recorded, RevokeError, Revoker};
use crate::store::testing::{PostgresServer, few, new_schema_name, postgres_url};
use crate::telemetry::testing::Log;
use crate::tokens::{MacKey, TokenId};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    store: StoreArgs,
}

fn parse(arguments: &[&str]) -> Result<Option<Location>, String> {
    let line = Line::try_parse_from([&["serve"], arguments].concat());
    let line = line.map_err(|error| error.to_string())?;
    line.store.location().map_err(|error| error.to_string())
}

#[test]
fn a_store_is_named_by_an_absolute_path() {
    let path = sqlite_path("sqlite:/var/lib/symbolon/symbolon.db");
    assert_eq!(path, Ok("/var/lib/symbolon/symbolon.db".into()));
    for wrong in ["sqlite:symbolon.db", "sqlite:", "/var/lib", "postgres://db"] {
        assert!(sqlite_path(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_database_is_named_by_a_file_alone() {
    assert!(parse(&[]).unwrap().is_none());
    let found = parse(&["--store-url-file=/url", "--store-max-connections=7"]);
    let Ok(Some(Location::Postgres(settings))) = found else {
        panic!("{found:?}");
    };
    let words = format!("{settings:?}");
    for part in ["/url", "\"symbolon\"", "connections: 7"] {
        assert!(words.contains(part), "{words}");
    }
    for (wrong, says) in [
        (
            &["--store-url-file=/url", "--store=sqlite:/a"][..],
            "cannot be used with",
        ),
        (&["--store-ca-file=/ca"], "--store-url-file"),
        (&["--store-schema=a"], "--store-url-file"),
        (
            &["--store-url-file=/url", "--store-schema=A-B"],
            "the name of a schema",
        ),
        (
            &["--store-url-file=/url", "--store-max-connections=0"],
            "--store-max-connections",
        ),
    ] {
        let error = parse(wrong).unwrap_err();
        assert!(error.contains(says), "{wrong:?}: {error}");
    }
}

/// Nothing is revoked in these tests.
struct Unused;

impl Revoker for Unused {
    fn revoke<'a>(
        &'a self,
        _: &'a ObjectKey,
        _: Option<&'a str>,
        _: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        futures::future::ready(Err(RevokeError("unused".into()))).boxed()
    }
}

const PACE: Pace = Pace {
    probe: Duration::from_millis(20),
    probe_away: Duration::from_millis(20),
    url: Duration::from_millis(20),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(20),
};

/// A server whose store is in a database, and what it needs of a cluster.
struct Served {
    app: App,
    /// The file with the URL.
    url: PathBuf,
    /// The credentials of a machine client.
    machine: String,
    /// An enrolment link, whose page reads the store.
    link: String,
    stop: CancellationToken,
    kept: JoinHandle<Result<(), StoreError>>,
    _folder: TempDir,
}

fn mac() -> Arc<MacKey> {
    Arc::new(MacKey::from_bytes(&[7; 32]).unwrap())
}

/// Returns the path of a new enrolment link of alice.
fn link() -> String {
    let person = Enrolled {
        namespace: "platform",
        identity: "main",
        uid: "User-platform-alice",
        nonce: "first",
    };
    let link = enrolment::issue(&mac(), person, Duration::from_hours(1), now()).unwrap();
    format!("/id/enroll?link={}", link.expose())
}

impl Served {
    fn start(schema: &str) -> Self {
        let enrolled = "metadata: {name: alice, namespace: platform, annotations: {symbolon.dev/enroll: first}}";
        let people = PEOPLE.replace("metadata: {name: alice, namespace: platform}", enrolled);
        let mut world = World::new(&format!("{QUICKSTART}---\n{people}"));
        let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
        let secret = STANDARD.encode(format!("blue.shop:{}", secret.expose()));
        let identity = ObjectKey::new("platform", "main");
        let config = Config::new(identity.clone());
        let metrics = config.metrics.clone();
        let app = App::new(config, Unused).unwrap();
        let keys = fixtures::key_set();
        app.publisher().set_keys(keys, now()).unwrap();
        let directory = world.directory.clone();
        app.publisher().update(|published| *published = directory);
        app.status().lists_complete();
        app.set_mac(mac());
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("url");
        let settings = Settings::from_file(&url, schema, few(2)).unwrap();
        let stop = CancellationToken::new();
        let location = Location::Postgres(settings);
        expect(&location, &app);
        let (until, served) = (stop.clone(), app.clone());
        let kept =
            tokio::spawn(
                async move { keep(location, identity, served, &metrics, PACE, until).await },
            );
        Self {
            app,
            url,
            machine: format!("Basic {secret}"),
            link: link(),
            stop,
            kept,
            _folder: folder,
        }
    }

    fn write_url(&self, url: &str) {
        // As the kubelet does: a reader sees the previous file or this one.
        let new = self.url.with_extension("new");
        std::fs::write(&new, url).unwrap();
        std::fs::rename(new, &self.url).unwrap();
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, Option<String>) {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let answer = self.app.answer(Some(peer), request).await;
        let wait = answer.headers().get("retry-after");
        (
            answer.status(),
            wait.map(|wait| wait.to_str().unwrap().to_owned()),
        )
    }

    /// A machine client gets a token, and the server is ready.
    async fn serves_machines(&self) {
        let request = Request::post("/id/connect/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("authorization", &self.machine)
            .body(Body::from("grant_type=client_credentials"));
        assert_eq!(self.send(request.unwrap()).await.0, StatusCode::OK);
        assert_eq!(self.app.readiness(now()), Ok(()));
    }

    async fn page(&self) -> (StatusCode, Option<String>) {
        let request = Request::get(&self.link).body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Waits until the page that needs the store has this status, and the server says whether its store works.
    async fn until(&self, status: StatusCode) {
        let works = status == StatusCode::OK;
        let limit = Duration::from_secs(60);
        let reached = tokio::time::timeout(limit, async {
            while self.page().await.0 != status || self.app.status().store_fails() == works {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("never {status}"));
        let page = Request::get("/id/signin").body(Body::empty());
        let (shown, _) = self.send(page.unwrap()).await;
        assert_eq!(shown, status, "no one is asked for a password in vain");
        let (_, wait) = self.page().await;
        assert_eq!(
            wait.is_none(),
            works,
            "a caller that must wait is told how long"
        );
    }

    async fn end(self) {
        self.stop.cancel();
        self.kept.await.unwrap().unwrap();
    }
}

/// Nothing that the server writes contains a password, whatever is wrong with the database or its URL.
#[tokio::test]
async fn machines_are_served_while_the_database_is_not_there_and_people_once_it_is() {
    let log = Log::default();
    let guard = log.start();
    let mut database = PostgresServer::start(&[]);
    let served = Served::start("symbolon");
    let away = StatusCode::SERVICE_UNAVAILABLE;
    // The file does not exist, is not a URL, or names an address at which no database listens.
    served.until(away).await;
    served.serves_machines().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    for url in [
        "hunter2".to_owned(),
        "postgres://u:hunter2@h/d?sslmode=hunter2".to_owned(),
        format!("postgres://u:hunter2@127.0.0.1:{port}/d"),
    ] {
        served.write_url(&url);
        let said = log.text().len();
        let told = tokio::time::timeout(Duration::from_secs(60), async {
            while !log.text()[said..].contains("cannot use the database") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        told.await.unwrap();
        served.until(away).await;
        served.serves_machines().await;
    }
    served.write_url(&database.url.replace("symbolon@", "symbolon:hunter2@"));
    served.until(StatusCode::OK).await;
    served.serves_machines().await;
    for _ in 0..2 {
        database.kill();
        served.until(away).await;
        served.serves_machines().await;
        database.restart();
        served.until(StatusCode::OK).await;
    }
    served.write_url("postgres://u:hunter2@h:port/d");
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        while !log.text().contains("cannot use the changed URL") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    told.await.unwrap();
    served.until(StatusCode::OK).await;
    served.end().await;
    drop(guard);
    let log = log.text();
    assert!(!log.contains("hunter2"), "{log}");
}

/// Runs SQL in the database of the tests.
async fn run(sql: &str) {
    let (client, connection) = tokio_postgres::connect(postgres_url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// Someone rotates the database's user, as a GitOps tool or an operator of databases does.
#[tokio::test]
async fn a_changed_url_is_used_without_losing_a_request() {
    let schema = new_schema_name();
    let served = Arc::new(Served::start(&schema));
    served.write_url(postgres_url());
    served.until(StatusCode::OK).await;
    run(&format!("CREATE ROLE {schema} LOGIN SUPERUSER")).await;
    let (asking, stop) = (Arc::clone(&served), CancellationToken::new());
    let until = stop.clone();
    let asking = tokio::spawn(async move {
        let mut answers = 0_u32;
        while !until.is_cancelled() {
            assert_eq!(asking.page().await.0, StatusCode::OK);
            answers += 1;
        }
        answers
    });
    served.write_url(&postgres_url().replace("symbolon@", &format!("{schema}@")));
    let moved = format!(
        "DO $$ BEGIN FOR i IN 1..6000 LOOP PERFORM pg_stat_clear_snapshot(); \
         IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = '{schema}') THEN RETURN; END IF; \
         PERFORM pg_sleep(0.01); END LOOP; RAISE 'the changed URL is not used'; END $$"
    );
    run(&moved).await;
    for _ in 0..20 {
        assert_eq!(served.page().await.0, StatusCode::OK);
    }
    stop.cancel();
    assert!(asking.await.unwrap() > 0);
    let served = Arc::into_inner(served).unwrap();
    served.end().await;
    run(&format!("DROP SCHEMA {schema} CASCADE; DROP ROLE {schema}")).await;
}

/// What belongs to another issuer is left alone, and the file can be corrected.
#[tokio::test]
async fn the_store_of_another_issuer_is_not_used_and_keeps_no_machine_waiting() {
    let other = new_schema_name();
    let settings = Settings::new(postgres_url(), &other, few(1)).unwrap();
    let store = Store::connect(settings).await.unwrap();
    let holder = Holder {
        issuer: "https://other.example.com".to_owned(),
        namespace: "platform".to_owned(),
        name: "other".to_owned(),
        uid: "other".to_owned(),
    };
    store.bind(&holder, now()).await.unwrap();
    let log = Log::default();
    let guard = log.start();
    let served = Served::start(&other);
    served.write_url(postgres_url());
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        while !log.text().contains("https://other.example.com") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    told.await.unwrap();
    served.until(StatusCode::SERVICE_UNAVAILABLE).await;
    served.serves_machines().await;
    served.end().await;
    drop(guard);
    store.close().await.unwrap();
    run(&format!("DROP SCHEMA {other} CASCADE")).await;
}

/// A certificate of the database that its CA renews, or a CA that is replaced, needs no restart either.
#[test]
fn a_ca_is_named_beside_the_url() {
    let found = parse(&["--store-url-file=/url", "--store-ca-file=/ca.crt"]);
    assert!(
        matches!(found, Ok(Some(Location::Postgres(_)))),
        "{found:?}"
    );
    let found = format!("{found:?}");
    assert!(found.contains("/ca.crt"), "{found}");
}
