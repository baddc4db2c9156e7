//! The keys of the served Identity, read from the folder of a mounted Secret or from the API server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use tokio::sync::watch as channel;
use zeroize::Zeroizing;

use super::super::clock::now;
use crate::directory::ObjectKey;
use crate::keys::KeySet;
use crate::kube_call::Client;
use crate::reconcile::cluster::Cluster as _;
use crate::reconcile::cluster::fence::Fence;
use crate::reconcile::cluster::kube_api::KubeApi;
use crate::reconcile::key_secrets::{KEYSET, MAC, mac_secret, signing_secret};
use crate::server::App;
use crate::state_file::read_regular;
use crate::tokens::MacKey;

/// The interval of reads while keys are missing.
const MISSING: Duration = Duration::from_millis(500);
/// The interval of reads when keys are present.
const PRESENT: Duration = Duration::from_secs(5);
/// The time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After this many reads the warning about missing keys is repeated.
const REPEAT: u32 = 60;

/// Where the keys are.
pub(super) enum KeySource {
    /// Files with the names of the Secrets' keys.
    Folder(PathBuf),
    /// The Identity's two Secrets in the API server.
    Secrets(Box<KubeApi>, ObjectKey),
}

/// The maximum length of a file in bytes: the size limit of a Secret.
const LONGEST: u64 = 1 << 20;

type Bytes = Option<Zeroizing<Vec<u8>>>;

impl KeySource {
    /// Returns the folder, if there is one, else the Secrets.
    pub(super) fn new(folder: Option<PathBuf>, client: &Client, identity: &ObjectKey) -> Self {
        if let Some(folder) = folder {
            return Self::Folder(folder);
        }
        // The fence only guards writes, and this client only reads.
        let api = KubeApi::new(client.clone(), TIMEOUT, Fence::closed());
        Self::Secrets(Box::new(api), identity.clone())
    }

    async fn read(&self, name: &str) -> anyhow::Result<Bytes> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                match read_file(path.clone()).await {
                    Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => {
                        Err(error).with_context(|| format!("cannot read {}", path.display()))
                    }
                }
            }
            Self::Secrets(api, identity) => {
                let key = if name == MAC {
                    mac_secret(identity)
                } else {
                    signing_secret(identity)
                };
                let secret = api
                    .secret(&key)
                    .await
                    .with_context(|| format!("cannot read the Secret {key}"))?;
                Ok(secret.and_then(|secret| secret.bytes(name)))
            }
        }
    }
}

/// Reads a file that holds a key or a certificate.
pub(super) async fn read_file(path: PathBuf) -> std::io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || read_regular(&path, LONGEST));
    read.await.map_err(std::io::Error::other)?
}

/// Keeps the server's keys equal to those in their place.
pub(super) struct KeyReloader {
    pub(super) place: KeySource,
    pub(super) app: App,
    pub(super) mac: channel::Sender<Option<Arc<MacKey>>>,
    keyset_seen: Bytes,
    mac_seen: Bytes,
}

impl KeyReloader {
    pub(super) const fn new(
        place: KeySource,
        app: App,
        mac: channel::Sender<Option<Arc<MacKey>>>,
    ) -> Self {
        Self {
            place,
            app,
            mac,
            keyset_seen: None,
            mac_seen: None,
        }
    }

    /// Waits until the signing keys and the mac key are loaded. `lacking` returns why there may be none.
    pub(super) async fn first<'a>(
        &mut self,
        lacking: &(dyn Fn() -> BoxFuture<'a, Option<String>> + Sync),
    ) {
        let mut looks = 0;
        loop {
            let fault = self.reload().await.err();
            if self.keyset_seen.is_some() && self.mac_seen.is_some() {
                self.app.status().lacks(None);
                return;
            }
            if looks % REPEAT == 0 {
                let why = match (lacking().await, fault) {
                    (Some(lacking), _) => lacking,
                    (None, Some(fault)) => format!("{fault:#}"),
                    (None, None) => "the operator has not created them yet: check that it runs, and the conditions of the Identity".to_owned(),
                };
                tracing::warn!(why, "waiting for the Identity's keys");
                self.app.status().lacks(Some(why));
            }
            looks += 1;
            tokio::time::sleep(MISSING).await;
        }
    }

    /// Loads keys when they change. Never returns.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(PRESENT).await;
            if let Err(error) = self.reload().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot load the keys: the previous keys stay in use"
                );
            }
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let keyset = self.place.read(KEYSET).await?;
        if let Some(bytes) = keyset.filter(|bytes| self.keyset_seen.as_ref() != Some(bytes)) {
            let set = KeySet::parse(&bytes).context(KEYSET)?;
            self.app.publisher().set_keys(set, now())?;
            self.keyset_seen = Some(bytes);
            tracing::info!("signing keys loaded");
        }
        let mac = self.place.read(MAC).await?;
        if let Some(bytes) = mac.filter(|bytes| self.mac_seen.as_ref() != Some(bytes)) {
            let mac = MacKey::from_bytes(&bytes).context(MAC)?;
            let mac = Arc::new(mac);
            self.app.set_mac(Arc::clone(&mac));
            self.mac.send_replace(Some(mac));
            self.mac_seen = Some(bytes);
            tracing::info!("mac key loaded");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kubelet mounts a Secret's keys as links to regular files. A FIFO or a device must not block a read.
    #[tokio::test]
    async fn keys_are_read_from_regular_files_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("..data")).unwrap();
        std::fs::write(at("..data/mac"), "key").unwrap();
        std::os::unix::fs::symlink("..data/mac", at("mac")).unwrap();
        assert_eq!(read_file(at("mac")).await.unwrap(), b"key");
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        crate::state_file::testing::fifo(&at("fifo"));
        for name in ["zero", "fifo"] {
            let error = read_file(at(name)).await.unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{name}: {error}");
        }
        let place = KeySource::Folder(folder.path().to_owned());
        assert!(place.read("absent").await.unwrap().is_none());
        assert!(place.read("fifo").await.is_err());
    }
}
