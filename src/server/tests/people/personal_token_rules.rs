//! What a person may create a personal access token with, and what is told and recorded of tokens.

use super::personal_tokens::{Page, WISH, ahead, desk, town, yaml};
use super::*;
use crate::directory::Barred;
use crate::oauth::personal_token::{Refused, Wish};
use crate::people::agent::Agent;
use crate::server::routes::people::personal_token::{Created, EndedBy, NotCreated};
use crate::telemetry::testing::Log;
use crate::tokens::reference::{self, Kind, Prefix};
use crate::tokens::{SystemEntropy, TokenHash};

/// A wish that is granted, for an hour.
fn good() -> Wish<'static> {
    Wish {
        expires_at: Some(ahead(1)),
        ..WISH
    }
}

async fn refused(page: &Page<'_>, client: &str, wish: Wish<'_>) -> Refused {
    match page.try_create(client, &wish).await {
        Err(NotCreated::Refused(why)) => why,
        other => panic!("{wish:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_person_creates_only_what_client_person_and_identity_allow() {
    let town = town().await;
    let page = Page::of(&town).await;
    let good = good();
    let long = "x".repeat(101);
    for name in ["", "  ", &long, "a\u{202e}b", "a\nb"] {
        let wish = Wish {
            name,
            ..good.clone()
        };
        assert_eq!(refused(&page, APP, wish).await, Refused::Name, "{name:?}");
    }
    let many: Vec<&str> = vec!["orders.read"; 65];
    for scopes in [
        &[][..],
        &["orders.write"],
        &["orders.read", "unknown"],
        &["openid"],
        &["orders.read", "email"],
        &many,
    ] {
        let wish = Wish {
            scopes,
            ..good.clone()
        };
        assert_eq!(
            refused(&page, APP, wish).await,
            Refused::Scope,
            "{scopes:?}"
        );
    }
    for (expires_at, why) in [
        (None, Refused::NeverExpires),
        (Some(now()), Refused::Past),
        (Some(ahead(8784 + 1)), Refused::TooLong),
    ] {
        let wish = Wish {
            expires_at,
            ..good.clone()
        };
        assert_eq!(refused(&page, APP, wish).await, why);
    }
    for client in ["blue.nobody", "blue.shop", "platform.api"] {
        assert_eq!(refused(&page, client, good.clone()).await, Refused::Client);
    }
}

/// One token, one resource (RFC 9068 section 3).
#[tokio::test]
async fn a_token_is_for_one_resource() {
    let mut town = town().await;
    town.fixture.apply(&yaml(
        "orders.read]\n  redirectUris",
        "orders.read, green:items]\n  redirectUris",
    ));
    let page = Page::of(&town).await;
    let good = good();
    let both = Wish {
        scopes: &["orders.read", "green:items"],
        ..good.clone()
    };
    let (orders, elsewhere) = (["https://api.example.com"], ["https://other.example.com"]);
    assert!(matches!(
        refused(&page, APP, both.clone()).await,
        Refused::Target(_)
    ));
    let wish = Wish {
        resources: &elsewhere,
        ..good.clone()
    };
    assert!(matches!(
        refused(&page, APP, wish).await,
        Refused::Target(_)
    ));
    let wish = Wish {
        resources: &orders,
        ..both
    };
    assert_eq!(refused(&page, APP, wish).await, Refused::Scope);
    let wish = Wish {
        name: " laptop ",
        resources: &orders,
        scopes: &["orders.read", "orders.read"],
        ..good.clone()
    };
    let created = page.try_create(APP, &wish).await.unwrap().token;
    assert_eq!(
        (&*created.name, &*created.scopes),
        ("laptop", "orders.read")
    );
}

#[tokio::test]
async fn a_person_creates_tokens_only_of_clients_that_take_them_from_this_person() {
    let town = town().await;
    let page = Page::of(&town).await;
    for (from, to, why) in [
        (
            "AuthenticatedUsers",
            "AdministratorsOnly",
            Refused::NotAllowed,
        ),
        (
            "type: Public",
            "type: Public\n  access: {groups: [buyers]}",
            Refused::Barred(Barred::ClientNotAllowed),
        ),
        (
            "type: Public",
            "type: Public\n  minimumAcr: Phr",
            Refused::Barred(Barred::SignInInsufficient),
        ),
    ] {
        let changed = yaml(from, to);
        let world = World::new(&format!("{QUICKSTART}---\n{MORE}---\n{changed}"));
        let publisher = town.fixture.app.publisher();
        publisher.update(|published| *published = world.directory);
        assert_eq!(refused(&page, APP, good()).await, why, "{to}");
    }
}

#[tokio::test]
async fn guesses_cost_few_look_ups_and_keep_out_no_genuine_token() {
    let town = town().await;
    let page = Page::of(&town).await;
    let created = page.create().await;
    let prefix = Prefix::default();
    let kind = Kind::PersonalAccessToken;
    let of_its_id = reference::with_secret(&prefix, kind, created.token.id, &[7; 32]);
    assert_eq!(
        town.check(of_its_id.token.expose()).await,
        StatusCode::UNAUTHORIZED
    );
    // Others guess at the same time.
    let exhaust = || {
        let tokens = &town.people.personal_tokens;
        while tokens.admit(&TokenHash::of("guess"), false).is_ok() {}
    };
    let guess = async || {
        let guess = reference::mint(&prefix, kind, &mut SystemEntropy);
        exhaust();
        town.check(guess.token.expose()).await
    };
    let waits = tokio::time::timeout(Duration::from_secs(60), async {
        // Unless another look-up is allowed again in the meantime.
        while guess().await != StatusCode::SERVICE_UNAVAILABLE {}
    });
    waits.await.unwrap();
    exhaust();
    assert_eq!(town.check_all(&[&created]).await, [200]);
}

#[tokio::test]
async fn each_change_is_an_audit_event_and_no_log_contains_a_token() {
    let town = town().await;
    let log = Log::default();
    let guard = log.start();
    let page = Page::of(&town).await;
    let (first, second) = (page.create().await, page.create().await);
    assert!(page.try_create("blue.<x>", &WISH).await.is_err());
    page.revoke(first.token.id).await;
    assert_eq!(town.check_all(&[&first]).await, [401]);
    let by = EndedBy::Administrator;
    let ended = desk(&town).revoke_all(page.account.id, by, now()).await;
    assert_eq!(ended.unwrap().unwrap(), 1);
    drop(guard);
    let events = log.audit();
    let seen: Vec<_> = events
        .iter()
        .map(|it| (it["event"].as_str().unwrap(), it["reason"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("personal_token_created", None),
            ("personal_token_created", None),
            ("personal_token_refused", Some("client_refused")),
            ("personal_token_revoked", Some("owner")),
            ("refused", Some("token_revoked")),
            ("personal_token_revoked", Some("administrator")),
        ],
        "{events:#?}"
    );
    let subject = page.account.id.0.to_string();
    for (index, token) in [(0, &first), (1, &second), (3, &first), (5, &second)] {
        assert_eq!(events[index]["token_id"], token.token.id.as_str());
        assert_eq!(events[index]["subject"], *subject);
    }
    assert_eq!(events[0]["scope"], "orders.read");
    let logged = log.text();
    for token in [&first, &second] {
        assert!(!logged.contains(token.secret.expose()));
        let secret = &token.secret.expose()["sympat_".len() + 16..];
        assert!(!logged.contains(secret));
    }
    assert!(!logged.contains("blue.<x>"), "{logged}");
}

/// The last use says which network and which kind of program, and no request waits for its record.
#[tokio::test]
async fn a_person_sees_the_last_use() {
    let mut town = town().await;
    let api = town.fixture.client("platform", "api");
    let page = Page::of(&town).await;
    let (first, second, third) = (
        page.create().await,
        page.create().await,
        page.create().await,
    );
    assert_eq!(town.check_all(&[&first]).await, [200]);
    let told = town.fixture.introspect(&api, second.secret.expose()).await;
    assert_eq!(told["active"], true);
    let used = async |created: &Created| {
        let listed = desk(&town).list(page.account.id).await.unwrap();
        let mut listed = listed.into_iter();
        let found = listed.find(|it| it.token.id == created.token.id);
        found.unwrap().token.used
    };
    assert_eq!(used(&first).await, None, "it is recorded later");
    let record = async || {
        let tokens = &town.people.personal_tokens;
        tokens.record(&town.people.store).await.unwrap();
    };
    record().await;
    let of_first = used(&first).await.unwrap();
    assert_eq!(of_first.network.as_deref(), Some("127.0.0.0/24"));
    assert_eq!(of_first.agent, Some(Agent::Curl));
    let of_second = used(&second).await.unwrap();
    assert_eq!((of_second.network, of_second.agent), (None, None));
    assert_eq!(used(&third).await, None);
    // Within a minute, further uses are not recorded.
    assert_eq!(town.check_all(&[&first]).await, [200]);
    record().await;
    assert_eq!(used(&first).await.unwrap(), of_first);
}
