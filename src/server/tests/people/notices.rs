//! What clients are told of the end of a session: nothing is lost, and no client holds up others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use super::main_path::payload;
use super::sign_out::serve;
use super::*;
use crate::directory::Change;
use crate::people::code::Code;
use crate::people::grant::Grant;
use crate::people::notice::Notice;
use crate::people::session::Session;
use crate::people::testing;
use crate::server::back_channel::{BackChannel, Listeners};
use crate::server::people::outbox::{Delivery, Messenger, Told};
use crate::store::area::code::Authorized;
use crate::store::area::consent::Agreement;
use crate::tokens::{SystemEntropy, TokenHash, TokenId};

/// Keeps what it should tell.
#[derive(Default)]
pub struct Kept(pub Mutex<Vec<Notice>>);

impl Messenger for Kept {
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
        self.0.lock().unwrap().push(notice.clone());
        Box::pin(async { Told::Done })
    }
}

impl Kept {
    /// Carries out what the town's outbox gets.
    pub fn of(town: &Town) -> Arc<Self> {
        let kept = Arc::new(Self::default());
        deliver(town, &kept, Duration::ZERO);
        kept
    }

    /// Waits for this number of notices.
    pub async fn notices(&self, count: usize) -> Vec<Notice> {
        while self.0.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.0.lock().unwrap().clone()
    }
}

/// Delivers as a replica does whose clock is ahead.
fn deliver<M: Messenger>(
    town: &Town,
    messenger: &Arc<M>,
    ahead: Duration,
) -> tokio::task::JoinHandle<()> {
    let delivery = Delivery {
        store: town.people.store.clone(),
        outbox: town.outbox.clone(),
        messenger: Arc::clone(messenger),
        now: move || now() + ahead,
    };
    tokio::spawn(async move { delivery.run().await })
}

/// Ends a session of alice in which these clients have a grant.
async fn end_session(town: &Town, clients: &[&str]) -> TokenId {
    let store = &town.people.store;
    let new_id = || TokenId::random(&mut SystemEntropy);
    let account = town.people.keys.account_for(ALICE, None);
    let account = store.ensure_account(account, ALICE.to_owned(), now()).await;
    let account = account.unwrap();
    let id = new_id();
    let session = Session {
        id,
        hash: TokenHash::of(id.as_str()),
        account: account.id,
        epoch: account.epoch,
        created_at: now(),
        used_at: now(),
        authenticated_at: now(),
        methods: "pwd".to_owned(),
        expires_at: now() + Duration::from_hours(1),
        ended_at: None,
        is_remembered: false,
    };
    let begun = store.begin_session(session, Vec::new()).await.unwrap();
    assert!(begun.is_some());
    for client in clients {
        let (grant, code) = (new_id(), new_id());
        let authorized = Authorized {
            grant: Grant {
                id: grant,
                account: account.id,
                epoch: account.epoch,
                session: id,
                client: (*client).to_owned(),
                created_at: now(),
                expires_at: now() + Duration::from_mins(1),
                ..testing::grant()
            },
            code: Code {
                id: code,
                hash: TokenHash::of(code.as_str()),
                grant,
                redirect_uri: String::new(),
                challenge: None,
                nonce: None,
                expires_at: now() + Duration::from_mins(1),
                used_at: None,
            },
            pushed: None,
            agreement: Agreement::Unneeded,
        };
        assert!(store.issue_code(authorized, now()).await.unwrap().is_some());
    }
    assert!(store.sign_out(id, now()).await.unwrap().is_some());
    id
}

#[tokio::test]
async fn a_notice_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("symbolon.db");
    let open = || Store::open(&path, Duration::from_secs(10));
    let town = Town::with(open().await.unwrap()).await;
    let session = end_session(&town, &[APP]).await;
    town.people.store.close().await.unwrap();
    drop(town);
    let town = Town::with(open().await.unwrap()).await;
    let told = Kept::of(&town).notices(1).await;
    assert_eq!((told[0].session, &*told[0].client.id), (session, APP));
}

#[tokio::test]
async fn two_replicas_tell_each_client_once() {
    let town = Town::new().await;
    let kept = [Kept::of(&town), Kept::of(&town)];
    let told = || -> Vec<_> {
        let all = kept.iter().flat_map(|kept| kept.0.lock().unwrap().clone());
        let mut all: Vec<_> = all
            .map(|it| (it.session.as_str().to_owned(), it.client))
            .collect();
        all.sort();
        all
    };
    let mut expected = Vec::new();
    for _ in 0..40 {
        let session = end_session(&town, &["blue.one", "green.two"]).await;
        for id in ["blue.one", "green.two"] {
            let (id, uid) = (id.to_owned(), testing::SHOP.uid.to_owned());
            let client = Participant { id, uid };
            expected.push((session.as_str().to_owned(), client));
        }
    }
    expected.sort();
    nothing_waits(&town.people.store).await;
    assert_eq!(told(), expected);
}

