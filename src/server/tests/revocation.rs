//! Token revocation (RFC 7009).

use axum::http::StatusCode;
use serde_json::json;

use super::*;
use crate::directory::tables::record::EntryRecord;
use crate::directory::{Change, Directory, Row, Settings};
use crate::telemetry::testing::Log;
use crate::tokens::{SeededEntropy, reference};

/// Returns the Credential and the token's ID, as the fake revoker records them.
fn recorded(token: &str) -> String {
    let id = reference::parse(token).unwrap().id;
    format!("platform/ServiceAccessToken-blue-nightly {id}")
}

impl Fixture {
    /// Rotates the quickstart's token. Returns the previous token, which is in its overlap, and the current one.
    fn rotated(&mut self) -> (String, String) {
        let key = ObjectKey::new("platform", "ServiceAccessToken-blue-nightly");
        let previous = self.nightly();
        let entry = |fixture: &Self| {
            let known = fixture.world.directory.credential(&key).unwrap();
            known.entries[0].clone()
        };
        let older = EntryRecord {
            not_after: Some(now() + jiff::SignedDuration::from_hours(1)),
            ..entry(self)
        };
        let current = self.nightly();
        let newest = EntryRecord {
            epoch: 2,
            ..entry(self)
        };
        let mut record = (**self.world.directory.credential(&key).unwrap()).clone();
        record.entries = [older, newest].into();
        let change = Change::Upsert(Row::Credential(Box::new(record)));
        self.world.directory.apply(change);
        self.publish();
        (previous, current)
    }
}

async fn revoke(fixture: &Fixture, authorization: &str, token: &str) -> Reply {
    fixture
        .post(REVOKE, authorization, &format!("token={token}"))
        .await
}

fn calls(fixture: &Fixture) -> Vec<String> {
    fixture.revoker.0.lock().unwrap().1.clone()
}

#[tokio::test]
async fn a_client_revokes_its_own_token() {
    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    let reply = revoke(&fixture, &shop, &token).await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(calls(&fixture), [recorded(&token)]);
    assert_eq!(
        fixture.introspect(&api, &token).await,
        json!({"active": false})
    );
    assert_eq!(
        revoke(&fixture, &shop, &token).await.status,
        StatusCode::OK,
        "a repeated revocation succeeds"
    );
    assert_eq!(calls(&fixture).len(), 1);
}

#[tokio::test]
async fn revoking_one_of_two_accepted_tokens_leaves_the_other() {
    for revokes_previous in [true, false] {
        let mut fixture = Fixture::new();
        let (shop, api) = (fixture.shop(), fixture.client("platform", "api"));
        let (previous, current) = fixture.rotated();
        for token in [&previous, &current] {
            assert_eq!(fixture.introspect(&api, token).await["active"], true);
        }
        let (revoked, kept) = if revokes_previous {
            (&previous, &current)
        } else {
            (&current, &previous)
        };
        assert_eq!(
            revoke(&fixture, &shop, revoked).await.status,
            StatusCode::OK
        );
        assert_eq!(calls(&fixture), [recorded(revoked)]);
        let active = json!({"active": false});
        assert_eq!(fixture.introspect(&api, revoked).await, active);
        assert_eq!(fixture.introspect(&api, kept).await["active"], true);
        assert_eq!(revoke(&fixture, &shop, kept).await.status, StatusCode::OK);
        assert_eq!(fixture.introspect(&api, kept).await, active);
    }
}

#[tokio::test]
async fn a_token_that_the_watch_brings_during_a_revocation_stays_valid() {
    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    let kind = OwnerKind::ServiceAccessToken;
    let next = fixture.world.issue(kind, "blue", "nightly", now());
    fixture.revoker.0.lock().unwrap().0 = Outage::Late;
    let watch = async { fixture.publish() };
    let (reply, ()) = tokio::join!(revoke(&fixture, &shop, &token), watch);
    assert_eq!(reply.status, StatusCode::OK);
    for (token, active) in [(token.as_str(), false), (next.expose(), true)] {
        assert_eq!(fixture.introspect(&api, token).await["active"], active);
    }
}

#[tokio::test]
async fn a_hint_changes_nothing() {
    let mut fixture = Fixture::new();
    let (shop, token) = (fixture.shop(), fixture.nightly());
    let body = format!("token={token}&token_type_hint=refresh_token");
    assert_eq!(
        fixture.post(REVOKE, &shop, &body).await.status,
        StatusCode::OK
    );
    assert_eq!(calls(&fixture).len(), 1);
}

