//! Opens the store of the served Identity, binds it to the Identity and monitors it. Service tokens do not need the
//! store: once it is open, its failures are logged and counted, and the server keeps answering.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::clock::now;
use crate::directory::ObjectKey;
use crate::server::{self, App, Metrics};
use crate::store::{Holder, Store, StoreError};

/// How long to wait until another process releases the store: longer than a pod may take to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// The interval of checks for the Identity.
const LOOK: Duration = Duration::from_millis(200);
/// The interval of test writes.
const PROBE: Duration = Duration::from_secs(30);

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location(PathBuf);

/// Parses `--store`.
pub(super) fn location(text: &str) -> Result<Location, String> {
    match text.strip_prefix("sqlite:") {
        Some(path) if path.starts_with('/') => Ok(Location(path.into())),
        _ => Err(
            "write sqlite: and an absolute path, such as sqlite:/var/lib/symbolon/symbolon.db"
                .to_owned(),
        ),
    }
}

/// Opens the store and monitors it until `stop` is cancelled.
///
/// # Errors
/// The store cannot be opened or bound to the Identity.
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
    let (store, issuer) = opened.inspect_err(|error| metrics.store_failed(error.fault()))?;
    app.status().store_open();
    info!(bytes = store.size(), "store open");
    let people = server::serve_people((*app).clone(), store.clone(), issuer);
    let people = tokio::spawn(people);
    let mut is_known_to_fail = false;
    while !stop.is_cancelled() {
        let written = store.probe(now()).await;
        metrics.store(store.size(), written.is_ok());
        match written {
            Ok(()) if is_known_to_fail => info!("store writable again"),
            Ok(()) => {}
            Err(error) => {
                metrics.store_failed(error.fault());
                warn!(%error, "cannot write to the store: service tokens are not affected");
                is_known_to_fail = true;
                stop.run_until_cancelled(tokio::time::sleep(PROBE)).await;
                continue;
            }
        }
        is_known_to_fail = false;
        stop.run_until_cancelled(tokio::time::sleep(PROBE)).await;
    }
    people.abort();
    app.set_people(None);
    if let Err(error) = store.close().await {
        warn!(%error, "cannot close the store: its write-ahead log is replayed at the next start");
    }
    Ok(())
}

async fn open(
    Location(path): Location,
    identity: &ObjectKey,
    app: &App,
) -> Result<(Store, String), StoreError> {
    let store = Store::open(&path, PATIENCE).await?;
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
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_an_absolute_path() {
        assert_eq!(
            location("sqlite:/var/lib/symbolon/symbolon.db"),
            Ok(Location("/var/lib/symbolon/symbolon.db".into()))
        );
        for wrong in ["sqlite:symbolon.db", "sqlite:", "/var/lib", "postgres://db"] {
            assert!(location(wrong).is_err(), "{wrong}");
        }
    }
}