/// When every notice that waits is due.
fn later() -> jiff::Timestamp {
    now() + Duration::from_mins(50)
}

async fn nothing_waits(store: &Store) {
    while !store.due_notices(later()).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does not answer some clients.
#[derive(Default)]
struct Silent {
    asked: AtomicUsize,
    kept: Kept,
}

impl Messenger for Silent {
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
        if notice.client.id.starts_with("blue.") {
            self.asked.fetch_add(1, Ordering::SeqCst);
            return Box::pin(std::future::pending());
        }
        self.kept.tell(notice)
    }
}

#[tokio::test]
async fn when_a_replica_ends_before_the_client_has_answered_another_one_tells_it_under_the_same_id()
{
    let town = Town::new().await;
    let silent = Arc::new(Silent::default());
    let first = deliver(&town, &silent, Duration::ZERO);
    let session = end_session(&town, &[APP]).await;
    while silent.asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    let kept = Arc::new(Kept::default());
    deliver(&town, &kept, Duration::from_mins(2));
    let told = kept.notices(1).await;
    assert_eq!((told[0].session, told[0].tries), (session, 2));
    assert_eq!(silent.asked.load(Ordering::SeqCst), 1);
    nothing_waits(&town.people.store).await;
    assert_eq!(kept.notices(1).await.len(), 1);
}

#[tokio::test]
async fn clients_that_do_not_answer_hold_up_no_others() {
    let town = Town::new().await;
    let silent = Arc::new(Silent::default());
    for _ in 0..30 {
        end_session(&town, &["blue.one", "blue.two", "blue.three"]).await;
    }
    deliver(&town, &silent, Duration::ZERO);
    while silent.asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    end_session(&town, &["green.one"]).await;
    silent.kept.notices(1).await;
    // Two clients of the namespace, four notices of each.
    assert!(silent.asked.load(Ordering::SeqCst) <= 8);
}

/// Fails some times, then works.
struct Flaky(AtomicUsize, Kept);

impl Messenger for Flaky {
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        if left > 0 {
            return Box::pin(async { Told::Failed });
        }
        self.1.tell(notice)
    }
}

#[tokio::test]
async fn a_notice_that_failed_waits_for_its_next_try_and_is_told_then() {
    let town = Town::new().await;
    let flaky = Arc::new(Flaky(1.into(), Kept::default()));
    let first = deliver(&town, &flaky, Duration::ZERO);
    end_session(&town, &[APP]).await;
    while flaky.0.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waits = async |ahead| {
        let due = town.people.store.due_notices(now() + ahead).await.unwrap();
        !due.is_empty()
    };
    while !waits(Duration::from_secs(10)).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    deliver(&town, &flaky, Duration::from_secs(10));
    let told = flaky.1.notices(1).await;
    assert_eq!(told[0].tries, 2);
}

#[tokio::test]
async fn a_notice_is_given_up_after_its_last_try() {
    let town = Town::new().await;
    let session = end_session(&town, &[APP]).await;
    let store = &town.people.store;
    for _ in 1..crate::people::notice::TRIES {
        let taken = store.take_notices(APP, 1, now(), now()).await.unwrap();
        assert_eq!(taken[0].session, session);
    }
    let flaky = Arc::new(Flaky(1.into(), Kept::default()));
    deliver(&town, &flaky, Duration::ZERO);
    nothing_waits(store).await;
    assert_eq!(flaky.0.load(Ordering::SeqCst), 0, "it was tried");
}

const BACK_CHANNEL: &str =
    "  displayName: The App\n  backchannelLogout: {uri: https://localhost/back}";

#[tokio::test]
async fn only_clients_that_name_where_get_notices() {
    let mut town = Town::new().await;
    let listeners = Listeners::new(&town.fixture.app, Outbox::default());
    let store = town.people.store.telling(Arc::new(listeners));
    let keys = PeopleKeys::new(mac(), None, ISSUER);
    town.people = Arc::new(People::new(store, keys, Passwords::default()));
    let due = async |town: &Town| town.people.store.due_notices(later()).await.unwrap();
    end_app_session(&town).await;
    assert!(due(&town).await.is_empty());
    town.change("  displayName: The App", BACK_CHANNEL);
    end_session(&town, &[APP]).await;
    assert!(due(&town).await.is_empty(), "another resource had its ID");
    end_app_session(&town).await;
    let found = due(&town).await;
    assert_eq!((&*found[0].client, &*found[0].namespace), (APP, "blue"));
}

