//! People: sign-in, consent, tokens, sign-out, in process and with a store in memory.

mod browser;
mod main_path;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::people::enrolment::{self, Enrolled};
use crate::server::passwords::Passwords;
use crate::server::people::People;
use crate::server::people::keys::PeopleKeys;
use crate::server::people::outbox::{Outbox, Waiting};
use crate::store::{Holder, Store};
use crate::tokens::MacKey;
use browser::Browser;
use registry::{Fake, FakeClient, FakeUser};

const ISSUER: &str = "https://id.example.com/id";
const REDIRECT: &str = "https://app.example.com/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const PASSWORD: &str = "correct horse battery staple 7";
const APP: &str = "blue.app";

/// The client of the tests, as the directory has it. What is about people is in the fake registry.
const CLIENTS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: app, namespace: blue}
spec: {identityRef: {name: main, namespace: platform}, displayName: The App, grantTypes: [], scopes: [orders.read, orders.write]}
";

/// A server with people.
struct Town {
    fixture: Fixture,
    fake: Fake,
    people: Arc<People>,
    waiting: Option<Waiting>,
}

fn mac() -> Arc<MacKey> {
    Arc::new(MacKey::from_bytes(&[7; 32]).unwrap())
}

impl Town {
    async fn new() -> Self {
        Self::with(Store::in_memory().await.unwrap()).await
    }

    async fn with(store: Store) -> Self {
        let yaml = format!("{QUICKSTART}---\n{MORE}---\n{CLIENTS}");
        let fixture = Fixture::of(&yaml, |_| {});
        let holder = Holder {
            issuer: ISSUER.to_owned(),
            namespace: "platform".to_owned(),
            name: "main".to_owned(),
            uid: "Identity-platform-main".to_owned(),
        };
        store.bind(&holder, now()).await.unwrap();
        let keys = PeopleKeys::new(mac(), None, ISSUER);
        let (outbox, waiting) = Outbox::new();
        let people = People::new(store, keys, Passwords::default(), outbox);
        let people = Arc::new(people);
        fixture.app.set_people(Some(Arc::clone(&people)));
        let town = Self {
            fixture,
            fake: Fake {
                clients: vec![FakeClient::public(APP)],
                users: vec![FakeUser {
                    uid: "user-alice".to_owned(),
                    username: "alice".to_owned(),
                    email: "alice@example.com".to_owned(),
                    enrolment: Some("first".to_owned()),
                    disabled: false,
                    revoked: None,
                }],
            },
            people,
            waiting: Some(waiting),
        };
        town.publish();
        town
    }

    fn publish(&self) {
        let publisher = self.fixture.app.publisher();
        publisher.set_registry(Arc::new(self.fake.clone()));
    }

    fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }

    fn link(&self) -> String {
        let person = Enrolled {
            namespace: "platform",
            identity: "main",
            uid: "user-alice",
            nonce: "first",
        };
        let link = enrolment::issue(&mac(), person, Duration::from_hours(1), now()).unwrap();
        format!("/id/enroll?link={}", link.expose())
    }

    /// Sets alice's password.
    async fn enrol(&self) {
        let mut browser = self.browser();
        let page = browser.get(&self.link()).await;
        assert_eq!(page.status, StatusCode::OK, "{page}");
        let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
        let done = browser.submit(&page, &fields).await;
        assert_eq!(done.status, StatusCode::OK, "{done}");
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
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The path of an authorization request of the app, with further parameters.
fn authorize(more: &str) -> String {
    format!(
        "/id/connect/authorize?client_id={APP}&response_type=code&redirect_uri={}&scope=openid%20profile%20offline_access&state=s1&nonce=n1&code_challenge={CHALLENGE}&code_challenge_method=S256{more}",
        encoded(REDIRECT)
    )
}
