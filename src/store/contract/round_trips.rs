//! How many round trips to PostgreSQL each operation takes, counted between the program and the server.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::super::area::code::Authorized;
use super::super::area::consent::Agreement;
use super::super::area::personal_token::Added;
use super::super::area::session::Brought;
use super::super::{Settings, Store};
use super::personal_tokens::token_of;
use super::world::{NOW, POLICY, World, at, few, new_schema_name, postgres_url, presented};
use crate::people::grant::EndsWith;
use crate::people::guessing::Gate;
use crate::people::refresh::{Policy, Rotation};
use crate::people::session::SessionLimits;

/// Forwards connections to the server and counts the requests that the program waits for: a simple query, or a Sync
/// after a Parse or an Execute. A Sync alone, by which the pool tests a connection, is none.
struct Meter {
    address: std::net::SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Meter {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((program, _)) = listener.accept().await {
                tokio::spawn(forward(program, Arc::clone(&counted)));
            }
        });
        Self { address, requests }
    }

    async fn count<T>(&self, operation: impl Future<Output = T>) -> (T, u64) {
        let before = self.requests.load(Ordering::SeqCst);
        let done = operation.await;
        (done, self.requests.load(Ordering::SeqCst) - before)
    }
}

async fn forward(program: TcpStream, requests: Arc<AtomicU64>) {
    let (_, socket) = postgres_url().split_once('@').unwrap();
    let (folder, port) = socket.split('/').next().unwrap().split_once(':').unwrap();
    let folder = folder.replace("%2F", "/");
    let server = UnixStream::connect(format!("{folder}/.s.PGSQL.{port}"));
    let (mut from_server, mut to_server) = server.await.unwrap().into_split();
    let (mut from_program, mut to_program) = program.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_program).await });
    // The first message has no type.
    let Ok(first) = body(&mut from_program).await else {
        return;
    };
    to_server.write_all(&first).await.unwrap();
    let mut is_work = false;
    while let Ok(kind) = from_program.read_u8().await {
        let Ok(message) = body(&mut from_program).await else {
            return;
        };
        match kind {
            b'P' | b'E' => is_work = true,
            b'S' if is_work => {
                requests.fetch_add(1, Ordering::SeqCst);
                is_work = false;
            }
            b'Q' => {
                requests.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        to_server
            .write_all(&[&[kind], &*message].concat())
            .await
            .unwrap();
    }
}

/// Reads a length, which includes itself, and what follows.
async fn body(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = Vec::from(length.to_be_bytes());
    message.resize(length.try_into().unwrap(), 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_takes_as_few_round_trips_as_promised() {
    let meter = Meter::start().await;
    let url = format!(
        "postgres://symbolon@{}/postgres?sslmode=disable",
        meter.address
    );
    let settings = Settings::new(&url, &new_schema_name(), few(1)).unwrap();
    let store = Store::connect(settings).await.unwrap();
    let world = World {
        store: store.clone(),
        folder: None,
    };
    let stable = Policy {
        rotation: Rotation::Stable,
        ..POLICY
    };
    let limits = SessionLimits {
        idle: Duration::from_secs(7200),
        absolute: Duration::from_secs(86_400),
        remembered: Duration::from_secs(86_400),
    };
    let gate = Gate {
        burst: 5,
        interval: Duration::from_secs(10),
    };
    // In the first round the connection prepares its statements.
    for round in 0..3 {
        let account = world.person().await;
        let session = World::new_session(&account, NOW);
        let gates = || vec![([1; 32], gate), ([2; 32], gate), ([3; 32], gate)];
        let sign_in = async {
            assert!(store.reserve_attempt(gates(), at(NOW)).await.unwrap());
            let found = store.credentials(&account.owner).await.unwrap();
            assert!(found.is_some());
            let begun = store.begin_session(session.clone(), gates()).await;
            assert!(begun.unwrap().is_some());
        };
        let ((), sign_in) = meter.count(sign_in).await;

        let coded = World::new_code(&session, EndsWith::Session);
        let issue = |agreement| Authorized {
            agreement,
            ..coded.authorized()
        };
        let given = Agreement::Given("openid".to_owned());
        let first = World::new_code(&session, EndsWith::Session).authorized();
        let first = Authorized {
            agreement: given,
            ..first
        };
        assert!(store.issue_code(first, at(NOW)).await.unwrap().is_some());
        let authorize = async {
            let brought = Brought {
                session: Some((session.id, session.hash)),
                client: "shop".to_owned(),
                pushed: None,
            };
            let found = store.authorization(brought, limits, at(NOW + 1)).await;
            let consent = found.unwrap().consent.unwrap();
            let issued = issue(Agreement::Recorded(consent.scopes));
            assert!(store.issue_code(issued, at(NOW)).await.unwrap().is_some());
        };
        let ((), authorize) = meter.count(authorize).await;

        let (redeemed, exchange) = meter.count(world.redeem(&coded.request, NOW)).await;
        let (_, token) = redeemed.unwrap();
        let (child, rotating) = meter.count(world.child(&token, NOW + 1)).await;
        let current = presented(&child);
        let kept = world.refresh_by(&current, &stable, NOW + 2);
        let (kept, kept_trips) = meter.count(kept).await;
        assert!(kept.is_ok());
        let (standing, userinfo) = meter.count(store.grant(coded.grant.id)).await;
        assert!(standing.unwrap().is_some());
        let personal = token_of(&account, NOW);
        let added = store.add_personal_token(personal.clone(), at(NOW)).await;
        assert_eq!(added.unwrap(), Added::Recorded);
        let (standing, check) = meter.count(store.personal_token(personal.id)).await;
        assert!(standing.unwrap().is_some());
        let trips = [
            sign_in, authorize, exchange, rotating, kept_trips, userinfo, check,
        ];
        if round > 0 {
            assert_eq!(trips, [3, 2, 2, 2, 1, 1, 1]);
        }
    }
    world.store.drop_schema().await;
}
