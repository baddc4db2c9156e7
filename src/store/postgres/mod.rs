//! PostgreSQL, for many replicas.
//!
//! Correctness needs no sequence, advisory lock or NOTIFY, and READ COMMITTED is enough: each decision is one
//! conditional statement. Nothing depends on the session, so a pooler such as PgBouncer can be used.

pub(super) mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod url;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Client;
use tracing::warn;
use zeroize::Zeroizing;

pub use self::settings::{ConnectionLimits, Settings};
use self::tls::{Files, Tls};
use self::url::Target;
pub use self::url::check_url;
use super::connection::Connection;
use super::error::StoreError;
use super::statement::Texts;
use super::tx::{Link, Mode, Outcome, Tx};
use crate::shares::{Caller, Line, Place};

/// The largest number of transactions that wait for a connection, of all callers. Each is a request that takes one of the
/// server's places, which machine clients need too: while the database does not answer, further ones are refused at once.
const WAITING: usize = 512;

/// A PostgreSQL store.
#[derive(Clone)]
pub(super) struct Postgres {
    settings: Settings,
    current: Arc<ArcSwap<Current>>,
    /// The issuer that the store is bound to, which a changed URL must lead to as well.
    issuer: Arc<OnceLock<String>>,
    texts: Arc<Texts>,
    #[cfg(test)]
    qualifier: Arc<str>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

/// What decides how to connect: the URL and the files that it or the settings name.
#[derive(PartialEq, Eq)]
struct Material {
    url: Zeroizing<String>,
    files: Files,
}

impl Material {
    async fn read(settings: &Settings) -> Result<(Self, Target), StoreError> {
        let url = settings.url().await?;
        let target = Target::parse(&url, settings.ca.as_deref())?;
        let files = Files::read(&target)?;
        Ok((Self { url, files }, target))
    }
}

/// The database that a URL leads to.
struct Current {
    material: Material,
    pool: Pool,
    /// A place for each connection of the pool. Work waits here and not in the pool: what waits in the pool may be
    /// opening a connection, which must not end with its caller.
    places: Arc<Semaphore>,
    /// What waits for a place or has one.
    line: Line,
}

impl Current {
    /// Connects, and brings the schema up to date. With `wanted`, the store must be bound to this issuer; otherwise
    /// nothing is written to the database.
    async fn new(
        settings: &Settings,
        (material, target): (Material, Target),
        wanted: Option<&String>,
    ) -> Result<Self, StoreError> {
        let tls = Tls::new(&target, &material.files)?;
        let limits = settings.limits;
        let connecting = target.config.connect(tls.clone());
        let connected = tokio::time::timeout(limits.acquire, connecting).await;
        let (client, connection) = connected.map_err(|_| StoreError::NoConnection)??;
        let served = tokio::spawn(connection);
        let prepared = prepare(&client, settings, wanted).await;
        drop(client);
        // The connection ends with its client. A failure to say goodbye does not matter.
        let _ = served.await;
        prepared?;
        let recycling_method = RecyclingMethod::Fast;
        let manager = ManagerConfig { recycling_method };
        let session: Arc<str> = limits.session().into();
        let hook = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let session = Arc::clone(&session);
            Box::pin(async move {
                let prepared = client.batch_execute(&session).await;
                prepared.map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(Manager::from_config(target.config, tls, manager))
            .max_size(limits.connections)
            .wait_timeout(Some(limits.acquire))
            .create_timeout(Some(limits.acquire))
            .runtime(Runtime::Tokio1)
            .post_create(hook)
            .build()
            .map_err(|error| StoreError::Tls(error.to_string()))?;
        Ok(Self {
            material,
            pool,
            places: Arc::new(Semaphore::new(limits.connections)),
            line: Line::new(limits.connections + WAITING),
        })
    }

    fn close(&self) {
        self.places.close();
        self.pool.close();
    }
}

/// Checks whose store it is, and brings the schema up to date.
async fn prepare(
    client: &Client,
    settings: &Settings,
    wanted: Option<&String>,
) -> Result<(), StoreError> {
    if let Some(wanted) = wanted {
        let found = schema::issuer(client, &settings.schema).await?;
        if found.as_ref() != Some(wanted) {
            return Err(StoreError::OtherIssuer {
                found: found.unwrap_or_else(|| "no one".to_owned()),
                wanted: wanted.clone(),
            });
        }
    }
    schema::migrate(client, &settings.schema).await
}

impl Postgres {
    pub(super) async fn connect(settings: Settings) -> Result<Self, StoreError> {
        let read = Material::read(&settings).await?;
        let current = Current::new(&settings, read, None).await?;
        let qualifier = settings.schema.qualifier();
        Ok(Self {
            settings,
            current: Arc::new(ArcSwap::from_pointee(current)),
            issuer: Arc::default(),
            texts: Arc::new(Texts::new(&qualifier)),
            #[cfg(test)]
            qualifier: qualifier.into(),
            #[cfg(test)]
            faults: super::faults::Faults::default(),
        })
    }

    /// Remembers the issuer that the store was bound to.
    pub(super) fn bound(&self, issuer: &str) {
        // Only one issuer can be bound.
        let _ = self.issuer.set(issuer.to_owned());
    }

    /// Reads the files with the URL and the certificates again, and connects to where they lead if they have changed.
    /// Returns whether they have.
    ///
    /// # Errors
    /// Why they cannot be used. The store goes on with the previous ones.
    pub(super) async fn reload(&self) -> Result<bool, StoreError> {
        let (material, target) = Material::read(&self.settings).await?;
        if material == self.current.load().material {
            return Ok(false);
        }
        let next = Current::new(&self.settings, (material, target), self.issuer.get()).await?;
        // Transactions that run keep their connections until they end.
        self.current.swap(Arc::new(next)).close();
        Ok(true)
    }

    pub(super) async fn run<T, F>(
        &self,
        caller: Option<Caller>,
        mode: Mode,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let patience = self.settings.limits.transaction;
        // Work that waits ends with its caller. So abandoned work takes no more than the connections.
        let place = self.place(caller).await?;
        let own = self.clone();
        // In a task of its own: a caller that stops waiting, since its client went away, does not cancel work that has
        // begun, as in SQLite. Otherwise clients could close connections to the database by closing theirs.
        let done = tokio::spawn(async move {
            let done = tokio::time::timeout(patience, own.run_now(mode, work)).await;
            drop(place);
            done.unwrap_or(Err(StoreError::Slow(patience)))
        });
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn run_now<T, F>(&self, mode: Mode, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, StoreError>>
            + Send
            + 'static,
    {
        let mut connection = Connection::new(self.acquire().await?);
        if mode == Mode::Whole {
            #[cfg(test)]
            self.faults.strike()?;
            connection.begin().await?;
        }
        let mut tx = Tx::new(
            Link::Postgres(connection),
            &self.texts,
            mode,
            #[cfg(test)]
            &self.faults,
        );
        let done = AssertUnwindSafe(work(&mut tx)).catch_unwind().await;
        let done = done.unwrap_or(Err(StoreError::Misused("it panicked")));
        let done = match done.map(Outcome::split) {
            Ok((true, _)) if tx.has_failed() => {
                Err(StoreError::Misused("a failed statement was ignored"))
            }
            done => done,
        };
        connection = match tx.link {
            Link::Postgres(connection) => connection,
            _ => return Err(StoreError::Closed),
        };
        let mut ended = Ok(());
        if mode == Mode::Whole {
            let save = matches!(done, Ok((true, _)));
            #[cfg(test)]
            if save {
                self.faults.strike()?;
            }
            ended = connection.end(save).await;
        }
        // What went wrong first is told.
        let (_, value) = done?;
        ended?;
        #[cfg(test)]
        if mode != Mode::Read {
            self.faults.strike()?;
        }
        Ok(value)
    }

    /// Waits for a place among the connections. The place in the line is kept as long: work that goes on after its caller
    /// has left counts in the caller's share.
    async fn place(
        &self,
        caller: Option<Caller>,
    ) -> Result<(Place, OwnedSemaphorePermit), StoreError> {
        let current = self.current.load_full();
        let in_line = current.line.enter(caller).ok_or(StoreError::Busy)?;
        let taken = async {
            if let Ok(place) = Arc::clone(&current.places).acquire_owned().await {
                return Ok(place);
            }
            // A reload has just closed them, and others follow.
            let places = Arc::clone(&self.current.load().places);
            places.acquire_owned().await.map_err(|_| StoreError::Closed)
        };
        let taken = tokio::time::timeout(self.settings.limits.acquire, taken).await;
        Ok((in_line, taken.unwrap_or(Err(StoreError::NoConnection))?))
    }

    /// Takes a connection. A pool that a reload just closed is followed by another.
    async fn acquire(&self) -> Result<Object, StoreError> {
        match self.current.load_full().pool.get().await {
            Err(PoolError::Closed) => Ok(self.current.load_full().pool.get().await?),
            acquired => Ok(acquired?),
        }
    }

    pub(super) fn close(&self) {
        self.current.load().close();
    }

    #[cfg(test)]
    pub(super) fn qualifier(&self) -> &str {
        &self.qualifier
    }
}

/// Follows the file with the URL: looks at it at each interval, for ever.
pub(super) async fn follow(postgres: &Postgres, every: Duration) {
    let mut told = None;
    loop {
        tokio::time::sleep(every).await;
        match postgres.reload().await {
            Ok(true) => {
                told = None;
                tracing::info!("connected to the store by its changed URL");
            }
            Ok(false) => told = None,
            Err(error) => {
                let words = error.to_string();
                // The same failure is told once.
                if told.as_ref() != Some(&words) {
                    warn!(
                        error = words,
                        "cannot use the changed URL of the store: the previous one stays in use"
                    );
                    told = Some(words);
                }
            }
        }
    }
}
