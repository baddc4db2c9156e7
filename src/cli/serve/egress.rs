//! The CAs that are trusted when clients are called, read from a file and again when it changes.

use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::keys::read_file;
use crate::keys;

/// The interval of reads.
pub(super) const PERIOD: Duration = Duration::from_secs(5);

/// Passes on the CAs in the file, and again when they change. A file that cannot be read names none: what was trusted
/// before may be what an administrator meant to remove. Never returns.
pub(super) async fn follow(
    path: PathBuf,
    period: Duration,
    trust: impl Fn(Option<RootCertStore>) + Send,
) {
    let mut seen = None;
    loop {
        let read = read_file(path.clone()).await;
        // The reference may name another Secret by mistake, such as one with a key.
        let read = read.map(Zeroizing::new).map_err(|error| error.kind());
        if seen.as_ref() != Some(&read) {
            let found = match &read {
                Ok(pem) => keys::authorities(pem).map_err(|error| error.to_string()),
                Err(kind) => Err(format!("it cannot be read: {kind}")),
            };
            match &found {
                Ok(roots) => info!(count = roots.len(), "CAs for calls to clients loaded"),
                Err(error) => warn!(
                    error,
                    file = %path.display(),
                    "cannot load the CAs for calls to clients: only those of the system are trusted"
                ),
            }
            trust(found.ok());
            seen = Some(read);
        }
        tokio::time::sleep(period).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_authorities_of_the_file_are_trusted_as_long_as_it_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let (told, mut trusted) = mpsc::unbounded_channel();
        let trust = move |roots: Option<RootCertStore>| {
            told.send(roots.map(|it| it.len())).unwrap();
        };
        let following = tokio::spawn(follow(path.clone(), Duration::from_millis(10), trust));
        let mut next = async || trusted.recv().await.unwrap();
        assert_eq!(next().await, None, "the file may be written later");
        let write = |text: &str| {
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, &path).unwrap();
        };
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (one, other) = (made("a").cert.pem(), made("b").cert.pem());
        write(&one);
        assert_eq!(next().await, Some(1));
        write(&format!("{one}{other}"));
        assert_eq!(next().await, Some(2));
        write("not PEM");
        assert_eq!(next().await, None);
        write(&other);
        assert_eq!(next().await, Some(1));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(next().await, None);
        following.abort();
    }
}
