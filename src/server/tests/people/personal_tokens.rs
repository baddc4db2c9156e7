//! Personal access tokens: a person creates one, uses it wherever a service access token works, and revokes it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::sign_out::{bar_and_admit, serve};
use super::*;
use crate::oauth::personal_token::Wish;
use crate::people::account::Account;
use crate::people::session::Session;
use crate::server::request::LastingOrigin;
use crate::server::routes::people::personal_token::{Created, Desk, EndedBy, NotCreated};
use crate::store::Settings;
use crate::store::testing::{PostgresServer, few};
use crate::tokens::reference::{self, Kind, Prefix};
use crate::tokens::{SystemEntropy, TokenHash, TokenId};

const GATEWAY: &str = "/id/connect/checktoken/api";
const TYPES: &str = "responseTypes: [Code, CodeIDToken]";
const OPEN: &str = "responseTypes: [Code, CodeIDToken]\n  referenceTokens: AuthenticatedUsers";

/// The objects of a town whose app takes personal access tokens, with a change.
pub fn yaml(from: &str, to: &str) -> String {
    let open = YAML.replace(TYPES, OPEN);
    assert!(open.contains(from), "{from}");
    open.replace(from, to)
}

/// The quickstart's Scope `orders.read` with another field.
fn orders(field: &str) -> String {
    let mut objects = QUICKSTART.split("---\n");
    let scope = objects.find(|object| object.contains("name: orders.read,"));
    format!("{}  {field}\n", scope.unwrap())
}

pub async fn town() -> Town {
    let mut town = Town::new().await;
    town.fixture.apply(&yaml("", ""));
    town.enrol().await;
    town
}

/// What a page does for the person who is signed in.
pub struct Page<'t> {
    town: &'t Town,
    pub account: Account,
    session: Session,
}

pub fn desk(town: &Town) -> Desk {
    let app = (*town.fixture.app).clone();
    let snapshot = Arc::clone(&app.publisher().current());
    Desk {
        people: Arc::clone(&town.people),
        origin: LastingOrigin::new(None, HeaderMap::new(), Arc::clone(&snapshot)),
        snapshot,
        app,
        admitted: None,
    }
}

pub fn ahead(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

pub const WISH: Wish<'_> = Wish {
    name: "laptop",
    scopes: &["orders.read"],
    resources: &[],
    expires_at: None,
};

impl<'t> Page<'t> {
    /// Alice's page.
    pub async fn of(town: &'t Town) -> Self {
        let found = town.people.store.credentials(ALICE).await.unwrap();
        let (account, _) = found.unwrap();
        let session = Session {
            id: TokenId::random(&mut SystemEntropy),
            hash: TokenHash::of("cookie"),
            account: account.id,
            epoch: account.epoch,
            created_at: now(),
            used_at: now(),
            authenticated_at: now(),
            methods: "pwd".to_owned(),
            expires_at: ahead(1),
            ended_at: None,
            is_remembered: false,
        };
        Self {
            town,
            account,
            session,
        }
    }

    pub async fn try_create(&self, client: &str, wish: &Wish<'_>) -> Result<Created, NotCreated> {
        let owner = (&self.session, &self.account);
        let created = desk(self.town).create(owner, client, wish, now());
        created.await.unwrap().unwrap()
    }

    /// Creates a token for an hour.
    pub async fn create(&self) -> Created {
        let wish = Wish {
            expires_at: Some(ahead(1)),
            ..WISH
        };
        self.try_create(APP, &wish).await.unwrap()
    }

    /// Creates a token as if it was some hours ago.
    async fn create_before(&self, hours: i64, expires_at: Timestamp) -> Created {
        let wish = Wish {
            expires_at: Some(expires_at),
            ..WISH
        };
        let owner = (&self.session, &self.account);
        let created = desk(self.town).create(owner, APP, &wish, ahead(-hours));
        created.await.unwrap().unwrap().unwrap()
    }

    pub async fn revoke(&self, id: TokenId) -> bool {
        let revoked = desk(self.town).revoke(self.account.id, id, EndedBy::Owner, now());
        revoked.await.unwrap().unwrap()
    }
}

