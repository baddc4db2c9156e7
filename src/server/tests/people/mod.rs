//! People: sign-in, consent, tokens, sign-out, in process and with a store in memory.

mod browser;
mod confidential;
mod conformance;
mod consents;
mod database;
mod gates;
mod leaving;
mod main_path;
mod notices;
mod personal_token_rules;
mod personal_tokens;
mod resources;
mod revoked;
mod rules;
mod shares;
mod sign_out;
mod told;
mod turns;
mod withdrawn;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::people::enrolment::{self, Enrolled};
use crate::people::notice::{Audience, Noted, Participant};
use crate::server::passwords::Passwords;
use crate::server::people::People;
use crate::server::people::keys::PeopleKeys;
use crate::server::people::outbox::Outbox;
use crate::store::{Holder, Store};
use crate::tokens::MacKey;
use browser::Browser;

const ISSUER: &str = "https://id.example.com/id";
const REDIRECT: &str = "https://app.example.com/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const PASSWORD: &str = "correct horse battery staple 7";
const APP: &str = "blue.app";

/// What the tests need for people, beside the quickstart's Scopes.
const YAML: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}, interactiveClients: {from: All}, skipConsent: {from: All}}
  gateways: [{name: api, audience: https://api.example.com, scopes: [orders.read]}]
  storage: {type: SQLite}
  login: {password: Enabled}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: app, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  displayName: The App
  type: Public
  grantTypes: [AuthorizationCode, RefreshToken]
  responseTypes: [Code, CodeIDToken]
  scopes: [openid, profile, email, groups, offline_access, orders.read]
  redirectUris: [https://app.example.com/callback]
  postLogoutRedirectUris: [https://app.example.com/bye]
  allowedOrigins: [https://app.example.com]
---
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: platform, annotations: {symbolon.dev/enroll: first}}
spec:
  identityRef: {name: main}
  username: alice
  email: alice@example.com
  displayName: Alice Adams
  groups: [staff]
  attributes: {department: sales}
";

/// The uid that the directory of the tests gives alice.
const ALICE: &str = "User-platform-alice";

/// A server with people.
struct Town {
    fixture: Fixture,
    people: Arc<People>,
    outbox: Outbox,
}

/// Every client is told. IDs such as `blue.app` name the namespace.
struct Everyone(Outbox);

impl Audience for Everyone {
    fn namespace_of(&self, client: &Participant) -> Option<Arc<str>> {
        client.id.split('.').next().map(Into::into)
    }

    fn ended(&self, _: Noted) {
        self.0.wake();
    }
}

fn mac() -> Arc<MacKey> {
    Arc::new(MacKey::from_bytes(&[7; 32]).unwrap())
}

impl Town {
    async fn new() -> Self {
        Self::with(Store::in_memory().await.unwrap()).await
    }

    async fn with(store: Store) -> Self {
        Self::configured(store, |_| {}).await
    }

    async fn configured(store: Store, configure: impl FnOnce(&mut Config)) -> Self {
        let yaml = format!("{QUICKSTART}---\n{MORE}---\n{YAML}");
        let fixture = Fixture::of(&yaml, configure);
        let holder = Holder {
            issuer: ISSUER.to_owned(),
            namespace: "platform".to_owned(),
            name: "main".to_owned(),
            uid: "Identity-platform-main".to_owned(),
        };
        store.bind(&holder, now()).await.unwrap();
        let keys = PeopleKeys::new(mac(), None, ISSUER);
        let outbox = Outbox::default();
        let store = store.telling(Arc::new(Everyone(outbox.clone())));
        let people = People::new(store, keys, Passwords::default());
        let people = Arc::new(people);
        fixture.app.set_people(Some(Arc::clone(&people)));
        Self {
            fixture,
            people,
            outbox,
        }
    }

    /// Changes a part of the YAML.
    fn change(&mut self, from: &str, to: &str) {
        assert!(YAML.contains(from), "{from}");
        let changed = YAML.replace(from, to);
        self.fixture.apply(&changed);
    }

    fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }

    fn link() -> String {
        Self::link_of(now())
    }

    /// Alice's link, as if it was issued at this time.
    fn link_of(issued_at: jiff::Timestamp) -> String {
        let person = Enrolled {
            namespace: "platform",
            identity: "main",
            uid: ALICE,
            nonce: "first",
        };
        let lasts = Duration::from_hours(1);
        let link = enrolment::issue(&mac(), person, lasts, issued_at).unwrap();
        format!("/id/enroll?link={}", link.expose())
    }

    /// Sets alice's password.
    async fn enrol(&self) {
        let mut browser = self.browser();
        let page = browser.get(&Self::link()).await;
        assert_eq!(page.status, StatusCode::OK, "{page}");
        let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
        let done = browser.submit(&page, &fields).await;
        assert_eq!(done.status, StatusCode::OK, "{done}");
    }

    /// Signs alice in, and returns a code for the app.
    async fn code(&self) -> String {
        let left = self.browser().authorize("").await;
        left.parameter("code").unwrap()
    }

    /// Redeems a code of the app.
    async fn redeem(&self, code: &str) -> Reply {
        let body = format!(
            "grant_type=authorization_code&client_id={APP}&code={code}&redirect_uri={}&code_verifier={VERIFIER}",
            encoded(REDIRECT)
        );
        self.fixture.post(TOKEN, "", &body).await
    }

    async fn refresh(&self, token: &str) -> Reply {
        let body = format!("grant_type=refresh_token&client_id={APP}&refresh_token={token}");
        self.fixture.post(TOKEN, "", &body).await
    }

    async fn userinfo(&self, token: &str) -> Reply {
        let request = Request::get("/id/connect/userinfo")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty());
        self.fixture.send(request.unwrap()).await
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The path of an authorization request of the app, with further parameters.
fn authorize(more: &str) -> String {
    format!(
        "/id/connect/authorize?client_id={APP}&response_type=code&redirect_uri={}&scope=openid%20profile%20offline_access&state=s1&nonce=n1&code_challenge={CHALLENGE}&code_challenge_method=S256{more}",
        encoded(REDIRECT)
    )
}
