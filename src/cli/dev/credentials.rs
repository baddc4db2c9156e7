//! Serves the Credentials of dev mode as soon as they are written.
//!
//! The server applies a change before the write returns, because a person or a script may use the Secret as soon as its
//! file exists. The controller gets the change later, in the order of the writes.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::directory::{Change, ObjectKey};
use crate::lock::lock;
use crate::reconcile::files::{CredentialEvent, CredentialListener};
use crate::resources::{Credential, Kind};
use crate::server::Publisher;
use crate::tokens::MacKey;

/// A change, and the version of the Credential; the version of a deleted one is empty.
pub(super) type Versioned = (Change, Box<str>);

/// Applies changes of Credentials to the server, and passes them on for the controller.
#[derive(Clone, Debug)]
pub(super) struct CredentialPublisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    publisher: Arc<Publisher>,
    identity: ObjectKey,
    mac: Mutex<Option<Arc<MacKey>>>,
    changes: mpsc::UnboundedSender<Versioned>,
}

impl CredentialPublisher {
    /// Serves the Credentials of an Identity. The receiver gets the changes for the controller.
    pub(super) fn new(
        publisher: Arc<Publisher>,
        identity: ObjectKey,
    ) -> (Self, mpsc::UnboundedReceiver<Versioned>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            publisher,
            identity,
            mac: Mutex::default(),
            changes,
        };
        (Self(Arc::new(inner)), receiver)
    }

    /// Sets the key that verifies the seals of Credentials from now on.
    pub(super) fn set_mac(&self, mac: Arc<MacKey>) {
        *lock(&self.0.mac) = Some(mac);
    }

    /// Converts a Credential to a change. Only the seals of the served Identity's Credentials can be verified: dev mode
    /// has no mac key of other Identities.
    fn change(&self, credential: &Credential) -> Option<Change> {
        let identity = &self.0.identity;
        let is_ours = credential.metadata.namespace.as_deref() == Some(&*identity.namespace)
            && *credential.spec.identity.name == *identity.name;
        let mac = lock(&self.0.mac);
        Change::credential(credential, mac.as_deref().filter(|_| is_ours))
    }
}

impl CredentialListener for CredentialPublisher {
    fn changed(&self, event: CredentialEvent) {
        let (change, version) = match event {
            CredentialEvent::Put(credential) => {
                let Some(change) = self.change(&credential) else {
                    return;
                };
                let version = credential.metadata.resource_version.unwrap_or_default();
                (change, version.into_boxed_str())
            }
            CredentialEvent::Gone(key) => (Change::Delete(Kind::Credential, key), Box::default()),
        };
        self.0
            .publisher
            .update(|directory| directory.apply(change.clone()));
        // The receiver is dropped only when the process ends.
        let _ = self.0.changes.send((change, version));
    }
}
