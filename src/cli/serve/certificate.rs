//! The server's certificate, read from the folder of a mounted `kubernetes.io/tls` Secret and again when the files
//! change.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::keys::read_file;
use crate::server::Tls;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The interval of reads.
const PERIOD: Duration = Duration::from_secs(5);

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// Keeps the served certificate equal to the files in the folder.
pub(super) struct Certificate {
    folder: PathBuf,
    tls: Tls,
    seen: Pair,
}

impl Certificate {
    /// Reads the certificate for the first time. Without one the server cannot start, so a failure is an error.
    pub(super) async fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let seen = read(&folder).await?;
        let tls = Tls::new(&seen.certificate, &seen.key)
            .with_context(|| format!("cannot serve the certificate in {}", folder.display()))?;
        Ok(Self { folder, tls, seen })
    }

    /// Returns the TLS configuration with the current certificate.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Loads the files when they change. Never returns.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if let Err(error) = self.reload().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot load the certificate: the previous one stays in use"
                );
            }
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let pair = read(&self.folder).await?;
        if pair == self.seen {
            return Ok(());
        }
        // If the files were read while they were being replaced, certificate and key do not match: the next read gets
        // both.
        self.tls.replace(&pair.certificate, &pair.key)?;
        self.seen = pair;
        tracing::info!("certificate loaded");
        Ok(())
    }
}

async fn read(folder: &std::path::Path) -> anyhow::Result<Pair> {
    let file = async |name| {
        let path = folder.join(name);
        let bytes = read_file(path.clone()).await;
        bytes.with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(Pair {
        certificate: file(CERTIFICATE).await?,
        key: Zeroizing::new(file(KEY).await?),
    })
}