impl Town {
    async fn check_by(&self, header: &str, value: &str) -> Reply {
        let request = Request::get(GATEWAY)
            .header(header, value)
            .header("user-agent", "curl/8.14.1")
            .body(Body::empty());
        self.fixture.send(request.unwrap()).await
    }

    /// Presents a token at a gateway.
    pub async fn check(&self, token: &str) -> StatusCode {
        self.check_by("x-api-key", token).await.status
    }

    pub async fn check_all(&self, tokens: &[&Created]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for token in tokens {
            statuses.push(self.check(token.secret.expose()).await.as_u16());
        }
        statuses
    }
}

#[tokio::test]
async fn a_person_uses_a_token_wherever_a_service_access_token_works() {
    let mut town = town().await;
    let api = town.fixture.client("platform", "api");
    let other = town.fixture.client("green", "store");
    let page = Page::of(&town).await;
    let created = page.create().await;
    let (token, subject) = (created.secret.expose(), page.account.id.0.to_string());
    assert!(token.starts_with("sympat_"), "scanners find it");

    let bearer = format!("Bearer {token}");
    for (header, value) in [
        ("authorization", &*bearer),
        ("x-api-key", token),
        ("api-key", token),
    ] {
        let reply = town.check_by(header, value).await;
        assert_eq!(reply.status, StatusCode::OK, "{header}: {reply}");
        for (name, expected) in [
            ("x-auth-subject", &*subject),
            ("x-auth-kind", "person"),
            ("x-auth-client-id", APP),
            ("x-auth-scope", "orders.read"),
        ] {
            assert_eq!(reply.header(name), expected, "{reply}");
        }
    }

    let told = town.fixture.introspect(&api, token).await;
    for (name, expected) in [
        ("active", serde_json::json!(true)),
        ("sub", subject.into()),
        ("aud", "https://api.example.com".into()),
        ("client_id", APP.into()),
        ("scope", "orders.read".into()),
        ("jti", created.token.id.as_str().into()),
        ("principal_kind", "person".into()),
        ("acr", "pwd".into()),
        ("amr", serde_json::json!(["pwd"])),
        (
            "auth_time",
            page.session.authenticated_at.as_second().into(),
        ),
        ("iat", created.token.created_at.as_second().into()),
        ("exp", created.token.expires_at.unwrap().as_second().into()),
    ] {
        assert_eq!(told[name], expected, "{name} in {told}");
    }
    assert!(told.get("sid").is_none(), "it belongs to no session");

    // The API of another namespace learns nothing, and userinfo is for sign-ins.
    let told = town.fixture.introspect(&other, token).await;
    assert_eq!(told, serde_json::json!({"active": false}));
    let reply = town.userinfo(token).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{reply}");
}

#[tokio::test]
async fn a_person_revokes_one_token_or_all() {
    let mut town = town().await;
    let api = town.fixture.client("platform", "api");
    let page = Page::of(&town).await;
    let tokens = [
        page.create().await,
        page.create().await,
        page.create().await,
    ];
    let all: Vec<&Created> = tokens.iter().collect();
    assert_eq!(town.check_all(&all).await, [200, 200, 200]);
    let listed = desk(&town).list(page.account.id).await.unwrap();
    let ids: BTreeSet<_> = listed.iter().map(|it| it.token.id).collect();
    assert_eq!(ids, all.iter().map(|it| it.token.id).collect());
    assert!(page.revoke(tokens[1].token.id).await);
    assert!(!page.revoke(tokens[1].token.id).await);
    assert_eq!(town.check_all(&all).await, [200, 401, 200]);
    let told = town.fixture.introspect(&api, tokens[1].secret.expose());
    assert_eq!(told.await, serde_json::json!({"active": false}));
    let ended = desk(&town).revoke_all(page.account.id, EndedBy::Owner, now());
    assert_eq!(ended.await.unwrap().unwrap(), 2);
    assert_eq!(town.check_all(&all).await, [401, 401, 401]);
}

