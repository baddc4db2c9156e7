//! The store of the served Identity: opened, bound to it, and looked after. Tokens of services need none of it, so that
//! what becomes of it once it is open is told and keeps nobody from being answered.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::clock::now;
use crate::directory::ObjectKey;
use crate::server::App;
use crate::store::{Holder, Store, StoreError};
use crate::telemetry::Metrics;

/// How long whoever has the store may take to let go of it: longer than a pod may take to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between looks for the Identity.
const LOOK: Duration = Duration::from_millis(200);
/// Between tries whether it can be written to.
const PROBE: Duration = Duration::from_secs(30);

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location(PathBuf);

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sqlite:") {
            Some(path) if path.starts_with('/') => Ok(Self(path.into())),
            _ => Err("write sqlite:/path/of/the/file, with the whole path".to_owned()),
        }
    }
}

/// Keeps a store until it is asked to stop. It comes back with why it could not be used from the beginning.
pub(super) async fn keep(
    location: Location,
    identity: ObjectKey,
    app: App,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let opening = open(location, &identity, &app);
    let opened = tokio::select! {
        opened = opening => opened,
        () = stop.cancelled() => return Ok(()),
    };
    let mut store = opened.inspect_err(|error| metrics.store_failed(error.fault().as_str()))?;
    app.status().store_open();
    info!(bytes = store.size(), "the store is open");
    let mut is_known_to_fail = false;
    while !stop.is_cancelled() {
        let written = store.probe(now()).await;
        metrics.store(store.size(), written.is_ok());
        match written {
            Ok(()) if is_known_to_fail => info!("the store can be written to again"),
            Ok(()) => {}
            Err(error) => {
                metrics.store_failed(error.fault().as_str());
                warn!(%error, "the store cannot be written to: tokens of services are served as before");
                is_known_to_fail = true;
                stop.run_until_cancelled(tokio::time::sleep(PROBE)).await;
                continue;
            }
        }
        is_known_to_fail = false;
        stop.run_until_cancelled(tokio::time::sleep(PROBE)).await;
    }
    if let Err(error) = store.close().await {
        warn!(%error, "the store was not closed: its log is read at the next start");
    }
    Ok(())
}

async fn open(
    Location(path): Location,
    identity: &ObjectKey,
    app: &App,
) -> Result<Store, StoreError> {
    let mut store = Store::open(&path, PATIENCE).await?;
    let holder = holder(identity, app).await;
    store.bind(&holder, now()).await?;
    Ok(store)
}

/// Who the Identity is, once it is known.
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
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_file_by_its_whole_path() {
        assert_eq!(
            "sqlite:/var/lib/symbolon/symbolon.db".parse(),
            Ok(Location("/var/lib/symbolon/symbolon.db".into()))
        );
        for wrong in ["sqlite:symbolon.db", "sqlite:", "/var/lib", "postgres://db"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }
}
