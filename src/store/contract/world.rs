//! A store with a person, a session and grants, on each backend.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tempfile::TempDir;
use uuid::Uuid;

use super::super::area::code::{Authorized, Issue, Redeemed};
use super::super::area::consent::{Agreement, Consent};
use super::super::area::pushed::Room;
use super::super::area::refresh::Refreshed;
use super::super::row::Row;
pub(super) use super::super::testing::{few, new_schema_name, postgres_url};
use super::super::{Holder, Outcome, Settings, Store, StoreError, Tx};
use crate::people::account::{Account, AccountId};
use crate::people::code::{Code, Use};
use crate::people::grant::{Client, EndsWith, Grant, GrantStanding};
use crate::people::notice::{Audience, Noted, Participant};
use crate::people::pushed::Pushed;
use crate::people::refresh::{
    KeyMaterial, Policy, Presented, RefreshKeys, Rotation, Rules, Token, begin,
};
use crate::people::session::Session;
use crate::people::testing;
pub(super) use crate::people::testing::{SHOP, at};
use crate::tokens::reference::Prefix;
use crate::tokens::{SystemEntropy, TokenHash, TokenId};

/// Returns settings with a schema that no other test uses.
pub(super) fn new_schema() -> (String, Settings) {
    let schema = new_schema_name();
    let settings = postgres_settings(&schema);
    (schema, settings)
}

pub(super) fn postgres_settings(schema: &str) -> Settings {
    Settings::new(postgres_url(), schema, few(4)).unwrap()
}

/// When each test begins.
pub(super) const NOW: i64 = 1_000_000;

pub(super) const POLICY: Policy = Policy {
    rotation: Rotation::Rotate,
    grace: Duration::from_secs(60),
    idle: Duration::from_secs(3200),
    max_age: Duration::from_secs(10_000),
};

pub(super) fn keys() -> RefreshKeys {
    RefreshKeys::new(&KeyMaterial::sample(1), None)
}

pub(super) fn presented(token: &Token) -> Presented {
    Presented::parse(token.text.expose(), &Prefix::default()).unwrap()
}

pub(super) fn new_id() -> TokenId {
    TokenId::random(&mut SystemEntropy)
}

/// What the tests decide: the grant for all codes and refresh tokens. They refuse none, except by this text.
pub(super) type TestRedeemed = Redeemed<Grant, &'static str>;
pub(super) type TestRefreshed = Refreshed<Grant, &'static str>;

#[expect(clippy::unnecessary_wraps, reason = "what the store asks may refuse")]
fn agree(standing: &GrantStanding) -> Result<Grant, &'static str> {
    Ok(standing.grant.clone())
}

/// What a redeemed code creates: a family with this token.
pub(super) fn issue(token: &Token, standing: &GrantStanding, now: i64) -> Issue {
    Issue {
        expires_at: at(now + 10_000),
        family: Some((begin(token, standing.grant.id, at(now)), at(now + 10_000))),
    }
}

/// Returns a request that a client pushes.
pub(super) fn pushed_by(client: &str) -> Pushed {
    let id = new_id();
    Pushed {
        id,
        hash: TokenHash::of(id.as_str()),
        client: client.to_owned(),
        request: "response_type=code".to_owned(),
        expires_at: at(NOW + 60),
        presented_at: None,
        used_at: None,
    }
}

/// Returns room for `most` pushed requests of each client.
pub(super) fn room(most: u32) -> Room {
    Room {
        namespace: "blue".to_owned(),
        site: None,
        of_client: most,
        of_namespace: 1000,
    }
}

/// A store for one test.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) folder: Option<TempDir>,
}

/// A grant with its unused code.
#[derive(Clone)]
pub(super) struct Coded {
    pub(super) grant: Grant,
    pub(super) code: Code,
    pub(super) request: Use<'static>,
}

impl Coded {
    /// What the authorization request gives, without consent and pushed request.
    pub(super) fn authorized(&self) -> Authorized {
        Authorized {
            grant: self.grant.clone(),
            code: self.code.clone(),
            pushed: None,
            agreement: Agreement::Unneeded,
        }
    }
}

impl World {
    pub(super) async fn in_memory() -> Self {
        Self {
            store: Store::in_memory().await.unwrap(),
            folder: None,
        }
    }

