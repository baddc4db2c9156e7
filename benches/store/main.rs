//! Measures a refresh by the store beside its bare limit, the same two statements by the driver alone: in memory, in a
//! SQLite file, and in PostgreSQL. Then it measures how fast expired rows are deleted.
//!
//! Run `cargo bench --bench store`. `SYMBOLON_TEST_POSTGRES` names another PostgreSQL by its URL; otherwise the one of
//! the tests is started, which does not wait for the disk.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results, and stops if it cannot run"
)]

mod bare;

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use symbolon::people::account::AccountId;
use symbolon::people::code::{Code, Use};
use symbolon::people::grant::{Client, EndsWith, Grant, GrantStanding};
use symbolon::people::refresh::{
    KeyMaterial, Policy, Presented, RefreshKeys, Rotation, Rules, Token, begin,
};
use symbolon::people::session::Session;
use symbolon::store::area::code::{Authorized, Issue, Redeemed};
use symbolon::store::area::consent::Agreement;
use symbolon::store::area::refresh::Refreshed;
use symbolon::store::{ConnectionLimits, Outcome, Settings, Store};
use symbolon::tokens::reference::Prefix;
use symbolon::tokens::{SystemEntropy, TokenHash, TokenId};

/// How long each case runs.
const FOR: Duration = Duration::from_secs(2);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SHOP: Client<'_> = Client {
    id: "shop",
    uid: "1",
};

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn keys() -> RefreshKeys {
    let material = KeyMaterial {
        id: 1,
        bytes: [7; 32].into(),
    };
    RefreshKeys::new(&material, None)
}

/// Begins a family of a new grant.
async fn family(store: &Store, session: &Session) -> Token {
    let id = TokenId::random(&mut SystemEntropy);
    let grant = Grant {
        id,
        account: session.account,
        epoch: session.epoch,
        session: session.id,
        ends_with: EndsWith::Grant,
        client: SHOP.id.to_owned(),
        client_uid: SHOP.uid.to_owned(),
        scopes: "openid offline_access".to_owned(),
        resources: String::new(),
        authenticated_at: NOW,
        acr: "pwd".to_owned(),
        methods: "pwd".to_owned(),
        claims: None,
        created_at: NOW,
        expires_at: after(60),
        ended_at: None,
    };
    let code = Code {
        id,
        hash: TokenHash::of(id.as_str()),
        grant: id,
        redirect_uri: "https://shop/cb".to_owned(),
        challenge: None,
        nonce: None,
        expires_at: after(60),
        used_at: None,
    };
    let request = Use {
        id,
        hash: code.hash,
        client: SHOP,
        redirect_uri: code.redirect_uri.clone(),
        challenge: None,
        arrived_at: NOW,
    };
    let authorized = Authorized {
        grant,
        code,
        pushed: None,
        agreement: Agreement::Unneeded,
    };
    let issued = store.issue_code(authorized, NOW).await;
    assert!(issued.expect("a code").is_some());
    let token = keys().first(&Prefix::default(), &mut SystemEntropy);
    let decide = |standing: &GrantStanding, _: &Code| {
        let issue = Issue {
            expires_at: after(1_000_000),
            family: Some((begin(&token, standing.grant.id, NOW), after(1_000_000))),
        };
        Ok::<_, Infallible>((issue, ()))
    };
    let redeemed = store.redeem_code(request, NOW, decide).await;
    assert!(
        matches!(redeemed, Ok(Redeemed::Granted(()))),
        "{redeemed:?}"
    );
    token
}

async fn session(store: &Store) -> Session {
    let id = AccountId(uuid::Uuid::new_v4());
    let account = store.write(move |tx| {
        Box::pin(async move {
            let owner = id.0.to_string();
            Ok(Outcome::Save(tx.ensure_account(id, &owner, NOW).await?))
        })
    });
    let account = account.await.expect("an account");
    let id = TokenId::random(&mut SystemEntropy);
    let session = Session {
        id,
        hash: TokenHash::of(id.as_str()),
        account: account.id,
        epoch: account.epoch,
        created_at: NOW,
        used_at: NOW,
        authenticated_at: NOW,
        methods: "pwd".to_owned(),
        expires_at: after(1_000_000),
        ended_at: None,
        is_remembered: false,
    };
    let begun = store.begin_session(session.clone(), Vec::new()).await;
    assert!(begun.expect("a session").is_some());
    session
}

