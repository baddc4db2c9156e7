//! Callers that leave before they are answered.

use super::*;
use crate::server::activity::Activity;
use crate::server::turns::Taken;
use crate::store::Outcome;
use crate::tokens::{Kind as TokenKind, Prefix, SystemEntropy, reference};
use futures::FutureExt as _;

/// A store that does nothing else until this is dropped.
struct Blocked(
    #[expect(dead_code, reason = "its end unblocks the store")] std::sync::mpsc::Sender<()>,
);

impl Blocked {
    async fn new(store: &Store) -> Self {
        let (unblock, blocked) = std::sync::mpsc::channel();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let store = store.clone();
        tokio::spawn(async move {
            let work = store.write(move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    // The writer's patience does not end this, however busy the machine is.
                    tokio::task::block_in_place(|| blocked.recv().unwrap_err());
                    Ok(Outcome::Cancel(()))
                })
            });
            work.await
        });
        has_begun.await.unwrap();
        Self(unblock)
    }
}

/// Returns a code that no one was issued.
fn unknown_code() -> SecretString {
    let (prefix, kind) = (Prefix::default(), TokenKind::AuthorizationCode);
    reference::mint(&prefix, kind, &mut SystemEntropy).token
}

/// Waits for a condition.
async fn reached(condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, reached).await.unwrap();
}

/// A code that was used twice ends its grant, although its client leaves. So a request whose client has left counts
/// until the store has answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_cannot_exceed_their_share_by_leaving_while_the_store_is_slow() {
    const SHARE: usize = 4;
    let store = Store::in_memory().await.unwrap();
    let town = Town::configured(store.clone(), |config| {
        config.limits.requests_per_peer = SHARE;
    });
    let (town, code) = (town.await, unknown_code());
    let unknown = town.redeem(code.expose()).await;
    assert_eq!(unknown.error(), (400, "invalid_grant".to_owned()));

    let blocked = Blocked::new(&store).await;
    for _ in 0..SHARE {
        let left = town.redeem(code.expose()).now_or_never();
        assert!(left.is_none(), "{left:?}");
    }
    let refused = town.redeem(code.expose()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    drop(blocked);
    let is_answered = async || {
        let reply = town.redeem(code.expose()).await;
        reply.status == StatusCode::BAD_REQUEST
    };
    reached(is_answered).await;
}

/// What the store makes the server hold would otherwise count for no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_of_a_request_whose_caller_has_left_is_charged_until_the_store_has_answered() {
    const LENGTH: usize = 20_000;
    let store = Store::in_memory().await.unwrap();
    let (town, code) = (Town::with(store.clone()).await, unknown_code());
    let activity = Arc::new(Activity::default());
    let taken = Taken::new(Arc::clone(&activity), activity.try_turn().unwrap());
    let body = format!(
        "grant_type=authorization_code&client_id={APP}&code={}&redirect_uri={}&code_verifier={VERIFIER}&more={}",
        code.expose(),
        encoded(REDIRECT),
        "x".repeat(LENGTH)
    );
    let mut request = form(TOKEN, "", &body);
    request.extensions_mut().insert(Arc::new(taken));
    let blocked = Blocked::new(&store).await;
    let left = town.fixture.send(request).now_or_never();
    assert!(left.is_none(), "{left:?}");
    assert!(activity.weight() > LENGTH, "{}", activity.weight());
    assert!(activity.try_turn().is_some());
    drop(blocked);
    reached(async || activity.weight() == 0).await;
}