    pub(super) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("symbolon.db");
        Self {
            store: Store::open(&path, Duration::ZERO).await.unwrap(),
            folder: Some(folder),
        }
    }

    pub(super) async fn postgres() -> Self {
        let (_, settings) = new_schema();
        Self {
            store: Store::connect(settings).await.unwrap(),
            folder: None,
        }
    }

    pub(super) async fn person(&self) -> Account {
        let id = AccountId(Uuid::new_v4());
        self.store
            .write(move |tx| {
                Box::pin(async move {
                    let owner = id.0.to_string();
                    Ok(Outcome::Save(tx.ensure_account(id, &owner, at(NOW)).await?))
                })
            })
            .await
            .unwrap()
    }

    pub(super) fn new_session(account: &Account, now: i64) -> Session {
        let id = new_id();
        Session {
            id,
            hash: TokenHash::of(id.as_str()),
            account: account.id,
            epoch: account.epoch,
            created_at: at(now),
            used_at: at(now),
            authenticated_at: at(now),
            methods: "pwd".to_owned(),
            expires_at: at(now + 86_400),
            ended_at: None,
            is_remembered: false,
        }
    }

    pub(super) async fn session(&self, account: &Account) -> Session {
        let session = Self::new_session(account, NOW);
        let begun = self
            .store
            .begin_session(session.clone(), Vec::new())
            .await
            .unwrap();
        assert!(begun.is_some());
        session
    }

    pub(super) fn new_code(session: &Session, ends_with: EndsWith) -> Coded {
        let grant = Grant {
            id: new_id(),
            account: session.account,
            epoch: session.epoch,
            session: session.id,
            ends_with,
            created_at: at(NOW),
            expires_at: at(NOW + 60),
            ..testing::grant()
        };
        let id = new_id();
        let code = Code {
            id,
            hash: TokenHash::of(id.as_str()),
            grant: grant.id,
            redirect_uri: "https://shop/cb".to_owned(),
            challenge: Some("challenge".to_owned()),
            nonce: Some("nonce".to_owned()),
            expires_at: at(NOW + 60),
            used_at: None,
        };
        let request = Use {
            id,
            hash: code.hash,
            client: SHOP,
            redirect_uri: code.redirect_uri.clone(),
            challenge: code.challenge.clone(),
            arrived_at: at(NOW),
        };
        Coded {
            grant,
            code,
            request,
        }
    }

    /// Issues a code in a new session of a new person.
    pub(super) async fn code(&self, ends_with: EndsWith) -> Coded {
        let account = self.person().await;
        let session = self.session(&account).await;
        let coded = Self::new_code(&session, ends_with);
        let issued = self.store.issue_code(coded.authorized(), at(NOW)).await;
        assert!(issued.unwrap().is_some());
        coded
    }

    /// Redeems a code and returns its first refresh token, if the code is good.
    pub(super) async fn redeem(
        &self,
        request: &Use<'_>,
        now: i64,
    ) -> Result<(TestRedeemed, Token), StoreError> {
        let token = keys().first(&Prefix::default(), &mut SystemEntropy);
        let decide = |standing: &GrantStanding, _: &Code| {
            Ok((issue(&token, standing, now), standing.grant.clone()))
        };
        let redeemed = self
            .store
            .redeem_code(request.clone(), at(now), decide)
            .await?;
        Ok((redeemed, token))
    }

    /// Issues and redeems a code.
    pub(super) async fn family(&self, ends_with: EndsWith) -> (Coded, Token) {
        let coded = self.code(ends_with).await;
        let (redeemed, token) = self.redeem(&coded.request, NOW).await.unwrap();
        assert!(matches!(redeemed, Redeemed::Granted(_)), "{redeemed:?}");
        (coded, token)
    }

    pub(super) async fn refresh(
        &self,
        token: &Token,
        now: i64,
    ) -> Result<TestRefreshed, StoreError> {
        self.refresh_by(&presented(token), &POLICY, now).await
    }

    pub(super) async fn refresh_as(
        &self,
        client: Client<'_>,
        token: &Token,
        now: i64,
    ) -> Result<TestRefreshed, StoreError> {
        let rules = Rules {
            keys: &keys(),
            prefix: &Prefix::default(),
            policy: &POLICY,
            client,
        };
        self.store
            .refresh(&presented(token), rules, at(now), agree)
            .await
    }

    pub(super) async fn refresh_by(
        &self,
        token: &Presented,
        policy: &Policy,
        now: i64,
    ) -> Result<TestRefreshed, StoreError> {
        self.refresh_if(token, policy, now, agree).await
    }

    pub(super) async fn refresh_if(
        &self,
        token: &Presented,
        policy: &Policy,
        now: i64,
        decide: impl FnMut(&GrantStanding) -> Result<Grant, &'static str> + Send,
    ) -> Result<TestRefreshed, StoreError> {
        let (keys, prefix) = (keys(), Prefix::default());
        let rules = Rules {
            keys: &keys,
            prefix: &prefix,
            policy,
            client: SHOP,
        };
        self.store.refresh(token, rules, at(now), decide).await
    }

    /// Refreshes and returns the child.
    pub(super) async fn child(&self, token: &Token, now: i64) -> Token {
        match self.refresh(token, now).await.unwrap() {
            Refreshed::Granted {
                token: Some(child), ..
            } => child,
            other => panic!("{other:?}"),
        }
    }

    /// Everything in the store, as text.
    pub(super) async fn dump(&self) -> Vec<String> {
        let qualifier = self.store.qualifier().to_owned();
        let mut dump = Vec::new();
        for table in TABLES {
            let columns = if qualifier.is_empty() {
                let names = format!("SELECT name FROM pragma_table_info('{table}')");
                let names = self.store.all(&names).await.unwrap();
                let quoted = names
                    .iter()
                    .map(|row| format!("quote({})", row.text(0).unwrap()));
                quoted.collect::<Vec<_>>().join(" || ',' || ")
            } else {
                "t::text".to_owned()
            };
            let sql = format!("SELECT {columns} FROM {qualifier}{table} AS t ORDER BY 1");
            for row in self.store.all(&sql).await.unwrap() {
                dump.push(format!("{table}: {}", row.text(0).unwrap()));
            }
        }
        dump
    }
}