/// RFC 7009 section 2.1.
#[tokio::test]
async fn a_client_revokes_its_own_tokens_and_no_other_ones() {
    let mut town = town().await;
    let shop = town.fixture.shop();
    let page = Page::of(&town).await;
    let (first, second) = (page.create().await, page.create().await);
    let revoke = async |authorization: &str, more: &str, token: &str| {
        let body = format!("token={token}&token_type_hint=refresh_token{more}");
        town.fixture.post(REVOKE, authorization, &body).await.status
    };
    let own = format!("&client_id={APP}");
    let token = first.secret.expose();
    assert_eq!(revoke(&shop, "", token).await, StatusCode::OK);
    let guess = reference::with_secret(
        &Prefix::default(),
        Kind::PersonalAccessToken,
        first.token.id,
        &[7; 32],
    );
    let guess = guess.token.expose();
    assert_eq!(revoke("", &own, guess).await, StatusCode::OK);
    assert_eq!(town.check_all(&[&first, &second]).await, [200, 200]);
    for _ in 0..2 {
        assert_eq!(revoke("", &own, token).await, StatusCode::OK);
        assert_eq!(town.check_all(&[&first, &second]).await, [401, 200]);
    }
}

#[tokio::test]
async fn a_token_gives_only_what_client_and_person_may_have_now() {
    let mut town = town().await;
    let created = Page::of(&town).await.create().await;
    let token = created.secret.expose();
    let username = "  username: alice\n";
    let with = |field: &str| format!("{username}  {field}\n");
    let in_group = "  access: {groups: [staff]}\n  responseTypes";
    let changes = [
        (username, with("disabled: true")),
        (username, with("notAfter: 2026-01-01T00:00:00Z")),
        (
            "groups: [staff]\n  attributes",
            "groups: [guests]\n  attributes".to_owned(),
        ),
        ("type: Public", "type: Public\n  disabled: true".to_owned()),
        ("type: Public", "type: Public\n  minimumAcr: Mfa".to_owned()),
        ("offline_access, orders.read]", "offline_access]".to_owned()),
        ("AuthenticatedUsers", "None".to_owned()),
        ("AuthenticatedUsers", "AdministratorsOnly".to_owned()),
        (
            "interactiveClients: {from: All}",
            "interactiveClients: {from: Same}".to_owned(),
        ),
    ];
    let open = yaml("  responseTypes", in_group);
    town.fixture.apply(&open);
    assert_eq!(town.check(token).await, StatusCode::OK);
    for (from, to) in changes {
        assert!(open.contains(from), "{from}");
        town.fixture.apply(&open.replace(from, &to));
        assert_eq!(town.check(token).await, StatusCode::UNAUTHORIZED, "{to}");
        town.fixture.apply(&open);
        assert_eq!(town.check(token).await, StatusCode::OK, "without {to}");
    }
    // An administrator keeps the token where only administrators may have one.
    let of_administrators = open.replace("AuthenticatedUsers", "AdministratorsOnly");
    town.fixture
        .apply(&of_administrators.replace(username, &with("role: Administrator")));
    assert_eq!(town.check(token).await, StatusCode::OK);
}

#[tokio::test]
async fn a_scope_of_a_group_is_lost_with_the_group() {
    let mut town = town().await;
    let created = Page::of(&town).await.create().await;
    for (groups, status) in [("staff", 200), ("buyers", 401), ("buyers, staff", 200)] {
        let people = format!("people: {{groups: [{groups}]}}");
        town.fixture.apply(&orders(&people));
        assert_eq!(town.check_all(&[&created]).await, [status], "{groups}");
    }
}

#[tokio::test]
async fn a_token_tells_an_api_only_the_claims_that_its_scopes_released_when_it_was_created() {
    let mut town = town().await;
    let api = town.fixture.client("platform", "api");
    town.fixture.apply(&orders("claims: [department]"));
    let created = Page::of(&town).await.create().await;
    for (claims, department) in [
        ("claims: [department]", Some("sales")),
        ("claims: [department, email]", Some("sales")),
        ("claims: [email]", None),
    ] {
        town.fixture.apply(&orders(claims));
        let told = town.fixture.introspect(&api, created.secret.expose()).await;
        assert_eq!(told["active"], true);
        assert_eq!(told["department"].as_str(), department, "{claims}");
        assert!(told.get("email").is_none(), "{claims}: {told}");
    }
}

