//! What the server learns from changes of a User and from its status: links that were withdrawn, and ends of the person's
//! time that it did not see.

use serde_json::{Value, json};

use super::browser::left;
use super::sign_out::serve;
use super::*;
use crate::directory::{Change, Settings};
use crate::people::enrolment::withdrawal;
use crate::resources::Kind;
use crate::store::area::enrolment::LinkEnd;

/// Applies alice as the watch brings it, with changes of a part of the YAML, in one batch.
fn watch(town: &mut Town, changes: &[(&str, &str)]) {
    let batch: Vec<_> = changes
        .iter()
        .flat_map(|(from, to)| {
            assert!(YAML.contains(from), "{from}");
            town.fixture.world.changes(&YAML.replace(from, to))
        })
        .collect();
    town.fixture.app.publisher().apply(batch);
}

const ANNOTATED: &str = ", annotations: {symbolon.dev/enroll: first}";

/// Git still has the value, and a GitOps tool writes it back.
#[tokio::test]
async fn a_withdrawn_link_stays_dead_when_its_value_comes_back() {
    for meanwhile in ["", ", annotations: {symbolon.dev/enroll: second}"] {
        let mut town = Town::new().await;
        town.enrol().await;
        let epoch = async |town: &Town| {
            let found = town.people.store.credentials(ALICE).await.unwrap();
            found.unwrap().0.epoch
        };
        let before = epoch(&town).await;
        // A second later than the password, which voids earlier links.
        let link = Town::link_of(now() + jiff::SignedDuration::from_secs(1));
        let page = town.browser().get(&link).await;
        assert_eq!(page.status, StatusCode::OK, "{page}");

        let serving = serve(&town).await;
        watch(&mut town, &[(ANNOTATED, meanwhile), (ANNOTATED, ANNOTATED)]);
        let store = town.people.store.clone();
        let recorded = tokio::time::timeout(Duration::from_secs(60), async {
            let end = async || {
                let value = withdrawal(ALICE, "first");
                store.enrolment_end([0; 32], value, now()).await.unwrap()
            };
            while end().await != Some(LinkEnd::Withdrawn) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        recorded.await.unwrap();
        let page = town.browser().get(&link).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{page}");
        assert!(!page.body.contains("type=\"password\""), "{page}");
        assert_eq!(epoch(&town).await, before, "sessions and grants stay");
        serving.abort();
    }
}

/// Applies alice with a status, as a server of a cluster reads it.
fn with_status(town: &Town, status: &Value) {
    let manifest = json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "User",
        "metadata": {
            "name": "alice", "namespace": "platform", "uid": ALICE, "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:30Z", "annotations": {"symbolon.dev/enroll": "first"},
        },
        "spec": {"identityRef": {"name": "main"}, "username": "alice", "groups": ["staff"]},
        "status": status,
    });
    let settings = Settings {
        serves_only: true,
        ..Settings::default()
    };
    let change = Change::object(Kind::User, &manifest, &settings).unwrap();
    town.fixture.app.publisher().apply([change]);
}

/// The operator sees what happens while no server watches. A status that is lost brings no link back.
#[tokio::test]
async fn a_server_of_a_cluster_accepts_only_the_link_that_the_status_names() {
    let town = Town::new().await;
    let issued = now();
    let issued = jiff::Timestamp::from_second(issued.as_second()).unwrap();
    let link = Town::link_of(issued);
    let recorded = |nonce: &str, issued: jiff::Timestamp| {
        let later = issued + jiff::SignedDuration::from_hours(72);
        json!({"nonce": nonce, "issuedAt": issued, "expiresAt": later})
    };
    let mut withdrawn = recorded("first", issued);
    withdrawn["withdrawnAt"] = json!(issued);
    let second = jiff::SignedDuration::from_secs(1);
    for (status, expected) in [
        (json!({}), StatusCode::NOT_FOUND),
        (
            json!({"enrollment": recorded("first", issued)}),
            StatusCode::OK,
        ),
        (json!({"enrollment": withdrawn}), StatusCode::NOT_FOUND),
        (
            json!({"enrollment": recorded("second", issued)}),
            StatusCode::NOT_FOUND,
        ),
        (
            json!({"enrollment": recorded("first", issued + second)}),
            StatusCode::GONE,
        ),
    ] {
        with_status(&town, &status);
        let page = town.browser().get(&link).await;
        assert_eq!(page.status, expected, "{status}: {page}");
    }
}

/// All servers restarted, or listed again, while the person was disabled.
#[tokio::test]
async fn an_end_of_a_persons_time_that_only_the_operator_saw_ends_everything() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    let code = browser.authorize("").await.parameter("code").unwrap();
    let tokens = town.redeem(&code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    with_status(&town, &json!({}));
    assert_eq!(town.refresh(refresh).await.status, StatusCode::OK);
    with_status(&town, &json!({"endedAt": now()}));
    assert_eq!(town.refresh(refresh).await.error().1, "invalid_grant");
    let reply = browser.once(&authorize("&prompt=none")).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
}

/// A relist shows neither state.
#[tokio::test]
async fn sessions_do_not_survive_an_end_of_validity_that_was_there_for_a_moment() {
    for field in ["notAfter: 2026-01-01T00:00:00Z", "disabled: true"] {
        let mut town = Town::new().await;
        town.enrol().await;
        let code = town.code().await;
        let tokens = town.redeem(&code).await.json();
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let serving = serve(&town).await;
        let name = "username: alice";
        let barred = format!("{name}\n  {field}");
        watch(&mut town, &[(name, &barred), (name, name)]);
        let refused = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let reply = town.refresh(refresh).await;
                if !reply.status.is_success() {
                    return reply;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let refused = refused.await.unwrap();
        assert_eq!(refused.error().1, "invalid_grant", "{field}");
        serving.abort();
    }
}