/// Every table with people's data.
pub(super) const TABLES: [&str; 14] = [
    "account",
    "password",
    "session",
    "grants",
    "participant",
    "code",
    "refresh",
    "consent",
    "par",
    "enrolment",
    "once",
    "attempt",
    "outbox",
    "pat",
];

/// Every client is told, and is in one namespace.
pub(super) struct Everyone;

impl Audience for Everyone {
    fn namespace_of(&self, _: &Participant) -> Option<Arc<str>> {
        Some("blue".into())
    }

    fn ended(&self, _: Noted) {}
}

/// The Identity of a store in tests.
pub(in crate::store) fn holder(issuer: &str) -> Holder {
    Holder {
        issuer: issuer.to_owned(),
        namespace: "platform".to_owned(),
        name: "main".to_owned(),
        uid: "1".to_owned(),
    }
}

/// A consent to these scopes for the client of all grants.
pub(super) fn consent(scopes: &str) -> Consent {
    Consent {
        client: SHOP.id.to_owned(),
        client_uid: SHOP.uid.to_owned(),
        scopes: scopes.to_owned(),
        given_at: at(NOW),
    }
}

impl Store {
    /// Drops the schema of a PostgreSQL store.
    pub(in crate::store) async fn drop_schema(&self) {
        let schema = self.qualifier().trim_end_matches('.');
        let sql = format!("DROP SCHEMA {schema} CASCADE");
        self.all(&sql).await.unwrap();
    }

    /// Executes any SQL.
    pub(in crate::store) async fn all(&self, sql: &str) -> Result<Vec<Row>, StoreError> {
        let sql: Arc<str> = sql.into();
        self.write_single(move |tx: &mut Tx| -> BoxFuture<'_, _> {
            Box::pin(async move { tx.fetch(sql, Vec::new()).await })
        })
        .await
    }

    /// Executes any SQL and returns its only row.
    pub(in crate::store) async fn ask(&self, sql: &str) -> Result<Row, StoreError> {
        Ok(self.all(sql).await?.pop().unwrap())
    }
}
