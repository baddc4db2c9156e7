//! People on a real API server: from the User that an administrator applies to the tokens of an application.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use symbolon::resources::Kind;

use super::serving::{Server, rights};
use super::world::{Running, World, condition};
use crate::harness::{Cluster, eventually};

const PASSWORD: &str = "correct horse battery staple";
const REDIRECT: &str = "https://web.example.com/callback";
/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const PEOPLE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
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

/// A person's browser: keeps cookies, and follows redirects to the server itself.
struct Browser<'s> {
    server: &'s Server,
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// A page, or a redirect to somewhere else.
#[derive(Debug)]
struct Page {
    status: StatusCode,
    location: String,
    body: String,
}

impl<'s> Browser<'s> {
    fn new(server: &'s Server) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            server,
            http: http.build().unwrap(),
            cookies: BTreeMap::new(),
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let pairs = self.cookies.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let reply = request.header("cookie", pairs.join("; ")).send().await;
        let reply = reply.unwrap();
        let header = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        for cookie in reply.headers().get_all("set-cookie") {
            let cookie = header(cookie);
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            self.cookies.insert(name.to_owned(), value);
        }
        Page {
            status: reply.status(),
            location: reply
                .headers()
                .get("location")
                .map(header)
                .unwrap_or_default(),
            body: reply.text().await.unwrap(),
        }
    }

    /// Opens a path below the issuer's path, such as `signin`.
    async fn get(&mut self, path: &str) -> Page {
        let page = self.send(self.http.get(self.server.url(path))).await;
        self.follow(page).await
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..8 {
            let Some(path) = page.location.strip_prefix("/id/") else {
                return page;
            };
            page = self.send(self.http.get(self.server.url(path))).await;
        }
        panic!("redirects in a circle: {page:?}")
    }

    /// Sends the form of a page, with its hidden fields and these.
    async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let (_, form) = page.body.split_once("<form ").expect("the page has a form");
        let attribute = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().replace("&#38;", "&")
        };
        let action = attribute(&format!(" {}", form.split('>').next().unwrap()), "action");
        let hidden = form.match_indices("<input type=\"hidden\"").map(|(at, _)| {
            let tag = form[at..].split('>').next().unwrap();
            (attribute(tag, "name"), attribute(tag, "value"))
        });
        let given = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let accepts = ("decision".to_owned(), "accept".to_owned());
        let all: Vec<_> = hidden.chain(given).chain([accepts]).collect();
        let url = self.server.url(action.strip_prefix("/id/").unwrap());
        let page = self.send(self.http.post(url).form(&all)).await;
        self.follow(page).await
    }
}

impl Server {
    async fn exchange(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let reply = self.http.post(self.url("connect/token")).form(form).send();
        let reply = reply.await.unwrap();
        (reply.status(), reply.json().await.unwrap())
    }

    async fn userinfo(&self, token: &str) -> (StatusCode, Value) {
        let request = self.http.get(self.url("connect/userinfo"));
        let reply = request.bearer_auth(token).send().await.unwrap();
        (reply.status(), reply.json().await.unwrap_or_default())
    }
}

impl World<'_> {
    async fn user(&self) -> Value {
        self.get_of_platform(Kind::User, "alice").await
    }

    /// The enrolment link in alice's Secret, as a path below the issuer's path.
    async fn link(&self) -> Option<String> {
        let secrets = self.platform.api::<k8s_openapi::api::core::v1::Secret>();
        let secret = secrets.get_opt("alice-enrollment").await.unwrap()?;
        let url = String::from_utf8(secret.data?["url"].0.clone()).unwrap();
        let (_, path) = url.split_once(".example.com/id/").unwrap();
        Some(path.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_person_enrols_signs_in_and_loses_everything_when_disabled() {
    let cluster = Cluster::shared();
    let world = World::empty(cluster).await;
    world.apply(PEOPLE).await;
    let _running = Running::start(&world).await;
    let client_id = format!("{}:web", world.team.name());
    eventually("alice's link is issued", async || {
        (condition(&world.user().await, "Issued")["status"] == "True").then_some(())
    })
    .await;
    let link = world.link().await.expect("an issued link is in the Secret");
    assert!(
        !world
            .user()
            .await
            .to_string()
            .contains(link.split('=').next_back().unwrap()),
        "a link is never in a status"
    );

    let account = world.team.cluster_account("server", rights()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("people.db").display());
    let kubeconfig = account.kubeconfig_path();
    let server = Server::start(&world, kubeconfig, &["--store", &store]).await;

    let mut browser = Browser::new(&server);
    let page = browser.get(&link).await;
    let chosen = [
        ("username", "alice"),
        ("password", PASSWORD),
        ("repeated", PASSWORD),
    ];
    let done = browser.submit(&page, &chosen).await;
    assert!(done.status.is_success(), "{done:?}");
    let again = Browser::new(&server).get(&link).await;
    assert!(
        again.status.is_client_error(),
        "a link works once: {again:?}"
    );

    let request = format!(
        "connect/authorize?client_id={client_id}&response_type=code&redirect_uri={REDIRECT}&scope=openid%20profile%20groups%20offline_access&state=s&nonce=n&code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    let mut page = browser.get(&request).await;
    if page.body.contains("type=\"password\"") {
        let name = [("username", "alice"), ("password", PASSWORD)];
        page = browser.submit(&page, &name).await;
    }
    if page.status == StatusCode::OK {
        page = browser.submit(&page, &[]).await;
    }
    assert!(page.location.starts_with(REDIRECT), "{page:?}");
    let (_, rest) = page.location.split_once("code=").unwrap();
    let code = rest.split('&').next().unwrap();
    let (status, tokens) = server
        .exchange(&[
            ("grant_type", "authorization_code"),
            ("client_id", &client_id),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
        .await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let access = tokens["access_token"].as_str().unwrap();
    let (_, claims) = server.userinfo(access).await;
    assert_eq!(claims["sub"], world.user().await["status"]["subject"]);
    assert_eq!(claims["name"], "Alice Adams");
    assert_eq!(claims["groups"], json!(["buyers"]));

    world
        .patch_of_platform(Kind::User, "alice", json!({"spec": {"disabled": true}}))
        .await;
    eventually("the access token is refused", async || {
        (server.userinfo(access).await.0 == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &client_id),
        ("refresh_token", refresh),
    ];
    assert_eq!(server.exchange(&form).await.1["error"], "invalid_grant");
    eventually("the link of a disabled person is deleted", async || {
        world.link().await.is_none().then_some(())
    })
    .await;
    // Enabling the person revives nothing that was there before.
    world
        .patch_of_platform(Kind::User, "alice", json!({"spec": {"disabled": false}}))
        .await;
    eventually("alice can sign in again", async || {
        let mut browser = Browser::new(&server);
        let page = browser.get(&request).await;
        let name = [("username", "alice"), ("password", PASSWORD)];
        let page = browser.submit(&page, &name).await;
        let is_in = page.location.starts_with(REDIRECT) || page.body.contains("name=\"decision\"");
        (is_in && !page.body.contains("type=\"password\"")).then_some(())
    })
    .await;
    assert_eq!(server.exchange(&form).await.1["error"], "invalid_grant");
    assert_eq!(server.userinfo(access).await.0, StatusCode::UNAUTHORIZED);
}