/// Signs alice in at the app and ends the session.
async fn end_app_session(town: &Town) {
    town.fixture.app.set_people(Some(Arc::clone(&town.people)));
    let code = app_session(town).await;
    let id_token = town.redeem(&code).await.json()["id_token"].clone();
    let session = payload(id_token.as_str().unwrap())["sid"].clone();
    let session = session.as_str().unwrap().parse().unwrap();
    let ended = town.people.end_session(session, now()).await.unwrap();
    assert_eq!(ended.len(), 1);
}

/// Signs alice in at the app. Returns the code.
async fn app_session(town: &Town) -> String {
    let found = town.people.store.credentials(ALICE).await.unwrap();
    if found.is_none() {
        town.enrol().await;
    }
    let left = town.browser().authorize("").await;
    left.parameter("code").unwrap()
}

#[tokio::test]
async fn where_and_whether_a_client_is_told_is_decided_when_it_is_told() {
    let mut town = Town::new().await;
    town.change("  displayName: The App", BACK_CHANNEL);
    end_app_session(&town).await;
    let store = town.people.store.clone();
    let notice = store.take_notices(APP, 1, now(), later()).await.unwrap();
    let [notice] = notice.as_slice() else {
        panic!("{notice:?}");
    };
    let channel = BackChannel((*town.fixture.app).clone());
    let message = || channel.message(notice).map(|(uri, body, _)| (uri, body));
    let unneeded = |notice: &Notice| matches!(channel.message(notice), Err(Told::Unneeded));
    let claims = |body: &str| payload(body.strip_prefix("logout_token=").unwrap());
    let (uri, first) = message().unwrap();
    assert_eq!(uri, "https://localhost/back");
    let moved = BACK_CHANNEL.replace("/back", "/moved");
    town.change("  displayName: The App", &moved);
    let (uri, second) = message().unwrap();
    assert_eq!(uri, "https://localhost/moved");
    for body in [&first, &second] {
        let claims = claims(body);
        assert_eq!(claims["jti"], notice.id.as_str());
        assert_eq!(claims["sid"], notice.session.as_str());
        assert_eq!(claims["aud"], APP);
    }
    town.change(
        "  displayName: The App",
        &format!("{BACK_CHANNEL}\n  disabled: true"),
    );
    assert!(unneeded(notice), "it is disabled");
    town.change("  displayName: The App", "  displayName: The App");
    assert!(unneeded(notice), "it names no place");
    town.change("  displayName: The App", BACK_CHANNEL);
    assert!(message().is_ok());
    let recreated = Notice {
        client: Participant {
            uid: "another".to_owned(),
            ..notice.client.clone()
        },
        ..notice.clone()
    };
    assert!(unneeded(&recreated), "it was recreated");
}

/// Otherwise a server that has just started would find that no client must be told.
#[tokio::test]
async fn nothing_is_told_before_the_server_knows_every_client() {
    let town = Town::new().await;
    let state = (*town.fixture.app).clone();
    let channel = BackChannel(state.clone());
    assert!(channel.is_ready());
    state.publisher().update(|directory| {
        let identity = ObjectKey::new("platform", "main");
        directory.apply(Change::Delete(Kind::Identity, identity));
    });
    assert!(!channel.is_ready());
}

#[tokio::test]
async fn the_clients_of_a_person_who_is_disabled_or_deleted_are_told() {
    for is_deleted in [false, true] {
        let mut town = Town::new().await;
        town.change("  displayName: The App", BACK_CHANNEL);
        let serving = serve(&town).await;
        town.people = town.fixture.app.people().unwrap();
        app_session(&town).await;
        let store = town.people.store.clone();
        assert!(store.due_notices(later()).await.unwrap().is_empty());
        if is_deleted {
            let alice = ObjectKey::new("platform", "alice");
            let deleted = Change::Delete(Kind::User, alice);
            town.fixture.app.publisher().apply([deleted]);
        } else {
            let yaml = YAML.replace("  displayName: The App", BACK_CHANNEL);
            let yaml = yaml.replace("username: alice", "username: alice\n  disabled: true");
            town.fixture.apply(&yaml);
        }
        // The server does not talk to its own machine, so the notice stays.
        while store.due_notices(later()).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        serving.abort();
    }
}
