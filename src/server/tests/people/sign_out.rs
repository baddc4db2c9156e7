//! What ends with a session, and who is told.

use std::pin::pin;
use std::task::Poll;

use super::browser::left;
use super::main_path::payload;
use super::notices::Kept;
use super::*;
use crate::people::session::{MAX_SESSIONS, Session};
use crate::server::serve_people;
use crate::telemetry::testing::Log;
use crate::tokens::{SystemEntropy, TokenHash, TokenId, reference};

#[tokio::test]
async fn a_client_whose_grant_has_expired_is_told_of_the_end_of_the_session() {
    let town = Town::new().await;
    town.enrol().await;
    let kept = Kept::of(&town);
    let mut browser = town.browser();
    let path = authorize("").replace("%20offline_access", "");
    let page = browser.get(&path).await;
    let left = browser.reach_client(page).await;
    let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
    assert_eq!(tokens["refresh_token"], Value::Null);
    let id_token = tokens["id_token"].as_str().unwrap();
    let later = now() + Duration::from_hours(2);
    assert!(town.people.store.delete_expired(later).await.unwrap().rows > 0);
    let path = format!("/id/connect/endsession?id_token_hint={id_token}");
    let page = browser.once(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{page}");
    let told = kept.notices(1).await;
    assert_eq!(told[0].client.id, APP);
    assert_eq!(told[0].session.as_str(), payload(id_token)["sid"]);
}

#[tokio::test]
async fn every_client_of_a_session_is_told_of_its_end_once() {
    let town = Town::new().await;
    town.enrol().await;
    let kept = Kept::of(&town);
    let mut browser = town.browser();
    let first = browser.authorize("").await;
    browser.authorize("").await;
    let tokens = town.redeem(&first.parameter("code").unwrap()).await.json();
    let id_token = tokens["id_token"].as_str().unwrap();
    let path = format!("/id/connect/endsession?id_token_hint={id_token}");
    for _ in 0..2 {
        let page = browser.once(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{page}");
    }
    let told = kept.notices(1).await;
    let [notice] = told.as_slice() else {
        panic!("{told:?}")
    };
    let claims = payload(id_token);
    assert_eq!(notice.client.id, APP);
    assert_eq!(notice.session.as_str(), claims["sid"]);
    assert_eq!(notice.subject(), claims["sub"].as_str().unwrap());
}

/// Polls a future at most so many times, then drops it.
async fn left_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// The browser leaves at every point of the request.
#[tokio::test]
async fn a_browser_that_leaves_during_a_sign_out_suppresses_no_notice_and_no_audit_event() {
    let town = Town::new().await;
    town.enrol().await;
    let kept = Kept::of(&town);
    let log = Log::default();
    let guard = log.start();
    for polls in 1.. {
        let mut browser = town.browser();
        let left = browser.authorize("").await;
        let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
        let id_token = tokens["id_token"].as_str().unwrap();
        let path = format!("/id/connect/endsession?id_token_hint={id_token}");
        let answered = left_after(polls, browser.once(&path)).await;
        let claims = payload(id_token);
        let session: TokenId = claims["sid"].as_str().unwrap().parse().unwrap();
        let follows = async {
            loop {
                let found = town
                    .people
                    .store
                    .read(move |tx| Box::pin(tx.session(session)));
                let (found, _) = found.await.unwrap().unwrap();
                let is_told = kept
                    .0
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|it| it.session == session);
                let text = log.text();
                let mut lines = text.lines();
                let is_logged = lines
                    .any(|line| line.contains("\"signed_out\"") && line.contains(session.as_str()));
                if [is_told, is_logged] == [found.ended_at.is_some(); 2] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let followed = tokio::time::timeout(Duration::from_secs(60), follows).await;
        assert!(followed.is_ok(), "the browser left after {polls} polls");
        if answered.is_some() {
            assert!(polls > 1);
            break;
        }
    }
    drop(guard);
}

/// The client leaves at every point of the request.
#[tokio::test]
async fn a_client_that_leaves_after_it_used_a_refresh_token_twice_suppresses_no_audit_event() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    for polls in 1.. {
        let code = browser.authorize("").await.parameter("code").unwrap();
        let refresh = |reply: Reply| {
            let token = reply.json()["refresh_token"].as_str().map(str::to_owned);
            token.unwrap_or_else(|| panic!("{reply}"))
        };
        let first = refresh(town.redeem(&code).await);
        let second = refresh(town.refresh(&first).await);
        let third = refresh(town.refresh(&second).await);
        let log = Log::default();
        let guard = log.start();
        let answered = left_after(polls, town.refresh(&first)).await;
        let third = reference::parse(&third).unwrap().id;
        let follows = async {
            loop {
                let (_, standing) = town.people.store.family(third).await.unwrap().unwrap();
                let is_logged = log.text().contains("\"grant_ended\"");
                if is_logged == standing.grant.ended_at.is_some() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let followed = tokio::time::timeout(Duration::from_secs(60), follows).await;
        assert!(followed.is_ok(), "the client left after {polls} polls");
        drop(guard);
        if answered.is_some() {
            assert!(log.text().contains("\"grant_ended\""));
            break;
        }
    }
}

#[tokio::test]
async fn the_clients_of_the_oldest_of_too_many_sessions_are_told_and_it_is_logged() {
    let town = Town::new().await;
    town.enrol().await;
    let kept = Kept::of(&town);
    let mut browser = town.browser();
    let left = browser.authorize("").await;
    let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
    let store = &town.people.store;
    let (account, _) = store.credentials(ALICE).await.unwrap().unwrap();
    for number in 1..MAX_SESSIONS {
        let at = now() + Duration::from_secs(number.into());
        let id = TokenId::random(&mut SystemEntropy);
        let session = Session {
            id,
            hash: TokenHash::of(id.as_str()),
            account: account.id,
            epoch: account.epoch,
            created_at: at,
            used_at: at,
            authenticated_at: at,
            methods: "pwd".to_owned(),
            expires_at: at + Duration::from_hours(1),
            ended_at: None,
            is_remembered: false,
        };
        let ended = store.begin_session(session, Vec::new()).await.unwrap();
        assert_eq!(ended, Some(Vec::new()));
    }
    let log = Log::default();
    let guard = log.start();
    let mut another = town.browser();
    another.authorize("").await;
    let claims = payload(tokens["id_token"].as_str().unwrap());
    let told = kept.notices(1).await;
    assert_eq!(told[0].session.as_str(), claims["sid"]);
    let text = log.text();
    let mut lines = text.lines();
    let is_logged = |line: &str| {
        line.contains("\"session_ended\"") && line.contains(claims["sid"].as_str().unwrap())
    };
    assert!(lines.any(is_logged), "{text}");
    drop(guard);
}

#[tokio::test]
async fn the_page_after_a_sign_out_loads_a_frame_of_each_client_that_wants_it() {
    let mut town = Town::new().await;
    town.enrol().await;
    let uri = "https://app.example.com/front";
    town.change(
        "  displayName: The App",
        &format!("  displayName: The App\n  frontchannelLogout: {{uri: {uri}}}"),
    );
    let mut browser = town.browser();
    let left = browser.authorize("").await;
    let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
    let id_token = tokens["id_token"].as_str().unwrap();
    let path = format!(
        "/id/connect/endsession?id_token_hint={id_token}&post_logout_redirect_uri={}",
        encoded("https://app.example.com/bye")
    );
    let page = browser.once(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{page}");
    assert!(
        page.body.contains(&format!("<iframe src=\"{uri}?iss=")),
        "{page}"
    );
    assert!(page.body.contains("https://app.example.com/bye"), "{page}");
}

#[tokio::test]
async fn another_person_in_the_same_browser_ends_the_session_of_the_first() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    let left_one = browser.authorize("").await;
    let tokens = town
        .redeem(&left_one.parameter("code").unwrap())
        .await
        .json();
    let before = browser.cookies.clone();
    let again = browser.authorize("&prompt=login").await;
    assert!(again.parameter("code").is_some());
    assert_ne!(before, browser.cookies);
    // The same person: what the session gave stays.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(town.refresh(refresh).await.status, StatusCode::OK);
}

/// Does in the background what a server does.
pub async fn serve(town: &Town) -> tokio::task::JoinHandle<()> {
    let state = (*town.fixture.app).clone();
    let store = town.people.store.clone();
    state.set_people(None);
    let serving = tokio::spawn(serve_people(state.clone(), store, ISSUER.to_owned()));
    state.set_mac(mac());
    while state.people().is_none() {
        tokio::task::yield_now().await;
    }
    serving
}

async fn disable_and_enable(town: &mut Town) {
    bar_and_admit(town, "disabled: true").await;
}

/// Bars alice by a field until the server has seen it.
pub async fn bar_and_admit(town: &mut Town, field: &str) {
    let store = town.people.store.clone();
    let epoch = async || {
        let found = store.credentials(ALICE).await.unwrap();
        found.map_or(0, |(account, _)| account.epoch)
    };
    let before = epoch().await;
    town.change("username: alice", &format!("username: alice\n  {field}"));
    let limit = Duration::from_secs(60);
    let ended = tokio::time::timeout(limit, async {
        while epoch().await <= before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ended.await.unwrap();
    town.fixture.apply(YAML);
}

#[tokio::test]
async fn an_enrolment_link_from_before_a_disablement_stays_dead() {
    let mut town = Town::new().await;
    let link = Town::link();
    let serving = serve(&town).await;
    disable_and_enable(&mut town).await;
    let page = town.browser().get(&link).await;
    assert!(page.status.is_client_error(), "{page}");
    assert!(!page.body.contains("type=\"password\""), "{page}");
    serving.abort();
}

#[tokio::test]
async fn an_enrolment_link_of_a_disabled_person_does_not_work() {
    let mut town = Town::new().await;
    let link = Town::link();
    let page = town.browser().get(&link).await;
    assert_eq!(page.status, StatusCode::OK, "{page}");
    town.change("username: alice", "username: alice\n  disabled: true");
    let page = town.browser().get(&link).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "{page}");
    assert!(!page.body.contains("alice"), "{page}");
}

/// A form whose body arrives slowly, while the person is disabled and everything of the person ends.
#[tokio::test]
async fn a_person_who_is_disabled_while_the_form_arrives_gets_no_session() {
    let mut town = Town::new().await;
    town.enrol().await;
    town.change("username: alice", "username: alice\n  disabled: true");
    let disabled = town.fixture.world.directory.clone();
    town.fixture.apply(YAML);
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let (state, people) = ((*town.fixture.app).clone(), Arc::clone(&town.people));
    let arrives = async move {
        state.publisher().update(|published| *published = disabled);
        let (account, _) = people.store.credentials(ALICE).await.unwrap().unwrap();
        people.revoke(account.id, now()).await.unwrap();
    };
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let reply = browser.submit_after(&page, &fields, arrives).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply}");
    assert!(!browser.has("session"), "{reply}");
}

#[tokio::test]
async fn claims_of_a_person_who_is_disabled_while_the_request_arrives_are_not_told() {
    let mut town = Town::new().await;
    town.enrol().await;
    let code = town.code().await;
    let tokens = town.redeem(&code).await.json();
    town.change("username: alice", "username: alice\n  disabled: true");
    let disabled = town.fixture.world.directory.clone();
    town.fixture.apply(YAML);
    let state = (*town.fixture.app).clone();
    let body = format!("access_token={}", tokens["access_token"].as_str().unwrap());
    let body = futures::stream::once(async move {
        state.publisher().update(|published| *published = disabled);
        Ok::<_, std::convert::Infallible>(body)
    });
    let request = Request::post("/id/connect/userinfo")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from_stream(body));
    let reply = town.fixture.send(request.unwrap()).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{reply}");
}

#[tokio::test]
async fn what_a_disabled_person_had_does_not_come_back() {
    let mut town = Town::new().await;
    town.enrol().await;
    let serving = serve(&town).await;
    let (cookies, refresh) = {
        let mut browser = town.browser();
        let left = browser.authorize("").await;
        let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        (browser.cookies.clone(), refresh)
    };
    disable_and_enable(&mut town).await;
    let mut browser = town.browser();
    browser.cookies = cookies;
    let reply = browser.once(&authorize("&prompt=none")).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
    assert_eq!(town.refresh(&refresh).await.error().1, "invalid_grant");
    serving.abort();
}