#[tokio::test]
async fn the_token_of_another_client_stays_valid() {
    let mut fixture = Fixture::new();
    let (wide, api, token) = (
        fixture.client("blue", "wide"),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    assert_eq!(revoke(&fixture, &wide, &token).await.status, StatusCode::OK);
    assert!(calls(&fixture).is_empty());
    assert_eq!(fixture.introspect(&api, &token).await["active"], true);
}

#[tokio::test]
async fn an_unknown_token_or_a_client_secret_is_200_and_nothing_is_revoked() {
    let mut fixture = Fixture::new();
    let (shop, secret) = (fixture.shop(), fixture.secret("blue", "shop"));
    let shop_again = basic("blue.shop", secret.expose());
    for unknown in ["nope", "a.b.c", secret.expose()] {
        assert_eq!(
            revoke(&fixture, &shop_again, unknown).await.status,
            StatusCode::OK
        );
    }
    assert!(calls(&fixture).is_empty());
    assert_eq!(fixture.token(&shop_again, "").await.status, StatusCode::OK);
    drop(shop);
}

/// Waits until the fake revoker was called this often.
async fn recorded_calls(fixture: &Fixture, count: usize) -> Vec<String> {
    while calls(fixture).len() < count {
        tokio::task::yield_now().await;
    }
    calls(fixture)
}

/// The watch of this server is late.
#[tokio::test]
async fn a_token_that_arrives_after_its_revocation_is_refused_at_once_and_recorded() {
    let mut fixture = Fixture::new();
    let (shop, api) = (fixture.shop(), fixture.client("platform", "api"));
    let kind = OwnerKind::ServiceAccessToken;
    let token = fixture.world.issue(kind, "blue", "nightly", now());
    let token = token.expose();
    let answers = [
        revoke(&fixture, &shop, token).await,
        revoke(&fixture, &shop, token).await,
    ];
    for reply in answers {
        assert_eq!((reply.status, &*reply.body), (StatusCode::OK, ""));
    }
    assert!(calls(&fixture).is_empty());
    let log = Log::default();
    let _logging = log.start();
    fixture.publish();
    let inactive = json!({"active": false});
    assert_eq!(fixture.introspect(&api, token).await, inactive);
    let written = recorded_calls(&fixture, 1).await;
    assert_eq!(written, [recorded(token)]);
    while !log.text().contains("token_revoked") {
        tokio::task::yield_now().await;
    }
    // The watch repeats what it brought.
    fixture.publish();
    assert_eq!(fixture.introspect(&api, token).await, inactive);
    let next = fixture.nightly();
    assert_eq!(
        fixture.introspect(&api, &next).await["active"],
        true,
        "the next token is another one"
    );
}

#[tokio::test]
async fn a_revocation_that_cannot_be_recorded_when_its_token_arrives_is_tried_again() {
    let mut fixture = Fixture::new();
    let (shop, api) = (fixture.shop(), fixture.client("platform", "api"));
    let kind = OwnerKind::ServiceAccessToken;
    let token = fixture.world.issue(kind, "blue", "nightly", now());
    let reply = revoke(&fixture, &shop, token.expose()).await;
    assert_eq!(reply.status, StatusCode::OK);
    fixture.revoker.0.lock().unwrap().0 = Outage::Fails;
    fixture.publish();
    recorded_calls(&fixture, 1).await;
    fixture.revoker.0.lock().unwrap().0 = Outage::None;
    // Every arrival wakes the task, so the test need not wait for the pause between two tries.
    let again = async {
        while calls(&fixture).len() < 2 {
            fixture.app.publisher().update(|published| {
                *published = Directory::new(Settings::default());
            });
            fixture.publish();
            tokio::task::yield_now().await;
        }
    };
    again.await;
    let active = fixture.introspect(&api, token.expose()).await["active"].clone();
    assert_eq!(active, false);
}

#[tokio::test]
async fn while_the_watch_is_silent_the_revocation_of_an_unknown_token_is_503() {
    let mut fixture = Fixture::new();
    let (shop, known) = (fixture.shop(), fixture.nightly());
    let kind = OwnerKind::ServiceAccessToken;
    let unknown = fixture.world.issue(kind, "blue", "nightly", now());
    let heard = |seconds| {
        let silence = jiff::SignedDuration::from_secs(seconds);
        fixture.app.status().heard_at(now() - silence);
    };
    // Bookmarks arrive every 60 to 75 s.
    heard(76);
    let reply = revoke(&fixture, &shop, unknown.expose()).await;
    assert_eq!(reply.status, StatusCode::OK);
    heard(99);
    let reply = revoke(&fixture, &shop, unknown.expose()).await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(reply.header("retry-after"), "5");
    let reply = revoke(&fixture, &shop, "nope").await;
    assert_eq!(reply.status, StatusCode::OK, "not a token");
    assert_eq!(revoke(&fixture, &shop, &known).await.status, StatusCode::OK);
    assert_eq!(calls(&fixture), [recorded(&known)]);
}

/// Brings the quickstart's token under another Credential, as `symbolon restore rebind` does.
fn rebound(fixture: &mut Fixture) {
    let key = ObjectKey::new("platform", "ServiceAccessToken-blue-nightly");
    let known = fixture.world.directory.credential(&key).unwrap();
    let uid = fixture.world.directory.service_token(&known.owner.key);
    let mut record = (**known).clone();
    record.owner.uid = uid.unwrap().uid.clone();
    record.key = ObjectKey::new("platform", "successor");
    record.uid = Some("successor".into());
    let change = Change::Upsert(Row::Credential(Box::new(record)));
    fixture.world.directory.apply(change);
    fixture.publish();
}

#[tokio::test]
async fn a_token_whose_credential_is_gone_is_refused_in_the_next_one() {
    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    fixture.revoker.0.lock().unwrap().0 = Outage::Gone;
    assert_eq!(revoke(&fixture, &shop, &token).await.status, StatusCode::OK);
    fixture.revoker.0.lock().unwrap().0 = Outage::None;
    rebound(&mut fixture);
    let inactive = json!({"active": false});
    assert_eq!(fixture.introspect(&api, &token).await, inactive);
    let id = reference::parse(&token).unwrap().id;
    let moved = format!("platform/successor {id}");
    while !calls(&fixture).contains(&moved) {
        tokio::task::yield_now().await;
    }
}

/// The write went to the Credential of the previous owner. The command may have read that before.
#[tokio::test]
async fn a_token_that_was_revoked_between_restore_and_rebind_is_refused_in_the_next_credential() {
    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    fixture.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue, uid: recreated}
spec: {clientRef: {name: shop}, scopes: [orders.read]}
",
    );
    assert_eq!(revoke(&fixture, &shop, &token).await.status, StatusCode::OK);
    assert_eq!(calls(&fixture), [recorded(&token)]);
    rebound(&mut fixture);
    let inactive = json!({"active": false});
    assert_eq!(fixture.introspect(&api, &token).await, inactive);
}

