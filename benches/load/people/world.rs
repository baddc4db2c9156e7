//! People with passwords and sessions, in a store of either engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use symbolon::people::password::{self, Password};
use symbolon::people::session::Session;
use symbolon::server::browser::{Cookie, Cookies};
use symbolon::server::people::keys::PeopleKeys;
use symbolon::store::{ConnectionLimits, Holder, Settings, Store};
use symbolon::tokens::reference::{Kind, Prefix, with_secret};
use symbolon::tokens::{Entropy as _, MacKey, SystemEntropy, TokenId};

use crate::population;

/// The number of people. Each has a session, and at most 100 grants with an application.
pub const PEOPLE: usize = 500;
pub const PASSWORD: &str = "correct horse battery staple 7";

/// Where a store is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    File(PathBuf),
    Schema { url: String, name: String },
}

impl Place {
    pub async fn open(&self) -> anyhow::Result<Store> {
        Ok(match self {
            Self::File(path) => Store::open(path, Duration::ZERO).await?,
            Self::Schema { url, name } => {
                let settings = Settings::new(url, name, ConnectionLimits::default())?;
                Store::connect(settings).await?
            }
        })
    }
}

/// A person, who is signed in.
#[derive(Clone, Debug)]
pub struct Person {
    pub username: String,
    pub owner: String,
    pub session: Session,
    /// The `Cookie` header of the session.
    pub cookie: String,
}

/// Binds a store to the issuer, and gives everyone a password and a session.
pub async fn seed(
    store: &Store,
    issuer: &str,
    people: &population::People,
    now: Timestamp,
) -> anyhow::Result<Vec<Person>> {
    let holder = Holder {
        issuer: issuer.to_owned(),
        namespace: people.identity.namespace.to_string(),
        name: people.identity.name.to_string(),
        uid: "1".to_owned(),
    };
    store.bind(&holder, now).await?;
    let mac = Arc::new(MacKey::from_bytes(&population::KEY)?);
    let keys = PeopleKeys::new(mac, None, issuer);
    let typed = Password::new(PASSWORD)?;
    // One hash for all: each costs 20 ms.
    let hash = password::hash(&typed, &mut SystemEntropy);
    let cookie = Cookies::new(issuer).name(Cookie::Session);
    let users = people.directory.users_of(&people.identity);
    let persons = users.map(async |user| {
        let record = user.record().expect("an accepted User");
        let owner = user.uid.to_string();
        let id = keys.account_for(&owner, Some(&record.subject));
        store.ensure_account(id, owner.clone(), now).await?;
        store.change_password(id, hash.clone(), now).await?;
        let found = store.credentials(&owner).await?;
        let (account, _) = found.expect("the account");
        let id = TokenId::random(&mut SystemEntropy);
        let mut secret = [0; 32];
        SystemEntropy.fill(&mut secret);
        let minted = with_secret(&Prefix::default(), Kind::Session, id, &secret);
        let session = Session {
            id,
            hash: minted.hash,
            account: account.id,
            epoch: account.epoch,
            created_at: now,
            used_at: now,
            authenticated_at: now,
            methods: "pwd".to_owned(),
            expires_at: now + SignedDuration::from_hours(24),
            ended_at: None,
            is_remembered: false,
        };
        let begun = store.begin_session(session.clone(), Vec::new()).await?;
        begun.expect("a session");
        Ok(Person {
            username: record.username.to_string(),
            owner,
            session,
            cookie: format!("{cookie}={}", minted.token.expose()),
        })
    });
    // As many at once as a store works on.
    stream::iter(persons).buffered(8).try_collect().await
}
