//! Opens the store of the served Identity, binds it to the Identity and monitors it. Service tokens do not need the
//! store: once it is open, its failures are logged and counted, and the server keeps answering. A PostgreSQL store may
//! also be away when the server starts.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::clock::now;
use super::super::control;
use crate::directory::ObjectKey;
use crate::resources::DEFAULT_SCHEMA;
use crate::server::{self, App, Metrics};
use crate::store::{ConnectionLimits, Holder, Location, Settings, Store, StoreError};

/// How long to wait until another process releases the store: longer than a pod may take to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// The interval of checks for the Identity.
const LOOK: Duration = Duration::from_millis(200);
/// The interval of warnings about a database that stays away for the same reason.
const REMIND: Duration = Duration::from_mins(5);

/// How often something is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The interval of test writes while they succeed, or to a file.
    probe: Duration,
    /// The interval of test writes to a database that failed. It comes back by itself.
    probe_away: Duration,
    /// The interval of reads of the file with the database's URL.
    url: Duration,
    /// The first pause before another try to open a store in a database; each is twice as long.
    first_pause: Duration,
    /// The longest pause.
    longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(30),
            probe_away: Duration::from_secs(5),
            url: Duration::from_secs(5),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// The arguments about the store.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// The store of people's data: a SQLite file, which is created if it does not exist; without a store no such data is
    /// stored
    #[arg(long, value_name = "sqlite:PATH", env = "SYMBOLON_STORE", hide_env_values = true, value_parser = super::super::unshown::Unshown(sqlite_path))]
    store: Option<PathBuf>,
    /// The store of people's data: a file with the URL of a PostgreSQL database, in the form of libpq; it is read again
    /// when it changes. The server starts without the database, and serves people once it is there
    #[arg(
        long,
        value_name = "FILE",
        env = "SYMBOLON_STORE_URL_FILE",
        conflicts_with = "store"
    )]
    store_url_file: Option<PathBuf>,
    /// A file with the certificates of the database's CA, which is read again when it changes; sslmode is then
    /// verify-full, unless the URL says otherwise
    #[arg(
        long,
        value_name = "FILE",
        env = "SYMBOLON_STORE_CA_FILE",
        requires = "store_url_file"
    )]
    store_ca_file: Option<PathBuf>,
    /// The schema of the tables in the database: each Identity needs its own
    #[arg(
        long,
        value_name = "NAME",
        env = "SYMBOLON_STORE_SCHEMA",
        requires = "store_url_file"
    )]
    store_schema: Option<String>,
    /// The largest number of connections to the database; default: twice the number of cores
    #[arg(long, value_name = "NUMBER", env = "SYMBOLON_STORE_MAX_CONNECTIONS", requires = "store_url_file", value_parser = clap::value_parser!(u16).range(1..=1000))]
    store_max_connections: Option<u16>,
}

impl StoreArgs {
    /// Returns where the store is, if there is one.
    ///
    /// # Errors
    /// The name of the schema is wrong.
    pub(super) fn location(self) -> Result<Option<Location>, StoreError> {
        if let Some(path) = self.store {
            let patience = PATIENCE;
            return Ok(Some(Location::Sqlite { path, patience }));
        }
        let Some(path) = self.store_url_file else {
            return Ok(None);
        };
        let usual = ConnectionLimits::default();
        let limits = ConnectionLimits {
            connections: self
                .store_max_connections
                .map_or(usual.connections, usize::from),
            ..usual
        };
        let schema = self.store_schema.as_deref();
        let settings = Settings::from_file(&path, schema.unwrap_or(DEFAULT_SCHEMA), limits)?;
        Ok(Some(Location::Postgres(
            settings.with_ca(self.store_ca_file),
        )))
    }
}

/// Parses `--store`.
pub(in crate::cli) fn sqlite_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("sqlite:") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(
            "write sqlite: and an absolute path, such as sqlite:/var/lib/symbolon/symbolon.db, or use --store-url-file for PostgreSQL"
                .to_owned(),
        ),
    }
}

/// Tells the server that it will have a store. With a file it is not ready before the store is open; a database may be
/// away for long.
pub(super) fn expect(location: &Location, app: &App) {
    match location {
        Location::Postgres(_) => app.status().store_works(false),
        Location::Memory | Location::Sqlite { .. } => app.status().store_awaited(),
    }
}

