//! People on a real API server, with the least rights of a server: a disabled person has nothing left, and gets nothing
//! of it back.

use std::net::TcpListener;

use k8s_openapi::api::core::v1::Secret;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use symbolon::resources::Kind;

use super::process::Process;
use super::serving::rights;
use super::world::{Running, World, condition};
use crate::browser::{Browser, End, Person};
use crate::harness::{Cluster, eventually};

const CALLBACK: &str = "https://web.example.com/callback";
/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const PEOPLE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: ISSUER
  access: {clients: {from: List, names: [TEAM]}, interactiveClients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
  storage: {type: SQLite}
  login: {password: Enabled}
---
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: PLATFORM, annotations: {symbolon.dev/enroll: '1'}}
spec: {identityRef: {name: main}, displayName: Alice Adams, groups: [buyers]}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: web, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  type: Public
  grantTypes: [AuthorizationCode, RefreshToken]
  scopes: [openid, profile, groups, offline_access]
  redirectUris: ['https://web.example.com/callback']
";

/// The issuer and a client of people.
struct Web {
    issuer: String,
    client: String,
    http: reqwest::Client,
}

impl Web {
    async fn token(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let form = [form, &[("client_id", &*self.client)]].concat();
        let request = self.http.post(format!("{}/connect/token", self.issuer));
        let reply = request.form(&form).send().await.unwrap();
        (reply.status(), reply.json().await.unwrap())
    }

    async fn refresh(&self, token: &str) -> (StatusCode, Value) {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    async fn userinfo(&self, token: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("{}/connect/userinfo", self.issuer));
        let reply = request.bearer_auth(token).send().await.unwrap();
        (reply.status(), reply.json().await.unwrap_or_default())
    }

    /// Sets alice's password with her link; returns the status of the page that follows.
    fn enrol(&self, link: &str, alice: &Person) -> u16 {
        let mut browser = Browser::new(&[&self.issuer]);
        let page = browser.open(link).page();
        let Some(form) = page.form else {
            return page.status;
        };
        let password = alice.password.as_str();
        let fields = [("password", password), ("repeated", password)];
        browser.submit(&form, &fields).page().status
    }

    /// Signs alice in with a new browser; returns the code, `None` if she stays at a page.
    fn sign_in(&self, alice: &Person) -> Option<String> {
        let parameters = [
            ("client_id", self.client.as_str()),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile groups offline_access"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let url = format!("{}/connect/authorize", self.issuer);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let mut browser = Browser::new(&[&self.issuer]);
        let mut end = browser.open(url.as_str());
        // The sign-in, then the consent.
        for _ in 0..2 {
            let End::Page(page) = &end else { break };
            let fields = [
                ("username", &*alice.username),
                ("password", &*alice.password),
                ("decision", "accept"),
            ];
            end = browser.submit(page.form.as_ref()?, &fields);
        }
        let End::Left(left) = end else { return None };
        let mut answer = left.url.query_pairs();
        let code = answer.find(|(name, _)| name == "code");
        code.map(|(_, code)| code.into_owned())
    }
}

/// Runs what a browser does, which has a runtime of its own.
fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

async fn link(world: &World<'_>) -> Option<String> {
    let secrets = world.platform.api::<Secret>();
    let secret = secrets.get_opt("alice-enrollment").await.unwrap()?;
    let url = secret.data?.remove("url")?;
    Some(String::from_utf8(url.0).unwrap())
}

async fn set_disabled(world: &World<'_>, disabled: bool) {
    let patch = json!({"spec": {"disabled": disabled}});
    world.patch_of_platform(Kind::User, "alice", patch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_person_has_nothing_left_and_gets_nothing_of_it_back() {
    let cluster = Cluster::shared();
    let world = World::empty(cluster).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let web = Web {
        issuer: format!("http://{address}/id"),
        client: format!("{}.web", world.team.name()),
        http: reqwest::Client::new(),
    };
    world.apply(&PEOPLE.replace("ISSUER", &web.issuer)).await;
    let _running = Running::start(&world).await;
    let user = eventually("alice's link is issued", async || {
        let user = world.get_of_platform(Kind::User, "alice").await;
        (condition(&user, "Issued")["status"] == "True").then_some(user)
    })
    .await;
    let url = link(&world).await.expect("the Secret holds an issued link");
    let (_, secret) = url.split_once("?link=").unwrap();
    assert!(!user.to_string().contains(secret), "no status holds a link");

    let account = world.team.cluster_account("server", rights()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("people.db").display());
    let (identity, namespaces) = (world.identity().to_string(), world.namespaces().join(","));
    let arguments = [
        &["serve", "--identity", &identity, "--namespace", &namespaces][..],
        &["--listen", &address, "--health-listen", "127.0.0.1:0"],
        &["--store", &store],
    ];
    let server = Process::start(&arguments.concat(), account.kubeconfig_path());
    eventually("the server is ready", async || {
        let url = format!("{}/readyz", server.address("health"));
        let answer = web.http.get(url).send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;

    let alice = Person {
        username: "alice".to_owned(),
        password: "correct horse battery staple 7".to_owned(),
    };
    // Machine clients are served before the store is open.
    eventually("the store is open", async || {
        let page = web.http.get(&url).send().await.ok()?;
        (page.status() == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(apart(|| web.enrol(&url, &alice)), 200);
    let again = apart(|| web.enrol(&url, &alice));
    assert!(again >= 400, "a link works once: {again}");
    let code = apart(|| web.sign_in(&alice)).expect("alice reaches the client");
    let (status, tokens) = web
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
        .await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    let (_, claims) = web.userinfo(&access).await;
    assert_eq!(claims["sub"], user["status"]["subject"]);
    assert_eq!(claims["name"], "Alice Adams");
    assert_eq!(claims["groups"], json!(["buyers"]));

    set_disabled(&world, true).await;
    eventually("the access token is refused", async || {
        (web.userinfo(&access).await.0 == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert_eq!(web.refresh(&refresh).await.1["error"], "invalid_grant");
    assert_eq!(apart(|| web.sign_in(&alice)), None);
    eventually("the link is deleted", async || {
        link(&world).await.is_none().then_some(())
    })
    .await;

    set_disabled(&world, false).await;
    eventually("alice can sign in again", async || {
        apart(|| web.sign_in(&alice))
    })
    .await;
    // The server ends what the person had within a second, also if the person was disabled for less than that.
    eventually("the server refuses what alice had before", async || {
        (web.refresh(&refresh).await.1["error"] == "invalid_grant").then_some(())
    })
    .await;
    assert_eq!(web.userinfo(&access).await.0, StatusCode::UNAUTHORIZED);
}
