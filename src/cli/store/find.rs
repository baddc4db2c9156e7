//! Finds the store that a command means, and whether a server uses it.

use std::io;
use std::path::{Path, PathBuf};

use crate::control::{folder_of, is_answered};
use crate::store::{StoreError, Unused};

/// The store of a pod that the operator runs.
const POD: &str = "/var/lib/symbolon/symbolon.db";
/// The folder with the URL of a PostgreSQL store in such a pod.
const POD_DATABASE: &str = "/var/run/symbolon/database";
/// The folder of the stores in the state folder of dev mode.
const STORES: &str = "people";

/// Which store.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The store: a SQLite file, by its absolute path; default: the variable `SYMBOLON_STORE`, or the store of the pod
    #[arg(long, value_name = "sqlite:PATH", conflicts_with = "state", value_parser = super::super::unshown::Unshown(super::super::serve::sqlite_path))]
    store: Option<PathBuf>,
    /// The state folder of dev mode
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// A store.
pub(super) enum Found {
    /// A server uses it.
    Served(PathBuf),
    /// No server uses it.
    Unused(PathBuf, Unused),
}

impl Found {
    /// The path of its file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Served(path) | Self::Unused(path, _) => path,
        }
    }
}

/// Why no store can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "no store is named: give --store sqlite:PATH or --state DIR, or run the command in a pod of an Identity with a SQLite store (kubectl exec)"
    )]
    NotNamed,
    #[error("SYMBOLON_STORE is not a store: {0}")]
    Variable(String),
    #[error(
        "the copy is binary, and would be written to the terminal: give --to FILE, or redirect the output"
    )]
    Terminal,
    #[error(
        "this Identity's store is in PostgreSQL, which copies and checks its databases better than a client can: where the database can be reached, run pg_dump --format=custom --schema=SCHEMA --file=FILE \"$URL\" for a backup, and pg_amcheck --schema=SCHEMA for a check, with the schema (symbolon by default) and the Secret of spec.storage.postgresql"
    )]
    Postgres,
    #[error("there is no store at {0}, and no server: check the path")]
    Absent(String),
    #[error(
        "another process holds {0}, but no server answers in {1}: it may be starting or stopping (try again), run as another user or in another container (run the command there), or be a backup"
    )]
    Held(String, String),
    #[error(
        "no store is in {0}: name the state folder of a symbolon dev that has served people (by default DIR/.symbolon)"
    )]
    NoState(String),
    #[error(
        "{0} has several stores, one for each issuer: name one with --store, such as --store sqlite:{1}"
    )]
    Several(String, String),
}

impl Unusable {
    /// Whether the command line is the cause.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(self, Self::NotNamed | Self::Variable(_) | Self::Terminal)
    }
}

/// Finds the store: the named file, or the one that the options and the environment name.
pub(super) async fn find(which: &Which, file: Option<&Path>) -> anyhow::Result<Found> {
    if let Some(file) = file.or(which.store.as_deref()) {
        return at(file).await;
    }
    if let Some(state) = &which.state {
        return of_state(state).await;
    }
    if let Some(text) = std::env::var_os("SYMBOLON_STORE") {
        let text = text.to_string_lossy();
        let path = super::super::serve::sqlite_path(&text).map_err(Unusable::Variable)?;
        return at(&path).await;
    }
    if Path::new(POD).exists() {
        return at(Path::new(POD)).await;
    }
    let is_database = std::env::var_os("SYMBOLON_STORE_URL_FILE").is_some();
    if is_database || Path::new(POD_DATABASE).exists() {
        return Err(Unusable::Postgres.into());
    }
    Err(Unusable::NotNamed.into())
}

async fn at(path: &Path) -> anyhow::Result<Found> {
    let folder = folder_of(path);
    if is_answered(&folder).await {
        return Ok(Found::Served(path.to_owned()));
    }
    match Unused::take(path) {
        Ok(unused) => Ok(Found::Unused(path.to_owned(), unused)),
        Err(StoreError::Held(_)) => Err(Unusable::Held(shown(path), shown(&folder)).into()),
        Err(StoreError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Unusable::Absent(shown(path)).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Finds the store of dev mode. A change of the address leaves the store of the previous issuer.
async fn of_state(state: &Path) -> anyhow::Result<Found> {
    let mut stores = Vec::new();
    for entry in std::fs::read_dir(state.join(STORES))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "db") {
            stores.push(path);
        }
    }
    stores.sort();
    for store in &stores {
        if is_answered(&folder_of(store)).await {
            return at(store).await;
        }
    }
    match &*stores {
        [] => Err(Unusable::NoState(shown(state)).into()),
        [store] => at(store).await,
        [first, ..] => {
            let first = std::path::absolute(first).unwrap_or_else(|_| first.clone());
            Err(Unusable::Several(shown(state), shown(&first)).into())
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
