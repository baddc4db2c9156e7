//! The server's certificate: read from a folder that a `kubernetes.io/tls` Secret is mounted at, and again when the
//! files change.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::keys::read_file;
use crate::server::Tls;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Between looks for other files.
const PERIOD: Duration = Duration::from_secs(5);

/// What the files say.
#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// Keeps what is served as it is in the folder.
pub(super) struct Certificate {
    folder: PathBuf,
    tls: Tls,
    seen: Pair,
}

impl Certificate {
    /// Reads the folder for the first time: without a certificate nothing could be served.
    pub(super) async fn open(folder: PathBuf) -> anyhow::Result<Self> {
        let seen = read(&folder).await?;
        let tls = Tls::new(&seen.certificate, &seen.key)
            .with_context(|| format!("cannot serve the certificate in {}", folder.display()))?;
        Ok(Self { folder, tls, seen })
    }

    /// What is served.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Takes other files as they come, for ever.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the certificate cannot be taken: the one before stays"
                );
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let pair = read(&self.folder).await?;
        if pair == self.seen {
            return Ok(());
        }
        // A pair whose halves were read while they were being replaced is refused now and whole the next time.
        self.tls.replace(&pair.certificate, &pair.key)?;
        self.seen = pair;
        tracing::info!("took the certificate");
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