/// Opens the store and monitors it until `stop` is cancelled.
///
/// # Errors
/// A store in a file cannot be opened or bound to the Identity. A database is tried again instead.
pub(super) async fn keep(
    location: Location,
    identity: ObjectKey,
    app: App,
    metrics: &Metrics,
    pace: Pace,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let is_database = matches!(location, Location::Postgres(_));
    let opening = async {
        if is_database {
            Ok(connect(&location, &identity, &app, metrics, pace).await)
        } else {
            open(&location, &identity, &app).await
        }
    };
    let opened = tokio::select! {
        opened = opening => opened,
        () = stop.cancelled() => return Ok(()),
    };
    let (store, issuer) = opened.inspect_err(|error| metrics.store_failed(error.fault()))?;
    app.status().store_open();
    info!(bytes = store.size(), "store open");
    let people = server::serve_people((*app).clone(), store.clone(), issuer);
    let people = tokio::spawn(people);
    let control = tokio::spawn(control::serve(store.clone()));
    tokio::select! {
        () = probe(&store, is_database, &app, metrics, pace) => {}
        () = follow_url(&store, pace.url) => {}
        () = stop.cancelled() => {}
    }
    people.abort();
    // The socket is removed before the next process can take the store.
    control.abort();
    let _ = control.await;
    app.set_people(None);
    if let Err(error) = store.close().await {
        warn!(%error, "cannot close the store: its write-ahead log is replayed at the next start");
    }
    Ok(())
}

/// Follows changes of the file with the URL. Never returns.
async fn follow_url(store: &Store, every: Duration) {
    store.follow_url(every).await;
    std::future::pending().await
}

/// Writes to the store at intervals, to find out whether it is writable. Never returns.
async fn probe(store: &Store, is_database: bool, app: &App, metrics: &Metrics, pace: Pace) {
    let mut is_known_to_fail = false;
    loop {
        let written = store.probe(now()).await;
        metrics.store(store.size(), written.is_ok());
        app.status().store_works(written.is_ok());
        let fails = written.is_err();
        match written {
            Ok(()) if is_known_to_fail => info!("store writable again"),
            Ok(()) => {}
            Err(error) => {
                metrics.store_failed(error.fault());
                if !(is_database && is_known_to_fail) {
                    warn!(%error, "cannot write to the store: service tokens are not affected");
                }
            }
        }
        is_known_to_fail = fails;
        let pause = if fails && is_database {
            pace.probe_away
        } else {
            pace.probe
        };
        tokio::time::sleep(pause).await;
    }
}

/// Opens a store in a database, as soon as there is one that can be used. It may be created, started or corrected long
/// after this server, which serves machine clients meanwhile.
async fn connect(
    location: &Location,
    identity: &ObjectKey,
    app: &App,
    metrics: &Metrics,
    pace: Pace,
) -> (Store, String) {
    let mut pause = pace.first_pause;
    let mut told: Option<(String, Instant)> = None;
    loop {
        let error = match open(location, identity, app).await {
            Ok(opened) => return opened,
            Err(error) => error,
        };
        metrics.store_failed(error.fault());
        let words = error.to_string();
        let is_told = told
            .as_ref()
            .is_some_and(|(before, at)| *before == words && at.elapsed() < REMIND);
        if !is_told {
            warn!(
                error = words,
                "cannot use the database, will retry: people cannot sign in, machine clients are served"
            );
            told = Some((words, Instant::now()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pace.longest_pause);
    }
}

async fn open(
    location: &Location,
    identity: &ObjectKey,
    app: &App,
) -> Result<(Store, String), StoreError> {
    let store = Store::at(location.clone()).await?;
    let holder = holder(identity, app).await;
    store.bind(&holder, now()).await?;
    Ok((store, holder.issuer))
}

/// Waits until the Identity is known and returns it.
async fn holder(identity: &ObjectKey, app: &App) -> Holder {
    loop {
        if let Some(holder) = known_holder(identity, app) {
            return holder;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn known_holder(identity: &ObjectKey, app: &App) -> Option<Holder> {
    let known = app.publisher().current();
    let object = known.directory().identity(identity)?;
    Some(Holder {
        issuer: object.record()?.issuer.to_string(),
        namespace: identity.namespace.to_string(),
        name: identity.name.to_string(),
        uid: object.uid.to_string(),
    })
}

#[cfg(test)]
mod tests;
