//! A refresh by the store, which judges the token and rotates it, and its two statements by the driver alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use jiff::Timestamp;
use symbolon::people::account::AccountId;
use symbolon::people::code::{Code, Use};
use symbolon::people::grant::{Client, EndsWith, Grant, GrantStanding};
use symbolon::people::refresh::{
    KeyMaterial, Policy, Presented, RefreshKeys, Rotation, Rules, Token, begin,
};
use symbolon::people::session::Session;
use symbolon::store::Store;
use symbolon::store::area::code::{Authorized, Issue, Redeemed};
use symbolon::store::area::consent::Agreement;
use symbolon::store::area::refresh::Refreshed;
use symbolon::tokens::reference::Prefix;
use symbolon::tokens::{SystemEntropy, TokenHash, TokenId};

use crate::driver::Driver;

/// The time of everything that is created.
pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// The number of families in a session: a person has at most 100 grants with a client.
const OF_SESSION: usize = 50;
/// How many are created at the same time.
const AT_ONCE: usize = 8;
const SHOP: Client<'_> = Client {
    id: "shop",
    uid: "1",
};

pub fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn keys() -> RefreshKeys {
    let material = KeyMaterial {
        id: 1,
        bytes: [7; 32].into(),
    };
    RefreshKeys::new(&material, None)
}

/// Begins this many families of new grants, and returns their first tokens.
pub async fn families(store: &Store, count: usize) -> Vec<Token> {
    // As many at once as there are connections: the store refuses what waits for long.
    let sessions = stream::iter(0..count.div_ceil(OF_SESSION)).map(|_| session(store));
    let sessions: Vec<Session> = sessions.buffered(AT_ONCE).collect().await;
    let of = |at: usize| &sessions[at / OF_SESSION];
    let begun = stream::iter(0..count).map(|at| family(store, of(at)));
    begun.buffered(AT_ONCE).collect().await
}

async fn session(store: &Store) -> Session {
    let id = AccountId(uuid::Uuid::new_v4());
    let account = store.ensure_account(id, id.0.to_string(), NOW).await;
    let account = account.expect("an account");
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

/// Begins a family of a new grant, by a code.
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
        let end = after(1_000_000);
        let issue = Issue {
            expires_at: end,
            family: Some((begin(&token, standing.grant.id, NOW), end)),
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

/// Splits into this many parts of about the same size.
fn shares<T>(all: &mut [T], parts: usize) -> impl Iterator<Item = &mut [T]> {
    let size = all.len().div_ceil(parts).max(1);
    all.chunks_mut(size)
}

/// Refreshes each family in turn for a while, in `parallel` tasks. Returns the refreshes in a second.
pub async fn by_store(store: &Store, tokens: &mut [Token], parallel: usize, time: Duration) -> f64 {
    let began = Instant::now();
    let tasks = shares(tokens, parallel).map(|own| {
        let (store, mut own) = (store.clone(), own.to_vec());
        tokio::spawn(async move {
            let mut count = 0_u32;
            'all: loop {
                for token in &mut own {
                    *token = refreshed(&store, token).await;
                    count += 1;
                    if began.elapsed() >= time {
                        break 'all;
                    }
                }
            }
            (count, own)
        })
    });
    let done = join_all(tasks.collect::<Vec<_>>()).await;
    let seconds = began.elapsed().as_secs_f64();
    let mut total = 0;
    for (place, done) in shares(tokens, parallel).zip(done) {
        let (count, own) = done.expect("a task");
        place.clone_from_slice(&own);
        total += count;
    }
    f64::from(total) / seconds
}

async fn refreshed(store: &Store, token: &Token) -> Token {
    let policy = Policy {
        rotation: Rotation::Rotate,
        grace: Duration::from_secs(60),
        idle: Duration::from_secs(100_000),
        max_age: Duration::from_secs(100_000),
    };
    let (keys, prefix) = (keys(), Prefix::default());
    let presented = Presented::parse(token.text.expose(), &prefix).expect("a token");
    let rules = Rules {
        keys: &keys,
        prefix: &prefix,
        policy: &policy,
        client: SHOP,
    };
    let decide = |_: &GrantStanding| Ok::<_, Infallible>(());
    let done = store.refresh(&presented, rules, after(1), decide).await;
    match done {
        Ok(Refreshed::Granted {
            token: Some(child), ..
        }) => child,
        other => panic!("a refresh failed: {other:?}"),
    }
}

/// A family as its row has it.
#[derive(Clone)]
pub struct Row {
    id: String,
    hash: Vec<u8>,
    generation: i64,
}

impl From<&Token> for Row {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.as_str().to_owned(),
            hash: token.hash.as_bytes().to_vec(),
            generation: token.generation.into(),
        }
    }
}

/// Executes the statements of a refresh for each family in turn, as [`by_store`].
pub async fn by_driver(
    driver: &Arc<Driver>,
    rows: &mut [Row],
    parallel: usize,
    time: Duration,
) -> f64 {
    let began = Instant::now();
    let tasks = shares(rows, parallel).map(|own| {
        let (driver, mut own) = (Arc::clone(driver), own.to_vec());
        tokio::spawn(async move {
            let mut count = 0_u32;
            'all: loop {
                for row in &mut own {
                    rotate(&driver, row).await;
                    count += 1;
                    if began.elapsed() >= time {
                        break 'all;
                    }
                }
            }
            (count, own)
        })
    });
    let done = join_all(tasks.collect::<Vec<_>>()).await;
    let seconds = began.elapsed().as_secs_f64();
    let mut total = 0;
    for (place, done) in shares(rows, parallel).zip(done) {
        let (count, own) = done.expect("a task");
        place.clone_from_slice(&own);
        total += count;
    }
    f64::from(total) / seconds
}

/// Reads the row, and replaces its hash.
pub async fn rotate(driver: &Driver, row: &mut Row) {
    let found = driver.read(("REFRESH_READ", vec![(&*row.id).into()])).await;
    assert_eq!(found, 1, "a family");
    row.generation += 1;
    let mut next = row.hash.clone();
    next[..8].copy_from_slice(&row.generation.to_be_bytes());
    let values = vec![
        (&*row.id).into(),
        (&*row.hash).into(),
        (&*next).into(),
        row.generation.into(),
        1.into(),
        1_000_000.into(),
        1_000_000.into(),
    ];
    driver.write(vec![("REFRESH_ROTATE", values)]).await;
    row.hash = next;
}