/// Refreshes in turn for a while. Returns how many times.
async fn refresh(store: Store, mut token: Token) -> u64 {
    let policy = Policy {
        rotation: Rotation::Rotate,
        grace: Duration::from_secs(60),
        idle: Duration::from_secs(100_000),
        max_age: Duration::from_secs(100_000),
    };
    let (keys, prefix) = (keys(), Prefix::default());
    let (mut count, began) = (0, Instant::now());
    while began.elapsed() < FOR {
        let presented = Presented::parse(token.text.expose(), &prefix).expect("a token");
        let rules = Rules {
            keys: &keys,
            prefix: &prefix,
            policy: &policy,
            client: SHOP,
        };
        let decide = |_: &GrantStanding| Ok::<_, Infallible>(());
        let done = store.refresh(&presented, rules, after(1), decide).await;
        let Ok(Refreshed::Granted {
            token: Some(child), ..
        }) = done
        else {
            println!("a refresh failed: {done:?}");
            return count;
        };
        token = child;
        count += 1;
    }
    count
}

/// Begins this many families and returns their IDs and current hashes.
async fn families(store: &Store, count: usize) -> Vec<(String, Vec<u8>)> {
    let session = session(store).await;
    let mut rows = Vec::new();
    for _ in 0..count {
        let token = family(store, &session).await;
        rows.push((token.id.as_str().to_owned(), token.hash.as_bytes().to_vec()));
    }
    rows
}

async fn measured(store: &Store, parallel: usize) -> u64 {
    let session = session(store).await;
    let mut tasks = Vec::new();
    for _ in 0..parallel {
        let token = family(store, &session).await;
        tasks.push(tokio::spawn(refresh(store.clone(), token)));
    }
    let done = join_all(tasks).await;
    done.into_iter().map(|count| count.expect("a task")).sum()
}

fn print(what: &str, parallel: usize, store: u64, bare: u64) {
    let rate = |count: u64| count / FOR.as_secs();
    let share = store * 100 / bare.max(1);
    println!(
        "{what:10} {parallel:8} {:12} {:12} {share:7} %",
        rate(store),
        rate(bare)
    );
}

/// Inserts expired rows and deletes them. Returns the rows in a second.
async fn deletion(store: &Store) -> u64 {
    const ROWS: u64 = 20_000;
    for start in (0..ROWS).step_by(100) {
        let accept = |number: u64| {
            let mut value = [0; 32];
            value[..8].copy_from_slice(&number.to_be_bytes());
            store.accept_once(value, after(1), NOW)
        };
        join_all((start..start + 100).map(accept)).await;
    }
    let began = Instant::now();
    while store.delete_expired(after(2)).await.expect("a batch").more {}
    let millis = u64::try_from(began.elapsed().as_millis()).expect("a short time");
    ROWS * 1000 / millis.max(1)
}

/// Starts the PostgreSQL of the tests; it ends with its standard input.
fn postgres() -> (String, Option<Child>) {
    if let Ok(url) = std::env::var("SYMBOLON_TEST_POSTGRES") {
        return (url, None);
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/store/contract/postgres.sh"
    );
    let mut child = Command::new(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script of the tests");
    let mut url = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output)
        .read_line(&mut url)
        .expect("a line with the URL");
    (url.trim().to_owned(), Some(child))
}

#[tokio::main]
async fn main() {
    println!("refreshes in a second");
    println!(
        "{:10} {:>8} {:>12} {:>12}",
        "", "parallel", "store", "bare driver"
    );
    for parallel in [1, 8] {
        let store = Store::in_memory().await.expect("a store");
        let count = measured(&store, parallel).await;
        let bare = bare::memory(parallel, FOR).await;
        print("memory", parallel, count, bare);
    }
    let folder = tempfile::tempdir().expect("a folder");
    for parallel in [1, 8] {
        let path = folder.path().join(format!("{parallel}.db"));
        let store = Store::open(&path, Duration::ZERO).await.expect("a store");
        let count = measured(&store, parallel).await;
        let rows = families(&store, parallel).await;
        if parallel == 8 {
            println!(
                "SQLite deletes {} expired rows in a second",
                deletion(&store).await
            );
        }
        store.close().await.expect("it closes");
        let bare = bare::file(&path, rows, FOR).await;
        print("SQLite", parallel, count, bare);
    }
    let (url, server) = postgres();
    let limits = ConnectionLimits {
        connections: 8,
        ..ConnectionLimits::default()
    };
    for parallel in [1, 8] {
        let schema = format!("bench_{}_{parallel}", std::process::id());
        let settings = Settings::new(&url, &schema, limits).expect("settings");
        let store = Store::connect(settings).await.expect("a store");
        let count = measured(&store, parallel).await;
        let rows = families(&store, parallel).await;
        let bare = bare::postgres(&url, &schema, rows, FOR).await;
        print("PostgreSQL", parallel, count, bare);
        if parallel == 8 {
            println!(
                "PostgreSQL deletes {} expired rows in a second",
                deletion(&store).await
            );
            bare::hold_snapshot(&url, &schema, async {
                let rate = deletion(&store).await;
                println!("and {rate} beside a transaction that keeps deleted rows visible");
            })
            .await;
        }
        bare::drop_schema(&url, &schema).await;
    }
    drop(server);
}