#[tokio::test]
async fn a_client_that_invents_tokens_uses_up_its_own_share_only() {
    let mut fixture = Fixture::new();
    let (shop, wide) = (fixture.shop(), fixture.client("blue", "wide"));
    let mut entropy = SeededEntropy::new(4);
    let mut invented = || {
        let prefix = "sym".parse().unwrap();
        let kind = reference::Kind::ServiceAccessToken;
        let minted = reference::mint(&prefix, kind, &mut entropy);
        minted.token.expose().to_owned()
    };
    let mut answered = 0;
    let refused = loop {
        let reply = revoke(&fixture, &shop, &invented()).await;
        if reply.status != StatusCode::OK {
            break reply;
        }
        answered += 1;
        assert!(answered < 1000, "no bound");
    };
    assert_eq!(refused.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(refused.header("retry-after"), "5");
    let reply = revoke(&fixture, &wide, &invented()).await;
    assert_eq!(reply.status, StatusCode::OK);
    let known = fixture.nightly();
    assert_eq!(revoke(&fixture, &shop, &known).await.status, StatusCode::OK);
    assert_eq!(calls(&fixture), [recorded(&known)]);
}

#[tokio::test]
async fn the_answer_is_200_only_after_a_durable_write_and_503_otherwise() {
    for fault in [Outage::Fails, Outage::Hangs] {
        let mut fixture = Fixture::new();
        let (shop, api, token) = (
            fixture.shop(),
            fixture.client("platform", "api"),
            fixture.nightly(),
        );
        fixture.revoker.0.lock().unwrap().0 = fault;
        let reply = revoke(&fixture, &shop, &token).await;
        assert_eq!(
            reply.error(),
            (503, "temporarily_unavailable".into()),
            "{fault:?}"
        );
        assert_eq!(reply.header("retry-after"), "5");
        assert_eq!(
            fixture.introspect(&api, &token).await["active"],
            true,
            "a token that is not revoked stays valid"
        );
        fixture.revoker.0.lock().unwrap().0 = Outage::None;
        assert_eq!(revoke(&fixture, &shop, &token).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_jwt_cannot_be_revoked_and_the_answer_says_so() {
    let mut fixture = Fixture::new();
    let (shop, wide) = (fixture.shop(), fixture.client("blue", "wide"));
    let token = fixture.access_token(&shop, "").await;
    let reply = revoke(&fixture, &shop, &token).await;
    assert_eq!(reply.error(), (400, "unsupported_token_type".into()));
    assert_eq!(
        revoke(&fixture, &wide, &token).await.status,
        StatusCode::OK,
        "a JWT of another client counts as unknown"
    );
}

#[tokio::test]
async fn the_caller_must_authenticate_and_name_a_token() {
    let mut fixture = Fixture::new();
    let (shop, token) = (fixture.shop(), fixture.nightly());
    assert_eq!(
        revoke(&fixture, "", &token).await.error(),
        (401, "invalid_client".into())
    );
    assert_eq!(
        fixture.post(REVOKE, &shop, "").await.error(),
        (400, "invalid_request".into())
    );
    let query = format!("{REVOKE}?token={token}");
    assert_eq!(
        fixture.post(&query, &shop, "").await.error(),
        (400, "invalid_request".into())
    );
    assert!(calls(&fixture).is_empty());
}

/// Sends revocations of a token, all at once, while the Kubernetes API does not answer.
async fn flood(fixture: &Fixture, authorization: &str, token: &str, count: usize) -> Vec<Reply> {
    let body = format!("token={token}");
    let revocations = (0..count).map(|_| fixture.post(REVOKE, authorization, &body));
    futures::future::join_all(revocations).await
}

#[tokio::test]
async fn one_client_has_a_share_of_the_revocations_and_others_still_get_theirs() {
    let mut fixture = Fixture::of(&format!("{QUICKSTART}---\n{MORE}"), |config| {
        config.limits.revocations_per_client = 3;
        // Long enough for all requests to arrive, also on a busy machine.
        config.limits.revocation = std::time::Duration::from_secs(5);
    });
    let (shop, token) = (fixture.shop(), fixture.nightly());
    fixture.revoker.0.lock().unwrap().0 = Outage::Hangs;
    let replies = flood(&fixture, &shop, &token, 20).await;
    assert_eq!(calls(&fixture).len(), 3, "writes to the Kubernetes API");
    for reply in &replies {
        assert_eq!(reply.error(), (503, "temporarily_unavailable".into()));
        assert_eq!(reply.header("retry-after"), "5");
    }
    let text = super::edge::health(&fixture, "/metrics").await.body;
    let shed = "symbolon_shed_total{cause=\"revocations\"} 17";
    assert!(text.lines().any(|line| line == shed), "{text}");
    fixture.revoker.0.lock().unwrap().0 = Outage::None;
    assert_eq!(
        revoke(&fixture, &shop, &token).await.status,
        StatusCode::OK,
        "the places are free again"
    );
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_cancel_the_write_and_keeps_its_place() {
    let mut fixture = Fixture::of(&format!("{QUICKSTART}---\n{MORE}"), |config| {
        config.limits.revocations_per_client = 2;
        config.limits.revocation = std::time::Duration::from_mins(10);
    });
    let (shop, token) = (fixture.shop(), fixture.nightly());
    fixture.revoker.0.lock().unwrap().0 = Outage::Hangs;
    for _ in 0..5 {
        let mut request = Box::pin(revoke(&fixture, &shop, &token));
        assert!(futures::poll!(request.as_mut()).is_pending() || calls(&fixture).len() == 2);
        tokio::task::yield_now().await;
    }
    assert_eq!(calls(&fixture).len(), 2, "further ones get no place");

    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    fixture.revoker.0.lock().unwrap().0 = Outage::Late;
    let mut request = Box::pin(revoke(&fixture, &shop, &token));
    assert!(futures::poll!(request.as_mut()).is_pending());
    drop(request);
    while fixture.introspect(&api, &token).await["active"] == true {
        tokio::task::yield_now().await;
    }
}