#[tokio::test]
async fn a_token_from_before_a_revocation_of_everything_is_refused() {
    for (from, field) in [
        ("  username: alice\n", "  revokeIssuedBefore: "),
        ("  storage: {type: SQLite}\n", "  revokeIssuedBefore: "),
    ] {
        let mut town = town().await;
        let created = Page::of(&town).await.create_before(2, ahead(1)).await;
        assert_eq!(town.check_all(&[&created]).await, [200]);
        let revoked = |hours| yaml(from, &format!("{from}{field}{}\n", ahead(hours)));
        town.fixture.apply(&revoked(-3));
        assert_eq!(town.check_all(&[&created]).await, [200], "it is younger");
        town.fixture.apply(&revoked(-1));
        assert_eq!(town.check_all(&[&created]).await, [401], "{from}");
    }
}

#[tokio::test]
async fn a_token_does_not_come_back_when_its_person_may_act_again() {
    let mut town = town().await;
    let created = Page::of(&town).await.create().await;
    let serving = serve(&town).await;
    bar_and_admit(&mut town, "disabled: true").await;
    town.fixture.apply(&yaml("", ""));
    assert_eq!(town.check_all(&[&created]).await, [401]);
    let page = Page::of(&town).await;
    let another = page.create().await;
    assert_eq!(town.check_all(&[&another]).await, [200]);
    serving.abort();
}

#[tokio::test]
async fn a_token_ends_in_time_and_within_the_present_limits() {
    let mut town = town().await;
    let page = Page::of(&town).await;
    let expired = page.create_before(2, ahead(-1)).await;
    let valid = page.create_before(2, ahead(1)).await;
    assert_eq!(town.check_all(&[&expired, &valid]).await, [401, 200]);
    let limits = |limits: &str| {
        let storage = "  storage: {type: SQLite}\n";
        yaml(storage, &format!("{storage}  limits: {{{limits}}}\n"))
    };
    town.fixture.apply(&limits(
        "maxPersonalTokenLifetime: 1h, maxServiceTokenLifetime: 9h",
    ));
    assert_eq!(town.check_all(&[&valid]).await, [401]);
    town.fixture
        .apply(&limits("neverExpiringPersonalTokens: Allow"));
    let lasting = Page::of(&town).await.try_create(APP, &WISH).await.unwrap();
    assert_eq!(town.check_all(&[&lasting, &valid]).await, [200, 200]);
    town.fixture.apply(&limits("neverExpiringTokens: Allow"));
    assert_eq!(town.check_all(&[&lasting, &valid]).await, [401, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_at_every_replica_and_waits_alone_for_the_database() {
    let mut database = PostgresServer::start(&[]);
    let replica = async || {
        let settings = Settings::new(&database.url, "symbolon", few(4)).unwrap();
        let mut town = Town::with(Store::connect(settings).await.unwrap()).await;
        town.fixture.apply(&yaml("", ""));
        town
    };
    let (mut first, second) = (replica().await, replica().await);
    first.enrol().await;
    let page = Page::of(&first).await;
    let (kept, revoked) = (page.create().await, page.create().await);
    let both = [&kept, &revoked];
    assert_eq!(second.check_all(&both).await, [200, 200]);
    assert!(page.revoke(revoked.token.id).await);
    assert_eq!(second.check_all(&both).await, [200, 401]);

    let machine = first.fixture.nightly();
    let api = first.fixture.client("platform", "api");
    database.kill();
    for _ in 0..3 {
        let reply = first.check_by("x-api-key", kept.secret.expose()).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply}");
        assert_ne!(reply.header("retry-after"), "(none)", "{reply}");
        assert_eq!(reply.header("x-auth-subject"), "", "{reply}");
        let body = format!("token={}", kept.secret.expose());
        let reply = first.fixture.post(INTROSPECT, &api, &body).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{reply}");
        // A token of a machine never touches the database.
        assert_eq!(first.check(&machine).await, StatusCode::OK);
        let told = first.fixture.introspect(&api, &machine).await;
        assert_eq!(told["active"], true);
    }
    database.restart();
    let back = tokio::time::timeout(Duration::from_secs(60), async {
        while first.check(kept.secret.expose()).await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    back.await.unwrap();
    assert_eq!(first.check_all(&both).await, [200, 401]);
}
